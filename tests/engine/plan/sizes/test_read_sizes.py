"""A model's sizes: what is read, what is assumed, and what no model can have."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.engine.plan.sizes.key_files import REQUIRED, Setting, integer, number, read_as, read_changed, sizes_of, text
from tests.fakes.tiny_model import (
    SCALING_FACTOR,
    ScalingKind,
    default_shape,
    make_tiny_model,
    make_vocabulary,
)
from tui_llama.engine.gguf.file import ValueType, open_gguf
from tui_llama.engine.plan.sizes.rotations import ASSUMED_CONTEXT
from tui_llama.engine.tensors.hyperparameters import Hyperparameters, RopeScaling
from tui_llama.errors import ModelFileError


def scaling_of(sizes: Hyperparameters) -> RopeScaling:
    (rotation,) = sizes.rotations
    return rotation.scaling


Read = Callable[[Mapping[str, Setting]], Hyperparameters]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads the sizes of a file of llama with the required keys and those given; None leaves a key out."""
    return lambda changes: read_changed(tmp_path, changes)


def test_what_may_be_left_out_gets_llama_cpps_defaults(read: Read) -> None:
    sizes = read({})
    assert len(sizes.layers) == 2
    layer = sizes.layers[0]
    assert layer.kv_head_count == layer.head_count == 4
    assert layer.rotation is not None
    assert layer.head_dim == layer.value_dim == layer.rotation.dim == 16
    assert layer.attention_scale == 0.25
    assert (layer.window, layer.score_cap, layer.temperature, layer.kv_source) == (0, 0.0, None, 0)
    assert layer.rotation.base == 10000.0
    assert (sizes.embedding_scale, sizes.residual_scale, sizes.logit_scale, sizes.logit_cap) == (1.0, 1.0, 1.0, 0.0)
    assert sizes.vocab_size == 3
    scaling = scaling_of(sizes)
    assert (scaling.kind, scaling.factor, scaling.original_context, scaling.magnitude) == ("none", 1.0, 512, 1.0)
    assert (scaling.beta_fast, scaling.beta_slow) == (32.0, 1.0)


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("quantization", ["F32", "Q4_K"])
def test_a_tiny_models_sizes_are_its_shape(tmp_path: Path, architecture: Any, quantization: str) -> None:
    path = make_tiny_model(tmp_path / "tiny.gguf", architecture, quantization, layers=3)
    shape = default_shape(architecture, quantization)
    with open_gguf(path) as file:
        sizes = sizes_of(file)
        query_weight = file.tensors["blk.2.attn_q.weight"]
    assert (sizes.architecture, sizes.layer_count) == (architecture, 3)
    layer = sizes.layers[2]
    assert (sizes.embedding_size, layer.hidden_size) == (shape.embedding, shape.hidden)
    assert (layer.head_count, layer.kv_head_count, layer.head_dim) == (shape.heads, shape.kv_heads, shape.head_dim)
    assert sizes.context_length == shape.context
    assert sizes.vocab_size == len(make_vocabulary("bpe").tokens)
    assert query_weight.shape == (sizes.embedding_size, layer.head_count * layer.head_dim)


@pytest.mark.parametrize("kind", ["linear", "yarn"])
def test_a_scaling_is_read_from_a_tiny_model(tmp_path: Path, kind: ScalingKind) -> None:
    with open_gguf(make_tiny_model(tmp_path / "tiny.gguf", rope_scaling=kind)) as file:
        sizes = sizes_of(file)
    assert scaling_of(sizes).kind == kind
    assert scaling_of(sizes).factor == SCALING_FACTOR
    assert scaling_of(sizes).original_context == sizes.context_length / SCALING_FACTOR


@pytest.mark.parametrize("key", list(REQUIRED))
def test_a_required_key_that_is_missing_is_named(read: Read, key: str) -> None:
    named = "llama.vocab_size" if key == "tokenizer.ggml.tokens" else key
    with pytest.raises(ModelFileError) as raised:
        read({key: None})
    assert f"'{named}' is missing" in str(raised.value)


