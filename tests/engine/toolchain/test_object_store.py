"""Machine code: compiled elsewhere, kept, checked, linked and called; whatever goes wrong is said or mended."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.engine.kernels.kernel_bench import address
from tests.patience import HANG_SECONDS
from tui_llama import paths
from tui_llama.engine.generation.top_logits import SAMPLING_KERNELS
from tui_llama.engine.kernels.ir.simd import int64_at
from tui_llama.engine.toolchain import compile_processes, object_store
from tui_llama.engine.toolchain.numba_codegen import machine_code
from tui_llama.engine.toolchain.object_store import Kernel, keep, kernel_sources, link, load_kernels
from tui_llama.errors import EngineError
from tui_llama.files import own_folders

REPOSITORY = Path(__file__).resolve().parents[3]
ENGINE = Path(object_store.__file__).parents[1]
SUMMARISE = SAMPLING_KERNELS[0]
DOUBLED = Kernel("tests", "doubled", "i", returns=True)


def doubled(number: int) -> int:
    """A kernel."""
    return 2 * number


def first_of(array: int, target: int) -> None:
    """Copies a number."""
    int64_at(np.uintp(target))[0] = int64_at(np.uintp(array))[0]


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is kept, and nothing is loaded."""
    monkeypatch.setenv(paths.KERNEL_CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(object_store, "code_folder", object_store.code_folder.__wrapped__)
    monkeypatch.setattr(object_store, "_loaded", {})
    return object_store.code_folder()


@pytest.fixture
def kept(empty_folder: Path) -> Path:
    """The file of a kernel that doubles numbers, which nobody has loaded."""
    keep(DOUBLED, machine_code(doubled, "i", returns=True))
    return empty_folder / "tests.doubled.o"


def compiling(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Has another program run where kernels are compiled."""
    monkeypatch.setattr(compile_processes, "child_command", lambda module: (sys.executable, "-c", program))


# --- code -------------------------------------------------------------------------------------------------------------


def test_a_kernel_takes_and_returns_whole_numbers_and_addresses() -> None:
    _, double = link(machine_code(doubled, "i", returns=True), "i", returns=True)
    assert [double(number) for number in (3, -(2**62), 0)] == [6, -(2**63), 0]
    source, target = np.array([7]), np.array([0])
    assert link(machine_code(first_of, "pp"), "pp")[1](address(source), address(target)) is None
    assert target[0] == 7


def test_what_is_kept_is_loaded_and_not_compiled(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiling(monkeypatch, "raise SystemExit")
    assert DOUBLED.is_kept and DOUBLED(21) == 42
    assert DOUBLED.address > 0
    assert kept.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in kept.parent.iterdir()) == [own_folders.MARK_FILE, kept.name]


def test_the_program_never_imports_the_compiler(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ANSWER, str(tmp_path / "tiny.gguf")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[0] == "3"


_ANSWER = """
import sys
from tests.fakes.tiny_model import make_tiny_model
from tui_llama.chat import SamplingSettings
from tui_llama.engine.local import LocalEngine
from tui_llama.engine.protocol import CompleteRequest, Finished, LoadRequest
path = make_tiny_model(__import__("pathlib").Path(sys.argv[1]), quantization="Q4_K")
before = set(sys.modules)
engine = LocalEngine()
for event in engine.load(LoadRequest(str(path)), lambda: False):
    pass
request = CompleteRequest(1, "one two", SamplingSettings(top_k=5), max_tokens=3, ignore_eos=True)
for event in engine.reply(request, lambda: False):
    if isinstance(event, Finished):
        print(event.usage.generated_tokens)
engine.close()
assert not [name for name in sys.modules if name.partition(".")[0] == "numba"]
"""


def test_every_source_of_a_kernel_is_part_of_the_hash() -> None:
    """Whatever a module of kernels imports of the engine, and what its compiled functions take constants from."""
    script = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(f"tui_llama.engine.{name}")
names = (name.removeprefix("tui_llama.engine.") for name in sys.modules if name.startswith("tui_llama.engine."))
print(*(name.replace(".", "/") + ".py" for name in names))
"""
    hashed = {path.relative_to(ENGINE).as_posix() for path in kernel_sources()}
    kernels = [".".join(path.relative_to(ENGINE).with_suffix("").parts) for path in (ENGINE / "kernels").rglob("*.py")]
    done = subprocess.run([sys.executable, "-c", script, *kernels], capture_output=True, text=True, check=True)
    imported = {name for name in done.stdout.split() if (ENGINE / name).exists()}
    assert hashed >= {"kernels/elementwise.py", "kernels/ir/simd.py", "layouts/plan_row.py"}
    # What only loads code, and how memory is asked for, changes no instruction.
    assert imported - hashed == {"toolchain/object_store.py", "machine/memory.py"}


def test_numba_is_imported_in_the_kernels_and_their_compiler_only() -> None:
    importing = {
        path.relative_to(ENGINE).as_posix()
        for path in ENGINE.rglob("*.py")
        if re.search(
            r"^\s*(from|import) (numba|tui_llama\.engine\.(kernels|toolchain\.numba_codegen))\b",
            path.read_text(encoding="utf-8"),
            re.M,
        )
    }
    outside = {name for name in importing if not name.startswith("kernels/")}
    assert outside == {"toolchain/numba_codegen.py", "toolchain/compile_processes.py"}


# --- the folder -------------------------------------------------------------------------------------------------------

A_VERSION = "0123456789abcdef"


def age(folder: Path) -> Path:
    """A folder that nobody has changed for long."""
    os.utime(folder, (1, 1))
    return folder


def looked_at_again(empty_folder: Path) -> list[str]:
    """What lies beside the folder of this version once that was looked for again."""
    object_store.code_folder()
    return sorted(path.name for path in empty_folder.parent.iterdir() if path != empty_folder)


def test_folders_of_other_versions_go_when_they_were_not_used_for_long(kept: Path) -> None:
    fresh, old, unmarked = (kept.parent.with_name(digit * 16) for digit in "abc")
    for folder in (fresh, old, unmarked):
        if folder is unmarked:
            folder.mkdir()
        else:
            own_folders.make_marked_folder(folder)
        (folder / kept.name).write_bytes(kept.read_bytes())
    (old / f".{kept.name}.{A_VERSION}.part").write_bytes(b"half of ")
    age(old), age(unmarked)
    assert looked_at_again(kept.parent) == [fresh.name]


def test_what_is_not_ours_stays_where_the_user_lets_kernels_be_kept(empty_folder: Path, tmp_path: Path) -> None:
    theirs, named_alike = empty_folder.with_name("theirs"), empty_folder.with_name(A_VERSION)
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    for folder in (theirs, named_alike, elsewhere):
        folder.mkdir()
        (folder / "letter.txt").write_text("mine")
        (folder / "tests.doubled.o").write_bytes(b"an object of another program")
        age(folder)
    empty_folder.with_name("f" * 16).symlink_to(elsewhere)
    assert looked_at_again(empty_folder) == [A_VERSION, "f" * 16, "theirs"]
    assert all(len(list(folder.iterdir())) == 2 for folder in (theirs, named_alike, elsewhere))


@pytest.mark.parametrize("obstacle", ["file", "link to nowhere", "no folder", "link to a folder", "full disk"])
def test_without_a_place_for_it_code_is_in_memory_alone(
    obstacle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "kernels"
    monkeypatch.setenv(paths.KERNEL_CACHE_VARIABLE, "/proc/kernels" if obstacle == "no folder" else str(place))
    if obstacle == "file":
        place.write_text("mine")
    elif obstacle == "link to nowhere":
        place.symlink_to(tmp_path / "nowhere" / "kernels")
    elif obstacle == "link to a folder":
        place.mkdir()
        (place / object_store.sources_hash()).symlink_to(tmp_path)
    else:
        compiling(monkeypatch, _FULL)
    monkeypatch.setattr(object_store, "code_folder", object_store.code_folder.__wrapped__)
    monkeypatch.setattr(object_store, "_loaded", {})
    object_store.take_notices()
    load_kernels(SAMPLING_KERNELS)
    logits, highest = np.arange(64, dtype=np.float32), np.zeros(1, np.float32)
    SUMMARISE(address(logits), 64, address(highest))
    assert highest[0] == 63
    (notice,) = object_store.take_notices()
    assert notice.startswith("Compiled kernels cannot be kept in ")
    assert not list(tmp_path.rglob("*.o")) and not list(tmp_path.rglob("*.part"))


_FULL = """
import errno, os
from tui_llama.engine.toolchain import compile_processes
class Full:
    def __init__(self, descriptor, mode):
        self.descriptor = descriptor
    def __enter__(self):
        return self
    def __exit__(self, *_):
        os.close(self.descriptor)
    def write(self, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
fdopen = os.fdopen
os.fdopen = lambda descriptor, mode: Full(descriptor, mode) if mode == "wb" else fdopen(descriptor, mode)
compile_processes.main([])
"""


def test_what_is_kept_is_used_where_nothing_more_can_be_kept(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(own_folders, "make_marked_folder", refuse)
    compiling(monkeypatch, "raise SystemExit")
    assert DOUBLED(21) == 42
    with pytest.raises(OSError, match="Read-only"):
        keep(DOUBLED, b"code")


# --- compiled by other processes --------------------------------------------------------------------------------------


def test_what_nobody_has_compiled_is_compiled_with_reports(empty_folder: Path) -> None:
    reports: list[tuple[int, int]] = []
    load_kernels(SAMPLING_KERNELS, lambda done, total: reports.append((done, total)))
    assert reports[0] == (0, 2) and reports[-1] == (2, 2)
    assert len(list(empty_folder.glob("*.o"))) == 2
    assert object_store.take_notices() == ()
    logits, highest = np.arange(64, dtype=np.float32), np.zeros(1, np.float32)
    SUMMARISE(address(logits), 64, address(highest))
    assert highest[0] == 63


@pytest.mark.parametrize("damage", [b"", b"short", bytes(500)], ids=["empty", "short", "zeros"])
def test_a_damaged_file_is_compiled_again(empty_folder: Path, damage: bytes) -> None:
    load_kernels([SUMMARISE])
    (path,) = empty_folder.glob("*.o")
    sound = path.read_bytes()
    path.write_bytes(damage)
    object_store._loaded.clear()
    load_kernels([SUMMARISE])
    assert len(path.read_bytes()) == len(sound)


def test_a_function_that_cannot_be_compiled_is_an_error_with_its_cause() -> None:
    with pytest.raises(EngineError, match=r"top_logits\.nothing could not be compiled: AttributeError"):
        load_kernels([Kernel("top_logits", "nothing", "i")])


def test_a_compiler_that_ends_is_an_error(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiling(monkeypatch, "import sys; sys.stdin.readline()")
    with pytest.raises(EngineError, match="the compiler ended"):
        load_kernels(SAMPLING_KERNELS)


def test_a_compiler_that_cannot_keep_its_code_is_an_error(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiling(monkeypatch, "import sys\nfor line in sys.stdin: print('done', flush=True)")
    with pytest.raises(EngineError, match="could not be kept"):
        load_kernels([SUMMARISE])


def test_compilers_end_with_a_load_that_is_stopped(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[str]] = []
    start = compile_processes._start

    def noted() -> subprocess.Popen[str]:
        started.append(start())
        return started[-1]

    def stop(done: int, total: int) -> None:
        if started:
            raise StopAsyncIteration

    compiling(monkeypatch, "import signal; signal.pause()")
    monkeypatch.setattr(compile_processes, "_start", noted)
    with pytest.raises(StopAsyncIteration):
        load_kernels([SUMMARISE], stop)
    assert [process.returncode for process in started] == [-9]


def test_a_compiler_ends_when_the_program_is_gone(empty_folder: Path) -> None:
    process = compile_processes._start()
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(HANG_SECONDS) == 0
    process.stdin = None
    process.communicate()
