"""A case of a kernel in guarded memory: what runs, on what sizes, and how; `guarded_cases` runs them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tests.engine.kernels.guarded_memory import GuardedMemory, Side
from tests.engine.kernels.kernel_bench import address
from tui_llama.engine import ops
from tui_llama.engine.layouts.activations import SUMMARY_BYTES
from tui_llama.engine.layouts.plan_row import BATCH, ROW

SPARE_BYTES_OF_QUANTIZE = SUMMARY_BYTES[256]
"""Bytes for the parts of a summary that interleaved tokens do without."""

Run: TypeAlias = Callable[[GuardedMemory], None]


@dataclass(frozen=True, slots=True)
class Case:
    """One call of a kernel, or a few.

    Args:
        kernels: What runs.
        sizes: What it works on.
        side: Which side of all buffers is guarded to the byte.
        run: Takes buffers from guarded memory and calls the kernel.
    """

    kernels: tuple[ops.Operation, ...]
    sizes: str
    side: Side
    run: Run

    def __str__(self) -> str:
        names = " and ".join(kernel.name for kernel in self.kernels)
        return f"{names}, {self.sizes}, guarded at the {self.side} of its buffers"


def on_both_sides(kernels: tuple[ops.Operation, ...], sizes: str, run: Run) -> Iterator[Case]:
    """Yields a case for each side of its buffers that can be guarded to the byte."""
    for side in Side:
        yield Case(kernels, sizes, side, run)


def run_row(
    memory: GuardedMemory, operation: str, unit_count: int, scratch_bytes: int, batch: dict[str, int], **fields: float
) -> None:
    """Does all units of one row of a plan; scratch is the thread's memory, row and batch are guarded as well."""
    row, batch_numbers = memory.zeros((), ROW), memory.zeros((), BATCH)
    for numbers, values in ((row, fields), (batch_numbers, batch)):
        for name, value in values.items():
            numbers[name] = value
    scratch = memory.zeros(scratch_bytes, np.uint8)
    ops.plan_operation(operation)(address(row), address(batch_numbers), 0, unit_count, address(scratch))
