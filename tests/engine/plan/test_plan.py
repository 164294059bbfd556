"""The plan and its builder: which rows an operation becomes, what they point to, and what several operations share."""

import ctypes
import dataclasses
import gc
import math
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.gguf_bytes import gguf_bytes, tensor
from tui_llama.engine import ops
from tui_llama.engine.gguf.file import TENSOR_TYPES, open_gguf
from tui_llama.engine.layouts import amx_panel
from tui_llama.engine.layouts.activations import SPARE_TOKENS
from tui_llama.engine.layouts.attention import MOST_ROWS, RUN_POSITIONS, scratch_bytes
from tui_llama.engine.layouts.plan_row import HALVES, NEIGHBOURS, PER_PLAN, PER_TOKEN, PER_TOKEN_GROUP, ROW
from tui_llama.engine.plan.builder import PlanBuilder
from tui_llama.engine.plan.forward.plan_writer import Rows
from tui_llama.engine.plan.plan import Buffer, Plan
from tui_llama.engine.state_shape import StateShape
from tui_llama.engine.tensors.hyperparameters import (
    Hyperparameters,
    LayerSizes,
    QueryTemperature,
    RopeScaling,
    Rotation,
)
from tui_llama.engine.tensors.kv_cache import CacheShape
from tui_llama.engine.tensors.rotary import RotaryTables
from tui_llama.engine.tensors.weights import Weights
from tui_llama.errors import ModelFileError

BATCH_TOKENS, CONTEXT = 8, 1100
LINE_BYTES = 64
F32, Q8_0, Q4_K = 0, 8, 12
EMBEDDING, HIDDEN, VOCAB = 256, 512, 48
HEADS, KV_HEADS, HEAD_DIM, PADDED_HEAD_DIM = 6, 2, 24, 32
ROTATION = Rotation(dim=16, base=10_000.0, scaling=RopeScaling("none", 1.0, 64), neighbours=True)
PLAIN_LAYER = LayerSizes(
    head_count=HEADS,
    kv_head_count=KV_HEADS,
    head_dim=HEAD_DIM,
    value_dim=HEAD_DIM,
    rotation=ROTATION,
    attention_scale=0.25,
    score_cap=0.0,
    window=0,
    is_chunked=False,
    temperature=None,
    kv_source=0,
    hidden_size=HIDDEN,
)
OTHER_LAYER = dataclasses.replace(
    PLAIN_LAYER,
    rotation=dataclasses.replace(ROTATION, neighbours=False),
    score_cap=50.0,
    window=7,
    kv_source=1,
    temperature=QueryTemperature(strength=0.5, length=4, offset=1),
)
UNROTATED_LAYER = dataclasses.replace(PLAIN_LAYER, rotation=None, kv_source=2)
SIZES = Hyperparameters(
    architecture="llama",
    embedding_size=EMBEDDING,
    layers=(PLAIN_LAYER, OTHER_LAYER, UNROTATED_LAYER),
    epsilon=0.5,
    context_length=CONTEXT,
    vocab_size=VOCAB,
)
TENSORS = {
    "tokens.weight": ((EMBEDDING, VOCAB), Q8_0),
    "norm.weight": ((EMBEDDING,), F32),
    "head_norm.weight": ((HEAD_DIM,), F32),
    "plain.weight": ((EMBEDDING, 16), F32),
    "other_plain.weight": ((EMBEDDING, 32), F32),
    "small.weight": ((EMBEDDING, 16), Q8_0),
    "small.bias": ((16,), F32),
    "other_small.weight": ((EMBEDDING, 48), Q8_0),
    "large.weight": ((EMBEDDING, 16), Q4_K),
    "sinks": ((HEADS,), F32),
}


