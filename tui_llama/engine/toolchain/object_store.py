"""The machine code of kernels: where it is kept, how it is loaded, and how a kernel is called. Nothing here compiles.

To import the compiler takes longer than to load a model, and it stays in memory. So the program never does: what was
not compiled yet is compiled by processes of its own (kernel_compiler.py) and kept as object files, which are linked
into this process.

The folder is named by a hash of every kernel source, the versions of Numba and llvmlite, and the processor: stale code
cannot run. A file is a checksum and an object; one that is damaged is compiled again. Where nothing can be kept, the
code is in memory alone, and compiled again by the next program.
"""

import ctypes
import hashlib
import importlib.util
import os
import platform
import re
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import llvmlite
import llvmlite.binding as llvm

from tui_llama import paths
from tui_llama.engine.machine import instruction_sets
from tui_llama.errors import EngineError
from tui_llama.files import own_folders
from tui_llama.files.own_files import replace_own_file

_ENGINE: Final = Path(__file__).resolve().parents[1]
_SOURCES: Final = ("kernels", "layouts", "machine/instruction_sets.py", "toolchain/numba_codegen.py")
"""All that machine code depends on: the kernels, the sizes and formats for them, and how they are compiled."""

ENTRY_NAME: Final = "tui_llama_kernel"
"""What the function is called in every object."""

PLAN_ARGUMENTS: Final = "ppiip"
"""What a kernel of a plan takes: row, batch, first and last unit, scratch."""

_CHECKSUM_BYTES: Final = 16
_UNUSED_CACHE_SECONDS: Final = 30 * 24 * 3600
_FOLDER_NAME: Final = re.compile(r"[0-9a-f]{16}")
_OBJECT_NAME: Final = re.compile(r"\w[\w.]*\.\w+\.o")
_PART_NAME: Final = re.compile(r"\.\w[\w.]*\.\w+\.o\.[0-9a-f]{16}\.part")


@dataclass(frozen=True, slots=True)
class Kernel:
    """A compiled function.

    Args:
        module: The module of `tui_llama.engine.kernels` that has it.
        name: Its name there.
        arguments: A letter for each argument: "p" for an address, "i" for a whole number, all of 64 bits.
        returns: Whether it returns a whole number, or nothing.
    """

    module: str
    name: str
    arguments: str
    returns: bool = False

    @property
    def address(self) -> int:
        """Where its code is in this process, for as long as that lives; loaded if it was not yet.

        Raises:
            EngineError: it cannot be compiled.
        """
        return _code_of(self).address

    @property
    def is_kept(self) -> bool:
        """Whether it was compiled before, in this program or another."""
        return self in _loaded or paths.is_there(_path_of(self))

    def __call__(self, *arguments: int) -> Any:
        """Runs it, without the interpreter's lock."""
        return _code_of(self).call(*arguments)


@dataclass(frozen=True, slots=True)
class _Code:
    """A kernel in this process; the engine owns the memory."""

    address: int
    call: Callable[..., Any]
    engine: Any


_loaded: dict[Kernel, _Code] = {}
_loading = threading.Lock()
_troubles: list[str] = []


def load_kernels(kernels: Iterable[Kernel], on_progress: Callable[[int, int], None] = lambda done, total: None) -> None:
    """Loads kernels, and has those compiled that nobody has compiled yet.

    Args:
        kernels: Those that are loaded already cost nothing.
        on_progress: Called with kernels done and kernels in all; may raise to stop.

    Raises:
        EngineError: one cannot be compiled.
    """
    wanted = list(dict.fromkeys(kernels))
    with _loading:
        kept = {kernel: _read(kernel) for kernel in wanted if kernel not in _loaded}
        absent = [kernel for kernel, code in kept.items() if code is None]
        done = len(wanted) - len(absent)
        on_progress(done, len(wanted))
        if absent:
            from tui_llama.engine.toolchain.compile_processes import compile_in_processes

            unkept = compile_in_processes(absent, lambda more: on_progress(done + more, len(wanted)))
            kept |= {kernel: unkept.code.get(kernel) or _read(kernel) for kernel in absent}
            if unkept.code:
                _troubles.append(unkept.cause)
        for kernel, code in kept.items():
            if code is None:
                raise EngineError(f"{kernel.module}.{kernel.name} was compiled, but could not be kept")
            _loaded[kernel] = _linked(code, kernel.arguments, kernel.returns)
    on_progress(len(wanted), len(wanted))


def take_notices() -> tuple[str, ...]:
    """What the user should know of keeping code, once."""
    causes, _troubles[:] = dict.fromkeys(_troubles), []
    return tuple(
        f"Compiled kernels cannot be kept in {paths.kernel_cache_folder()} ({cause}), "
        "so every start compiles them again, which takes a while."
        for cause in causes
    )


