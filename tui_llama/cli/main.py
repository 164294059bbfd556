"""The command line: arguments and settings become one command, which imports what it needs when it runs.

Manners: only a command's result goes to standard output; progress, notices and errors go to standard error,
coloured only on a terminal and not where `NO_COLOR` is set. Exit status: 0 fine, 1 an error, 2 wrong usage,
130 stopped by Ctrl+C (what was answered so far is printed), 141 the reader of the result went away, 129 and 143 told to
end by SIGHUP and SIGTERM. The streams themselves are the business of `standard_streams`, the messages that of `errors`.
"""

import gc
import os
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tui_llama import __version__, paths
from tui_llama.cli.command_settings import settings_from, values_from
from tui_llama.cli.commands.answer import ask, complete
from tui_llama.cli.commands.bench import bench
from tui_llama.cli.commands.cache import cache
from tui_llama.cli.commands.doctor import doctor
from tui_llama.cli.commands.keys import keys
from tui_llama.cli.commands.models import models, pull, set_up
from tui_llama.cli.commands.serve import serve
from tui_llama.cli.commands.servers import servers
from tui_llama.cli.commands.settings import settings as settings_command
from tui_llama.cli.commands.state import state
from tui_llama.cli.commands.tokenize import tokenize
from tui_llama.cli.errors import ShownError, TellingGroup
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
from tui_llama.cli.servers.choice import refuse_options_of_our_engine, server_model
from tui_llama.errors import ModelFileError, UserError
from tui_llama.servers.address import Server, is_server_address
from tui_llama.system import standard_streams
from tui_llama.system.endings import ENDING_STATUSES, endings_as_exits
from tui_llama.system.terminals import is_plain

if TYPE_CHECKING:
    from tui_llama.engine.protocol import Engine
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
    ask, complete, serve, tokenize, state, bench, cache, pull, models, servers, set_up, doctor, keys, settings_command,
):  # fmt: skip
    command_line.add_command(_command)


def run() -> int:
    """Runs the command line; returns the exit status. `start.main` has prepared the standard streams."""
    try:
        with standard_streams.interruptible():
            status = _status_of_command_line()
    except KeyboardInterrupt:
        status = standard_streams.INTERRUPTED
    try:
        status = standard_streams.finish(status)
    except UserError as error:
        ShownError(error).show()
        status = ShownError.exit_code
    silent = (standard_streams.INTERRUPTED, standard_streams.READER_GONE, *ENDING_STATUSES)
    if status in silent or (status == 0 and "llvmlite" in sys.modules):
        # After an answer there is nothing left to do, and to take the compiler and a model apart is a tenth of it all.
        # A thread that is inside the compiler would disturb the interpreter's farewells, too.
        os._exit(status)
    return status


def _status_of_command_line() -> int:
    try:
        with endings_as_exits():
            command_line.main(prog_name="tui-llama")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


# --- the screen ---------------------------------------------------------------------------------------------


def _open_screen(options: Mapping[str, object]) -> None:
    _require_terminal()
    standard_streams.give_screen_a_terminal()
    settings = settings_from(options)
    persona = chosen_persona(settings)  # a name that is wrong is told before the screen is there
    why_not = ""
    if persona is not None and "persona" in options:
        options = options_with(persona, options)
    elif persona is not None:
        options, why_not = options_with_default(persona, options)
    model = _model_to_begin_with(options, settings)
    # Nothing of what is imported becomes garbage: looking for some would delay the first frame by a tenth, and
    # every later search would go through it again.
    gc.disable()
    from tui_llama.app import ChatApp
    from tui_llama.chats.place import open_chats
    from tui_llama.models.source import ThisMachine
    from tui_llama.settings_place import SettingsPlace
    from tui_llama.system.garbage import search_seldom

    gc.freeze()
    search_seldom()
    gc.enable()
    store, notice = open_chats()
    with store:
        app = ChatApp(
            engine_factory=partial(make_engine, settings.servers),
            store=store,
            settings=settings,
            model_path=model,
            models=ThisMachine(),
            is_incognito=bool(options.get("incognito")),
            notice=notice or why_not,
            settings_place=SettingsPlace(paths.settings_file(), partial(values_from, options)),
        )
        app.run()
    sys.exit(app.ending_status or app.return_code or 0)


def _require_terminal() -> None:
    """Refuses to open the screen where it cannot be drawn.

    Raises:
        click.UsageError: there is no terminal, or one that has no screen.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError(f"The screen needs a terminal. {_WITHOUT_SCREEN}")
    if is_plain(os.environ):
        name = os.environ.get("TERM")
        plain = f'TERM is "{name}"' if name else "TERM is not set"
        raise click.UsageError(f"The screen cannot be drawn on this terminal: {plain}. {_WITHOUT_SCREEN}")


def _model_to_begin_with(options: Mapping[str, object], settings: "Settings") -> str | None:
    """Returns the model that was named; None where the app takes the one used last, or asks."""
    model = server_model(options, settings) or given_model(options)
    if model is not None and is_server_address(model):
        refuse_options_of_our_engine(options)
    elif model is not None and not paths.is_file(Path(model)):
        raise ModelFileError(f"{model}: no such file", "Check the name, or start without -m to pick a model.")
    return model


def make_engine(servers: Iterable[Server]) -> "Engine":
    """Imports the engine when it is first used, which is after the first frame."""
    from tui_llama.engine.routed import RoutedEngine

    return RoutedEngine(_make_local_engine, partial(_make_remote_engine, servers))


def _make_local_engine() -> "Engine":
    """Makes an engine that uses the model of a running `tui-llama serve`, or loads one in a process of its own."""
    from tui_llama.engine.process.attached import AttachingEngine

    return AttachingEngine()


def _make_remote_engine(servers: Iterable[Server]) -> "Engine":
    """Imports what speaks with servers when the first of their models is loaded."""
    from tui_llama.engine.remote.engine import RemoteEngine
    from tui_llama.servers.declared import find_server
    from tui_llama.servers.keys import key_of

    return RemoteEngine(partial(find_server, servers), key_of)