@pytest.mark.parametrize(
    "key",
    [
        "block_count",
        "embedding_length",
        "feed_forward_length",
        "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length",
        "attention.value_length",
        "rope.dimension_count",
        "rope.scaling.original_context_length",
    ],
)
@pytest.mark.parametrize("size", [0, -1, 2**31, 2**63 - 1])
def test_a_size_that_no_model_has_is_refused(read: Read, key: str, size: int) -> None:
    with pytest.raises(ModelFileError) as raised:
        read({f"llama.{key}": integer(size)})
    assert f"'llama.{key}': {size} is not between" in str(raised.value)


@pytest.mark.parametrize("size", [-1, 2**31, 2**63 - 1])
def test_a_context_that_no_model_has_is_refused(read: Read, size: int) -> None:
    with pytest.raises(ModelFileError, match=f"'llama.context_length': {size} is not between 0 and"):
        read({"llama.context_length": integer(size)})


def test_a_context_of_0_is_one_that_the_file_leaves_open(read: Read) -> None:
    sizes = read({"llama.context_length": integer(0)})
    assert sizes.context_length == scaling_of(sizes).original_context == ASSUMED_CONTEXT
    assert "context_length is 0" in sizes.notices[0]
    assert read({}).notices == ()


def test_yarn_has_to_know_the_first_context(read: Read) -> None:
    yarn = {
        "llama.context_length": integer(0),
        "llama.rope.scaling.type": text("yarn"),
        "llama.rope.scaling.factor": number(4.0),
    }
    with pytest.raises(ModelFileError, match="original_context_length': 0 is not between"):
        read(yarn)
    sizes = read({**yarn, "llama.rope.scaling.original_context_length": integer(128)})
    assert scaling_of(sizes).original_context == 128


@pytest.mark.parametrize("key", ["block_count", "embedding_length", "attention.head_count", "context_length"])
@pytest.mark.parametrize("value", [number(4.0), text("4"), (ValueType.BOOL, 1), ["4"]])
def test_a_size_that_is_no_integer_is_refused(read: Read, key: str, value: Setting) -> None:
    with pytest.raises(ModelFileError, match="should be an"):
        read({f"llama.{key}": value})


@pytest.mark.parametrize(
    "key",
    [
        "attention.layer_norm_rms_epsilon",
        "rope.freq_base",
        "rope.scaling.factor",
        "rope.scaling.attn_factor",
    ],
)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e30])
def test_a_number_that_is_not_finite_or_huge_is_refused(read: Read, key: str, value: float) -> None:
    with pytest.raises(ModelFileError, match=f"'llama.{key}'"):
        read({f"llama.{key}": number(value)})


def test_a_factor_that_comes_out_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"factor of logits .* 1e\+32, is too large"):
        read_as(tmp_path, "minicpm", {"logit_scale": number(1e-32)})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("attention.layer_norm_rms_epsilon", -1.0),
        ("attention.layer_norm_rms_epsilon", 1.0),
        ("rope.freq_base", 1.0),
        ("rope.freq_base", -10000.0),
        ("rope.scaling.factor", -4.0),
        ("rope.scale_linear", -4.0),
        ("rope.scaling.attn_factor", 0.0),
    ],
)
def test_a_number_that_makes_no_sense_is_refused(read: Read, key: str, value: float) -> None:
    with pytest.raises(ModelFileError, match=f"'llama.{key}': -?{abs(value)} is"):
        read({f"llama.{key}": number(value)})


def test_query_heads_must_be_a_multiple_of_key_heads(read: Read) -> None:
    with pytest.raises(ModelFileError, match="3 does not divide the 4 query heads"):
        read({"llama.attention.head_count_kv": integer(3)})


