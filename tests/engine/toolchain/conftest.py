"""An empty place for compiled kernels, or one with a single kernel in it."""

from pathlib import Path

import pytest

from tests.engine.toolchain.doubling import DOUBLED, doubled
from tui_llama import paths
from tui_llama.engine.toolchain import loader, object_store
from tui_llama.engine.toolchain.numba_codegen import machine_code
from tui_llama.engine.toolchain.object_store import keep


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a folder in which no code is kept; no code is loaded, either."""
    monkeypatch.setenv(paths.KERNEL_CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(object_store, "code_folder", object_store.code_folder.__wrapped__)
    monkeypatch.setattr(loader, "_loaded", {})
    return object_store.code_folder()


@pytest.fixture
def kept(empty_folder: Path) -> Path:
    """Returns the file of a kernel that doubles numbers, which nobody has loaded."""
    keep(DOUBLED, machine_code(doubled, "i", returns=True))
    return empty_folder / "tests.doubled.o"
