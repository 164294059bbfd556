"""What every test gets: a home of its own, one cache of compiled kernels, the way to llama.cpp's files."""

import os
from pathlib import Path

import hypothesis
import pytest

from tui_llama import paths

# Named before any test replaces the home and before anything compiles: kernels take long to compile, and a
# folder that outlives the test (and the run) lets them be compiled once.
os.environ.setdefault(paths.KERNEL_CACHE_VARIABLE, str(paths.kernel_cache_folder()))

# A shared machine is slow at times, which is no failure of the code.
hypothesis.settings.register_profile("suite", deadline=None, print_blob=True)
hypothesis.settings.load_profile("suite")


@pytest.fixture(autouse=True)
def home_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home for this test alone, so that no test sees or touches the user's chats and settings."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv(paths.HOME_VARIABLE, str(home))
    return home


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """llama.cpp's files, for tests marked `shared`: TUI_LLAMA_SHARED, else `shared` beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("TUI_LLAMA_SHARED") or beside)
    if not folder.is_dir():
        pytest.skip(f"needs llama.cpp's files, which are not part of this repository, in {folder} (TUI_LLAMA_SHARED)")
    return folder
