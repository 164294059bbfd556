"""The start of the program. It imports nothing before Ctrl+C is quiet and the standard streams are usable."""

# The built-in module below `signal`. Importing `signal` takes a while, in which Ctrl+C would show a traceback.
import _signal  # type: ignore[import-not-found]
import os
import sys


def main() -> None:
    """Runs the command line and ends the process."""
    # Does what `standard_streams.end_at_interrupt` does, before that can be imported.
    _signal.signal(_signal.SIGINT, lambda _number, _frame: os._exit(130))
    from tui_llama.system import standard_streams

    standard_streams.prepare()
    from tui_llama.cli import bare_start

    if bare_start.is_bare():
        sys.exit(bare_start.run())
    from tui_llama.cli import main as cli

    sys.exit(cli.run())
