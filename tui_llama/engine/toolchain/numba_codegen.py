"""How kernels are compiled: the one place for compile options, and from a function to machine code.

Only who compiles imports this, and the modules of kernels: `kernel_compiler`, tests and benchmarks. The program runs
what `kernel_code` loads.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import numba
import numba.extending
from llvmlite import ir
from numba import types
from numba.core.codegen import CPUCodeLibrary, JITCPUCodegen
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

from tui_llama.engine.machine import instruction_sets
from tui_llama.engine.toolchain.object_store import ENTRY_NAME

Function = TypeVar("Function", bound=Callable[..., Any])

intrinsic: Callable[[Callable[..., Any]], Callable[..., Any]] = numba.extending.intrinsic
"""Numba's decorator of functions that write LLVM IR, with a type."""

callable_from_kernels: Callable[[Function], Function] = numba.extending.register_jitable
"""Numba's decorator of plain functions that kernels call as well, with a type."""

_TYPES = {"p": types.uintp, "i": types.int64}


def helper(function: Function) -> Function:
    """Compiles what only kernels call: no way in from Python, no bounds checks, C division, no rearranged sums."""
    compiled: Function = _for_types_only(_jit()(function))
    return compiled


@global_compiler_lock  # type: ignore[untyped-decorator]
def machine_code(function: Callable[..., Any], arguments: str, *, returns: bool = False) -> bytes:
    """Compiles a kernel to an object whose function `ENTRY_NAME` takes and returns whole numbers of 64 bits.

    Args:
        function: A plain function, which may call helpers and intrinsics.
        arguments: As in `Kernel`.
        returns: The same.

    Raises:
        numba.core.errors.NumbaError: it cannot be compiled.
    """
    kinds = [_TYPES[letter] for letter in arguments]
    signature = types.int64(*kinds) if returns else types.void(*kinds)
    context = cpu_target.target_context
    compiled = _jit()(function)
    with _code_that_is_not_run(context):
        compiled.compile(signature.args)
        (result,) = compiled.overloads.values()
        kernel = _Kernel(context.codegen(), ENTRY_NAME)
        kernel.add_linking_library(result.library)
        kernel.add_ir_module(_entry(context, kernel, result.fndesc, signature))
        kernel.finalize()
        return kernel.object_code()


@contextmanager
def _code_that_is_not_run(context: Any) -> Iterator[None]:
    """Has Numba collect what functions a kernel calls, and leave the rest to the kernel.

    By default it optimises each of them, and makes machine code of it with all that it calls in turn, to be ready to
    run it: twice the time.
    """
    runs = context._internal_codegen
    context._internal_codegen = _not_run()
    try:
        yield
    finally:
        context._internal_codegen = runs


@cache
def _not_run() -> Any:
    return _Codegen("tui_llama")


class _Function(CPUCodeLibrary):  # type: ignore[misc]
    """What a function was lowered to, for those that call it."""

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0  # as of a function that Python cannot call

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_specific(self) -> None:
        pass


class _Kernel(_Function):
    """A kernel with all that it calls."""

    def object_code(self) -> bytes:
        """The machine code of all of it."""
        self._ensure_finalized()
        return bytes(self._codegen._tm.emit_object(self._final_module))

    def _optimize_final_module(self) -> None:
        CPUCodeLibrary._optimize_final_module(self)


class _Codegen(JITCPUCodegen):  # type: ignore[misc]
    """Knows the processor as Numba's own does, but nothing goes into its engine."""

    _library_class = _Function

    def _add_module(self, module: Any) -> None:
        pass

    def set_env(self, env_name: str, env: Any) -> None:
        pass


def _entry(context: Any, library: Any, function: Any, signature: Any) -> Any:
    """A module with a function for C, which calls the compiled one and drops its status: kernels raise nothing."""
    module = library.create_ir_module(ENTRY_NAME)
    native = context.declare_function(module, function)
    number = ir.IntType(64)
    returns = signature.return_type != types.void
    kind = ir.FunctionType(number if returns else ir.VoidType(), [number] * len(signature.args))
    entry = ir.Function(module, kind, ENTRY_NAME)
    builder = ir.IRBuilder(entry.append_basic_block())
    _, value = context.call_conv.call_function(builder, native, signature.return_type, signature.args, entry.args)
    if returns:
        builder.ret(value)
    else:
        builder.ret_void()
    return module


def _jit() -> Any:
    return numba.njit(nogil=True, error_model="numpy", fastmath=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)


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


def _use_chosen_target() -> None:
    """Has Numba compile for no more than a forced rung of the ladder."""
    target = instruction_sets.restricted_target()
    if target is not None:
        numba.config.CPU_NAME, numba.config.CPU_FEATURES = target


_use_chosen_target()
