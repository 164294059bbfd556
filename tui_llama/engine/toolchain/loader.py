"""Brings kernels into this process: reads their objects, has missing ones compiled, links and calls them.

To import the compiler takes longer than to load a model, and it stays in memory. So the program never does: processes
of their own compile (`compile_processes`) and keep object files (`object_store`), which are linked into this process.
Where nothing can be kept, the code is in memory alone, and the next program compiles it again.
"""

import ctypes
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite.binding as llvm

from tui_llama import paths
from tui_llama.engine.toolchain.compile_processes import compile_in_processes
from tui_llama.engine.toolchain.object_store import ENTRY_NAME, Kernel, read
from tui_llama.errors import EngineError


@dataclass(frozen=True, slots=True)
class LoadedCode:
    """A function in this process.

    Attributes:
        address: Its place in memory, the same for as long as the process lives.
        call: Runs it, without the interpreter's lock.
        engine: LLVM's owner of the memory.
    """

    address: int
    call: Callable[..., Any]
    engine: Any


_loaded: dict[Kernel, LoadedCode] = {}
_loading = threading.Lock()
_problems: list[str] = []


def load_kernels(kernels: Iterable[Kernel], on_progress: Callable[[int, int], None] = lambda done, total: None) -> None:
    """Loads kernels, and has those compiled whose code is not on disk yet.

    Args:
        kernels: Those that are loaded already cost nothing.
        on_progress: Called with kernels done and kernels in all; may raise to stop.

    Raises:
        EngineError: one cannot be compiled.
    """
    wanted = list(dict.fromkeys(kernels))
    with _loading:
        kept = {kernel: read(kernel) for kernel in wanted if kernel not in _loaded}
        absent = [kernel for kernel, code in kept.items() if code is None]
        done = len(wanted) - len(absent)
        on_progress(done, len(wanted))
        if absent:
            unkept = compile_in_processes(absent, lambda more: on_progress(done + more, len(wanted)))
            kept |= {kernel: unkept.code.get(kernel) or read(kernel) for kernel in absent}
            if unkept.code:
                _problems.append(unkept.cause)
        for kernel, code in kept.items():
            if code is None:
                raise EngineError(f"{kernel.module}.{kernel.name} was compiled, but could not be saved")
            _loaded[kernel] = linked(code, kernel.arguments, returns=kernel.returns)
    on_progress(len(wanted), len(wanted))


def code_of(kernel: Kernel) -> LoadedCode:
    """Returns the code of a kernel in this process; loads it if it was not loaded yet.

    Raises:
        EngineError: it cannot be compiled.
    """
    if kernel not in _loaded:
        load_kernels([kernel])
    return _loaded[kernel]


def is_ready(kernel: Kernel) -> bool:
    """Tells whether a kernel can be called without compiling it first."""
    return kernel in _loaded or kernel.is_kept


def take_notices() -> tuple[str, ...]:
    """Returns what the user should know of keeping code, and forgets it."""
    causes, _problems[:] = dict.fromkeys(_problems), []
    return tuple(
        f"Compiled kernels cannot be saved in {paths.kernel_cache_folder()} ({cause}), "
        "so every start compiles them again, which takes a while."
        for cause in causes
    )


def linked(code: bytes, arguments: str, *, returns: bool = False) -> LoadedCode:
    """Links an object into this process, for as long as what is returned lives.

    Args:
        code: From `numba_codegen.machine_code`.
        arguments: As in `Kernel`.
        returns: The same.
    """
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target_machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    address = engine.get_function_address(ENTRY_NAME)
    result = ctypes.c_int64 if returns else None
    call = ctypes.CFUNCTYPE(result, *[ctypes.c_int64] * len(arguments))(address)
    return LoadedCode(address, call, engine)


def _target_machine() -> Any:
    _initialize()
    return llvm.Target.from_default_triple().create_target_machine(jit=True)


@cache
def _initialize() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
