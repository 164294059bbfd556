"""The limits: every kernel runs to its end on every thread, and what comes out can be divided by."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from tui_llama.bench import machine_limits
from tui_llama.bench.machine_limits import MachineLimits
from tui_llama.engine import ops
from tui_llama.engine.layouts.machine_limits import GATE_AT, GROUPS, PASS_BYTES, SCRATCH_BYTES
from tui_llama.engine.layouts.wait_gate import prepare_gate
from tui_llama.engine.machine.memory import zeroed_array

MEGABYTE = 1 << 20


def small_numbers() -> npt.NDArray[np.uint8]:
    """Operands below 16: (SCRATCH_BYTES,) uint8."""
    return np.random.default_rng(0).integers(0, 16, SCRATCH_BYTES, np.uint8)


@pytest.mark.parametrize("thread_count", [1, 2, 5])
def test_a_sample_has_two_rates(thread_count: int) -> None:
    sample = MachineLimits(buffer_bytes=MEGABYTE).sample(thread_count)
    assert all(math.isfinite(rate) and rate > 0 for rate in (sample.read_gb_s, sample.dot_gmac_s))


def test_reading_reads_every_byte() -> None:
    buffer = zeroed_array((2 * MEGABYTE,), np.uint8)
    numbers = buffer.view(np.int64)
    numbers[:] = np.arange(len(numbers)) % 1000
    shared, times = zeroed_array((PASS_BYTES,), np.uint8), zeroed_array((2,), np.int64)
    prepare_gate(int(shared.ctypes.data) + GATE_AT)

    total = ops.READ_PASS(int(shared.ctypes.data), 1, int(times.ctypes.data), int(buffer.ctypes.data), 2, 2048, 3)

    # The sum is that of one lane in eight; a lap that were left out would be missing in it.
    assert total == 3 * int(numbers.reshape(-1, 8)[:, 0].sum())
    assert times[1] > times[0] > 0


@pytest.mark.parametrize(
    ("multiply", "grid"),
    [(ops.MULTIPLY_PASS_4_BY_3, (4, 3)), (ops.MULTIPLY_PASS_2_BY_3, (2, 3))],
)
def test_multiplying_computes_what_is_counted(multiply: Callable[..., None], grid: tuple[int, int]) -> None:
    rounds, scratch = 3, small_numbers()
    shared, times = zeroed_array((PASS_BYTES,), np.uint8), zeroed_array((2,), np.int64)
    prepare_gate(int(shared.ctypes.data) + GATE_AT)
    operands = scratch[: 64 * sum(grid)].reshape(-1, 16, 4).astype(np.int64)

    multiply(int(shared.ctypes.data), 1, int(times.ctypes.data), int(scratch.ctypes.data), 1, rounds)

    sums = scratch[SCRATCH_BYTES // 2 :].view(np.int32).reshape(-1, 16)
    for index in range(grid[0] * grid[1]):
        unsigned, signed = operands[index // grid[1]], operands[grid[0] + index % grid[1]]
        assert (sums[index] == rounds * GROUPS * (unsigned * signed).sum(axis=1)).all()


@pytest.mark.skipif(not machine_limits.HAS_TILE_MULTIPLIER, reason="needs a tile multiplier")
def test_the_tile_multiplier_computes_what_is_counted() -> None:
    rounds, scratch = 3, small_numbers()
    shared, times = zeroed_array((PASS_BYTES,), np.uint8), zeroed_array((2,), np.int64)
    prepare_gate(int(shared.ctypes.data) + GATE_AT)
    tile = scratch[:1024].astype(np.int64).reshape(16, 64)

    ops.MULTIPLY_PASS_TILES(int(shared.ctypes.data), 1, int(times.ctypes.data), int(scratch.ctypes.data), 1, rounds)

    sums = scratch[SCRATCH_BYTES // 2 :][:1024].view(np.int32).reshape(16, 16)
    columns = tile.reshape(16, 16, 4).transpose(1, 0, 2).reshape(16, 64)  # four rows of a column lie side by side
    assert (sums == rounds * GROUPS * (tile @ columns.T)).all()
