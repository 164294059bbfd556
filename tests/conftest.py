"""The fixtures of all tests: homes, one cache of compiled kernels, and files from outside the repository."""

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import hypothesis
import pytest

from tests.every_kernel import every_kernel
from tests.fakes.clock import Clock
from tests.parsed_styles import share_parsed_styles
from tests.patience import let_pilots_wait
from tests.scale import scaled
from tui_llama import paths
from tui_llama.bench.machine_limits import HAS_TILE_MULTIPLIER
from tui_llama.chats.store import Store
from tui_llama.engine import ops
from tui_llama.engine.toolchain.compile_processes import compile_in_processes
from tui_llama.errors import EngineError
from tui_llama.models.downloads import DownloadError
from tui_llama.models.starter.fetch import fetch_starter, has_starter, starter_path

STARTER_VARIABLE = "TUI_LLAMA_STARTER"

# Set before any test replaces the home and before anything compiles. Kernels take long to compile. In a folder that
# outlives the test and the run they are compiled only once.
os.environ.setdefault(paths.KERNEL_CACHE_VARIABLE, str(paths.kernel_cache_folder()))

# Also set before any test replaces the home: the user's own starter, and a lasting home for a starter of the tests.
OWN_STARTER = starter_path() if has_starter() else None
HOME_OF_STARTER = paths.cache_folder() / "tests"

_HOMES = count()

let_pilots_wait()
share_parsed_styles()

# A shared machine is sometimes slow, which is not a failure of the code.
hypothesis.settings.register_profile(
    "suite",
    max_examples=scaled(40, 400),
    deadline=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("suite")


# Programs that the tests start inherit what is ignored: nohup ignores hang-ups, a script's background job interrupts.
for _number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(autouse=True)
def home_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Gives each test an empty home, so that no test sees or touches the user's chats and settings."""
    # Numbered here, because the factory would look at all existing folders each time, of which there are thousands.
    home = tmp_path_factory.mktemp(f"home{next(_HOMES)}", numbered=False)
    monkeypatch.setenv(paths.HOME_VARIABLE, str(home))
    return home


@pytest.fixture
def store() -> Iterator[Store]:
    """Opens the store in the home of the test, which has no chats yet."""
    with Store(paths.database_file()) as opened_store:
        yield opened_store


@pytest.fixture(scope="session", autouse=True)
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Compiles all kernels before one of several test processes needs one; the others wait.

    Else every new model would start compilers of its own, and to start one takes as long as to compile a kernel.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        with _one_at_a_time(tmp_path_factory.getbasetemp().parent):
            usable = [kernel for kernel in every_kernel() if HAS_TILE_MULTIPLIER or kernel != ops.MULTIPLY_PASS_TILES]
            absent = [kernel for kernel in usable if not kernel.is_kept]
            with suppress(EngineError):  # of a single kernel, whose own tests will tell
                if absent:
                    compile_in_processes(absent, lambda done: None)


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """Returns the folder of llama.cpp's files, for tests marked `shared`.

    The folder is TUI_LLAMA_SHARED, else `shared` beside the checkout.
    """
    folder = find_shared_folder()
    if folder is None:
        pytest.skip("needs llama.cpp's files, which are not part of this repository (TUI_LLAMA_SHARED)")
    return folder


def find_shared_folder() -> Path | None:
    """Returns the folder of llama.cpp's files, or None where there is none."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("TUI_LLAMA_SHARED") or beside)
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def starter_model() -> Path:
    """Returns the starter, for tests marked `starter`.

    The starter is TUI_LLAMA_STARTER, else the user's own, else one that is fetched for the tests.
    """
    named = os.environ.get(STARTER_VARIABLE)
    if named and not Path(named).is_file():
        pytest.fail(f"{STARTER_VARIABLE}: there is no file {named}")
    return Path(named).resolve() if named else OWN_STARTER or _starter_for_tests(HOME_OF_STARTER)


def _starter_for_tests(home: Path) -> Path:
    """Returns the starter in the models folder of a home. The first test run fetches it, and the others wait."""
    try:
        with pytest.MonkeyPatch.context() as patch, _one_at_a_time(paths.make_private_folder(home)):
            patch.setenv(paths.HOME_VARIABLE, str(home))
            return Path(fetch_starter(lambda progress: None).path)
    except DownloadError as error:
        pytest.skip(f"{error}. {error.hint} Or name a file that is here: {STARTER_VARIABLE}")


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """Gives a clock whose time and zone the test sets."""
    with monkeypatch.context() as patch:
        yield Clock(patch)
    time.tzset()
