"""Compiles kernels: the one place for compile options, and the way from a function to machine code.

Only the kernels and the process that compiles them (`compiler_process`) import this, besides tests and benchmarks. The
program runs what `loader` loads.
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
    """Compiles a function that only kernels call: not from Python, no bounds checks, C division, no reordered sums."""
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
    """Makes Numba collect the functions that a kernel calls, and optimise them only as parts of the kernel.

    By default Numba optimises each function and makes machine code of it and of all that it calls, to be ready to run
    it. That takes twice the time.
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
    """The code of one function before it is optimised, for the functions that call it."""

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0  # Numba's sign for a function that Python cannot call

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_specific(self) -> None:
        pass


class _Kernel(_Function):
    """The code of a kernel and of all that it calls."""

    def object_code(self) -> bytes:
        """Returns the machine code of all of it."""
        self._ensure_finalized()
        return bytes(self._codegen._tm.emit_object(self._final_module))

    def _optimize_final_module(self) -> None:
        CPUCodeLibrary._optimize_final_module(self)


class _Codegen(JITCPUCodegen):  # type: ignore[misc]
    """Compiles for the processor that Numba's own generator knows, but puts nothing into Numba's engine."""

    _library_class = _Function

    def _add_module(self, module: Any) -> None:
        pass

    def set_env(self, env_name: str, env: Any) -> None:
        pass


def _entry(context: Any, library: Any, function: Any, signature: Any) -> Any:
    """Returns a module with a function for C that calls the compiled one and drops its status: no kernel raises."""
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
    """Makes Numba compile a function once for int64, and not once more for every constant that it is called with.

    LLVM propagates constants anyway.
    """
    find = dispatcher.get_call_template

    def find_for_types(arguments: Any, keywords: Any) -> Any:
        return find(
            [*map(types.unliteral, arguments)], {name: types.unliteral(kind) for name, kind in keywords.items()}
        )

    dispatcher.get_call_template = find_for_types
    return dispatcher


def _use_chosen_target() -> None:
    """Restricts Numba to the rung of the ladder of instruction sets that is forced, if one is."""
    target = instruction_sets.restricted_target()
    if target is not None:
        numba.config.CPU_NAME, numba.config.CPU_FEATURES = target


_use_chosen_target()
