"""Builds the steps of a plan between the projections of an attention block: rotating, storing, and attention itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tui_llama.engine import ops
from tui_llama.engine.layouts import attention as attention_sizes
from tui_llama.engine.layouts.plan_row import CHUNKED, HALVES, NEIGHBOURS, PER_TOKEN_GROUP, SLIDING
from tui_llama.engine.machine.memory import zeroed_bytes
from tui_llama.engine.plan.plan import Buffer, PlanStep
from tui_llama.engine.plan.step_table import StepTable
from tui_llama.engine.tensors.distances import slopes_of
from tui_llama.engine.tensors.hyperparameters import LayerSizes, QueryTemperature

_ATTENTION_UNITS = 32  # of one token at depth: enough for many threads, few enough to cost nothing


@dataclass
class AttentionSteps(StepTable):
    """Appends steps of attention blocks to a plan."""

    _temperature_tables: dict[QueryTemperature, npt.NDArray[np.float32]] = field(default_factory=dict)
    _shared_states: dict[tuple[int, int, int], npt.NDArray[np.uint8]] = field(default_factory=dict)

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
                PlanStep(ops.ROTATE_QUERIES.name, values.name), **self.from_to(values, values), **rotation,
                heads=heads, head_dim=head_dim, padded_head_dim=head_dim, units=1,
            )  # fmt: skip

    def store(self, keys: Buffer, values: Buffer | None, layer: int, *, is_rotated: bool = False) -> None:
        """Rotates the keys for their positions, unless they are, and stores keys and values in the KV cache."""
        common = self.cache.row_fields(layer) | self._head_sizes(layer) | {"units": 1}
        self.add_step(
            PlanStep(ops.STORE_KEYS.name, f"layer {layer}"), barrier=0,
            input=keys.address, input_stride=keys.stride_bytes, **common,
            **self._rotation_of_keys(layer, is_rotated=is_rotated),
        )  # fmt: skip
        if values is not None:
            self.add_step(
                PlanStep(ops.STORE_VALUES.name, f"layer {layer}"), barrier=0,
                input=values.address, input_stride=values.stride_bytes, **common,
            )  # fmt: skip

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
        self.keep(sinks_vector)
        self.add_step(
            PlanStep(ops.ATTENTION.name, f"layer {layer}"), per_token=PER_TOKEN_GROUP,
            **self.from_to(rotated, attended), **self._head_sizes(layer), heads=sizes.head_count,
            **place | values, values_in_keys=int(place["value_dim"] == 0), scale=sizes.attention_scale,
            window=sizes.window, mode=CHUNKED if sizes.is_chunked else SLIDING,
            soft_cap=sizes.score_cap, slopes=self._slopes(sizes.head_count),
            extra=0 if sinks_vector is None else int(sinks_vector.ctypes.data),
            units=sizes.kv_head_count * -(-_ATTENTION_UNITS // sizes.kv_head_count),
            tokens_per_unit=attention_sizes.MOST_ROWS // group,
            **self._shared_runs(values["padded_value_dim"], place["kv_heads"], place["cache_positions"]),
        )  # fmt: skip
        return attended

    def _pad_queries(self, queries: Buffer, layer: int, rotation: Mapping[str, int]) -> Buffer:
        sizes = self.sizes.layers[layer]
        rotated = self.buffer("rotated queries", sizes.head_count * self.cache.width(sizes.head_dim))
        self.add_step(
            PlanStep(ops.ROTATE_QUERIES.name, "queries"), **self.from_to(queries, rotated), **rotation,
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
            self.keep(table)
        return int(self._temperature_tables[temperature].ctypes.data)

    def _slopes(self, head_count: int) -> int:
        """Returns the address of float32 (heads,), by which scores fall with distance; 0 where they do not."""
        if not self.sizes.distance_bias:
            return 0
        slopes = slopes_of(head_count, self.sizes.distance_bias)
        self.keep(slopes)
        return int(slopes.ctypes.data)

    def _shared_runs(self, value_width: int, kv_heads: int, positions: int) -> dict[str, int]:
        """Returns the memory in which threads share the longest attention of one token; layers of equal sizes use it.

        Its counters are at the beginning, and how many there are depends on the sizes. In a ring the runs of one token
        may begin and end within one.
        """
        runs = -(-positions // attention_sizes.RUN_POSITIONS) + (positions < self.cache.padded_context)
        sizes = value_width, kv_heads, runs
        if sizes not in self._shared_states:
            self._shared_states[sizes] = zeroed_bytes(attention_sizes.shared_bytes(*sizes))
            self.keep(self._shared_states[sizes])
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

    def _rotation_of_keys(self, layer: int, *, is_rotated: bool) -> dict[str, int]:
        """Returns the fields of a row that stores keys: of keys that were rotated before, only the table."""
        rotation = self._rotation(layer)
        return {"extra": rotation["extra"]} if rotation and is_rotated else rotation

    def _head_sizes(self, layer: int) -> dict[str, int]:
        head_dim = self.sizes.layers[layer].head_dim
        return {"head_dim": head_dim, "padded_head_dim": self.cache.width(head_dim)}
