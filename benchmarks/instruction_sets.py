"""Measures the matrix kernels on every rung of the ladder of instruction sets that this processor can run.

    python -m benchmarks.instruction_sets [--types Q4_K,Q6_K,Q8_0] [--tokens 8,1] [--runs 15]

Each rung has a process, which is compiled for this rung only and runs one thread. The weights stay in the second-level
cache. The processes take turns, run by run. The program prints the medians in 10⁹ multiply-accumulates a second. The
share is relative to the rung's dot product alone, on operands from the first-level cache and for codes of as many bits.
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from time import thread_time
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from tui_llama.engine import ops
from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.layouts import amx_panel
from tui_llama.engine.layouts.activations import SPARE_TOKENS, activation_bytes
from tui_llama.engine.layouts.plan_row import BATCH, ROW
from tui_llama.engine.layouts.weight_tile import FORMATS
from tui_llama.engine.machine.instruction_sets import available_instruction_sets
from tui_llama.engine.toolchain.numba_codegen import intrinsic

_ROWS, _COLUMNS = 256, 2048
_SECONDS = 0.005
_SUM_COUNTS = (12, 5)  # numbers of sums for 32 and for 16 vector registers
_SERVE = "import benchmarks.instruction_sets as program; program.serve()"


class Rung:
    """A process that measures one rung of the ladder on request."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE],
            env=os.environ | {"TUI_LLAMA_INSTRUCTION_SET": name},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def measure(self, type_name: str, tokens: int) -> float:
        """Returns 10⁹ multiply-accumulates a second. With 0 tokens it measures the dot product alone."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{type_name} {tokens}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()


def main() -> None:
    """Measures every rung and prints a table for each weight type."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--types", default="Q4_K,Q6_K,Q4_0,Q8_0", help="quantised weight types, with commas")
    parser.add_argument("--tokens", default="8,1", help="tokens in a pass, with commas")
    parser.add_argument("--rungs", default="", help="rungs, with commas; all that run here by default")
    parser.add_argument("--runs", type=int, default=15, help="samples of each")
    options = parser.parse_args()

    names = options.rungs.split(",") if options.rungs else available_instruction_sets()
    token_counts = [int(text) for text in options.tokens.split(",")]
    rungs = [Rung(name) for name in names]
    try:
        print(f"{'type':6}{'rung':14}{'dot alone':>12}" + "".join(f"{f'{n} tokens':>22}" for n in token_counts))
        for type_name in options.types.split(","):
            _compare(rungs, type_name, token_counts, options.runs)
    finally:
        for rung in rungs:
            rung.close()


def _compare(rungs: list[Rung], type_name: str, token_counts: list[int], runs: int) -> None:
    samples: dict[tuple[str, int], list[float]] = {}
    for run in range(runs + 1):  # the first run compiles
        for rung in rungs:
            for tokens in (0, *token_counts):
                sample = rung.measure(type_name, tokens)
                if run > 0:
                    samples.setdefault((rung.name, tokens), []).append(sample)
    for rung in rungs:
        limit = statistics.median(samples[rung.name, 0])
        line = f"{type_name:6}{rung.name:14}{limit:12.1f}"
        for tokens in token_counts:
            speed = statistics.median(samples[rung.name, tokens])
            line += f"{speed:12.1f} ({100 * speed / limit:5.1f} %)"
        print(line, flush=True)


# --- in the process of a rung ---------------------------------------------------------------------------------------


def serve() -> None:
    """Answers each request "TYPE TOKENS" on standard input with a speed."""
    ready: dict[str, list[tuple[Callable[[], int], int]]] = {}
    for line in sys.stdin:
        if line not in ready:
            type_name, tokens = line.split()
            if tokens == "0":
                runs = [_dot_run(type_name, sum_count) for sum_count in _SUM_COUNTS]
            else:
                runs = [_kernel_run(type_name, int(tokens))]
            ready[line] = [(run, _calls_in(run, _SECONDS)) for run in runs]
        print(max(run() * calls / _timed(run, calls) for run, calls in ready[line]) / 1e9, flush=True)


def _calls_in(run: Callable[[], int], seconds: float) -> int:
    """Returns the number of calls that take about `seconds`."""
    calls, taken = 1, 0.0
    while taken < seconds / 4:
        calls *= 2
        taken = _timed(run, calls)
    return max(1, round(calls * seconds / taken))


