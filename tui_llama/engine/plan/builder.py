"""Builds a plan: the operations that forward passes are written in, each one checked and appended as rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tui_llama.engine import ops
from tui_llama.engine.layouts import amx_panel
from tui_llama.engine.layouts import attention as attention_sizes
from tui_llama.engine.layouts.activations import activation_bytes
from tui_llama.engine.layouts.plan_row import (
    PER_PLAN,
    ROW,
)
from tui_llama.engine.machine.memory import padded, zeroed_array
from tui_llama.engine.ops import Operation
from tui_llama.engine.plan.attention_steps import AttentionSteps
from tui_llama.engine.plan.expert_steps import ExpertSteps
from tui_llama.engine.plan.forward.plan_writer import MatrixName, Rows
from tui_llama.engine.plan.plan import Buffer, Plan, PlanStep
from tui_llama.engine.tensors.hyperparameters import Activation, NormKind
from tui_llama.engine.tensors.matrices import Matrix
from tui_llama.engine.tensors.tile_records import record_address
from tui_llama.engine.tensors.weights import float_info, has_number

_NORMS = {"rms": ops.RMS_NORM, "layer": ops.LAYER_NORM}
_GATES: Mapping[Activation, Operation] = {
    "silu": ops.SWIGLU, "gelu": ops.GEGLU, "clamped_silu": ops.CLAMPED_SWIGLU, "sigmoid": ops.GATE_BY_SIGMOID,
    "relu": ops.REGLU, "relu_squared": ops.GATE_BY_RELU_SQUARED,
}  # fmt: skip
_ACTIVATIONS: Mapping[Activation, Operation] = {
    "gelu": ops.GELU, "relu_squared": ops.RELU_SQUARED, "xielu": ops.XIELU, "sigmoid": ops.SIGMOID,
    "softplus": ops.SOFTPLUS,
}  # fmt: skip


@dataclass
class PlanBuilder(AttentionSteps):
    """Builds a plan operation by operation; its methods are the operations that forward passes are written in."""

    _experts: ExpertSteps | None = None

    @property
    def experts(self) -> ExpertSteps:
        """The operations on mixtures of experts."""
        if self._experts is None:
            self._experts = ExpertSteps(self)
        return self._experts

    def embed(self, name: str, target: Buffer, scale: float = 1.0) -> None:
        """Looks up the embedding rows of token ids, as wide as the target, and multiplies them."""
        matrix = self.weights.matrix(f"{name}.weight", self.sizes.vocab_size, target.width)
        self.keep(matrix.data)
        self.add_step(
            PlanStep(ops.EMBED.name, name),
            output=target.address, output_stride=target.stride_bytes, weight=int(matrix.data.ctypes.data),
            weight_stride=matrix.tile_row_bytes, columns=target.width, mode=matrix.layout.type_id, scale=scale, units=1,
            extra=record_address(matrix.layout),
        )  # fmt: skip

    def embed_positions(self, name: str, target: Buffer) -> None:
        """Looks up the rows of tokens' positions in a table of floats, one row for each of the trained context."""
        known, asked, file = self.sizes.context_length, self.cache.context_size, self.weights.file
        if asked > known:
            raise file.refuse(
                f"the model knows {known} positions only, but a context of {asked} was asked for",
                f"Use a --ctx of at most {known}.",
            )
        float_info(file, f"{name}.weight", (target.width, known))
        table = self.weights.matrix(f"{name}.weight", known, target.width)
        self.keep(table.data)
        self.add_step(
            PlanStep(ops.EMBED_POSITIONS.name, name),
            output=target.address, output_stride=target.stride_bytes, weight=int(table.data.ctypes.data),
            weight_stride=table.tile_row_bytes, columns=target.width, mode=table.layout.type_id, units=1,
        )  # fmt: skip

    def norm(
        self, source: Buffer, name: str, kind: NormKind, *, bias_required: bool = False, target: str = "normed"
    ) -> Buffer:
        """Computes the norm of whole rows into a buffer that its next norm overwrites, and adds its bias."""
        normed = self.buffer(target, source.width)
        self._add_norm(source, normed, name, kind, bias_required=bias_required)
        return normed

    def norm_in_place(self, values: Buffer, name: str, kind: NormKind) -> None:
        """Computes the norm of whole rows over the rows themselves."""
        self._add_norm(values, values, name, kind)

    def head_norm(
        self, values: Buffer, name: str, heads: int, kind: NormKind, *, vector_per_head: bool = False
    ) -> None:
        """Computes the norm of each of the heads in a row, in place; without weights if the name is ""."""
        self._add_norm(values, values, name, kind, heads, vector_per_head=vector_per_head)

    def bare_head_norm(self, source: Buffer, target: Buffer, heads: int) -> None:
        """Computes root-mean-square norms of heads without weights; the target may be the source."""
        self._add_norm(source, target, "", "rms", heads)

    def multiply(
        self, source: Buffer, targets: Mapping[MatrixName, Buffer], *, add: bool = False, bias_required: bool = False
    ) -> None:
        """Multiplies one input with one or more matrices. The input is quantised once, and the team waits once.

        A product is multiplied by the factor that the file has for its matrix (`NAME.scale`), if it has one.

        Args:
            source: The input.
            targets: Names of matrices, and the buffers of their products.
            add: True: products are added to the targets' content.
            bias_required: True: a missing bias is an error. A bias that the file has is always added.
        """
        matrices = [(self._matrix(name, target.width, source.width), name, target) for name, target in targets.items()]
        inputs = {1: source}
        for matrix, _, _ in matrices:
            if matrix.layout.columns not in inputs:
                inputs[matrix.layout.columns] = self._quantize(source, matrix.layout.columns)
        for matrix, name, target in matrices:
            vectors = (self._factor(name), self._bias(name, target.width, bias_required))
            self._add_product(matrix, inputs[matrix.layout.columns], target, vectors, add)
        self._rows[-1]["barrier"] = 1

    def multiply_heads(self, sources: Sequence[Buffer], matrices: Sequence[Rows], targets: Sequence[Buffer]) -> None:
        """Multiplies each input with a matrix of its own. The team waits for all inputs, then for all products."""
        products = []
        for head, (source, name, target) in enumerate(zip(sources, matrices, targets, strict=True)):
            matrix = self._matrix(name, target.width, source.width)
            if matrix.layout.columns > 1:
                quantised = self._quantize(source, matrix.layout.columns, f"head {head}")
                self._rows[-1]["barrier"] = int(head == len(sources) - 1)
                products.append((matrix, quantised, target, self._factor(name)))
            else:
                products.append((matrix, source, target, self._factor(name)))
        for matrix, source, target, factor in products:
            self._add_product(matrix, source, target, (factor, None), add=False)
        self._rows[-1]["barrier"] = 1

    def copy_heads(self, source: Buffer, source_step: int, target: Buffer, target_step: int, heads: int) -> None:
        """Copies a part of each head, as wide as the target; heads are so many numbers apart."""
        self.add_step(
            PlanStep(ops.COPY_HEADS.name, f"{source.name} to {target.name}"), **self.from_to(source, target),
            columns=min(source.width, target.width), heads=heads, head_dim=source_step, padded_head_dim=target_step,
            units=1,
        )  # fmt: skip

    def add(self, target: Buffer, source: Buffer, scale: float) -> None:
        """Adds values, multiplied by a factor, to others."""
        self.add_step(
            PlanStep(ops.ADD.name, f"{source.name} to {target.name}"),
            **self.from_to(source, target), columns=target.width, scale=scale, units=1,
        )  # fmt: skip

    def gate(self, gates: Buffer, ups: Buffer, activation: Activation, limit: float = 0.0) -> Buffer:
        """Computes activation(gates) × ups, and overwrites the gates; both factors have the limit, unless it is 0."""
        operation = ops.LIMITED_SWIGLU if limit and activation == "silu" else _GATES[activation]
        self.add_step(
            PlanStep(operation.name, "feed-forward"), soft_cap=limit,
            **self.from_to(gates, gates), extra=ups.address, extra_stride=ups.stride_bytes,
            columns=padded(gates.width), units=gates.rows_per_token, is_grouped=gates.is_grouped,
        )  # fmt: skip
        return gates

    def weigh(self, values: Buffer, weights: Buffer) -> None:
        """Multiplies the values of each token by the sigmoid of a number, in place."""
        self.add_step(
            PlanStep(ops.WEIGH.name, values.name), **self.from_to(values, values), extra=weights.address,
            extra_stride=weights.stride_bytes, columns=padded(values.width), units=1,
        )  # fmt: skip

    def weigh_heads(self, values: Buffer, weights: Buffer) -> None:
        """Multiplies each head of values by a number of its own, in place; as many heads as there are numbers."""
        self.add_step(
            PlanStep(ops.WEIGH_HEADS.name, values.name), **self.from_to(values, values), extra=weights.address,
            extra_stride=weights.stride_bytes, heads=weights.width, head_dim=values.width // weights.width, units=1,
        )  # fmt: skip

    def activate(self, values: Buffer, activation: Activation, numbers: Sequence[float] = ()) -> None:
        """Computes the activation of values, in place, with the numbers of the layer."""
        of_layer = np.array(numbers, np.float32)
        self.keep(of_layer)
        self.add_step(
            PlanStep(_ACTIVATIONS[activation].name, values.name), weight=int(of_layer.ctypes.data),
            **self.from_to(values, values), columns=padded(values.width), units=1,
        )  # fmt: skip

    def scale_and_cap(self, values: Buffer, scale: float, cap: float) -> None:
        """Multiplies values, and limits them to cap · tanh(value / cap), in place; a cap of 0 is none."""
        self.add_step(
            PlanStep(ops.SCALE_AND_CAP.name, values.name),
            **self.from_to(values, values), columns=padded(values.width), scale=scale, soft_cap=cap, units=1,
        )  # fmt: skip

    def limit(self, values: Buffer, most: float) -> None:
        """Replaces values above a limit or below its negative, in place."""
        self.add_step(
            PlanStep(ops.LIMIT.name, values.name),
            **self.from_to(values, values), columns=padded(values.width), scale=most, units=1,
        )  # fmt: skip

    def multiply_by(self, values: Buffer, name: str) -> None:
        """Multiplies values by the only number of a tensor, in place."""
        self.scale_and_cap(values, float(self.weights.vector(f"{name}.weight", 1)[0]), 0.0)

    def build(self) -> Plan:
        """Returns the finished plan, without kernel addresses."""
        scratch_bytes = [
            attention_sizes.scratch_bytes(self.cache.width(layer.head_dim), self.cache.width(layer.value_dim))
            for layer in self.sizes.layers
        ]
        scratch_bytes.append(amx_panel.SCRATCH_BYTES)
        if self._experts is not None:
            scratch_bytes.append(self._experts.scratch_bytes)
        return Plan(
            rows=np.array(self._rows, ROW),
            steps=self._steps,
            logits=self.logits,
            rotary=self.rotary,
            scratch_bytes=padded(max(scratch_bytes), 64),
            keep_alive=[*self._keep_alive, self._buffers],
        )

    def _quantize(self, source: Buffer, columns: int, part: str = "") -> Buffer:
        blocks, name = source.width // columns, f"{source.name}{part}, quantised by {columns}"
        target = self.shared(name, blocks, (activation_bytes(source.width, columns),), np.uint8)
        self.add_step(
            PlanStep(ops.quantization(columns).name, source.name),
            **self.from_to(source, target), columns=blocks, units=1,
        )  # fmt: skip
        return target

    def _add_product(
        self,
        matrix: Matrix,
        source: Buffer,
        target: Buffer,
        factor_and_bias: tuple[npt.NDArray[np.float32] | None, npt.NDArray[np.float32] | None],
        add: bool,
    ) -> None:
        self.keep(matrix.data, factor_and_bias)
        factor, bias = (0 if vector is None else int(vector.ctypes.data) for vector in factor_and_bias)
        self.add_step(
            PlanStep(
                ops.matrix_product(matrix.layout).name, matrix.name,
                len(matrix.data), matrix.rows * matrix.columns,
            ),
            per_token=PER_PLAN, barrier=0, **self.from_to(source, target),
            weight=int(matrix.data.ctypes.data), weight_stride=matrix.tile_row_bytes, columns=matrix.blocks,
            units=matrix.tile_count, factor=factor, extra=bias, accumulate=int(add),
        )  # fmt: skip

    def _add_norm(
        self,
        source: Buffer,
        target: Buffer,
        name: str,
        kind: NormKind,
        heads: int = 1,
        *,
        vector_per_head: bool = False,
        bias_required: bool = False,
    ) -> None:
        columns, vectors = source.width // heads, heads if vector_per_head else 1
        weight = self._ones(columns) if not name else self.weights.vectors(f"{name}.weight", vectors, columns)
        may_have_bias = bool(name) and (bias_required or kind == "layer")
        bias = self._bias(name, columns, bias_required) if may_have_bias else None
        self.keep(weight, bias)
        self.add_step(
            PlanStep(_NORMS[kind].name, name or source.name),
            **self.from_to(source, target), weight=int(weight.ctypes.data),
            weight_stride=weight.strides[0] if vector_per_head else 0, heads=heads, columns=columns,
            extra=0 if bias is None else int(bias.ctypes.data), epsilon=self.sizes.epsilon, units=heads,
        )  # fmt: skip

    def _ones(self, count: int) -> npt.NDArray[np.float32]:
        """Returns the weights of a norm without weights."""
        ones = zeroed_array((1, padded(count)), np.float32).view(np.float32)
        ones[:] = 1.0
        return ones

    def _matrix(self, name: MatrixName, rows: int, columns: int) -> Matrix:
        if isinstance(name, Rows):
            return self.weights.matrix_rows(f"{name.name}.weight", (name.first, rows, name.total), columns, name.slabs)
        return self.weights.matrix(f"{name}.weight", rows, columns)

    def _factor(self, name: MatrixName) -> npt.NDArray[np.float32] | None:
        tensor = name.name if isinstance(name, Rows) else name
        return self.weights.vector(f"{tensor}.scale", 1) if has_number(self.weights.file, f"{tensor}.scale") else None

    def _bias(self, name: MatrixName, width: int, required: bool) -> npt.NDArray[np.float32] | None:
        if isinstance(name, Rows):
            if self.weights.has(f"{name.name}.bias"):
                return self.weights.vector_part(f"{name.name}.bias", (name.first, width, name.total))
            name = name.own_name
        if required or self.weights.has(f"{name}.bias"):
            return self.weights.vector(f"{name}.bias", width)
        return None
