"""The plan: a model's forward pass as a table of plan steps, built once and run for every batch.

`PlanBuilder` offers the operations that architectures are written in; each one checks shapes and appends rows. A `Plan`
holds the finished table, the buffers that its rows point to, and the texts to print it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tui_llama.engine import ops
from tui_llama.engine.layouts import amx_panel
from tui_llama.engine.layouts import attention as attention_sizes
from tui_llama.engine.layouts.activations import SPARE_TOKENS, activation_bytes
from tui_llama.engine.layouts.plan_row import HALVES, NEIGHBOURS, PER_PLAN, PER_TOKEN, PER_TOKEN_GROUP, ROW
from tui_llama.engine.machine.memory import odd_lines, padded, zeroed_array, zeroed_bytes
from tui_llama.engine.tensors.hyperparameters import Hyperparameters
from tui_llama.engine.tensors.kv_cache import CacheShape
from tui_llama.engine.tensors.matrices import Matrix
from tui_llama.engine.tensors.rotary import RotaryTable
from tui_llama.engine.tensors.weights import Weights
from tui_llama.errors import ShapeMismatchError

_ATTENTION_UNITS = 32  # of one token at depth: enough for many threads, few enough to cost nothing


@dataclass(frozen=True, slots=True)
class Buffer:
    """Working memory with one row for each token of a batch.

    Args:
        name: For printing.
        width: Elements of a row without its padding.
        data: (batch_tokens, padded width) float32, or bytes for quantised activations; padding stays zero.
    """

    name: str
    width: int
    data: npt.NDArray[np.generic]

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
    rotary: RotaryTable
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


@dataclass
class PlanBuilder:
    """Builds a plan operation by operation; its methods are the operations that architectures use.

    Args:
        sizes: The model's sizes.
        weights: Supplies the tensors.
        rotary: The table of angles.
        cache: Sizes of the caches that the plan will run with.
        batch_tokens: Most tokens of a batch.
    """

    sizes: Hyperparameters
    weights: Weights
    rotary: RotaryTable
    cache: CacheShape
    batch_tokens: int
    _rows: list[npt.NDArray[np.void]] = field(default_factory=list)
    _steps: list[PlanStep] = field(default_factory=list)
    _buffers: dict[str, Buffer] = field(default_factory=dict)
    _keep_alive: list[object] = field(default_factory=list)
    _shared_states: npt.NDArray[np.uint8] | None = None
    _output_tokens_only: bool = False

    @property
    def logits(self) -> Buffer:
        """Buffer for the logits: float32 (batch_tokens, padded vocab)."""
        return self.buffer("logits", self.sizes.vocab_size)

    def has(self, name: str) -> bool:
        """Tells whether the model has a tensor of that name."""
        return self.weights.has(name)

    def buffer(self, name: str, width: int) -> Buffer:
        """Returns the float32 buffer of that name, which all operations that request it share.

        Raises:
            ShapeMismatchError: it exists with another width.
        """
        return self._shared(name, width, (odd_lines(4 * width) // 4,), np.float32)

    def embed(self, name: str) -> Buffer:
        """Looks up the embedding rows of token ids."""
        residual = self.buffer("residual", self.sizes.embedding_size)
        matrix = self.weights.embedding(f"{name}.weight", self.sizes.vocab_size, residual.width)
        self._keep_alive.append(matrix.data)
        self._add(
            PlanStep(ops.EMBED.name, name),
            output=residual.address, output_stride=residual.stride_bytes, weight=int(matrix.data.ctypes.data),
            weight_stride=matrix.row_bytes, columns=residual.width, mode=matrix.layout.type_id, units=1,
        )  # fmt: skip
        return residual

    def rms_norm(self, source: Buffer, name: str) -> Buffer:
        """Computes the root-mean-square norm of whole rows, into a buffer that the next norm overwrites."""
        target = self.buffer("normed", source.width)
        self._add_norm(source, target, name, heads=1, columns=source.width)
        return target

    def head_norm(self, buffer: Buffer, name: str, heads: int) -> None:
        """Computes the root-mean-square norm of every head, in place."""
        self._add_norm(buffer, buffer, name, heads, self.sizes.head_dim)

    def multiply(
        self, source: Buffer, targets: Mapping[str, Buffer], *, add: bool = False, bias_required: bool = False
    ) -> None:
        """Multiplies one input with one or more matrices. The input is quantised once, and the team waits once.

        Args:
            source: The input.
            targets: Names of matrices, and the buffers of their products.
            add: True: products are added to the targets' content.
            bias_required: True: a missing bias is an error. A bias that the file has is always added.
        """
        matrices = [
            (self.weights.matrix(f"{name}.weight", target.width, source.width), name, target)
            for name, target in targets.items()
        ]
        inputs = {1: source}
        for matrix, _, _ in matrices:
            if matrix.layout.columns not in inputs:
                inputs[matrix.layout.columns] = self._quantize(source, matrix.layout.columns)
        for matrix, name, target in matrices:
            bias = self._bias(name, target.width, bias_required)
            self._add_product(matrix, inputs[matrix.layout.columns], target, bias, add)
        self._rows[-1]["barrier"] = 1

    def rotate(self, queries: Buffer, neighbours: bool) -> Buffer:
        """Rotates the queries for their positions, and pads heads to multiples of 16."""
        width = self.sizes.head_count * self.cache.padded_head_dim
        rotated = self.buffer("rotated queries", width)
        self._add(
            PlanStep(ops.ROTATE_QUERIES.name, "queries"),
            **self._from_to(queries, rotated), **self._rotation(neighbours), heads=self.sizes.head_count, units=1,
        )  # fmt: skip
        return rotated

    def store(self, keys: Buffer, values: Buffer, layer: int, neighbours: bool) -> None:
        """Rotates the keys for their positions, and stores keys and values in the KV cache."""
        common = self._in_cache(layer) | {"units": 1}
        self._add(
            PlanStep(ops.STORE_KEYS.name, f"layer {layer}"), barrier=0,
            input=keys.address, input_stride=keys.stride_bytes, **self._rotation(neighbours), **common,
        )  # fmt: skip
        self._add(
            PlanStep(ops.STORE_VALUES.name, f"layer {layer}"), barrier=0,
            input=values.address, input_stride=values.stride_bytes, **self._head_sizes(), **common,
        )  # fmt: skip

    def continue_with_output_tokens(self) -> None:
        """Restricts all further operations to tokens whose logits are wanted."""
        self._output_tokens_only = True

    def attention(
        self, rotated: Buffer, layer: int, scale: float, *, window: int = 0, soft_cap: float = 0.0, sinks: str = ""
    ) -> Buffer:
        """Computes softmax attention over the KV cache.

        Args:
            rotated: Queries from `rotate`.
            layer: Layer of the keys and values.
            scale: Multiplies the scores.
            window: Positions that a token sees, its own included; 0 for all before it.
            soft_cap: Turns scores into soft_cap · tanh(score / soft_cap); 0 for no cap.
            sinks: Name of a tensor (heads,) of scores that count in the softmax's sum and have no value, or "".
        """
        sizes = self.sizes
        attended = self.buffer("attended", sizes.head_count * sizes.head_dim)
        group = sizes.head_count // sizes.kv_head_count
        sinks_vector = self.weights.vector(sinks, sizes.head_count) if sinks else None
        self._keep_alive.append(sinks_vector)
        self._add(
            PlanStep(ops.ATTENTION.name, f"layer {layer}"), per_token=PER_TOKEN_GROUP,
            **self._from_to(rotated, attended), **self._head_sizes(), heads=sizes.head_count,
            **self._in_cache(layer), scale=scale, window=window, soft_cap=soft_cap,
            extra=0 if sinks_vector is None else int(sinks_vector.ctypes.data),
            units=sizes.kv_head_count * -(-_ATTENTION_UNITS // sizes.kv_head_count),
            tokens_per_unit=attention_sizes.MOST_ROWS // group, **self._shared_runs(),
        )  # fmt: skip
        return attended

    def swiglu(self, gates: Buffer, ups: Buffer) -> Buffer:
        """Computes silu(gates) × ups, and overwrites the gates."""
        self._add(
            PlanStep(ops.SWIGLU.name, "feed-forward"),
            **self._from_to(gates, gates), extra=ups.address, extra_stride=ups.stride_bytes,
            columns=padded(gates.width), units=1,
        )  # fmt: skip
        return gates

    def build(self) -> Plan:
        """Returns the finished plan, without kernel addresses."""
        width = self.cache.padded_head_dim
        return Plan(
            rows=np.array(self._rows, ROW),
            steps=self._steps,
            logits=self.logits,
            rotary=self.rotary,
            scratch_bytes=padded(max(attention_sizes.scratch_bytes(width), amx_panel.SCRATCH_BYTES), 64),
            keep_alive=[*self._keep_alive, self._buffers],
        )

    def _quantize(self, source: Buffer, columns: int) -> Buffer:
        blocks, name = source.width // columns, f"{source.name}, quantised by {columns}"
        target = self._shared(name, blocks, (activation_bytes(source.width, columns),), np.uint8)
        self._add(
            PlanStep(ops.quantization(columns).name, source.name),
            **self._from_to(source, target), columns=blocks, units=1,
        )  # fmt: skip
        return target

    def _add_product(
        self, matrix: Matrix, source: Buffer, target: Buffer, bias: npt.NDArray[np.float32] | None, add: bool
    ) -> None:
        self._keep_alive += [matrix.data, bias]
        self._add(
            PlanStep(
                ops.matrix_product(matrix.layout).name, matrix.name,
                len(matrix.data), matrix.rows * matrix.columns,
            ),
            per_token=PER_PLAN, barrier=0, **self._from_to(source, target),
            weight=int(matrix.data.ctypes.data), weight_stride=matrix.tile_row_bytes, columns=matrix.blocks,
            units=matrix.tile_count, extra=0 if bias is None else int(bias.ctypes.data), accumulate=int(add),
        )  # fmt: skip

    def _add_norm(self, source: Buffer, target: Buffer, name: str, heads: int, columns: int) -> None:
        weight = self.weights.vector(f"{name}.weight", columns)
        self._keep_alive.append(weight)
        self._add(
            PlanStep(ops.RMS_NORM.name, name),
            **self._from_to(source, target), weight=int(weight.ctypes.data), heads=heads, columns=columns,
            epsilon=self.sizes.rms_epsilon, units=heads,
        )  # fmt: skip

    def _bias(self, name: str, width: int, required: bool) -> npt.NDArray[np.float32] | None:
        if required or self.weights.has(f"{name}.bias"):
            return self.weights.vector(f"{name}.bias", width)
        return None

    def _shared_runs(self) -> dict[str, int]:
        """Returns the memory in which threads share the longest attention of one token; all layers use it."""
        runs = -(-self.cache.padded_context // attention_sizes.RUN_POSITIONS)
        if self._shared_states is None:
            size = attention_sizes.shared_bytes(self.cache.padded_head_dim, self.cache.state.kv_heads, runs)
            self._shared_states = zeroed_bytes(size)
            self._keep_alive.append(self._shared_states)
        return {"shared": int(self._shared_states.ctypes.data), "shared_runs": runs}

    def _rotation(self, neighbours: bool) -> dict[str, int]:
        return self._head_sizes() | {
            "rotated_dim": self.sizes.rope_dim,
            "extra": self.rotary.address,
            "extra_stride": self.rotary.stride_bytes,
            "mode": NEIGHBOURS if neighbours else HALVES,
        }

    def _in_cache(self, layer: int) -> dict[str, int]:
        return {"kv_heads": self.cache.state.kv_heads, "layer": layer, "cache_type": self.cache.kernel_type}

    def _head_sizes(self) -> dict[str, int]:
        return {"head_dim": self.sizes.head_dim, "padded_head_dim": self.cache.padded_head_dim}

    def _from_to(self, source: Buffer, target: Buffer) -> dict[str, int]:
        return {
            "input": source.address,
            "input_stride": source.stride_bytes,
            "output": target.address,
            "output_stride": target.stride_bytes,
        }

    def _add(self, step: PlanStep, *, per_token: int = PER_TOKEN, barrier: int = 1, **fields: float) -> None:
        row = np.zeros((), ROW)
        fields |= {"per_token": per_token, "barrier": barrier, "output_tokens_only": self._output_tokens_only}
        for name, value in fields.items():
            row[name] = value
        self._rows.append(row)
        self._steps.append(step)

    def _shared(self, name: str, width: int, row_shape: tuple[int, ...], dtype: npt.DTypeLike) -> Buffer:
        if name not in self._buffers:
            data = zeroed_array((self.batch_tokens + SPARE_TOKENS, *row_shape), dtype)
            self._buffers[name] = Buffer(name, width, data)
        if self._buffers[name].width != width:
            raise ShapeMismatchError(f"buffer {name!r} is {self._buffers[name].width} wide, not {width}")
        return self._buffers[name]
