"""Opens the screen. Nothing here imports the command line, which takes longer than all that is imported here."""

import gc
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from tui_llama import paths
from tui_llama.cli.command_settings import values_from
from tui_llama.system.terminals import is_plain

if TYPE_CHECKING:
    from tui_llama.engine.protocol import Engine
    from tui_llama.servers.address import Server
    from tui_llama.settings import Settings


def why_no_screen(environment: Mapping[str, str]) -> str:
    """Says why the screen cannot be drawn here; empty if it can."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return "The screen needs a terminal."
    if is_plain(environment):
        name = environment.get("TERM")
        plain = f'TERM is "{name}"' if name else "TERM is not set"
        return f"The screen cannot be drawn on this terminal: {plain}."
    return ""


def open_screen(
    options: Mapping[str, object], settings: "Settings", model: str | None = None, notice: str = ""
) -> NoReturn:
    """Opens the screen, and ends the program when the user leaves it.

    Args:
        options: What the command line says, by the names of settings.
        settings: The settings, with what the command line says.
        model: A path, or the address of a model of a server; None where the app takes the one used last, or asks.
        notice: A line that the screen shows first.

    Raises:
        UserError: the chats cannot be opened.
        SystemExit: the user has left the screen.
    """
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
    store, trouble = open_chats()
    with store:
        app = ChatApp(
            engine_factory=partial(make_engine, settings.servers),
            store=store,
            settings=settings,
            model_path=model,
            models=ThisMachine(),
            is_incognito=bool(options.get("incognito")),
            notice=trouble or notice,
            settings_place=SettingsPlace(paths.settings_file(), partial(values_from, options)),
        )
        app.run()
    sys.exit(app.ending_status or app.return_code or 0)


def make_engine(servers: "Iterable[Server]") -> "Engine":
    """Imports the engine when it is first used, which is after the first frame."""
    from tui_llama.engine.routed import RoutedEngine

    return RoutedEngine(_make_local_engine, partial(_make_remote_engine, servers))


def _make_local_engine() -> "Engine":
    """Makes an engine that uses the model of a running `tui-llama serve`, or loads one in a process of its own."""
    from tui_llama.engine.process.attached import AttachingEngine

    return AttachingEngine()


def _make_remote_engine(servers: "Iterable[Server]") -> "Engine":
    """Imports what speaks with servers when the first of their models is loaded."""
    from tui_llama.engine.remote.engine import RemoteEngine
    from tui_llama.servers.declared import find_server
    from tui_llama.servers.keys import key_of

    return RemoteEngine(partial(find_server, servers), key_of)
