"""The ladder of instruction sets: what each rung needs, and which one is used; dot_products.py has their code.

Best first: `amx_int8` (x86 servers with a tile multiplier, see tile_multiplier.py; elsewhere as the next),
`avx512_vnni`, `avx_vnni` (x86 with 256-bit VNNI), `avx2`, `neon_dotprod` (64-bit ARM), `portable` (vector IR that LLVM
lowers for any target). `TUI_LLAMA_INSTRUCTION_SET` forces a rung; kernels are then compiled for a processor that has no
more than this rung, so that a forced rung is as fast and as slow as where it is the best. All rungs give the same bits:
integer sums are exact, and nothing else differs.
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

# Half floats and fused multiply-adds are everywhere; without instructions for them LLVM would call functions that a
# program has no use for otherwise. Every x86 processor with AVX2 has both, and so has every 64-bit ARM.
_ON_X86 = platform.machine().lower() in ("x86_64", "amd64")


@dataclass(frozen=True, slots=True)
class InstructionSet:
    """One rung.

    Args:
        name: As `TUI_LLAMA_INSTRUCTION_SET` spells it.
        needs: The processor's features that its code uses, by LLVM's names.
        processor: LLVM's name of the plainest processor family that a rung stands for.
        features: What the rung has beyond this family, as LLVM's list of features.
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
    """The rung of this name, whether this processor can run it or not."""
    return next(rung for rung in LADDER if rung.name == name)


def available_instruction_sets() -> list[str]:
    """The rungs of the ladder that this processor can run, best first."""
    features = llvm.get_host_cpu_features()
    rungs = [rung.name for rung in LADDER if all(features.get(need, False) for need in rung.needs)]
    return [name for name in rungs if name != "amx_int8" or _tile_registers_are_granted()]


@cache
def _tile_registers_are_granted() -> bool:
    """Asks the system for the tile registers, which it gives to a process on demand only.

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
    """Processor and features to compile for, by LLVM's names; None where that is this processor as it is."""
    if available_instruction_sets()[0] == INSTRUCTION_SET:
        return None
    rung = instruction_set_named(INSTRUCTION_SET)
    return rung.processor, rung.features
