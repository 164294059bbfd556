"""The command line: arguments and settings become one command, which imports what it needs when it runs.

Manners: only a command's result goes to standard output; progress, notices and errors go to standard error,
coloured only on a terminal and not where `NO_COLOR` is set. Exit status: 0 fine, 1 an error, 2 wrong usage,
130 stopped by Ctrl+C (what was answered so far is printed), 141 the reader of the result went away, 129 and 143 told to
end by SIGHUP and SIGTERM. The streams themselves are the business of `standard_streams`, the messages that of `errors`.
"""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tui_llama import __version__, paths
from tui_llama.cli.command_settings import settings_from
from tui_llama.cli.commands.answer import ask, complete
from tui_llama.cli.commands.bench import bench
from tui_llama.cli.commands.cache import cache
from tui_llama.cli.commands.doctor import doctor
from tui_llama.cli.commands.inspect import inspect
from tui_llama.cli.commands.keys import keys
from tui_llama.cli.commands.models import models, pull, set_up
from tui_llama.cli.commands.serve import serve
from tui_llama.cli.commands.servers import servers
from tui_llama.cli.commands.settings import settings as settings_command
from tui_llama.cli.commands.state import state
from tui_llama.cli.commands.tokenize import tokenize
from tui_llama.cli.ending import ended
from tui_llama.cli.errors import TellingGroup
from tui_llama.cli.model_choice import given_model
from tui_llama.cli.options import (
    ENGINE,
    GENERATING,
    MODEL_OPTION,
    PLACEMENT,
    SERVER_OPTION,
    THINKING,
    given,
    setting_options,
)
from tui_llama.cli.persona import chosen_persona, options_with, options_with_default
from tui_llama.cli.screen import open_screen, why_no_screen
from tui_llama.cli.servers.choice import refuse_options_of_our_engine, server_model
from tui_llama.errors import ModelFileError
from tui_llama.servers.address import is_server_address
from tui_llama.system import standard_streams

if TYPE_CHECKING:
    from tui_llama.settings import Settings

_WITHOUT_SCREEN = 'Without the screen, use: tui-llama ask "question"'


@click.group(cls=TellingGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="tui-llama")
@MODEL_OPTION
@SERVER_OPTION
@setting_options(*ENGINE, *PLACEMENT, *GENERATING, *THINKING, "prompt_cache_mib", "persona")
@click.option("--incognito", is_flag=True, default=None, help="Begin with an incognito chat: nothing of it is saved.")
@click.pass_context
def command_line(context: click.Context, /, **options: object) -> None:
    """Chats with a GGUF model or with a server, full screen. The commands below work without the screen."""
    context.obj = given(options)
    if context.invoked_subcommand is None:
        _open_screen(context.obj)


for _command in (
    ask, complete, serve, tokenize, state, bench, cache, pull, models, inspect, servers, set_up, doctor, keys,
    settings_command,
):  # fmt: skip
    command_line.add_command(_command)


def run() -> int:
    """Runs the command line; returns the exit status. `start.main` has prepared the standard streams."""
    return ended(partial(command_line.main, prog_name="tui-llama"))


# --- the screen ---------------------------------------------------------------------------------------------


def _open_screen(options: Mapping[str, object]) -> None:
    why_not = why_no_screen(os.environ)
    if why_not:
        raise click.UsageError(f"{why_not} {_WITHOUT_SCREEN}")
    standard_streams.give_screen_a_terminal()
    settings = settings_from(options)
    persona = chosen_persona(settings)  # a name that is wrong is told before the screen is there
    notice = ""
    if persona is not None and "persona" in options:
        options = options_with(persona, options)
    elif persona is not None:
        options, notice = options_with_default(persona, options)
    open_screen(options, settings, _model_to_begin_with(options, settings), notice)


def _model_to_begin_with(options: Mapping[str, object], settings: "Settings") -> str | None:
    """Returns the model that was named; None where the app takes the one used last, or asks."""
    model = server_model(options, settings) or given_model(options)
    if model is not None and is_server_address(model):
        refuse_options_of_our_engine(options)
    elif model is not None and not paths.is_file(Path(model)):
        raise ModelFileError(f"{model}: no such file", "Check the name, or start without -m to pick a model.")
    return model