def _timed(run: Callable[[], int], calls: int) -> float:
    """Returns the seconds of processor time that the calls took. Other processes may use the same processor."""
    start = thread_time()
    for _ in range(calls):
        run()
    return thread_time() - start


def _kernel_run(type_name: str, tokens: int) -> Callable[[], int]:
    """Returns a function that runs a matrix kernel over all rows and returns the number of multiply-accumulates."""
    layout = next(layout for layout in FORMATS.values() if layout.name == type_name)
    blocks, readable = _COLUMNS // layout.columns, tokens + SPARE_TOKENS
    # Bytes from 56 to 63 are small positive numbers in every type of float.
    generator = np.random.default_rng(1)
    weights = generator.integers(56, 64, layout.matrix_bytes(_ROWS, _COLUMNS), np.uint8)
    inputs = generator.integers(56, 64, (readable, activation_bytes(_COLUMNS, layout.columns)), np.uint8)
    scratch = np.zeros(amx_panel.SCRATCH_BYTES, np.uint8)
    outputs = np.zeros((tokens, _ROWS), np.float32)
    row, batch = np.zeros(1, ROW), np.zeros(1, BATCH)
    row["weight"], row["input"], row["output"] = (array.ctypes.data for array in (weights, inputs, outputs))
    row["weight_stride"], row["columns"] = blocks * layout.tile_bytes, blocks
    row["input_stride"], row["output_stride"] = inputs.strides[0], outputs.strides[0]
    batch["token_count"] = tokens
    kernel = ops.matrix_product(layout)
    arrays = [weights, inputs, outputs, scratch]

    def run() -> int:
        kernel(row.ctypes.data, batch.ctypes.data, 0, _ROWS // 16, scratch.ctypes.data)
        return tokens * _ROWS * _COLUMNS if arrays else 0

    return run


_GROUPS, _ROUNDS = 4, 1000


def _dot_run(type_name: str, sum_count: int) -> Callable[[], int]:
    """Returns a function that runs a loop of dot products and returns the number of multiply-accumulates.

    Args:
        type_name: The weight type, which decides the number of bits of a code.
        sum_count: The number of sums, none of which waits for another.
    """
    bits = next(layout.code_bits for layout in FORMATS.values() if layout.name == type_name)
    codes_at, out_at = 64 * sum_count, 64 * (sum_count + _GROUPS)

    @intrinsic
    def dots(_: Any, scratch: Any, rounds: Any) -> Any:
        def generate(context: Any, b: simd.Builder, signature: Any, arguments: Any) -> simd.Value:
            scratch, rounds = arguments
            sums = [simd.lane_variable(b, simd.constant(simd.I32, 0)) for _ in range(sum_count)]
            for place in sums:
                b.store(simd.constant(simd.I32, 0), place)
            # An empty piece of assembly: the compiler must assume that it changes the operands, so it cannot move the
            # products out of the loop.
            same = ir.InlineAsm(ir.FunctionType(simd.I64, [simd.I64]), "", "=r,0", side_effect=True)
            with cgutils.for_range(b, rounds):
                base = simd.pointer(b, b.call(same, [scratch]))
                codes = [simd.load(b, base, codes_at + 64 * g, simd.I8, 64) for g in range(_GROUPS)]
                for index, place in enumerate(sums):
                    quants = simd.load_splat(b, base, 64 * index, simd.I32)
                    b.store(simd.dot4_sum(b, b.load(place), codes, [quants] * _GROUPS, bits), place)
            for index, place in enumerate(sums):
                simd.store(b, b.load(place), simd.pointer(b, scratch), out_at + 64 * index)
            return context.get_dummy_value()

        return types.void(types.uintp, types.int64), generate

    def loop(scratch: Any, rounds: Any) -> None:
        dots(scratch, rounds)

    compiled = numba.njit(nogil=True)(loop)
    scratch = np.ones(out_at + 64 * sum_count, np.uint8)

    def run() -> int:
        compiled(np.uintp(scratch.ctypes.data), _ROUNDS)
        return 64 * _GROUPS * sum_count * _ROUNDS

    return run


if __name__ == "__main__":
    main()
