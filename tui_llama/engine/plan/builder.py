"""Builds a plan: the operations that forward passes are written in, each one checked and appended as rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tui_llama.engine import ops
from tui_llama.engine.layouts import amx_panel
from tui_llama.engine.layouts import attention as attention_sizes
from tui_llama.engine.layouts.activations import SPARE_TOKENS, activation_bytes
from tui_llama.engine.layouts.plan_row import (
    CHUNKED,
    EVERY_TOKEN,
    HALVES,
    NEIGHBOURS,
    OUTPUT_TOKENS,
    PER_PLAN,
    PER_TOKEN,
    PER_TOKEN_GROUP,
    ROW,
    ROWS_OF_OUTPUT_TOKENS,
    SLIDING,
)
from tui_llama.engine.machine.memory import odd_lines, padded, zeroed_array, zeroed_bytes
from tui_llama.engine.plan.architectures.declaration import Activation, NormKind
from tui_llama.engine.plan.expert_steps import ExpertSteps
from tui_llama.engine.plan.forward.plan_writer import MatrixName, Rows
from tui_llama.engine.plan.plan import Buffer, Plan, PlanStep
from tui_llama.engine.tensors.grid_tables import table_address
from tui_llama.engine.tensors.hyperparameters import Hyperparameters, LayerSizes, QueryTemperature
from tui_llama.engine.tensors.kv_cache import CacheShape
from tui_llama.engine.tensors.matrices import Matrix
from tui_llama.engine.tensors.rotary import RotaryTables
from tui_llama.engine.tensors.weights import Weights

_ATTENTION_UNITS = 32  # of one token at depth: enough for many threads, few enough to cost nothing
_NORMS = {"rms": ops.RMS_NORM, "layer": ops.LAYER_NORM}
_GATES = {"silu": ops.SWIGLU, "gelu": ops.GEGLU, "clamped_silu": ops.CLAMPED_SWIGLU}
_ACTIVATIONS = {"gelu": ops.GELU, "relu_squared": ops.RELU_SQUARED}


@dataclass
class PlanBuilder:
    """Builds a plan operation by operation; its methods are the operations that architectures use.

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
    _temperature_tables: dict[QueryTemperature, npt.NDArray[np.float32]] = field(default_factory=dict)
    _shared_states: dict[tuple[int, int, int], npt.NDArray[np.uint8]] = field(default_factory=dict)
    _output_tokens_only: bool = False
    _experts: ExpertSteps | None = None

    @property
    def logits(self) -> Buffer:
        """Buffer for the logits: float32 (batch_tokens, padded vocab)."""
        return self.buffer("logits", self.sizes.vocab_size)

    @property
    def experts(self) -> ExpertSteps:
        """The operations on mixtures of experts."""
        if self._experts is None:
            self._experts = ExpertSteps(self)
        return self._experts

    def has(self, name: str) -> bool:
        """Tells whether the model has a tensor of that name."""
        return self.weights.has(name)

    def buffer(self, name: str, width: int) -> Buffer:
        """Returns the float32 buffer of that name and width, which all operations that request it share."""
        return self.shared(name, width, (odd_lines(4 * width) // 4,), np.float32)

    def embed(self, name: str, target: Buffer, scale: float = 1.0) -> None:
        """Looks up the embedding rows of token ids, as wide as the target, and multiplies them."""
        matrix = self.weights.embedding(f"{name}.weight", self.sizes.vocab_size, target.width)
        self._keep_alive.append(matrix.data)
        self.add_step(
            PlanStep(ops.embedding(matrix.layout).name, name),
            output=target.address, output_stride=target.stride_bytes, weight=int(matrix.data.ctypes.data),
            weight_stride=matrix.row_bytes, columns=target.width, mode=matrix.layout.type_id, scale=scale, units=1,
            extra=table_address(matrix.layout),
        )  # fmt: skip

    def part(self, values: Buffer, first: int, width: int) -> Buffer:
        """Returns `width` numbers of each token, from the number `first` on, of a buffer."""
        return Buffer(f"{values.name} from {first} on", width, values.data[:, first:])

    def norm(self, source: Buffer, name: str, kind: NormKind, *, bias_required: bool = False) -> Buffer:
        """Computes the norm of whole rows into a buffer that the next norm overwrites, and adds its bias."""
        target = self.buffer("normed", source.width)
        self._add_norm(source, target, name, kind, bias_required=bias_required)
        return target

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
            PlanStep(ops.COPY_HEADS.name, f"{source.name} to {target.name}"), **self._from_to(source, target),
            columns=min(source.width, target.width), heads=heads, head_dim=source_step, padded_head_dim=target_step,
            units=1,
        )  # fmt: skip

    def add(self, target: Buffer, source: Buffer, scale: float) -> None:
        """Adds values, multiplied by a factor, to others."""
        self.add_step(
            PlanStep(ops.ADD.name, f"{source.name} to {target.name}"),
            **self._from_to(source, target), columns=target.width, scale=scale, units=1,
        )  # fmt: skip

    def rotate(self, queries: Buffer, layer: int) -> Buffer:
        """Rotates the queries for their positions, applies the layer's temperature, and pads heads to whole vectors."""
        return self._pad_queries(queries, layer, self._rotation(layer))

    def arrange(self, queries: Buffer, layer: int) -> Buffer:
        """Does as `rotate` with queries that were rotated before."""
        return self._pad_queries(queries, layer, {})

    def rotate_in_place(self, values: Buffer, layer: int, heads: int) -> None:
        """Rotates queries or keys for their positions where they are."""
        rotation, head_dim = self._rotation(layer), self.sizes.layers[layer].head_dim
        if rotation:
            self.add_step(
                PlanStep(ops.ROTATE_QUERIES.name, values.name), **self._from_to(values, values), **rotation,
                heads=heads, head_dim=head_dim, padded_head_dim=head_dim, units=1,
            )  # fmt: skip

    def store(self, keys: Buffer, values: Buffer | None, layer: int, *, is_rotated: bool = False) -> None:
        """Rotates the keys for their positions, unless they are, and stores keys and values in the KV cache."""
        common = self.cache.row_fields(layer) | self._head_sizes(layer) | {"units": 1}
        self.add_step(
            PlanStep(ops.STORE_KEYS.name, f"layer {layer}"), barrier=0,
            input=keys.address, input_stride=keys.stride_bytes, **common,
            **({} if is_rotated else self._rotation(layer)),
        )  # fmt: skip
        if values is not None:
            self.add_step(
                PlanStep(ops.STORE_VALUES.name, f"layer {layer}"), barrier=0,
                input=values.address, input_stride=values.stride_bytes, **common,
            )  # fmt: skip

    def continue_with_output_tokens(self) -> None:
        """Restricts all further operations to tokens whose logits are wanted."""
        self._output_tokens_only = True

    def attention(self, rotated: Buffer, layer: int, *, sinks: str = "") -> Buffer:
        """Computes softmax attention over the KV cache.

        Args:
            rotated: Queries from `rotate`.
            layer: The layer, whose sizes say how its scores are made and which keys and values it sees.
            sinks: Name of a tensor (heads,) of scores that count in the softmax's sum and have no value, or "".
        """
        sizes = self.sizes.layers[layer]
        attended = self.buffer("attended", sizes.head_count * sizes.value_dim)
        place = self.cache.row_fields(sizes.kv_source)
        values = {"value_dim": sizes.value_dim, "padded_value_dim": self.cache.width(sizes.value_dim)}
        group = sizes.head_count // sizes.kv_head_count
        sinks_vector = self.weights.vector(sinks, sizes.head_count) if sinks else None
        self._keep_alive.append(sinks_vector)
        self.add_step(
            PlanStep(ops.ATTENTION.name, f"layer {layer}"), per_token=PER_TOKEN_GROUP,
            **self._from_to(rotated, attended), **self._head_sizes(layer), heads=sizes.head_count,
            **place | values, values_in_keys=int(place["value_dim"] == 0), scale=sizes.attention_scale,
            window=sizes.window, mode=CHUNKED if sizes.is_chunked else SLIDING,
            soft_cap=sizes.score_cap, extra=0 if sinks_vector is None else int(sinks_vector.ctypes.data),
            units=sizes.kv_head_count * -(-_ATTENTION_UNITS // sizes.kv_head_count),
            tokens_per_unit=attention_sizes.MOST_ROWS // group,
            **self._shared_runs(values["padded_value_dim"], place["kv_heads"], place["cache_positions"]),
        )  # fmt: skip
        return attended

    def gate(self, gates: Buffer, ups: Buffer, activation: Activation) -> Buffer:
        """Computes activation(gates) × ups, and overwrites the gates."""
        self.add_step(
            PlanStep(_GATES[activation].name, "feed-forward"),
            **self._from_to(gates, gates), extra=ups.address, extra_stride=ups.stride_bytes,
            columns=padded(gates.width), units=gates.rows_per_token, is_grouped=gates.is_grouped,
        )  # fmt: skip
        return gates

    def weigh(self, values: Buffer, weights: Buffer) -> None:
        """Multiplies the values of each token by the sigmoid of a number, in place."""
        self.add_step(
            PlanStep(ops.WEIGH.name, values.name), **self._from_to(values, values), extra=weights.address,
            extra_stride=weights.stride_bytes, columns=padded(values.width), units=1,
        )  # fmt: skip

    def activate(self, values: Buffer, activation: Activation) -> None:
        """Computes the activation of values, in place."""
        self.add_step(
            PlanStep(_ACTIVATIONS[activation].name, "feed-forward"),
            **self._from_to(values, values), columns=padded(values.width), units=1,
        )  # fmt: skip

    def scale_and_cap(self, values: Buffer, scale: float, cap: float) -> None:
        """Multiplies values, and limits them to cap · tanh(value / cap), in place; a cap of 0 is none."""
        self.add_step(
            PlanStep(ops.SCALE_AND_CAP.name, values.name),
            **self._from_to(values, values), columns=padded(values.width), scale=scale, soft_cap=cap, units=1,
        )  # fmt: skip

    def multiply_by(self, values: Buffer, name: str) -> None:
        """Multiplies values by the only number of a tensor, in place."""
        self.scale_and_cap(values, float(self.weights.vector(f"{name}.weight", 1)[0]), 0.0)

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
            keep_alive=[*self._keep_alive, self._buffers, self._temperature_tables, self._shared_states],
        )

    def _quantize(self, source: Buffer, columns: int, part: str = "") -> Buffer:
        blocks, name = source.width // columns, f"{source.name}{part}, quantised by {columns}"
        target = self.shared(name, blocks, (activation_bytes(source.width, columns),), np.uint8)
        self.add_step(
            PlanStep(ops.quantization(columns).name, source.name),
            **self._from_to(source, target), columns=blocks, units=1,
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
        self._keep_alive += [matrix.data, factor_and_bias]
        factor, bias = (0 if vector is None else int(vector.ctypes.data) for vector in factor_and_bias)
        self.add_step(
            PlanStep(
                ops.matrix_product(matrix.layout).name, matrix.name,
                len(matrix.data), matrix.rows * matrix.columns,
            ),
            per_token=PER_PLAN, barrier=0, **self._from_to(source, target),
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
        bias = self._bias(name, columns, bias_required) if name and kind == "layer" else None
        self._keep_alive += [weight, bias]
        self.add_step(
            PlanStep(_NORMS[kind].name, name or source.name),
            **self._from_to(source, target), weight=int(weight.ctypes.data),
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
        return self.weights.vector(f"{tensor}.scale", 1) if self.weights.has(f"{tensor}.scale") else None

    def _bias(self, name: MatrixName, width: int, required: bool) -> npt.NDArray[np.float32] | None:
        if isinstance(name, Rows):
            if self.weights.has(f"{name.name}.bias"):
                return self.weights.vector_part(f"{name.name}.bias", (name.first, width, name.total))
            name = name.own_name
        if required or self.weights.has(f"{name}.bias"):
            return self.weights.vector(f"{name}.bias", width)
        return None

    def _pad_queries(self, queries: Buffer, layer: int, rotation: Mapping[str, int]) -> Buffer:
        sizes = self.sizes.layers[layer]
        rotated = self.buffer("rotated queries", sizes.head_count * self.cache.width(sizes.head_dim))
        self.add_step(
            PlanStep(ops.ROTATE_QUERIES.name, "queries"), **self._from_to(queries, rotated), **rotation,
            **self._head_sizes(layer), heads=sizes.head_count, weight=self._temperatures(sizes), units=1,
        )  # fmt: skip
        return rotated

    def _temperatures(self, sizes: LayerSizes) -> int:
        """Returns the address of float32 (positions,), the factors of queries; 0 where there are none.

        Source: llama.cpp, src/llama-graph.cpp (`llm_graph_input_attn_temp`).
        """
        temperature = sizes.temperature
        if temperature is None:
            return 0
        if temperature not in self._temperature_tables:
            positions = np.arange(self.cache.padded_context, dtype=np.float64)
            steps = np.floor((positions + temperature.offset) / temperature.length)
            table = np.asarray(1.0 + temperature.strength * np.log(steps + 1.0), np.float32)
            self._temperature_tables[temperature] = table
        return int(self._temperature_tables[temperature].ctypes.data)

    def _shared_runs(self, value_width: int, kv_heads: int, positions: int) -> dict[str, int]:
        """Returns the memory in which threads share the longest attention of one token; layers of equal sizes use it.

        Its counters are at the beginning, and how many there are depends on the sizes. In a ring the runs of one token
        may begin and end within one.
        """
        runs = -(-positions // attention_sizes.RUN_POSITIONS) + (positions < self.cache.padded_context)
        sizes = value_width, kv_heads, runs
        if sizes not in self._shared_states:
            self._shared_states[sizes] = zeroed_bytes(attention_sizes.shared_bytes(*sizes))
        return {"shared": int(self._shared_states[sizes].ctypes.data), "shared_runs": runs}

    def _rotation(self, layer: int) -> dict[str, int]:
        """Returns the fields of a row that rotates; none for a layer that positions do not enter."""
        rotation = self.sizes.layers[layer].rotation
        if rotation is None:
            return {}
        table = self.rotary[rotation]
        return {
            "rotated_dim": rotation.dim,
            "first_rotated": rotation.first,
            "extra": table.address,
            "extra_stride": table.stride_bytes,
            "mode": NEIGHBOURS if rotation.neighbours else HALVES,
        }

    def _head_sizes(self, layer: int) -> dict[str, int]:
        head_dim = self.sizes.layers[layer].head_dim
        return {"head_dim": head_dim, "padded_head_dim": self.cache.width(head_dim)}

    def _from_to(self, source: Buffer, target: Buffer) -> dict[str, int]:
        return {
            "input": source.address,
            "input_stride": source.stride_bytes,
            "output": target.address,
            "output_stride": target.stride_bytes,
        }