def model_file(path: Path) -> Path:
    """Writes a file of the tensors, whose float values count up from 1."""
    rows, data = [], b""
    for name, (shape, type_id) in TENSORS.items():
        kind, count = TENSOR_TYPES[type_id], int(np.prod(shape))
        content = bytes(count // kind.block_elements * kind.block_bytes)
        if type_id == F32:
            content = np.arange(1, count + 1, dtype="<f4").tobytes()
        rows.append(tensor(name, shape, type_id, len(data)))
        data += content + bytes(-len(content) % 32)
    path.write_bytes(gguf_bytes(tensors=rows, data=data))
    return path


@pytest.fixture
def weights(tmp_path: Path) -> Iterator[Weights]:
    with open_gguf(model_file(tmp_path / "model.gguf")) as file:
        yield Weights(file)


def builder_of(weights: Weights, dtype: str = "f16") -> PlanBuilder:
    cache = CacheShape(StateShape.uniform(SIZES.layer_count, KV_HEADS, HEAD_DIM, dtype), CONTEXT)
    rotary = RotaryTables(SIZES, weights.vector, cache.padded_context, CONTEXT)
    return PlanBuilder(SIZES, weights, rotary, cache, BATCH_TOKENS)


@pytest.fixture
def builder(weights: Weights) -> PlanBuilder:
    return builder_of(weights)


def operations(plan: Plan) -> list[str]:
    return [step.operation for step in plan.steps]


def column(plan: Plan, name: str) -> list[float]:
    values: list[float] = plan.rows[name].tolist()
    return values


def floats_at(address: float, count: int) -> list[float]:
    assert address
    return list((ctypes.c_float * count).from_address(int(address)))


# --- buffers --------------------------------------------------------------------------------------------------------


def test_operations_that_ask_for_a_buffer_of_the_same_name_share_it(builder: PlanBuilder) -> None:
    buffer = builder.buffer("queries", 40)
    assert builder.buffer("queries", 40) is buffer
    assert builder.buffer("keys", 40).address != buffer.address


def test_a_buffer_of_another_width_is_another_one(builder: PlanBuilder) -> None:
    assert builder.buffer("queries", 40).address != builder.buffer("queries", 48).address


@pytest.mark.parametrize("width", [1, 16, 40, 512])
def test_a_buffer_is_of_zeros_and_has_a_row_for_each_token_and_the_spare_ones(builder: PlanBuilder, width: int) -> None:
    buffer = builder.buffer("x", width)
    assert (buffer.name, buffer.width) == ("x", width)
    assert buffer.data.dtype == np.float32
    assert buffer.data.shape[0] == BATCH_TOKENS + SPARE_TOKENS
    assert buffer.data.shape[1] >= width
    assert not buffer.data.any()
    assert buffer.address % LINE_BYTES == 0
    assert buffer.stride_bytes % LINE_BYTES == 0
    assert buffer.stride_bytes // LINE_BYTES % 2 == 1  # at a distance of a power of two rows would share cache places


def test_the_logits_are_those_of_the_plan_and_as_wide_as_the_vocabulary(builder: PlanBuilder) -> None:
    assert builder.logits.width == VOCAB
    assert builder.build().logits is builder.logits


# --- multiplying ----------------------------------------------------------------------------------------------------


def multiplied(builder: PlanBuilder, *names: str, add: bool = False) -> tuple[Buffer, list[Buffer], Plan]:
    source = builder.buffer("source", EMBEDDING)
    targets: dict[str | Rows, Buffer] = {name: builder.buffer(name, TENSORS[f"{name}.weight"][0][1]) for name in names}
    builder.multiply(source, targets, add=add)
    return source, list(targets.values()), builder.build()


def test_matrices_of_floats_read_the_input_itself_and_the_team_waits_after_the_last(builder: PlanBuilder) -> None:
    source, targets, plan = multiplied(builder, "plain", "other_plain")
    assert operations(plan) == ["matrix_f32", "matrix_f32"]
    assert column(plan, "input") == [source.address] * 2
    assert column(plan, "input_stride") == [source.stride_bytes] * 2
    assert column(plan, "output") == [target.address for target in targets]
    assert column(plan, "output_stride") == [target.stride_bytes for target in targets]
    assert column(plan, "barrier") == [0, 1]
    assert column(plan, "per_token") == [PER_PLAN] * 2


def test_the_input_is_quantised_once_for_all_matrices_of_the_same_block_size(builder: PlanBuilder) -> None:
    source, _, plan = multiplied(builder, "small", "plain", "large", "other_small")
    assert operations(plan) == [
        "quantize_32",
        "quantize_256",
        "matrix_q8_0",
        "matrix_f32",
        "matrix_q4_k",
        "matrix_q8_0",
    ]
    by_32, by_256 = column(plan, "output")[:2]
    assert len({source.address, by_32, by_256}) == 3
    assert column(plan, "input") == [source.address, source.address, by_32, source.address, by_256, by_32]
    assert column(plan, "columns")[:2] == [EMBEDDING // 32, EMBEDDING // 256]
    assert column(plan, "barrier") == [1, 1, 0, 0, 0, 1]


def test_an_input_that_is_multiplied_again_is_quantised_again_into_the_same_memory(builder: PlanBuilder) -> None:
    multiplied(builder, "small")
    _, _, plan = multiplied(builder, "other_small")
    assert operations(plan) == ["quantize_32", "matrix_q8_0"] * 2
    outputs = column(plan, "output")
    assert outputs[0] == outputs[2]


@pytest.mark.parametrize("add", [False, True])
def test_products_replace_what_the_targets_hold_or_are_added_to_it(builder: PlanBuilder, add: bool) -> None:
    _, _, plan = multiplied(builder, "small", "other_small", add=add)
    assert column(plan, "accumulate") == [0, add, add]


def test_a_bias_that_the_file_has_is_added_and_a_missing_one_only_refused_where_it_is_required(
    builder: PlanBuilder,
) -> None:
    source, _, plan = multiplied(builder, "small", "other_small")
    _, with_bias, without_bias = column(plan, "extra")
    assert floats_at(with_bias, 16) == [*range(1, 17)]
    assert without_bias == 0
    builder.multiply(source, {"small": builder.buffer("small", 16)}, bias_required=True)
    with pytest.raises(ModelFileError, match=r"'other_small\.bias' is missing"):
        builder.multiply(source, {"other_small": builder.buffer("other_small", 48)}, bias_required=True)


@pytest.mark.parametrize(("name", "width"), [("small", 17), ("no_such", 16)])
def test_a_matrix_that_is_missing_or_does_not_fit_between_its_buffers_is_refused_by_name(
    builder: PlanBuilder, name: str, width: int
) -> None:
    with pytest.raises(ModelFileError, match=rf"{name}\.weight"):
        builder.multiply(builder.buffer("source", EMBEDDING), {name: builder.buffer("target", width)})


def test_a_step_counts_the_bytes_and_multiplications_of_its_matrix(builder: PlanBuilder, weights: Weights) -> None:
    _, _, plan = multiplied(builder, "small", "other_small")
    assert [step.macs_per_token for step in plan.steps] == [0, 16 * EMBEDDING, 48 * EMBEDDING]
    assert [step.weight_bytes for step in plan.steps] == [
        0,
        len(weights.matrix("small.weight", 16, EMBEDDING).data),
        len(weights.matrix("other_small.weight", 48, EMBEDDING).data),
    ]


# --- the other operations -------------------------------------------------------------------------------------------


def test_the_embedding_is_looked_up_into_the_residual(builder: PlanBuilder) -> None:
    residual = embedded(builder)
    assert residual is builder.buffer("residual", EMBEDDING)
    row = builder.build().rows[0]
    assert (row["output"], row["columns"], row["mode"]) == (residual.address, EMBEDDING, Q8_0)
    assert row["weight_stride"] == EMBEDDING // 32 * 16 * 34
    assert row["weight"] != 0


def embedded(builder: PlanBuilder) -> Buffer:
    residual = builder.buffer("residual", EMBEDDING)
    builder.embed("tokens", residual)
    return residual


def test_norms_of_whole_rows_share_one_buffer_and_norms_of_heads_are_in_place(builder: PlanBuilder) -> None:
    residual, queries = builder.buffer("residual", EMBEDDING), builder.buffer("queries", HEADS * HEAD_DIM)
    normed = builder.norm(residual, "norm", "rms")
    assert builder.norm(residual, "norm", "rms") is normed
    builder.head_norm(queries, "head_norm", HEADS, "rms")
    plan = builder.build()
    assert column(plan, "input") == [residual.address, residual.address, queries.address]
    assert column(plan, "output") == [normed.address, normed.address, queries.address]
    assert column(plan, "columns") == [EMBEDDING, EMBEDDING, HEAD_DIM]
    assert column(plan, "heads") == column(plan, "units") == [1, 1, HEADS]
    assert column(plan, "epsilon") == [0.5] * 3
    assert column(plan, "per_token") == [PER_TOKEN] * 3
    assert floats_at(plan.rows[0]["weight"], EMBEDDING) == [*range(1, EMBEDDING + 1)]


def test_a_norm_of_another_length_is_refused(builder: PlanBuilder) -> None:
    with pytest.raises(ModelFileError, match=r"norm\.weight"):
        builder.norm(builder.buffer("source", EMBEDDING - 1), "norm", "rms")


@pytest.mark.parametrize(("layer", "mode"), [(0, NEIGHBOURS), (1, HALVES)])
def test_queries_are_rotated_into_padded_heads_and_keys_into_the_cache(
    builder: PlanBuilder, layer: int, mode: int
) -> None:
    queries, keys, values = (builder.buffer(name, HEADS * HEAD_DIM) for name in ("queries", "keys", "values"))
    rotated = builder.rotate(queries, layer)
    builder.store(keys, values, layer)
    plan = builder.build()
    assert operations(plan) == ["rotate_queries", "store_keys", "store_values"]
    assert rotated.width == HEADS * PADDED_HEAD_DIM
    assert column(plan, "input") == [queries.address, keys.address, values.address]
    assert column(plan, "output") == [rotated.address, 0, 0]
    assert column(plan, "mode")[:2] == [mode, mode]
    assert column(plan, "extra") == [builder.rotary.tables[layer].address] * 2 + [0]
    assert column(plan, "rotated_dim")[:2] == [ROTATION.dim] * 2
    place = builder.cache.row_fields(layer)
    for name in ("keys_offset", "values_offset", "cache_positions"):
        assert column(plan, name)[1:] == [place[name]] * 2
    assert column(plan, "barrier") == [1, 0, 0]  # nothing reads the cache before the barrier of a later row


def test_rows_say_of_which_type_the_cache_is(weights: Weights) -> None:
    for dtype in ("f16", "q8_0"):
        builder = builder_of(weights, dtype)
        keys = builder.buffer("keys", KV_HEADS * HEAD_DIM)
        builder.store(keys, keys, 0)
        assert column(builder.build(), "cache_type") == [builder.cache.kernel_type] * 2


def attended(builder: PlanBuilder, layer: int = 0, **options: str) -> Buffer:
    rotated = builder.buffer("rotated queries", HEADS * PADDED_HEAD_DIM)
    attention: Callable[..., Buffer] = builder.attention
    return attention(rotated, layer, **options)


def test_attention_has_units_for_every_kv_head_and_no_more_queries_in_one_than_fit(builder: PlanBuilder) -> None:
    target = attended(builder)
    row = builder.build().rows[0]
    assert target.width == HEADS * HEAD_DIM
    assert row["output"] == target.address
    assert row["per_token"] == PER_TOKEN_GROUP
    assert row["units"] % KV_HEADS == 0
    queries_of_a_token = HEADS // KV_HEADS
    assert MOST_ROWS - queries_of_a_token < row["tokens_per_unit"] * queries_of_a_token <= MOST_ROWS
    assert (row["heads"], row["kv_heads"], row["head_dim"]) == (HEADS, KV_HEADS, HEAD_DIM)
    assert row["padded_head_dim"] == PADDED_HEAD_DIM


def test_attention_takes_its_scale_window_cap_and_sinks(builder: PlanBuilder) -> None:
    attended(builder)
    attended(builder, 1, sinks="sinks")
    plan = builder.build()
    assert column(plan, "scale") == [0.25, 0.25]
    assert column(plan, "keys_offset") == [builder.cache.row_fields(layer)["keys_offset"] for layer in (0, 1)]
    assert column(plan, "window") == [0, 7]
    assert column(plan, "soft_cap") == [0.0, 50.0]
    no_sinks, sinks = column(plan, "extra")
    assert no_sinks == 0
    assert floats_at(sinks, HEADS) == [1, 2, 3, 4, 5, 6]
    with pytest.raises(ModelFileError, match="'no sinks' is missing"):
        attended(builder, sinks="no sinks")


def test_all_layers_share_the_memory_for_the_runs_of_the_whole_context(builder: PlanBuilder) -> None:
    attended(builder)
    attended(builder, 1)
    plan = builder.build()
    first, second = column(plan, "shared")
    assert first == second != 0
    assert column(plan, "shared_runs") == [-(-builder.cache.padded_context // RUN_POSITIONS)] * 2


def test_swiglu_overwrites_the_gates(builder: PlanBuilder) -> None:
    gates, ups = builder.buffer("gates", 40), builder.buffer("ups", 40)
    assert builder.gate(gates, ups, "silu") is gates
    row = builder.build().rows[0]
    assert (row["input"], row["output"], row["extra"]) == (gates.address, gates.address, ups.address)
    assert row["extra_stride"] == ups.stride_bytes
    assert row["columns"] == 48  # whole vectors of 16


def test_layers_without_rotation_have_rows_that_turn_nothing(builder: PlanBuilder) -> None:
    queries, keys = builder.buffer("queries", HEADS * HEAD_DIM), builder.buffer("keys", KV_HEADS * HEAD_DIM)
    builder.rotate_in_place(queries, 2, HEADS)
    builder.rotate(queries, 2)
    builder.store(keys, keys, 2)
    plan = builder.build()
    assert operations(plan) == ["rotate_queries", "store_keys", "store_values"]
    assert column(plan, "rotated_dim") == column(plan, "extra") == [0, 0, 0]


def test_what_was_rotated_before_a_norm_is_not_rotated_again(builder: PlanBuilder) -> None:
    queries, keys = builder.buffer("queries", HEADS * HEAD_DIM), builder.buffer("keys", KV_HEADS * HEAD_DIM)
    builder.rotate_in_place(keys, 1, KV_HEADS)
    builder.arrange(queries, 1)
    builder.store(keys, keys, 1, is_rotated=True)
    plan = builder.build()
    assert operations(plan) == ["rotate_queries", "rotate_queries", "store_keys", "store_values"]
    assert column(plan, "rotated_dim") == [ROTATION.dim, 0, 0, 0]
    in_place = plan.rows[0]
    assert (in_place["input"], in_place["heads"]) == (in_place["output"], KV_HEADS)
    assert in_place["head_dim"] == in_place["padded_head_dim"] == HEAD_DIM


def test_the_temperature_of_queries_grows_with_their_position(builder: PlanBuilder) -> None:
    builder.rotate(builder.buffer("queries", HEADS * HEAD_DIM), 0)
    builder.rotate(builder.buffer("queries", HEADS * HEAD_DIM), 1)
    none, table = column(builder.build(), "weight")
    assert none == 0
    assert floats_at(table, 4) == pytest.approx([1, 1, 1, 1 + 0.5 * math.log(2)])


def test_rows_of_one_tensor_are_matrices_of_their_own(builder: PlanBuilder) -> None:
    source, target = builder.buffer("source", EMBEDDING), builder.buffer("target", 16)
    builder.multiply(source, {Rows("other_plain", 16, 32, "plain"): target})
    matrix = builder.weights.matrix_rows("other_plain.weight", (16, 16, 32), EMBEDDING)
    assert (matrix.rows, matrix.columns, matrix.tile_count) == (16, EMBEDDING, 1)
    with builder.weights.repacking(1) as repacking:
        repacking.finish(lambda done, total: None)
    whole = np.arange(1, 32 * EMBEDDING + 1, dtype=np.float32).reshape(32, EMBEDDING)
    np.testing.assert_array_equal(matrix.data.view(np.float32).reshape(EMBEDDING, 16), whole[16:].T)


def test_from_some_step_on_only_tokens_whose_logits_are_wanted_are_worked_on(builder: PlanBuilder) -> None:
    multiplied(builder, "small")
    builder.continue_with_output_tokens()
    _, _, plan = multiplied(builder, "plain")
    assert column(plan, "output_tokens_only") == [0, 0, 1]


# --- the finished plan ----------------------------------------------------------------------------------------------


def test_a_plan_has_a_row_for_each_step_and_no_addresses_of_kernels_yet(builder: PlanBuilder) -> None:
    builder.norm(embedded(builder), "norm", "rms")
    _, _, plan = multiplied(builder, "small", "large")
    assert plan.rows.dtype == ROW
    assert operations(plan) == ["embed", "rms_norm", "quantize_32", "quantize_256", "matrix_q8_0", "matrix_q4_k"]
    assert len(plan.rows) == len(plan.steps)
    assert not plan.rows["kernel"].any()
    assert plan.rotary is builder.rotary


def test_a_plan_names_each_kernel_once_in_the_order_of_first_use(builder: PlanBuilder) -> None:
    embedded(builder)
    multiplied(builder, "plain", "small")
    _, _, plan = multiplied(builder, "other_small", "other_plain")
    assert plan.kernels == [ops.plan_operation(name) for name in ("embed", "quantize_32", "matrix_f32", "matrix_q8_0")]


def test_scratch_memory_is_enough_for_every_kernel(builder: PlanBuilder) -> None:
    scratch = builder.build().scratch_bytes
    assert scratch >= max(scratch_bytes(PADDED_HEAD_DIM, PADDED_HEAD_DIM), amx_panel.SCRATCH_BYTES)
    assert scratch % LINE_BYTES == 0


def test_a_plan_is_printed_with_a_line_for_each_step(builder: PlanBuilder) -> None:
    embedded(builder)
    _, _, plan = multiplied(builder, "small")
    heading, *lines = str(plan).splitlines()
    assert heading.split() == ["operation", "weights", "MB", "MMAC/token", "on"]
    assert [line.split()[0] for line in lines] == operations(plan)
    assert [line.split()[1:] for line in lines] == [["tokens"], ["source"], ["0.0", "0.0", "small.weight"]]


def test_a_plan_keeps_all_memory_alive_that_its_rows_point_to(
    weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors: list[weakref.ref[object]] = []
    take_vector = Weights.vector

    def watched(self: Weights, name: str, count: int) -> object:
        vectors.append(weakref.ref(vector := take_vector(self, name, count)))
        return vector

    monkeypatch.setattr(Weights, "vector", watched)
    builder = builder_of(Weights(weights.file))
    builder.norm(embedded(builder), "norm", "rms")
    attended(builder, sinks="sinks")
    source, targets, plan = multiplied(builder, "small", "plain")
    pointed_to: list[weakref.ref[object]] = []
    pointed_to += [weakref.ref(buffer.data) for buffer in (source, *targets, plan.logits)]
    pointed_to += [weakref.ref(builder.weights.matrix("small.weight", 16, EMBEDDING).data)]
    del builder, source, targets
    gc.collect()
    assert len(vectors) == 2
    assert all(each() is not None for each in (*pointed_to, *vectors))
