"""How kernels are compiled and where the compiled code is kept.

Numba's cache does not notice a change in another file (a helper, a global, an intrinsic), so the cache folder is named
by a hash of every kernel source, the Numba and llvmlite versions and the processor: a stale kernel cannot run.
"""

import hashlib
import platform
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import llvmlite
import llvmlite.binding as llvm
import numba
import numba.extending
from numba import types

from tui_llama import paths
from tui_llama.engine import instruction_sets

_SOURCES = (
    "compilation.py",
    "instruction_sets.py",
    "rows.py",
    "simd.py",
    "tiles.py",
    "repack_kernels.py",
    "tile_values.py",
    "activations.py",
    "tile_multiplier.py",
    "matrix_kernels.py",
    "attention_vectors.py",
    "attention_blocks.py",
    "attention_states.py",
    "attention_kernels.py",
    "cache_kernels.py",
    "position_kernels.py",
    "ops.py",
    "waiting.py",
    "schedule.py",
    "plan_loop.py",
    "machine_limits.py",
    "sampling_kernels.py",
    "merge_kernels.py",
    "header_kernels.py",
)

_UNUSED_CACHE_SECONDS = 30 * 24 * 3600

Function = TypeVar("Function", bound=Callable[..., Any])

intrinsic: Callable[[Callable[..., Any]], Callable[..., Any]] = numba.extending.intrinsic
"""Numba's decorator of functions that write LLVM IR, with a type."""

callable_from_kernels: Callable[[Function], Function] = numba.extending.register_jitable
"""Numba's decorator of plain functions that kernels call as well, with a type."""


def kernel(function: Function) -> Function:
    """Compiles a kernel: no GIL, no bounds checks, C division, cached on disk. The one place for compile options."""
    compiled: Function = _for_types_only(
        numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=False)(function)
    )
    return compiled


def helper(function: Function) -> Function:
    """Compiles what only kernels call: as `kernel`, but with no way in from Python, which is a quarter of the work.

    It is not cached: it becomes a part of the kernels that call it, and they are.
    """
    compiled: Function = _for_types_only(
        numba.njit(nogil=True, error_model="numpy", fastmath=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)(
            function
        )
    )
    return compiled


def _for_types_only(dispatcher: Any) -> Any:
    """Has a function compiled once for int64, and not once more for every constant that it is called with.

    LLVM brings constants to where they are used anyway.
    """
    find = dispatcher.get_call_template

    def find_for_types(arguments: Any, keywords: Any) -> Any:
        return find(
            [*map(types.unliteral, arguments)], {name: types.unliteral(kind) for name, kind in keywords.items()}
        )

    dispatcher.get_call_template = find_for_types
    return dispatcher


def plan_kernel(signature: Any) -> Callable[[Function], Any]:
    """Compiles a kernel that others call by its address; the options are those of `kernel`."""

    def compile_it(function: Function) -> Any:
        return numba.cfunc(signature, cache=True, nopython=True, error_model="numpy", fastmath=False)(function)

    return compile_it


def compile_now(function: Callable[..., Any], signature: Any) -> None:
    """Compiles a `kernel` for one signature, or loads it from the cache, before it is first called."""
    cast(Any, function).compile(signature.args)


def sources_hash() -> str:
    """Sixteen hex digits that change with any kernel source, the compiler or the processor."""
    digest = hashlib.blake2b(digest_size=8)
    folder = Path(__file__).resolve().parent
    for name in _SOURCES:
        if (folder / name).exists():
            digest.update((folder / name).read_bytes())
    features = ",".join(sorted(name for name, on in llvm.get_host_cpu_features().items() if on))
    for text in (
        numba.__version__,
        llvmlite.__version__,
        platform.machine(),
        llvm.get_host_cpu_name(),
        features,
        instruction_sets.INSTRUCTION_SET,
    ):
        digest.update(text.encode())
    return digest.hexdigest()


def cache_folder() -> Path:
    """Where what these kernels were compiled to is kept."""
    return Path(numba.config.CACHE_DIR)


def _use_chosen_target() -> None:
    """Has Numba compile for no more than a forced rung of the ladder."""
    target = instruction_sets.restricted_target()
    if target is not None:
        numba.config.CPU_NAME, numba.config.CPU_FEATURES = target


def _use_private_cache() -> None:
    """Points Numba to this version's folder and removes folders that nobody has used for a while."""
    parent = paths.kernel_cache_folder()
    folder = paths.make_private_folder(parent / sources_hash())
    folder.touch()
    oldest = time.time() - _UNUSED_CACHE_SECONDS
    for other in parent.iterdir():
        if other.is_dir() and other.stat().st_mtime < oldest:
            shutil.rmtree(other, ignore_errors=True)  # another process may be removing it too
    numba.config.CACHE_DIR = str(folder)


_use_chosen_target()
_use_private_cache()
