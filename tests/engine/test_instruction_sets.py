"""The ladder of instruction sets: exact dot products on every rung, and code for processors that this one is not."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
import numpy.typing as npt
import pytest
from numba import types

from tests.engine.kernel_bench import address
from tui_llama.engine import simd
from tui_llama.engine.compilation import intrinsic
from tui_llama.engine.instruction_sets import available_instruction_sets, emit_dot4, instruction_set_named
from tui_llama.engine.simd import I8, I32

REPOSITORY = Path(__file__).resolve().parents[2]
RNG = np.random.default_rng(5)
GROUPS = 11  # more than any rung sums up in 16 bits, and no multiple
CODE_BITS = (4, 5, 6, 8)
Bytes = npt.NDArray[np.uint8]

# --- dot products -----------------------------------------------------------------------------------------------------


def dot_function(rung: str, code_bits: int) -> Callable[[npt.NDArray[np.int32], Bytes, npt.NDArray[np.int8]], None]:
    """A function that adds GROUPS dot products to 16 sums, with the code of a rung."""

    @intrinsic
    def dot(_: Any, sums: Any, unsigned: Any, signed: Any) -> Any:
        def generate(context: Any, b: simd.Builder, signature: Any, arguments: Any) -> simd.Value:
            sums_at, unsigned_at, signed_at = (simd.pointer(b, argument) for argument in arguments)
            unsigned = [simd.load(b, unsigned_at, 64 * group, I8, 64) for group in range(GROUPS)]
            signed = [simd.load(b, signed_at, 64 * group, I32) for group in range(GROUPS)]
            total = emit_dot4(b, rung, simd.load(b, sums_at, 0, I32), unsigned, signed, code_bits)
            simd.store(b, total, sums_at)
            return context.get_dummy_value()

        return types.void(types.uintp, types.uintp, types.uintp), generate

    compiled = numba.njit(_calling(dot))

    def run(sums: npt.NDArray[np.int32], unsigned: Bytes, signed: npt.NDArray[np.int8]) -> None:
        compiled(*(np.uintp(address(array)) for array in (sums, unsigned, signed)))

    return run


def _calling(function: Callable[..., None]) -> Callable[[int, int, int], None]:
    def call(first: int, second: int, third: int) -> None:
        function(first, second, third)

    return call


@pytest.mark.parametrize("code_bits", CODE_BITS)
@pytest.mark.parametrize("rung", available_instruction_sets())
def test_dot_products_are_exact_up_to_the_largest_bytes(rung: str, code_bits: int) -> None:
    dot, largest = dot_function(rung, code_bits), 2**code_bits - 1
    shape = (GROUPS, 16, 4)
    cases = [(np.full(shape, largest, np.uint8), np.full(shape, value, np.int8)) for value in (-128, 127)]
    cases += [(RNG.choice(np.array([0, largest], np.uint8), shape), RNG.choice(np.array([-128, 127], np.int8), shape))]
    cases += [
        (RNG.integers(0, largest + 1, shape, np.uint8), RNG.integers(-128, 128, shape, np.int8)) for _ in range(20)
    ]
    for unsigned, signed in cases:
        before = RNG.integers(-(10**6), 10**6, 16, np.int32)
        sums = before.copy()
        dot(sums, unsigned, signed)
        np.testing.assert_array_equal(sums, before + (unsigned.astype(np.int32) * signed).sum(axis=(0, 2)))


# --- the compiler's target --------------------------------------------------------------------------------------------

_TARGET = """
from tui_llama.engine import compilation
from numba.core.registry import cpu_target
print(*cpu_target.target_context.codegen().magic_tuple()[1:], sep=";")
"""


def run_python(*arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=REPOSITORY, env=os.environ | environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_a_forced_rung_is_compiled_for_a_processor_that_has_no_more() -> None:
    best, *others = available_instruction_sets()
    for name in others:
        rung = instruction_set_named(name)
        target = run_python("-c", _TARGET, TUI_LLAMA_INSTRUCTION_SET=name)
        assert target.strip().split(";") == [rung.processor, rung.features]
    target = run_python("-c", _TARGET, TUI_LLAMA_INSTRUCTION_SET=best)
    assert target.split(";")[0] == llvm.get_host_cpu_name()


# --- code for other processors ----------------------------------------------------------------------------------------

# Instructions that a rung's code has, and such that only better ones have.
_HAS = {"neon_dotprod": ["sdot"], "avx_vnni": ["vpdpbusd"], "avx2": ["vpmaddubsw", "vpmaddwd"], "portable": []}
_LACKS = {
    "neon_dotprod": ["usdot"],
    "avx_vnni": ["zmm"],
    "avx2": ["zmm", "vpdpbusd"],
    "portable": ["zmm", "vpdpbusd", "vpmaddubsw"],
}
_CALL = re.compile(r"^\s+(?:bl|b|callq|jmp)\s+([a-z_]\w*)", re.MULTILINE)
_OF_THE_SYSTEM = re.compile("pthread_|sched_|clock_")


@pytest.mark.parametrize("rung", _HAS)
def test_vector_code_compiles_for_every_rung_and_calls_nobody(rung: str) -> None:
    kernels = ("_q4_k", "_q8_0")
    made: dict[str, str] = json.loads(run_python("-m", "tests.engine.cross_compile", rung, *kernels))
    for kernel in kernels:
        assert all(instruction in made[kernel] for instruction in _HAS[rung])
    for name, text in made.items():
        assert not any(instruction in text for instruction in _LACKS[rung]), name
        # A processor without an instruction would get a function for it, of half floats for one.
        assert [called for called in _CALL.findall(text) if not _OF_THE_SYSTEM.match(called)] == [], name
