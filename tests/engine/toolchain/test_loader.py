"""Code in this process: loaded, linked and called, compiled first where need be; what goes wrong is said or mended."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.engine.kernels.kernel_bench import address
from tests.engine.toolchain.doubling import DOUBLED, compile_with, doubled
from tui_llama import paths
from tui_llama.engine import ops
from tui_llama.engine.kernels.ir.simd import int64_at
from tui_llama.engine.toolchain import loader, object_store
from tui_llama.engine.toolchain.loader import linked, load_kernels, take_notices
from tui_llama.engine.toolchain.numba_codegen import machine_code
from tui_llama.files import own_folders

REPOSITORY = Path(__file__).resolve().parents[3]


def first_of(array: int, target: int) -> None:
    """Copies a number."""
    int64_at(np.uintp(target))[0] = int64_at(np.uintp(array))[0]


# --- code -------------------------------------------------------------------------------------------------------------


def test_a_kernel_takes_and_returns_whole_numbers_and_addresses() -> None:
    double = linked(machine_code(doubled, "i", returns=True), "i", returns=True)
    assert [double.call(number) for number in (3, -(2**62), 0)] == [6, -(2**63), 0]
    source, target = np.array([7]), np.array([0])
    assert linked(machine_code(first_of, "pp"), "pp").call(address(source), address(target)) is None
    assert target[0] == 7


def test_what_is_kept_is_loaded_and_not_compiled(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_with(monkeypatch, "raise SystemExit")
    assert DOUBLED.is_ready and DOUBLED(21) == 42
    assert DOUBLED.address > 0


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
from tui_llama.sampling.settings import SamplingSettings
from tui_llama.engine.local import LocalEngine
from tui_llama.engine.events import Finished
from tui_llama.engine.requests import CompleteRequest, LoadRequest
path = make_tiny_model(__import__("pathlib").Path(sys.argv[1]), quantization="Q4_K")
before = set(sys.modules)
engine = LocalEngine()
engine.load(LoadRequest(str(path)), lambda: False)
request = CompleteRequest(1, "one two", SamplingSettings(top_k=5), max_tokens=3, ignore_eos=True)
for event in engine.reply(request, lambda: False):
    if isinstance(event, Finished):
        print(event.usage.generated_tokens)
engine.close()
assert not [name for name in sys.modules if name.partition(".")[0] == "numba"]
"""


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
        compile_with(monkeypatch, _FULL)
    monkeypatch.setattr(object_store, "code_folder", object_store.code_folder.__wrapped__)
    monkeypatch.setattr(loader, "_loaded", {})
    take_notices()
    load_kernels(ops.SAMPLING)
    logits, highest = np.arange(64, dtype=np.float32), np.zeros(1, np.float32)
    ops.SUMMARISE_LOGITS(address(logits), 64, address(highest))
    assert highest[0] == 63
    (notice,) = take_notices()
    assert notice.startswith("Compiled kernels cannot be saved in ")
    assert not list(tmp_path.rglob("*.o")) and not list(tmp_path.rglob("*.part"))


_FULL = """
import errno, os
from tui_llama.engine.toolchain import compiler_process
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
compiler_process.main([])
"""


def test_what_is_kept_is_used_where_nothing_more_can_be_kept(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(own_folders, "make_marked_folder", refuse)
    compile_with(monkeypatch, "raise SystemExit")
    assert DOUBLED(21) == 42


# --- compiled by other processes --------------------------------------------------------------------------------------


def test_what_nobody_has_compiled_is_compiled_with_reports(empty_folder: Path) -> None:
    reports: list[tuple[int, int]] = []
    load_kernels(ops.SAMPLING, lambda done, total: reports.append((done, total)))
    assert reports[0] == (0, 2) and reports[-1] == (2, 2)
    assert len(list(empty_folder.glob("*.o"))) == 2
    assert take_notices() == ()
    logits, highest = np.arange(64, dtype=np.float32), np.zeros(1, np.float32)
    ops.SUMMARISE_LOGITS(address(logits), 64, address(highest))
    assert highest[0] == 63


@pytest.mark.parametrize("damage", [b"", b"short", bytes(500)], ids=["empty", "short", "zeros"])
def test_a_damaged_file_is_compiled_again(empty_folder: Path, damage: bytes) -> None:
    load_kernels([ops.SUMMARISE_LOGITS])
    (path,) = empty_folder.glob("*.o")
    sound = path.read_bytes()
    path.write_bytes(damage)
    loader._loaded.clear()
    load_kernels([ops.SUMMARISE_LOGITS])
    assert len(path.read_bytes()) == len(sound)