def test_more_key_heads_than_query_heads_are_refused(read: Read) -> None:
    with pytest.raises(ModelFileError, match="8 does not divide the 4 query heads"):
        read({"llama.attention.head_count_kv": integer(8)})


def test_more_query_heads_for_a_key_head_than_kernels_take_are_refused(read: Read) -> None:
    with pytest.raises(ModelFileError, match="256 query heads share one, more than the 128 supported"):
        read({"llama.attention.head_count": integer(256), "llama.attention.head_count_kv": integer(1)})


def test_more_heads_than_elements_are_refused(read: Read) -> None:
    with pytest.raises(ModelFileError, match=r"'llama\.attention\.key_length': 0 is not between"):
        read({"llama.attention.head_count": integer(65)})


def test_values_may_have_another_size_than_keys(read: Read) -> None:
    layer = read({"llama.attention.value_length": integer(32)}).layers[1]
    assert (layer.head_dim, layer.value_dim) == (16, 32)


def test_all_heads_together_are_bounded(read: Read) -> None:
    with pytest.raises(ModelFileError, match="4096 heads of 4096 are more than"):
        read(
            {
                "llama.attention.head_count": integer(4096),
                "llama.attention.key_length": integer(4096),
                "llama.attention.value_length": integer(4096),
            }
        )


def test_a_head_size_of_its_own_is_kept(read: Read) -> None:
    sizes = read({"llama.attention.key_length": integer(32), "llama.attention.value_length": integer(32)})
    assert (sizes.embedding_size, sizes.layers[1].head_count, sizes.layers[1].head_dim) == (64, 4, 32)


def test_a_rotation_of_part_of_the_head_is_refused_for_llama(read: Read) -> None:
    with pytest.raises(ModelFileError, match="8 should be the whole head, 16"):
        read({"llama.rope.dimension_count": integer(8)})


@pytest.mark.parametrize("key", ["rope.scaling.factor", "rope.scale_linear"])
def test_a_factor_alone_is_a_linear_scaling(read: Read, key: str) -> None:
    scaling = scaling_of(read({f"llama.{key}": number(4.0)}))
    assert (scaling.kind, scaling.factor) == ("linear", 4.0)


@pytest.mark.parametrize("factor", [0.0, 1.0])
def test_a_linear_scaling_by_nothing_is_none(read: Read, factor: float) -> None:
    changes = {"llama.rope.scaling.type": text("linear"), "llama.rope.scaling.factor": number(factor)}
    scaling = scaling_of(read(changes))
    assert (scaling.kind, scaling.factor) == ("none", 1.0)


def test_the_scaling_none_has_no_factor(read: Read) -> None:
    scaling = scaling_of(read({"llama.rope.scaling.type": text("none"), "llama.rope.scaling.factor": number(4.0)}))
    assert (scaling.kind, scaling.factor) == ("none", 1.0)


def test_an_unknown_scaling_is_named(read: Read) -> None:
    with pytest.raises(ModelFileError, match="'spiral' is not a kind of scaling"):
        read({"llama.rope.scaling.type": text("spiral")})


YARN: Mapping[str, Setting] = {
    "llama.rope.scaling.type": text("yarn"),
    "llama.rope.scaling.factor": number(8.0),
    "llama.rope.scaling.original_context_length": integer(64),
    "llama.rope.scaling.attn_factor": number(1.5),
    "llama.rope.scaling.yarn_ext_factor": number(0.5),
    "llama.rope.scaling.yarn_beta_fast": number(16.0),
    "llama.rope.scaling.yarn_beta_slow": number(2.0),
    "llama.rope.scaling.yarn_log_multiplier": number(0.25),
}


def test_yarn_multiplies_sines_and_llama_cpp_ignores_its_other_numbers_for_most_architectures(read: Read) -> None:
    scaling = scaling_of(read(YARN))
    assert (scaling.kind, scaling.factor, scaling.original_context) == ("yarn", 8.0, 64)
    assert scaling.magnitude == pytest.approx(1.5 * (1 + 0.1 * math.log(8.0)))
    assert (scaling.beta_fast, scaling.beta_slow) == (32.0, 1.0)


