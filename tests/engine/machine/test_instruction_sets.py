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
import pytest
from numba import types

from tests.engine.kernels.kernel_bench import address
from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.dot_products import emit_dot2, emit_dot4
from tui_llama.engine.kernels.ir.scaled_products import emit_scaled_dot4, multiplies_signed_bytes
from tui_llama.engine.kernels.ir.simd import I8, I32
from tui_llama.engine.machine.instruction_sets import available_instruction_sets, instruction_set_named
from tui_llama.engine.toolchain.numba_codegen import intrinsic

REPOSITORY = Path(__file__).resolve().parents[3]
RNG = np.random.default_rng(5)
GROUPS = 11  # more than any rung sums up in 16 bits, and no multiple
CODE_BITS = (2, 4, 5, 6, 8)

# --- dot products -----------------------------------------------------------------------------------------------------


def compiled(emit: Callable[[simd.Builder, simd.Value, simd.Value, simd.Value], simd.Value]) -> Callable[..., None]:
    """A function of three arrays that replaces the first, 16 int32, by what `emit` makes of it and two addresses."""

    @intrinsic
    def product(_: Any, sums: Any, first: Any, second: Any) -> Any:
        def generate(context: Any, b: simd.Builder, signature: Any, arguments: Any) -> simd.Value:
            sums_at, first_at, second_at = (simd.pointer(b, argument) for argument in arguments)
            simd.store(b, emit(b, simd.load(b, sums_at, 0, I32), first_at, second_at), sums_at)
            return context.get_dummy_value()

        return types.void(types.uintp, types.uintp, types.uintp), generate

    def call(sums: int, first: int, second: int) -> None:
        product(sums, first, second)

    function = numba.njit(call)
    return lambda *arrays: function(*(np.uintp(address(array)) for array in arrays))


@pytest.mark.parametrize("code_bits", CODE_BITS)
@pytest.mark.parametrize("rung", available_instruction_sets())
def test_dot_products_are_exact_up_to_the_largest_bytes(rung: str, code_bits: int) -> None:
    def emit(b: simd.Builder, sums: simd.Value, unsigned_at: simd.Value, signed_at: simd.Value) -> simd.Value:
        unsigned = [simd.load(b, unsigned_at, 64 * group, I8, 64) for group in range(GROUPS)]
        signed = [simd.load(b, signed_at, 64 * group, I32) for group in range(GROUPS)]
        return emit_dot4(b, rung, sums, unsigned, signed, code_bits)

    dot, largest = compiled(emit), 2**code_bits - 1
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


@pytest.mark.parametrize("rung", available_instruction_sets())
def test_products_of_pairs_are_exact_up_to_the_largest_halves(rung: str) -> None:
    def emit(b: simd.Builder, sums: simd.Value, first_at: simd.Value, second_at: simd.Value) -> simd.Value:
        return emit_dot2(b, rung, sums, simd.load(b, first_at, 0, I32), simd.load(b, second_at, 0, I32))

    dot = compiled(emit)
    edges = np.array([-32768, -32767, -1, 0, 1, 32767], np.int16)
    for _ in range(50):
        first, second = RNG.choice(edges[1:], (16, 2)), RNG.choice(edges, (16, 2))
        before = RNG.integers(-65536, 65536, 16, np.int32)
        sums = before.copy()
        dot(sums, first, second)
        exact = before.astype(np.int64) + (first.astype(np.int64) * second).sum(axis=1)
        np.testing.assert_array_equal(sums, exact.astype(np.int32))


@pytest.mark.parametrize("groups", [4, 8])
@pytest.mark.parametrize("largest", [3, 7, 30, 127, 241, -15, -62, -127])  # below zero: bytes with signs
@pytest.mark.parametrize("rung", available_instruction_sets())
def test_scaled_products_are_exact_up_to_the_largest_bytes(rung: str, largest: int, groups: int) -> None:
    is_signed, limit = largest < 0, abs(largest)
    if is_signed > multiplies_signed_bytes(rung) or (limit > 127 and multiplies_signed_bytes(rung)):
        pytest.skip("its kernels have no such codes")

    def emit(b: simd.Builder, sums: simd.Value, codes_at: simd.Value, others_at: simd.Value) -> simd.Value:
        codes = [simd.load(b, codes_at, 64 * group, I8, 64) for group in range(groups)]
        quants = [simd.load(b, others_at, 64 * group, I32) for group in range(groups)]
        scale = simd.load(b, others_at, 64 * groups, I32)
        return emit_scaled_dot4(b, rung, sums, codes, quants, scale, limit, is_signed)

    dot, kind = compiled(emit), np.int8 if is_signed else np.uint8
    for quant in (-127, 127, None):
        shape = (groups, 16, 4)
        codes = RNG.choice(np.array([-limit if is_signed else 0, limit]).astype(kind), shape)
        quants = RNG.choice(np.array([-127, 127], np.int8), shape)
        if quant is not None:
            codes[:], quants[:] = kind(limit), quant
        scales = RNG.choice(np.array([-32, -1, 0, 31, 63], np.int16), 16)
        before = RNG.integers(-(10**6), 10**6, 16, np.int32)
        sums, low_halves = before.copy(), (scales.astype(np.int32) & 0xFFFF).view(np.int8)
        dot(sums, codes, np.concatenate([quants.reshape(-1), low_halves]))
        exact = (codes.astype(np.int32) * quants).sum(axis=(0, 2)) * scales
        np.testing.assert_array_equal(sums, before + exact)


# --- the compiler's target --------------------------------------------------------------------------------------------

_TARGET = """
from tui_llama.engine.toolchain import numba_codegen
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
_CALL = re.compile(r"^\s+(?:bl|b|callq|jmp)\s+([a-z_][\w.]*)", re.MULTILINE)
_LABEL = re.compile(r"^([a-z_][\w.]*):", re.MULTILINE)
_OF_THE_SYSTEM = re.compile("pthread_|sched_|clock_")


@pytest.mark.parametrize("rung", _HAS)
def test_vector_code_compiles_for_every_rung_and_calls_nobody(rung: str) -> None:
    kernels = ("_q4_k", "_q8_0", "_iq4_nl", "_q3_k", "_iq4_xs")
    made: dict[str, str] = json.loads(run_python("-m", "tests.engine.toolchain.cross_compile", rung, *kernels))
    for kernel in kernels:
        assert all(instruction in made[f"product_kernels.{kernel}"] for instruction in _HAS[rung])
    for name, text in made.items():
        assert not any(instruction in text for instruction in _LACKS[rung]), name
        # A processor without an instruction would get a function for it, of half floats for one.
        elsewhere = set(_CALL.findall(text)) - set(_LABEL.findall(text))
        assert [called for called in elsewhere if not _OF_THE_SYSTEM.match(called)] == [], name
