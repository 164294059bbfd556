"""`tui-llama` without arguments: the screen without the command line, which would delay the first frame by a tenth.

Whatever the command line would have to read or to explain is left to it.
"""

import os
import sys

from tui_llama.cli.command_settings import settings_from
from tui_llama.cli.ending import ended
from tui_llama.cli.screen import open_screen, why_no_screen
from tui_llama.system import standard_streams


def run() -> int:
    """Opens the screen with the settings of the user; returns the exit status."""
    return ended(_open)


def is_bare() -> bool:
    """Tells whether the program was started as the command line need not know of: to open the screen, which it can."""
    return len(sys.argv) == 1 and "_TUI_LLAMA_COMPLETE" not in os.environ and not why_no_screen(os.environ)


def _open() -> None:
    settings = settings_from({})
    if settings.persona:  # it may choose a model by its name, which is the business of the command line
        from tui_llama.cli.main import command_line

        command_line.main([], prog_name="tui-llama")
    standard_streams.give_screen_a_terminal()
    open_screen({}, settings)
