"""Builds the steps of a plan that mixtures of experts need: the `ExpertWriter` of `builder.PlanBuilder`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tui_llama.engine import ops
from tui_llama.engine.layouts import amx_panel, file_experts
from tui_llama.engine.layouts.activations import activation_bytes
from tui_llama.engine.layouts.plan_row import PER_CHOSEN_EXPERT, PER_PLAN
from tui_llama.engine.layouts.routing import (
    INNER_SCRATCH_AT,
    SCALED_INPUT_AT,
    SOURCE_IS_A_PAIR,
    SOURCE_IS_A_TOKEN,
)
from tui_llama.engine.layouts.weight_tile import TileFormat
from tui_llama.engine.machine.memory import odd_lines, padded
from tui_llama.engine.plan.forward.expert_writer import ExpertMatrixName
from tui_llama.engine.plan.plan import Buffer, PlanStep
from tui_llama.engine.tensors.expert_sizes import ExpertSizes
from tui_llama.engine.tensors.file_experts import CAN_ASK_AHEAD
from tui_llama.engine.tensors.matrices import ExpertMatrices
from tui_llama.engine.tensors.routing import Routing

if TYPE_CHECKING:
    from tui_llama.engine.plan.builder import PlanBuilder

FloatArray = npt.NDArray[np.float32]


@dataclass
class ExpertSteps:
    """Appends steps for experts to a plan.

    Args:
        plan: The plan that is being built.
    """

    plan: "PlanBuilder"
    _rules: dict[ExpertSizes, npt.NDArray[np.void]] = field(default_factory=dict)
    _routing: Routing = field(init=False)

    def __post_init__(self) -> None:
        experts = [layer.experts for layer in self.plan.sizes.layers if layer.experts is not None]
        most_count, self._most_used = (max(getattr(of, name) for of in experts) for name in ("count", "used_count"))
        self._routing = Routing(self.plan.batch_tokens, most_count, self._most_used)
        # See layouts/routing.py and kernels/experts for what is in scratch memory.
        self.scratch_bytes = max(
            20 * padded(most_count), 64 + 4 * self._most_used, INNER_SCRATCH_AT + amx_panel.SCRATCH_BYTES,
            SCALED_INPUT_AT + odd_lines(4 * self.plan.sizes.embedding_size),
        )  # fmt: skip
        self.plan.keep(self._routing)

    def norm_for_router(self, source: Buffer, name: str, scale: float) -> Buffer:
        """Computes the norm that a router reads; for this and everything below see `ExpertWriter`."""
        target = self.plan.buffer("router input", source.width)
        weight = self.plan.weights.vector(name, source.width) * np.float32(scale)
        self.plan.add_step(
            PlanStep(ops.RMS_NORM.name, name), input=source.address, input_stride=source.stride_bytes,
            output=target.address, output_stride=target.stride_bytes, weight=self._address(weight), heads=1,
            columns=source.width, epsilon=self.plan.sizes.epsilon, units=1,
        )  # fmt: skip
        return target

    def choose(self, logits: Buffer, experts: ExpertSizes, selection_bias: str) -> None:
        """Chooses and weighs the experts of each token."""
        bias = self.plan.weights.vector(selection_bias, experts.count) if selection_bias else None
        rule = self._rule(experts)
        self.plan.add_step(
            PlanStep(ops.CHOOSE_EXPERTS.name, f"{experts.used_count} of {experts.count} experts"),
            input=logits.address, input_stride=logits.stride_bytes, routing=rule, units=1, extra=self._address(bias),
        )  # fmt: skip
        self.plan.add_step(PlanStep(ops.GROUP_TOKENS.name, "by expert"), per_token=PER_PLAN, routing=rule, units=1)

    def buffer(self, name: str, width: int, experts: ExpertSizes) -> Buffer:
        """Returns the float32 buffer of that name and width, with a row for each expert of each token."""
        rows, row_shape = self.plan.batch_tokens * self._most_used, (odd_lines(4 * width) // 4,)
        name = f"{name} × {experts.used_count}"
        return self.plan.shared(name, width, row_shape, np.float32, rows=rows, experts=experts.used_count)

    def multiply(
        self,
        source: Buffer,
        targets: Mapping[ExpertMatrixName, Buffer],
        experts: ExpertSizes,
        *,
        bias_required: bool = False,
    ) -> None:
        """Multiplies an input with matrices of the chosen experts, for each weight type with an input of its own."""
        matrices = [
            (self._matrices(name, target.width, source.width, experts), name, target)
            for name, target in targets.items()
        ]
        self._ask_for([found for found, _, _ in matrices], experts)
        inputs: dict[int, Buffer] = {}
        for found, _, _ in matrices:
            columns = found.first.layout.columns
            if columns not in inputs:
                inputs[columns] = self._spread(source, found.first.layout, experts)
        for number, (found, name, target) in enumerate(matrices):
            vectors = (self._factors(name, experts), self._biases(name, target.width, experts, bias_required))
            source_of_type, is_last = inputs[found.first.layout.columns], number == len(matrices) - 1
            self._add_product(found, source_of_type, target, vectors, experts, barrier=int(is_last))

    def add(self, target: Buffer, outputs: Buffer, experts: ExpertSizes, *, add: bool) -> None:
        """Adds what the chosen experts return."""
        self.plan.add_step(
            PlanStep(ops.ADD_EXPERTS.name, f"{outputs.name} to {target.name}"),
            input=outputs.address, input_stride=outputs.stride_bytes, output=target.address,
            output_stride=target.stride_bytes, routing=self._rule(experts), columns=padded(target.width),
            accumulate=int(add), units=1,
        )  # fmt: skip

    def _rule(self, experts: ExpertSizes) -> int:
        """Returns the address of a layer's rule."""
        if experts not in self._rules:
            self._rules[experts] = self._routing.rule(experts)
            self.plan.keep(self._rules[experts])
        return int(self._rules[experts].ctypes.data)

    def _spread(self, source: Buffer, layout: TileFormat, experts: ExpertSizes) -> Buffer:
        """Emits the experts' input in the order of their groups, as weights of this format want it."""
        columns = layout.columns
        name = f"{source.name}, by {columns}, × {experts.used_count}"
        size = odd_lines(4 * source.width) if layout.is_float else activation_bytes(source.width, columns)
        rows = self._routing.most_input_rows
        target = self.plan.shared(name, source.width, (size,), np.uint8, rows=rows, experts=experts.used_count)
        self.plan.add_step(
            PlanStep(
                ops.SPREAD_INPUTS.name, source.name,
                inner_operation="" if layout.is_float else ops.quantization(columns).name,
            ),
            input=source.address, input_stride=source.stride_bytes, output=target.address,
            output_stride=target.stride_bytes, columns=source.width // columns, routing=self._rule(experts), units=1,
            mode=SOURCE_IS_A_PAIR if source.is_grouped else SOURCE_IS_A_TOKEN,
        )  # fmt: skip
        return target

    def _ask_for(self, matrices: Sequence[ExpertMatrices], experts: ExpertSizes) -> None:
        """Emits the advice to the system about those matrices that are in the file."""
        for each in matrices:
            if each.in_file is not None and CAN_ASK_AHEAD:
                self.plan.add_step(
                    PlanStep(ops.ASK_FOR_FILE_EXPERTS.name, each.name), per_token=PER_PLAN, units=1,
                    weight=int(each.in_file.ctypes.data), routing=self._rule(experts),
                )  # fmt: skip

    def _add_product(
        self,
        matrices: ExpertMatrices,
        source: Buffer,
        target: Buffer,
        factors_and_biases: tuple[FloatArray | None, FloatArray | None],
        experts: ExpertSizes,
        *,
        barrier: int,
    ) -> None:
        first, (factors, biases) = matrices.first, factors_and_biases
        weight: npt.NDArray[np.generic] = matrices.data
        operation = ops.MULTIPLY_EXPERTS
        if matrices.in_file is not None:
            weight, operation = matrices.in_file, ops.MULTIPLY_FILE_EXPERTS
            self.scratch_bytes = max(self.scratch_bytes, file_experts.scratch_bytes(first.layout, first.columns))
        self.plan.keep(weight)
        self.plan.add_step(
            PlanStep(
                operation.name, matrices.name, experts.used_count * matrices.expert_bytes,
                experts.used_count * first.rows * first.columns, ops.matrix_product(first.layout).name,
            ),
            per_token=PER_CHOSEN_EXPERT, barrier=barrier, input=source.address, input_stride=source.stride_bytes,
            output=target.address, output_stride=target.stride_bytes, weight=int(weight.ctypes.data),
            expert_stride=matrices.expert_bytes, tile_row_bytes=first.tile_row_bytes, columns=first.blocks,
            units=first.tile_count, factor=self._address(factors), extra=self._address(biases),
            extra_stride=0 if biases is None else biases.strides[0], routing=self._rule(experts),
            expert_count=experts.count, used_count=experts.used_count,
        )  # fmt: skip

    def _matrices(self, name: ExpertMatrixName, rows: int, columns: int, experts: ExpertSizes) -> ExpertMatrices:
        tensor, first, total = (name, 0, rows) if isinstance(name, str) else (name.name, name.first, name.total)
        return self.plan.weights.expert_matrices(f"{tensor}.weight", experts.count, (first, rows, total), columns)

    def _biases(self, name: ExpertMatrixName, width: int, experts: ExpertSizes, required: bool) -> FloatArray | None:
        """Returns the biases of all experts, each padded to whole vectors: (experts, padded width) float32."""
        tensor, first, total = (name, 0, width) if isinstance(name, str) else (name.name, name.first, name.total)
        if not required and not self.plan.weights.has(f"{tensor}.bias"):
            return None
        whole = self.plan.weights.vectors(f"{tensor}.bias", experts.count, total)
        if (first, width) == (0, total):
            return whole
        biases = np.zeros((experts.count, padded(width)), np.float32)
        biases[:, :width] = whole[:, first : first + width]
        return biases

    def _factors(self, name: ExpertMatrixName, experts: ExpertSizes) -> FloatArray | None:
        """Returns a factor of each expert's product, or None."""
        scale = f"{name if isinstance(name, str) else name.name}.scale"
        return self.plan.weights.vector(scale, experts.count) if self.plan.weights.has(scale) else None

    def _address(self, array: FloatArray | None) -> int:
        """Returns the address of an array that the plan keeps alive; 0 for none."""
        if array is None:
            return 0
        self.plan.keep(array)
        return int(array.ctypes.data)
