"""The ladder of instruction sets: what each one needs, and which is used; kernels/ir/dot_products.py has their code.

Best first: `amx_int8` (x86 servers with AMX, see kernels/matrix/amx.py; all other products as with `avx512_vnni`),
`avx512_vnni`, `avx_vnni` (x86 with 256-bit VNNI), `avx2`, `neon_dotprod` (64-bit ARM), `portable` (vector IR that LLVM
lowers for any target). `TUI_LLAMA_INSTRUCTION_SET` forces one of them. All kernels are then compiled for a processor
that has no more, so that it is as fast and as slow as on a machine where it is the best. All instruction sets give the
same bits: integer sums are exact, and nothing else differs.
"""

import ctypes
import os
import platform
import sys
from dataclasses import dataclass
from functools import cache

import llvmlite.binding as llvm

from tui_llama.errors import EngineError, SettingsError

# --- the ladder -----------------------------------------------------------------------------------------------------

# Kernels use half floats and fused multiply-adds everywhere. Without instructions for them LLVM would call functions
# that the program does not otherwise need. Every x86 processor with AVX2 has both, and so has every 64-bit ARM.
_ON_X86 = platform.machine().lower() in ("x86_64", "amd64")


@dataclass(frozen=True, slots=True)
class InstructionSet:
    """One instruction set of the ladder.

    Args:
        name: As `TUI_LLAMA_INSTRUCTION_SET` spells it.
        needs: The processor features that its code uses, by LLVM's names.
        processor: LLVM's name of the plainest processor family that has this instruction set.
        features: Features beyond this family, as LLVM's list of features.
    """

    name: str
    needs: tuple[str, ...]
    processor: str
    features: str = ""


LADDER = (
    InstructionSet(
        "amx_int8",
        ("amx-tile", "amx-int8", "avx512f", "avx512bw", "avx512vl", "avx512vnni", "fma", "f16c"),
        "x86-64-v4",
        "+avx512vnni,+amx-tile,+amx-int8",
    ),
    InstructionSet(
        "avx512_vnni", ("avx512f", "avx512bw", "avx512vl", "avx512vnni", "fma", "f16c"), "x86-64-v4", "+avx512vnni"
    ),
    InstructionSet("avx_vnni", ("avxvnni", "avx2", "fma", "f16c"), "x86-64-v3", "+avxvnni"),
    InstructionSet("avx2", ("avx2", "fma", "f16c"), "x86-64-v3"),
    InstructionSet("neon_dotprod", ("dotprod",), "generic", "+dotprod"),
    InstructionSet("portable", ("f16c", "fma"), "x86-64-v2", "+avx,+f16c,+fma")
    if _ON_X86
    else InstructionSet("portable", (), "generic"),
)


def instruction_set_named(name: str) -> InstructionSet:
    """Returns the instruction set of this name, whether or not this processor can run it."""
    return next(rung for rung in LADDER if rung.name == name)


def available_instruction_sets() -> list[str]:
    """Returns the names of the instruction sets that this processor can run, best first."""
    features = llvm.get_host_cpu_features()
    rungs = [rung.name for rung in LADDER if all(features.get(need, False) for need in rung.needs)]
    return [name for name in rungs if name != "amx_int8" or _tile_registers_are_granted()]


@cache
def _tile_registers_are_granted() -> bool:
    """Asks the system for the AMX tile registers, which it grants to a process on request only; tells whether it did.

    Source: Linux, Documentation/arch/x86/xstate.rst.
    """
    if sys.platform != "linux":
        return False
    arch_prctl, request_permission, tile_data = 158, 0x1023, 18
    return int(ctypes.CDLL(None).syscall(arch_prctl, request_permission, tile_data)) == 0


def _chosen_instruction_set() -> str:
    available = available_instruction_sets()
    if not available:
        raise EngineError("This processor is too old: it has no instructions for half floats (F16C) and FMA.")
    forced = os.environ.get("TUI_LLAMA_INSTRUCTION_SET", "")
    if forced and forced not in available:
        raise SettingsError(
            f"TUI_LLAMA_INSTRUCTION_SET is {forced!r}, which this processor cannot run",
            f"Use one of: {', '.join(available)}.",
        )
    return forced or available[0]


INSTRUCTION_SET = _chosen_instruction_set()


def restricted_target() -> tuple[str, str] | None:
    """Returns processor and features to compile for, by LLVM's names; None to compile for this processor as it is."""
    if available_instruction_sets()[0] == INSTRUCTION_SET:
        return None
    rung = instruction_set_named(INSTRUCTION_SET)
    return rung.processor, rung.features
