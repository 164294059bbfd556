"""What a module pulls in, seen in a fresh process: the screen stays light, the engine knows no screen.

The import contracts check what is written; this checks what happens, third-party packages' own imports included.
"""

import json
import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.fakes.stored_prompts import cache_on, store
from tui_llama import engine, paths

COMPILER = {"numba", "llvmlite"}
ENGINE_PACKAGES = COMPILER | {"numpy", "gguf", "sentencepiece", "tokenizers", "jinja2"}
SCREEN_PACKAGES = {"textual", "rich"}
SERVER_PACKAGES = {"httpx2", "keyring"}
"""What speaks with servers, and keeps their keys."""
CHILD_SUFFIX = "_process"
"""The end of the names of modules that only child processes run."""

ROOT = Path(__file__).parents[1]
REPORT = "\nimport json, sys\nsys.stderr.write(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


def packages_after(statements: str) -> set[str]:
    """The top-level packages that a fresh process has loaded after the statements."""
    run = subprocess.run(
        [sys.executable, "-c", statements + REPORT], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded: list[str] = json.loads(run.stderr)
    return set(loaded)


def modules_of(room: str) -> list[str]:
    """The modules of a folder of the program, or the one module; not those that child processes run."""
    name = f"tui_llama.{room}"
    module = import_module(name)
    inner = pkgutil.walk_packages(module.__path__, f"{name}.") if hasattr(module, "__path__") else ()
    return [name, *(each.name for each in inner if not each.name.endswith(CHILD_SUFFIX))]


def importing(*rooms: str) -> str:
    """The statements that import whole rooms."""
    return "\n".join(f"import {module}" for room in rooms for module in modules_of(room))


@pytest.mark.parametrize(
    "rooms",
    [
        # All of the process that draws together, and what it needs, each alone.
        ("app", "controllers", "screens", "widgets", "terminal", "turn", "chats", "conversation", "models", "settings"),
        ("chats",),
        ("controllers",),
        ("engine.protocol",),
        ("engine.process",),
        ("engine.scripted",),
        ("models",),
        ("screens",),
        ("turn",),
        ("widgets",),
    ],
    ids="-".join,
)
def test_whatever_runs_beside_the_screen_loads_nothing_of_the_engines(rooms: tuple[str, ...]) -> None:
    assert not packages_after(importing(*rooms)) & ENGINE_PACKAGES


def test_a_whole_chat_loads_nothing_of_the_engines_into_the_process_that_draws(home_folder: Path) -> None:
    """Opened, asked, answered, looked at, and closed; what is stored of a chat that is gone is removed meanwhile."""
    store(cache_on(paths.prompt_cache_folder()), range(100), bytes(15) + b"x")

    loaded = packages_after(_CHAT)

    assert loaded >= {"textual", "sqlite3", "tui_llama"}
    assert not loaded & ENGINE_PACKAGES
    assert not list(paths.prompt_cache_folder().rglob("*.tlk"))


_CHAT = """
import asyncio
from tests.fakes.chat_app import opened, spoken
async def chat():
    async with opened(replies=[spoken("**one**", " `two`")]) as driver:
        await driver.ask("first")
        await driver.pilot.press("f1")
        await driver.pilot.press("escape")
        await driver.pilot.press("ctrl+n")
        await driver.at_rest()
asyncio.run(chat())
"""


def test_no_part_of_the_engine_loads_the_screen() -> None:
    names = [each.name for each in pkgutil.walk_packages(engine.__path__, f"{engine.__name__}.")]

    loaded = packages_after("\n".join(f"import {name}" for name in names))

    assert loaded >= COMPILER
    assert not loaded & {"textual"}


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--help"], ["--version"], ["state", "import", "--help"], ["state", "export", "--help"]),
        *(
            [name, "--help"]
            for name in ("ask", "complete", "serve", "tokenize", "bench", "state", "settings", "doctor")
        ),
        *([name, "--help"] for name in ("pull", "models", "set-up")),
        *(["models", name, "--help"] for name in ("list", "show", "remove")),
        *(["servers", *name, "--help"] for name in ((), ("list",), ("add",), ("remove",), ("check",))),
    ],
)
def test_asking_for_help_loads_nothing_heavy(arguments: list[str]) -> None:
    statements = (
        "import sys\nfrom tui_llama.start import main\n"
        f"sys.argv = ['tui-llama', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
    )

    assert not packages_after(statements) & (
        ENGINE_PACKAGES | SCREEN_PACKAGES | SERVER_PACKAGES | {"asyncio", "sqlite3"}
    )


@pytest.mark.parametrize(
    "room", ["chats", "settings", "text_safety", "conversation", "chat", "errors", "paths", "files", "system", "models"]
)
def test_what_has_nothing_to_draw_does_not_load_the_screen(room: str) -> None:
    assert not packages_after(importing(room)) & SCREEN_PACKAGES


def test_settings_with_servers_and_the_engine_of_the_screen_load_nothing_that_speaks_with_servers() -> None:
    file = paths.settings_file()
    file.parent.mkdir(parents=True)
    file.write_text('[servers.home]\nurl = "http://127.0.0.1:8080"\nkey_in_keyring = true\n')
    statements = (
        "from tui_llama.cli import screen\nfrom tui_llama.cli.command_settings import settings_from\n"
        "settings = settings_from({})\nassert settings.servers\nscreen.make_engine(settings.servers)\n"
        "screen._make_local_engine()\n"
    )

    assert not packages_after(statements) & (SERVER_PACKAGES | ENGINE_PACKAGES)


def test_the_screen_opens_without_the_command_line() -> None:
    assert not packages_after("import tui_llama.cli.bare_start") & {"click", *SCREEN_PACKAGES}
