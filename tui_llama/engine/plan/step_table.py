"""The table of steps that a plan is built from, and the buffers that steps share."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tui_llama.engine.layouts.activations import SPARE_TOKENS
from tui_llama.engine.layouts.plan_row import (
    EVERY_TOKEN,
    OUTPUT_TOKENS,
    PER_TOKEN,
    ROW,
    ROWS_OF_OUTPUT_TOKENS,
)
from tui_llama.engine.machine.memory import odd_lines, zeroed_array
from tui_llama.engine.plan.plan import Buffer, PlanStep
from tui_llama.engine.tensors.hyperparameters import Hyperparameters
from tui_llama.engine.tensors.kv_cache import CacheShape
from tui_llama.engine.tensors.rotary import RotaryTables
from tui_llama.engine.tensors.weights import Weights


@dataclass
class StepTable:
    """Collects the steps of a plan.

    Args:
        sizes: The model's sizes.
        weights: Supplies the tensors.
        rotary: The tables of angles.
        cache: Sizes of the caches that the plan will run with.
        batch_tokens: Most tokens of a batch.
    """

    sizes: Hyperparameters
    weights: Weights
    rotary: RotaryTables
    cache: CacheShape
    batch_tokens: int
    _rows: list[npt.NDArray[np.void]] = field(default_factory=list)
    _steps: list[PlanStep] = field(default_factory=list)
    _buffers: dict[tuple[str, int], Buffer] = field(default_factory=dict)
    _keep_alive: list[object] = field(default_factory=list)
    _output_tokens_only: bool = False

    @property
    def logits(self) -> Buffer:
        """Buffer for the logits: float32 (batch_tokens, padded vocab)."""
        return self.buffer("logits", self.sizes.vocab_size)

    def has(self, name: str) -> bool:
        """Tells whether the model has a tensor of that name."""
        return self.weights.has(name)

    def buffer(self, name: str, width: int) -> Buffer:
        """Returns the float32 buffer of that name and width, which all operations that request it share."""
        return self.shared(name, width, (odd_lines(4 * width) // 4,), np.float32)

    def part(self, values: Buffer, first: int, width: int) -> Buffer:
        """Returns `width` numbers of each token, from the number `first` on, of a buffer."""
        return Buffer(f"{values.name} from {first} on", width, values.data[:, first:])

    def continue_with_output_tokens(self) -> None:
        """Restricts all further operations to tokens whose logits are wanted."""
        self._output_tokens_only = True

    def add_step(
        self, step: PlanStep, *, per_token: int = PER_TOKEN, barrier: int = 1, is_grouped: int = 0, **fields: float
    ) -> None:
        """Appends a step.

        Args:
            step: Its description.
            per_token: What `units` counts.
            barrier: 1: the next step has to wait for this one.
            is_grouped: 1: its rows are those of experts' groups, not of tokens.
            fields: Other fields of its row; see layouts/plan_row.py.
        """
        tokens = EVERY_TOKEN
        if self._output_tokens_only:
            tokens = ROWS_OF_OUTPUT_TOKENS if is_grouped else OUTPUT_TOKENS
        row = np.zeros((), ROW)
        for name, value in (
            fields | {"per_token": per_token, "barrier": barrier, "output_tokens_only": tokens}
        ).items():
            row[name] = value
        self._rows.append(row)
        self._steps.append(step)

    def shared(
        self,
        name: str,
        width: int,
        row_shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        *,
        rows: int = 0,
        experts: int = 0,
    ) -> Buffer:
        """Returns the buffer of that name and width, which all operations that request it share.

        Args:
            name: For printing.
            width: Elements of a row.
            row_shape: Shape of a row in memory.
            dtype: Of its elements.
            rows: Rows for a batch; 0 for one for each token.
            experts: As in `Buffer.experts_per_token`.
        """
        if (name, width) not in self._buffers:
            data = zeroed_array(((rows or self.batch_tokens) + SPARE_TOKENS, *row_shape), dtype)
            self._buffers[name, width] = Buffer(name, width, data, experts)
        return self._buffers[name, width]

    def keep(self, *used: object) -> None:
        """Keeps what the plan's rows point to alive for as long as the plan."""
        self._keep_alive += used

    def from_to(self, source: Buffer, target: Buffer) -> dict[str, int]:
        """Returns the fields of a row that reads one buffer and writes another, or the same."""
        return {
            "input": source.address,
            "input_stride": source.stride_bytes,
            "output": target.address,
            "output_stride": target.stride_bytes,
        }