PER_LAYER = ["feed_forward_length", "attention.head_count", "attention.head_count_kv"]


@pytest.mark.parametrize("key", PER_LAYER)
def test_a_size_given_for_each_layer_is_read_when_all_are_equal(read: Read, key: str) -> None:
    assert read({f"llama.{key}": [4, 4]}) == read({f"llama.{key}": integer(4)})


def test_layers_may_have_different_sizes(read: Read) -> None:
    sizes = read({f"llama.{key}": [4, 2] for key in PER_LAYER})
    assert [layer.hidden_size for layer in sizes.layers] == [4, 2]
    assert [layer.head_count for layer in sizes.layers] == [4, 2]
    assert [layer.kv_head_count for layer in sizes.layers] == [4, 2]


@pytest.mark.parametrize("key", PER_LAYER)
def test_an_array_that_is_too_short_is_refused(read: Read, key: str) -> None:
    with pytest.raises(ModelFileError, match="it has 1 values for 2 layers"):
        read({f"llama.{key}": [4]})


def test_blocks_that_predict_several_tokens_are_no_layers(read: Read) -> None:
    sizes = read({"llama.nextn_predict_layers": integer(1)})
    assert len(sizes.layers) == 1
    with pytest.raises(ModelFileError, match="leave none to write with"):
        read({"llama.nextn_predict_layers": integer(2)})


SHARING: Mapping[str, Setting] = {
    "block_count": integer(3),
    "attention.sliding_window": integer(8),
    "attention.sliding_window_pattern": [False, False, False],
    "attention.shared_kv_layers": integer(1),
    "embedding_length_per_layer_input": integer(0),
}


def test_a_layer_that_stores_nothing_reads_from_the_last_that_does(tmp_path: Path) -> None:
    assert [layer.kv_source for layer in read_as(tmp_path, "gemma4", SHARING).layers] == [0, 1, 1]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"attention.head_count_kv": [4, 4, 1]}, "head_count_kv"),
        ({"attention.head_count_kv": [4, 1, 4]}, "head_count_kv"),
        ({"attention.head_count": [4, 4, 8], "attention.head_count_kv": [4, 4, 4]}, "key_length"),
        (
            {
                "attention.head_count": [4, 4, 8],
                "attention.head_count_kv": [4, 4, 4],
                "attention.key_length": integer(16),
            },
            "value_length",
        ),
    ],
)
def test_a_layer_that_reads_keys_and_values_of_other_sizes_is_refused(
    tmp_path: Path, changes: Mapping[str, Setting], key: str
) -> None:
    with pytest.raises(ModelFileError, match=rf"attention\.{key}': layer 2 reads keys and values of layer 1"):
        read_as(tmp_path, "gemma4", {**SHARING, **changes})


WINDOWS: Mapping[str, Setting] = {
    "attention.sliding_window": integer(7), "attention.sliding_window_pattern": [True, False],
}  # fmt: skip
EXPERTS: Mapping[str, Setting] = {
    "expert_count": integer(8), "expert_used_count": integer(2), "expert_feed_forward_length": integer(32),
}  # fmt: skip


def test_gates_of_attention_are_of_heads_or_elements_as_their_matrix_is(tmp_path: Path) -> None:
    keys = {**WINDOWS, **EXPERTS, "embedding_length": integer(8), "attention.key_length": integer(4)}
    keys |= {"attention.value_length": integer(4)}
    shapes = {"blk.0.attn_gate.weight": [8, 4], "blk.1.attn_gate.weight": [8, 16]}
    gates = {
        name: [layer.attention_gates for layer in read_as(tmp_path, name, keys, shapes).layers]
        for name in ("afmoe", "laguna", "qwen3moe")
    }
    assert gates == {"afmoe": [16, 16], "laguna": [4, 16], "qwen3moe": [0, 0]}
    only_first = {"blk.0.attn_gate.weight": [8, 4]}
    assert [layer.attention_gates for layer in read_as(tmp_path, "step35", keys, only_first).layers] == [4, 0]


