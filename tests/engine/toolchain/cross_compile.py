"""Compiles the vector code of our kernels for a processor that need not be this one, and prints the assembly.

    python -m tests.engine.toolchain.cross_compile RUNG [MATRIX_KERNEL …]

One JSON object: the assembly by the module and name of the intrinsic, of all there are; of the matrix kernels, which
take longest, only of those named. It is a program of its own because LLVM ends the process where it has no instruction
for something.
"""

import inspect
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core.extending import _Intrinsic
from numba.core.registry import cpu_target

from tui_llama import engine
from tui_llama.engine.machine import instruction_sets
from tui_llama.engine.toolchain.object_store import kernel_sources

ENGINE = Path(engine.__file__).parent
_WITH_TILE_INSTRUCTIONS = ("kernels.matrix.amx", "kernels.machine_limits")  # in intrinsics that other rungs never call


def main() -> None:
    """Compiles and prints."""
    rung, *matrix_kernels = sys.argv[1:]
    import_module("tui_llama.engine.toolchain.numba_codegen")  # sets the compiler up, for this processor
    # Before the kernels are imported, which look at it then.
    instruction_sets.INSTRUCTION_SET = rung
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    made = {}
    for source in kernel_sources():
        place = ".".join(source.relative_to(ENGINE).with_suffix("").parts)
        module = import_module(f"tui_llama.engine.{place}")
        for name, value in vars(module).items():
            is_made_here = name.startswith("_")  # maybe by a function of another module
            is_its_own = isinstance(value, _Intrinsic) and (is_made_here or value._defn.__module__ == module.__name__)
            left_out = rung != "amx_int8" and place in _WITH_TILE_INSTRUCTIONS
            left_out |= place == "kernels.matrix.product_kernels" and name not in matrix_kernels
            if is_its_own and not left_out:
                made[f"{module.__name__.rpartition('.')[2]}.{name}"] = assembly(rung, value)
    print(json.dumps(made))


def assembly(rung: str, intrinsic: Any) -> str:
    """Returns the assembly that LLVM makes of an intrinsic for the plainest processor of a rung."""
    target = instruction_sets.instruction_set_named(rung)
    context = cpu_target.target_context
    parameters = len(inspect.signature(intrinsic._defn).parameters) - 1
    signature, generate = intrinsic._defn(None, *[types.uintp] * parameters)
    module = ir.Module(rung)
    module.triple = "aarch64-unknown-linux-gnu" if rung.startswith("neon") else "x86_64-unknown-linux-gnu"
    arguments = [ir.IntType(64).as_pointer(), *(context.get_value_type(kind) for kind in signature.args)]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), "emitted")
    b = ir.IRBuilder(function.append_basic_block())
    result = generate(context, b, signature, function.args[1:])
    b.store(result, b.bitcast(function.args[0], result.type.as_pointer()))  # or it would be optimised away
    b.ret_void()
    machine = llvm.Target.from_triple(module.triple).create_target_machine(
        cpu=target.processor, features=target.features, opt=3
    )
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    passes.getModulePassManager().run(parsed, passes)
    return str(machine.emit_assembly(parsed))


if __name__ == "__main__":
    main()
