"""The plan: a model's forward pass as a table of plan steps, built once and run for every batch.

A `Plan` holds the finished table, the buffers that its rows point to, and the texts to print it. `builder.PlanBuilder`
makes it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tui_llama.engine import ops
from tui_llama.engine.tensors.rotary import RotaryTables


@dataclass(frozen=True, slots=True)
class Buffer:
    """Working memory with one row for each token of a batch.

    Args:
        name: For printing.
        width: Elements of a row without its padding.
        data: (batch_tokens, padded width) float32, or bytes for quantised activations; padding stays zero.
        experts_per_token: Where a token has a row for each expert that it uses, their number; rows then lie in the
            order of layouts/routing.py. 0: a token has one row, in the order of the tokens.
    """

    name: str
    width: int
    data: npt.NDArray[np.generic]
    experts_per_token: int = 0

    @property
    def is_grouped(self) -> bool:
        """True if rows are those of experts' groups."""
        return self.experts_per_token > 0

    @property
    def rows_per_token(self) -> int:
        """Rows of one token."""
        return max(1, self.experts_per_token)

    @property
    def address(self) -> int:
        """Address of the first row."""
        return int(self.data.ctypes.data)

    @property
    def stride_bytes(self) -> int:
        """Bytes from one token to the next."""
        return int(self.data.strides[0])


@dataclass(frozen=True, slots=True)
class PlanStep:
    """Description of one plan step, for printing and counting.

    Args:
        operation: Its name in `ops`.
        detail: What the operation works on.
        weight_bytes: Bytes of weights that it reads for one token.
        macs_per_token: Multiply-accumulates for one token, without attention.
        inner_operation: Name of the operation that it calls for each part of its work, or "".
    """

    operation: str
    detail: str
    weight_bytes: int = 0
    macs_per_token: int = 0
    inner_operation: str = ""


@dataclass
class Plan:
    """A finished plan. `rows` is ready to run after `set_kernels`."""

    rows: npt.NDArray[np.void]
    steps: list[PlanStep]
    logits: Buffer
    rotary: RotaryTables
    scratch_bytes: int
    keep_alive: list[object]

    @property
    def kernels(self) -> list[ops.Operation]:
        """The kernels that the plan needs, each once, in order of first use."""
        names = [name for step in self.steps for name in (step.operation, step.inner_operation) if name]
        return list(dict.fromkeys(map(ops.plan_operation, names)))

    def set_kernels(self) -> None:
        """Writes the addresses of the kernels into the rows, and loads kernels that are not loaded yet."""
        addresses = {kernel.name: kernel.address for kernel in self.kernels}
        for row, step in zip(self.rows, self.steps, strict=True):
            row["kernel"] = addresses[step.operation]
            row["inner_kernel"] = addresses.get(step.inner_operation, 0)

    def __str__(self) -> str:
        lines = [f"{'operation':<16}{'weights MB':>11}{'MMAC/token':>12}  on"]
        for step in self.steps:
            weights = f"{step.weight_bytes / 1e6:.1f}" if step.weight_bytes else ""
            macs = f"{step.macs_per_token / 1e6:.1f}" if step.macs_per_token else ""
            lines.append(f"{step.operation:<16}{weights:>11}{macs:>12}  {step.detail}")
        return "\n".join(lines)