def test_gated_blocks_may_have_a_limit_in_each_layer(tmp_path: Path) -> None:
    routers = {f"blk.{layer}.ffn_gate_inp.weight": [64, 8] for layer in range(2)}
    limits: Mapping[str, Setting] = {"swiglu_clamp_exp": [0.0, 7.0], "swiglu_clamp_shexp": number(0.5)}
    layers = read_as(tmp_path, "step35", {**WINDOWS, **EXPERTS, **limits}, routers).layers
    assert [layer.experts and layer.experts.limit for layer in layers] == [0.0, 7.0]
    assert [layer.hidden_limit for layer in layers] == [0.5, 0.5]
    layers = read_as(tmp_path, "step35", {**WINDOWS, **EXPERTS, "swiglu_clamp_exp": [1e-7, 0.0]}, routers).layers
    assert [layer.experts and layer.experts.limit for layer in layers] == [0.0, 0.0]
    with pytest.raises(ModelFileError, match=r"'step35\.swiglu_clamp_exp.: it has 1 values for 2"):
        read_as(tmp_path, "step35", {**WINDOWS, **EXPERTS, "swiglu_clamp_exp": [7.0]}, routers)


def test_layers_have_experts_where_they_have_a_router(tmp_path: Path) -> None:
    router = {"blk.1.ffn_gate_inp.weight": [64, 8]}
    for name in ("mimo2", "step35", "hy_v3"):
        layers = read_as(tmp_path, name, {**WINDOWS, **EXPERTS}, router).layers
        assert [layer.experts is not None for layer in layers] == [False, True]


def test_numbers_of_an_activation_are_read_for_each_layer(tmp_path: Path) -> None:
    keys: Mapping[str, Setting] = {
        "xielu.alpha_n": [0.0, 30.0], "xielu.alpha_p": number(0.0), "xielu.beta": number(0.5), "xielu.eps": [-0.25] * 2,
    }  # fmt: skip
    first, second = (layer.activation_numbers for layer in read_as(tmp_path, "apertus", keys).layers)
    assert first == pytest.approx((0.5 + math.log(2.0), math.log(2.0), 0.5, -0.25))
    assert second[0] == 30.5
    with pytest.raises(ModelFileError, match=r"'xielu\.beta' is missing"):
        read_as(tmp_path, "apertus", {**keys, "xielu.beta": None})
    with pytest.raises(ModelFileError, match=r"'xielu\.eps': nan is not a number between"):
        read_as(tmp_path, "apertus", {**keys, "xielu.eps": number(math.nan)})


def test_a_file_may_say_the_activation(tmp_path: Path) -> None:
    activations = [
        read_as(tmp_path, name, {"hidden_activation": text("relu2")}).activation for name in ("bitnet", "llama")
    ]
    assert activations == ["relu_squared", "silu"]
    assert read_as(tmp_path, "bitnet").activation == "silu"
    with pytest.raises(ModelFileError, match="'mish' is not an activation that this program knows here"):
        read_as(tmp_path, "bitnet", {"hidden_activation": text("mish")})


def test_the_key_of_epsilon_may_say_the_kind_of_norms(tmp_path: Path) -> None:
    keys = {**WINDOWS, **EXPERTS, "logit_scale": number(1.0), "attention.layer_norm_epsilon": number(0.25)}
    kinds = [
        (sizes.norm_kind, sizes.epsilon)
        for rms in (None, number(0.5))
        for sizes in [read_as(tmp_path, "cohere2moe", {**keys, "attention.layer_norm_rms_epsilon": rms})]
    ]
    assert kinds == [("layer", 0.25), ("rms", 0.5)]