def keep(kernel: Kernel, code: bytes) -> None:
    """Puts an object where `load_kernels` finds it.

    Raises:
        OSError: as the system says.
    """
    path = _path_of(kernel)
    own_folders.make_marked_folder(path.parent)
    replace_own_file(path, _checksum(code) + code)


def link(code: bytes, arguments: str, *, returns: bool = False) -> tuple[int, Callable[..., Any]]:
    """Links an object into this process, for its whole life; returns the function's address and a way to call it."""
    linked = _linked(code, arguments, returns)
    _linked_alone.append(linked)
    return linked.address, linked.call


_linked_alone: list[_Code] = []


def kernel_sources() -> list[Path]:
    """The files that machine code depends on, in an order that is the same everywhere."""
    found = (
        path for name in _SOURCES for path in ((_ENGINE / name).rglob("*.py") if "." not in name else [_ENGINE / name])
    )
    return sorted(found, key=lambda path: path.relative_to(_ENGINE).as_posix())


@cache
def sources_hash() -> str:
    """Sixteen hexadecimal digits that change with any kernel source, the compiler or the processor."""
    digest = hashlib.blake2b(digest_size=8)
    for source in kernel_sources():
        digest.update(source.relative_to(_ENGINE).as_posix().encode())
        digest.update(source.read_bytes())
    features = ",".join(sorted(name for name, on in llvm.get_host_cpu_features().items() if on))
    digest.update(_version_of_numba())
    for text in (
        llvmlite.__version__,
        platform.machine(),
        llvm.get_host_cpu_name(),
        features,
        instruction_sets.INSTRUCTION_SET,
    ):
        digest.update(text.encode())
    return digest.hexdigest()


@cache
def code_folder() -> Path:
    """Where the objects are, or would be: where it cannot be made, nothing can be kept. Removes what is long unused."""
    parent = paths.kernel_cache_folder()
    folder = parent / sources_hash()
    with suppress(OSError):  # `keep` says so, if there is anything to be kept
        own_folders.make_marked_folder(folder)
        os.utime(folder)
        oldest = time.time() - _UNUSED_CACHE_SECONDS
        # The user may have chosen the folder that they lie in, so there may be anything beside them.
        for other in parent.iterdir():
            if _FOLDER_NAME.fullmatch(other.name):
                own_folders.remove_unused_folder(other, _is_own_name, _is_object, oldest)
    return folder


def _is_own_name(name: str) -> bool:
    """Whether a file in a marked folder was put there by `keep`."""
    return bool(_OBJECT_NAME.fullmatch(name) or _PART_NAME.fullmatch(name))


def _is_object(content: bytes) -> bool:
    """Whether `keep` has written a content: folders had no mark at first."""
    return _sound_code(content) is not None


def _version_of_numba() -> bytes:
    """What it says of its version, in its own words: the package is not imported, and metadata take long to read."""
    found = importlib.util.find_spec("numba")
    if found is None or found.origin is None:
        raise EngineError("Numba is not installed", "Install the program again, with its packages.")
    return Path(found.origin).with_name("_version.py").read_bytes()


def _code_of(kernel: Kernel) -> _Code:
    if kernel not in _loaded:
        load_kernels([kernel])
    return _loaded[kernel]


def _path_of(kernel: Kernel) -> Path:
    return code_folder() / f"{kernel.module}.{kernel.name}.o"


def _read(kernel: Kernel) -> bytes | None:
    """The object of a kernel; None where there is none, or one that is damaged."""
    try:
        return _sound_code(_path_of(kernel).read_bytes())
    except OSError:
        return None


def _sound_code(content: bytes) -> bytes | None:
    """The object in a file that `keep` has written; None where it is none, or damaged."""
    checksum, code = content[:_CHECKSUM_BYTES], content[_CHECKSUM_BYTES:]
    return code if checksum == _checksum(code) else None


def _checksum(code: bytes) -> bytes:
    return hashlib.blake2b(code, digest_size=_CHECKSUM_BYTES).digest()


def _linked(code: bytes, arguments: str, returns: bool) -> _Code:
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target_machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    address = engine.get_function_address(ENTRY_NAME)
    result = ctypes.c_int64 if returns else None
    call = ctypes.CFUNCTYPE(result, *[ctypes.c_int64] * len(arguments))(address)
    return _Code(address, call, engine)


def _target_machine() -> Any:
    _initialize()
    return llvm.Target.from_default_triple().create_target_machine(jit=True)


@cache
def _initialize() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
