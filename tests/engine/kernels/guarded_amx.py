"""Kernels for AMX in guarded memory, on any processor: a program, since an access out of bounds ends it.

Plain code that touches the same bytes replaces every AMX instruction that touches memory. Instead of multiplying, it
mixes all bytes that it was given, so results mean nothing. Argument: the columns of a block; all weight types with such
blocks are tried, because to import the compiler takes as long as to compile one of them. Writes each case before it
begins.
"""

import sys
from typing import Any

from llvmlite import ir

from tests.engine.kernels.guarded_cases import multiply, quantize
from tests.engine.kernels.guarded_memory import GuardedMemory, Side
from tui_llama.engine import ops
from tui_llama.engine.layouts.activations import FEWEST_GROUPED_TOKENS
from tui_llama.engine.layouts.weight_tile import FORMATS, TileFormat
from tui_llama.engine.machine import instruction_sets
from tui_llama.engine.toolchain import numba_codegen
from tui_llama.engine.toolchain.loader import linked

_OWN_INSTRUCTION_SET = instruction_sets.INSTRUCTION_SET
instruction_sets.INSTRUCTION_SET = "amx_int8"  # before the kernels are imported, which look at it then

from tui_llama.engine.kernels import elementwise  # noqa: E402
from tui_llama.engine.kernels.ir import simd  # noqa: E402
from tui_llama.engine.kernels.ir.simd import I8, I32, Builder, Value, integer, vector  # noqa: E402
from tui_llama.engine.kernels.matrix import amx, product_kernels, products  # noqa: E402

_ROWS, _ROW_BYTES = 16, 64
_TOKEN_COUNTS = (FEWEST_GROUPED_TOKENS, 33, 48)


class _Unit:
    """Writes plain code in the place of AMX instructions, which multiply `columns` columns at once."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._registers: dict[tuple[str, int], Value] = {}

    def write(self, b: Builder, name: str, *arguments: Any) -> None:
        """Takes the arguments of `amx._tile`."""
        if name == "tileloadd64":
            register, place, stride = arguments
            rows, width = self._shape(register)
            spread = ir.Constant(vector(I32, _ROW_BYTES), [i % width for i in range(_ROW_BYTES)])
            for row in range(rows):
                content = simd.load(b, place, stride.constant * row, I8, width)
                simd.store(b, b.shuffle_vector(content, content, spread), self._row(b, register, row))
        elif name == "tilestored64":
            register, place, stride = arguments
            for row in range(_ROWS):
                content = simd.load(b, self._row(b, register, row), 0, I8, _ROW_BYTES)
                simd.store(b, content, place, stride.constant * row)
        elif name == "tilezero":
            for row in range(_ROWS):
                simd.store(b, simd.constant(I8, 0, _ROW_BYTES), self._row(b, arguments[0], row))
        elif name.startswith("tdp"):
            self._mix(b, *arguments)
        elif name == "ldtilecfg":
            simd.store(b, simd.load(b, arguments[0], 0, I8, _ROW_BYTES), self._row(b, 0, 0))

    def _mix(self, b: Builder, sums: int, tokens: int, weights: int) -> None:
        for row in range(_ROWS):
            target = self._row(b, sums, row)
            parts = (self._row(b, tokens, row), self._row(b, weights, row % self._shape(weights)[0]))
            total = simd.load(b, target, 0, I8, _ROW_BYTES)
            for part in parts:
                total = b.xor(total, simd.load(b, part, 0, I8, _ROW_BYTES))
            simd.store(b, total, target)

    def _shape(self, register: int) -> tuple[int, int]:
        """Returns rows, and bytes of a row."""
        columns = self._columns
        if register in amx._TOKENS:
            return _ROWS, columns
        return (columns // 4, _ROW_BYTES) if register in amx._WEIGHTS else (_ROWS, _ROW_BYTES)

    def _row(self, b: Builder, register: int, row: int) -> Value:
        key = (b.function.name, register)
        if key not in self._registers:
            self._registers[key] = simd.stack_memory(b, _ROWS * _ROW_BYTES)
        return b.gep(self._registers[key], [integer(_ROW_BYTES * row)])


def _use(function: Any) -> None:
    """Has the cases run this function, compiled here."""
    code = linked(numba_codegen.machine_code(function, ops.PLAN_ARGUMENTS), ops.PLAN_ARGUMENTS)
    ops.plan_operation = lambda name: code.call  # type: ignore[assignment,return-value]


def _run_quantize(columns: int) -> None:
    _use(getattr(elementwise, f"quantize_{columns}"))
    for side in Side:
        for tokens in _TOKEN_COUNTS:
            print(f"quantize_{columns}, {tokens} tokens, guarded at the {side}", flush=True)
            quantize(GuardedMemory(side), columns, 5, tokens, 0)


def _run_product(layout: TileFormat) -> None:
    amx._tile = _Unit(amx.columns_at_once(layout)).write
    _use(getattr(product_kernels, f"matrix_{layout.name.lower()}"))
    for side in Side:
        for rows in (1, 33):
            for blocks in (1, 2, 4, 5, 33):
                for tokens in _TOKEN_COUNTS:
                    sizes = f"{rows} × {blocks} blocks, {tokens} tokens"
                    print(f"matrix_{layout.name.lower()}, {sizes}, guarded at the {side}", flush=True)
                    multiply(GuardedMemory(side), layout, rows, blocks * layout.columns, tokens)


def main() -> None:
    """Runs all cases of a size of blocks; see the top."""
    columns = int(sys.argv[1])
    # For the vector instructions beside AMX.
    simd.INSTRUCTION_SET = _OWN_INSTRUCTION_SET  # type: ignore[attr-defined]
    # What a kernel does with fewer tokens has no AMX, is guarded with the other kernels, and takes long to compile.
    products._emit_groups = lambda *arguments: None
    _run_quantize(columns)
    for layout in FORMATS.values():
        if not layout.is_float and layout.columns == columns:
            _run_product(layout)


if __name__ == "__main__":
    main()
