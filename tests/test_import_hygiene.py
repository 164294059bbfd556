"""What a module pulls in, seen in a fresh process: the screen stays light, the engine knows no screen.

The import contracts check what is written; this checks what happens, third-party packages' own imports included.
"""

import json
import pkgutil
import subprocess
import sys

import pytest

import tui_llama
from tui_llama import engine

COMPILER = {"numba", "llvmlite"}
ENGINE_PACKAGES = COMPILER | {"numpy", "gguf", "sentencepiece", "tokenizers", "jinja2"}
SCREEN_PACKAGES = {"textual", "rich"}

REPORT = "\nimport json, sys\nsys.stderr.write(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


def packages_after(statements: str) -> set[str]:
    """The top-level packages that a fresh process has loaded after the statements."""
    run = subprocess.run([sys.executable, "-c", statements + REPORT], capture_output=True, text=True, check=True)
    loaded: list[str] = json.loads(run.stderr)
    return set(loaded)


def modules_of(package_path: list[str], prefix: str) -> list[str]:
    return [module.name for module in pkgutil.walk_packages(package_path, prefix)]


@pytest.mark.parametrize(
    "module",
    [
        *("app", "chats.store", "settings", "conversation", "text_safety", "chosen_sampling", "controllers.models"),
        *(f"models.{name}" for name in ("library", "catalogue", "names", "described", "machine", "source", "record")),
        *("models.inspection", "models.pull", "models.starter", "models.hub"),
        *("engine", "engine.protocol", "engine.process.worker", "engine.scripted"),
    ],
)
def test_whatever_runs_beside_the_screen_loads_nothing_of_the_engines(module: str) -> None:
    assert not packages_after(f"import tui_llama.{module}") & ENGINE_PACKAGES


@pytest.mark.parametrize("package", ["screens", "widgets"])
def test_no_screen_and_no_widget_loads_anything_of_the_engines(package: str) -> None:
    names = [name for name in modules_of(tui_llama.__path__, "tui_llama.") if name.startswith(f"tui_llama.{package}.")]

    assert names
    assert not packages_after("\n".join(f"import {name}" for name in names)) & ENGINE_PACKAGES


def test_no_part_of_the_engine_loads_the_screen() -> None:
    names = modules_of(engine.__path__, "tui_llama.engine.")

    loaded = packages_after("\n".join(f"import {name}" for name in names))

    assert loaded >= COMPILER
    assert not loaded & {"textual"}


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--help"], ["--version"], ["state", "import", "--help"], ["state", "export", "--help"]),
        *([name, "--help"] for name in ("ask", "complete", "tokenize", "bench", "state", "settings", "doctor")),
        *([name, "--help"] for name in ("pull", "models", "set-up")),
        *(["models", name, "--help"] for name in ("list", "show", "remove")),
    ],
)
def test_asking_for_help_loads_nothing_heavy(arguments: list[str]) -> None:
    statements = (
        "import sys\nfrom tui_llama.start import main\n"
        f"sys.argv = ['tui-llama', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
    )

    assert not packages_after(statements) & (ENGINE_PACKAGES | SCREEN_PACKAGES | {"asyncio", "sqlite3"})


@pytest.mark.parametrize(
    "module", ["chats.store", "settings", "text_safety", "conversation", "chat", "errors", "paths", "models.hub"]
)
def test_what_has_nothing_to_draw_does_not_load_the_screen(module: str) -> None:
    assert not packages_after(f"import tui_llama.{module}") & SCREEN_PACKAGES
