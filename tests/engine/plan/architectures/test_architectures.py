"""Every declared architecture: it is known by its name, and its layers do what its models were trained with."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.engine.plan.architectures.layer_story import layer_story
from tests.engine.plan.sizes.key_files import Setting, flag, integer, number, read_as
from tui_llama.engine.plan.architectures import ARCHITECTURES, architecture_named
from tui_llama.errors import ModelFileError

NORM, SECOND_NORM = ["rms attn_norm"], ["rms ffn_norm"]
PROJECT, ATTEND = ["normed by attn_q attn_k attn_v"], ["attend rotated", "attended to residual by attn_output"]
HEAD_NORMS = ["rms attn_q_norm of each head", "rms attn_k_norm of each head"]
LLAMA_ATTENTION = [*NORM, *PROJECT, *ATTEND]
GATED = ["normed by ffn_gate ffn_up", "silu gates", "hidden to residual by ffn_down"]
GATED_BY_HALVES = ["normed by rows of ffn_up rows of ffn_up", *GATED[1:]]
GELU_GATED = [GATED[0], "gelu gates", GATED[2]]
LLAMA = [*LLAMA_ATTENTION, *SECOND_NORM, *GATED]
PROJECT_WITH_BIAS = [f"{PROJECT[0]} and bias"]
ATTEND_WITH_BIAS = [ATTEND[0], f"{ATTEND[1]} and bias"]
QWEN2 = [*NORM, *PROJECT_WITH_BIAS, *ATTEND, *SECOND_NORM, *GATED]
QWEN3 = [*NORM, *PROJECT, *HEAD_NORMS, *ATTEND, *SECOND_NORM, *GATED]
ATTEND_AND_NORM = [ATTEND[0], "attended by attn_output", "rms post_attention_norm in place", "add"]
DOWN_AND_NORM = ["hidden by ffn_down", "rms post_ffw_norm in place", "add"]
SCALED = [
    *(*LLAMA_ATTENTION[:-1], "attended by attn_output", "add × 0.5"),
    *(*SECOND_NORM, *GATED[:2], "hidden by ffn_down", "add × 0.5"),
]
SIDE_BY_SIDE = ["layer attn_norm", *PROJECT, *ATTEND, *GATED]
PLAIN_GELU_WITH_BIAS = ["normed by ffn_up and bias", "gelu", "ups to residual by ffn_down and bias"]
PLAIN_GELU = ["normed by ffn_up", "gelu", "ups to residual by ffn_down"]
GPT2 = [
    *("layer attn_norm and bias", *PROJECT_WITH_BIAS, *ATTEND_WITH_BIAS),
    *("layer ffn_norm and bias", *PLAIN_GELU_WITH_BIAS),
]
LIMIT = ["limit queries to 2", "limit keys to 2", "limit values to 2"]
RAW = ["residual by attn_q attn_k attn_v"]
RAW_GATED = ["residual by ffn_gate ffn_up", GATED[1], *DOWN_AND_NORM]
ROTATED_HEADS = ["rotate queries", "rotate keys", *HEAD_NORMS, "attend arranged", ATTEND[1]]

LAYERS: Mapping[str, list[str]] = {
    "apertus": [
        *(*NORM, *PROJECT, *HEAD_NORMS, *ATTEND, *SECOND_NORM),
        *("normed by ffn_up", "xielu 1.193 0.6931 0.5 -0.25", "ups to residual by ffn_down"),
    ],
    "arcee": [*LLAMA_ATTENTION, *SECOND_NORM, "normed by ffn_up", "relu_squared", "ups to residual by ffn_down"],
    "bitnet": [
        *(*NORM, *PROJECT, ATTEND[0], "rms attn_sub_norm", "normed to residual by attn_output"),
        *(*SECOND_NORM, *GATED[:2], "rms ffn_sub_norm", "normed to residual by ffn_down"),
    ],
    "bloom": ["layer token_embd_norm in place", *GPT2],
    "cohere2": SIDE_BY_SIDE,
    "command-r": SIDE_BY_SIDE,
    "ernie4_5": LLAMA,
    "exaone4": [*RAW, *HEAD_NORMS, *ATTEND_AND_NORM, *RAW_GATED],
    "falcon": ["layer attn_norm and bias", *PROJECT, *ATTEND, *PLAIN_GELU],
    "gemma": [*LLAMA_ATTENTION, *SECOND_NORM, *GELU_GATED],
    "gemma2": [*NORM, *PROJECT, *ATTEND_AND_NORM, *SECOND_NORM, *GELU_GATED[:2], *DOWN_AND_NORM],
    "gemma3": [*NORM, *PROJECT, *HEAD_NORMS, *ATTEND_AND_NORM, *SECOND_NORM, *GELU_GATED[:2], *DOWN_AND_NORM],
    "glm4": [*NORM, *PROJECT, *ATTEND_AND_NORM, *SECOND_NORM, *GATED_BY_HALVES[:2], *DOWN_AND_NORM],
    "gpt2": ["embed position_embd", "add", *GPT2],
    "gptneox": [
        *("layer attn_norm and bias", "layer ffn_norm and bias", *PROJECT_WITH_BIAS, *ATTEND_WITH_BIAS),
        *("normed besides by ffn_up and bias", *PLAIN_GELU_WITH_BIAS[1:]),
    ],
    "granite": SCALED,
    "hunyuan-dense": [*NORM, *PROJECT, *ROTATED_HEADS, *SECOND_NORM, *GATED],
    "internlm2": LLAMA,
    "jais": [
        *("layer attn_norm and bias", *PROJECT_WITH_BIAS, *ATTEND_WITH_BIAS, "layer ffn_norm and bias"),
        *(f"{GATED[0]} and bias", GATED[1], f"{GATED[2]} and bias"),
    ],
    "llama": LLAMA,
    "minicpm": SCALED,
    "mistral3": LLAMA,
    "mpt": ["layer attn_norm", *PROJECT, *LIMIT, *ATTEND, "layer ffn_norm", *PLAIN_GELU],
    "olmo": ["layer bare", *PROJECT, *LIMIT, *ATTEND, "layer bare", *GATED],
    "olmo2": [*RAW, "rms attn_q_norm in place", "rms attn_k_norm in place", *ATTEND_AND_NORM, *RAW_GATED],
    "phi2": ["layer attn_norm and bias", *PROJECT_WITH_BIAS, *ATTEND_WITH_BIAS, *PLAIN_GELU_WITH_BIAS],
    "phi3": [*LLAMA_ATTENTION, *SECOND_NORM, *GATED_BY_HALVES],
    "plamo": [*LLAMA_ATTENTION, *GATED],
    "qwen": QWEN2,
    "qwen2": QWEN2,
    "qwen2vl": QWEN2,
    "qwen3": QWEN3,
    "qwen3vl": QWEN3,
    "refact": LLAMA,
    "seed_oss": [*NORM, *PROJECT_WITH_BIAS, *ATTEND, "rms post_attention_norm", *GATED],
    "smollm3": LLAMA,
    "stablelm": ["layer attn_norm and bias", *PROJECT, *ATTEND, *GATED],
    "starcoder": ["embed position_embd", "add", *GPT2],
    "starcoder2": GPT2,
}
"""One layer of each dense architecture, in the words of `layer_story`."""

ENDS: Mapping[str, list[str]] = {
    "apertus": ["embed", "rms output_norm", "normed by output"],
    "arcee": ["embed", "rms output_norm", "normed by token_embd"],
    "bloom": ["embed", "layer output_norm and bias", "normed by token_embd"],
    "cohere2": ["embed", "layer output_norm", "normed by token_embd", "scale × 3, cap 0"],
    "command-r": ["embed", "layer output_norm", "normed by token_embd", "scale × 3, cap 0"],
    "falcon": ["embed", "layer output_norm and bias", "normed by token_embd"],
    "gemma": ["embed × 8", "rms output_norm", "normed by token_embd"],
    "gemma2": ["embed × 8", "rms output_norm", "normed by token_embd", "scale × 1, cap 30"],
    "gemma3": ["embed × 8", "rms output_norm", "normed by token_embd"],
    "gpt2": ["embed", "layer output_norm and bias", "normed by token_embd"],
    "gptneox": ["embed", "layer output_norm and bias", "normed by output"],
    "granite": ["embed × 7", "rms output_norm", "normed by token_embd", "scale × 0.3333, cap 0"],
    "internlm2": ["embed", "rms output_norm", "normed by output"],
    "jais": ["embed", "layer output_norm and bias", "normed by output"],
    "mpt": ["embed", "layer output_norm", "normed by token_embd"],
    "minicpm": ["embed × 7", "rms output_norm", "normed by token_embd", "scale × 0.3333, cap 0"],
    "olmo": ["embed", "layer bare", "normed by token_embd"],
    "olmo2": ["embed", "rms output_norm", "normed by output"],
    "phi2": ["embed", "layer output_norm and bias", "normed by output and bias"],
    "plamo": ["embed", "rms output_norm", "normed by output"],
    "qwen": ["embed", "rms output_norm", "normed by output"],
    "stablelm": ["embed", "layer output_norm and bias", "normed by output"],
    "starcoder": ["embed", "layer output_norm and bias", "normed by token_embd"],
    "starcoder2": ["embed", "layer output_norm and bias", "normed by token_embd"],
}
"""What is before and behind the layers of those that differ from llama, without a tensor `output`."""

KEYS: Mapping[str, Setting] = {
    "block_count": integer(1),
    "attention.sliding_window": integer(20),
    "rope.dimension_sections": [2, 2, 2, 2],
    "embedding_scale": number(7.0),
    "residual_scale": number(0.5),
    "logit_scale": number(3.0),
    "use_parallel_residual": flag(True),
    "attention.clamp_kqv": number(2.0),
    "attention.max_alibi_bias": number(8.0),
    "xielu.alpha_n": number(0.0),
    "xielu.alpha_p": [0.0],
    "xielu.beta": number(0.5),
    "xielu.eps": number(-0.25),
}


def test_architectures_are_known_by_their_names_in_gguf() -> None:
    assert all(architecture.name == name for name, architecture in ARCHITECTURES.items())
    assert set(LAYERS) <= set(ARCHITECTURES)


def test_the_page_of_models_names_them_all_and_no_others() -> None:
    page = (Path(__file__).parents[4] / "docs" / "models.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall("`([^`]+)`", row)} == set(ARCHITECTURES)


def test_an_unknown_architecture_is_refused_and_the_page_of_those_that_run_is_named() -> None:
    with pytest.raises(ModelFileError, match="'no-such-model' is not supported") as raised:
        architecture_named("no-such-model")
    assert "docs/models.md" in raised.value.hint


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_what_its_models_were_trained_with(tmp_path: Path, name: str) -> None:
    story = layer_story(read_as(tmp_path, name, KEYS), ARCHITECTURES[name])
    ends = ENDS.get(name, ENDS["arcee"])
    assert story == [ends[0], *LAYERS[name], *ends[1:]]


def test_an_output_matrix_is_used_where_there_is_one_but_by_models_that_are_always_tied(tmp_path: Path) -> None:
    tensors = frozenset({"output.weight"})
    stories = {name: layer_story(read_as(tmp_path, name, KEYS), ARCHITECTURES[name], tensors) for name in LAYERS}
    assert {name for name, story in stories.items() if not any("normed by output" in words for words in story)} == {
        "gemma",
        "gemma2",
        "bitnet",
        "cohere2",
        "command-r",
    }


def test_stable_lm_has_its_blocks_one_after_the_other_where_it_has_two_norms(tmp_path: Path) -> None:
    tensors = frozenset({"blk.0.ffn_norm.weight", "blk.0.attn_q_norm.weight"})
    story = layer_story(read_as(tmp_path, "stablelm", KEYS), ARCHITECTURES["stablelm"], tensors)
    assert "layer ffn_norm and bias" in story
    assert "layer attn_q_norm of each head by its own" in story


def test_gpt_neox_has_its_blocks_one_after_the_other_where_the_file_says_so(tmp_path: Path) -> None:
    sizes = read_as(tmp_path, "gptneox", {**KEYS, "use_parallel_residual": flag(False)})
    assert layer_story(sizes, ARCHITECTURES["gptneox"])[1:-2] == LAYERS["starcoder2"]
    with pytest.raises(ModelFileError, match=r"'gptneox\.use_parallel_residual' is missing"):
        read_as(tmp_path, "gptneox")


def test_falcon_40b_has_a_norm_of_its_own_for_attention(tmp_path: Path) -> None:
    tensors = frozenset({"blk.0.attn_norm_2.weight"})
    story = layer_story(read_as(tmp_path, "falcon", KEYS), ARCHITECTURES["falcon"], tensors)
    assert story[1:5] == [
        *("layer attn_norm and bias", "layer attn_norm_2 and bias"),
        *("normed besides by attn_q attn_k attn_v", "attend rotated"),
    ]
    assert "normed by ffn_up" in story


def test_command_r_plus_has_norms_of_heads(tmp_path: Path) -> None:
    for layers, count in ((63, 0), (64, 64)):
        sizes = read_as(tmp_path, "command-r", {**KEYS, "block_count": integer(layers)})
        story = layer_story(sizes, ARCHITECTURES["command-r"])
        assert sum("attn_q_norm of each head by its own" in each for each in story) == count


@pytest.mark.parametrize(
    ("name", "layers", "scale"),
    [("gemma2", 46, 8**-0.5), ("gemma2", 45, 0.25), ("gemma3", 62, 8**-0.5), ("gemma3", 46, 0.25), ("llama", 1, 0.25)],
)
def test_the_largest_gemmas_scale_scores_by_the_embedding(tmp_path: Path, name: str, layers: int, scale: float) -> None:
    changes = {"block_count": integer(layers), "embedding_length": integer(32), "attention.key_length": integer(16)}
    assert read_as(tmp_path, name, changes).layers[0].attention_scale == pytest.approx(scale)


def test_scores_have_a_scale_of_the_files_only_where_the_architecture_knows_it(tmp_path: Path) -> None:
    scales = {
        (name, value): read_as(tmp_path, name, {**KEYS, "attention.scale": number(value)}).layers[0].attention_scale
        for name in ("granite", "llama")
        for value in (0.0, 0.125)
    }
    assert scales == {("granite", 0.0): 0.25, ("granite", 0.125): 0.125, ("llama", 0.0): 0.25, ("llama", 0.125): 0.25}


def test_caps_are_read_or_usual(tmp_path: Path) -> None:
    caps = {
        (name, bool(changes)): (sizes.layers[0].score_cap, sizes.logit_cap)
        for name in ("gemma2", "gemma3", "llama")
        for changes in ({}, {"attn_logit_softcapping": number(9.0), "final_logit_softcapping": number(5.0)})
        for sizes in [read_as(tmp_path, name, changes)]
    }
    assert caps == {
        ("gemma2", False): (50.0, 30.0), ("gemma2", True): (9.0, 5.0),
        ("gemma3", False): (0.0, 0.0), ("gemma3", True): (0.0, 5.0),
        ("llama", False): (0.0, 0.0), ("llama", True): (0.0, 0.0),
    }  # fmt: skip


def test_grok_has_the_scales_and_caps_of_grok_1_where_the_file_is_silent(tmp_path: Path) -> None:
    experts = {"expert_count": integer(4), "expert_used_count": integer(2)}
    sizes = read_as(tmp_path, "grok", experts)
    assert (sizes.embedding_scale, sizes.logit_scale) == pytest.approx((78.38367176906169, 0.5773502691896257))
    assert (sizes.layers[0].attention_scale, sizes.layers[0].score_cap) == pytest.approx((0.08838834764831845, 30.0))
    assert sizes.logit_cap == 0.0


def test_minicpm_has_scales_where_the_file_is_silent(tmp_path: Path) -> None:
    sizes = read_as(tmp_path, "minicpm", {"block_count": integer(4)})
    assert (sizes.embedding_scale, sizes.logit_scale) == (12.0, 0.25)
    assert sizes.residual_scale == pytest.approx(0.7)


def test_granite_takes_no_scale_for_a_scale_of_0_and_must_know_that_of_logits(tmp_path: Path) -> None:
    sizes = read_as(tmp_path, "granite", {"logit_scale": number(4.0), "embedding_scale": number(0.0)})
    assert (sizes.embedding_scale, sizes.residual_scale, sizes.logit_scale) == (1.0, 1.0, 0.25)
    with pytest.raises(ModelFileError, match=r"'granite\.logit_scale' is missing"):
        read_as(tmp_path, "granite")
    with pytest.raises(ModelFileError, match=r"'granite\.logit_scale': 0\.0 is not positive"):
        read_as(tmp_path, "granite", {"logit_scale": number(0.0)})


def test_queries_of_mistral_grow_where_the_file_says_so(tmp_path: Path) -> None:
    assert read_as(tmp_path, "mistral3").layers[0].temperature is None
    changes = {"attention.temperature_scale": number(0.1), "rope.scaling.original_context_length": integer(64)}
    temperature = read_as(tmp_path, "mistral3", changes).layers[1].temperature
    assert temperature is not None
    assert temperature.strength == pytest.approx(0.1)
    assert (temperature.length, temperature.offset) == (64, 0)


def test_baichuan_rotates_or_has_scores_that_fall_with_distance(tmp_path: Path) -> None:
    for layers, bias in ((32, 0.0), (40, 8.0)):
        sizes = read_as(tmp_path, "baichuan", {**KEYS, "block_count": integer(layers)})
        assert sizes.distance_bias == bias
        assert {layer.rotation is None for layer in sizes.layers} == {bias > 0}
        story = layer_story(sizes, ARCHITECTURES["baichuan"])
        assert story[1 : 1 + len(LLAMA)] == LLAMA
        assert story[-1] == "normed by output"
    with pytest.raises(ModelFileError, match="only models of 32 or 40 layers"):
        read_as(tmp_path, "baichuan", {"block_count": integer(33)})


def test_jais_divides_scores_by_the_size_of_heads(tmp_path: Path) -> None:
    sizes = read_as(tmp_path, "jais", KEYS)
    assert (sizes.layers[0].attention_scale, sizes.distance_bias) == (1 / 16, 8.0)
    with pytest.raises(ModelFileError, match=r"'jais\.attention\.max_alibi_bias' is missing"):
        read_as(tmp_path, "jais")


def test_mpt_has_learned_positions_where_the_file_has_them(tmp_path: Path) -> None:
    tensors = frozenset({"position_embd.weight"})
    story = layer_story(read_as(tmp_path, "mpt", KEYS), ARCHITECTURES["mpt"], tensors)
    assert story[1:3] == ["embed position_embd", "add"]


def test_qwen_1_counts_the_rows_of_both_halves_of_the_feed_forward_block(tmp_path: Path) -> None:
    for name, size in (("qwen", 48), ("qwen2", 96)):
        sizes = read_as(tmp_path, name, {"feed_forward_length": integer(96)})
        assert [layer.hidden_size for layer in sizes.layers] == [size, size]


def test_qwen_2_vl_adds_nothing_to_the_variance(tmp_path: Path) -> None:
    assert read_as(tmp_path, "qwen2vl", KEYS).epsilon == 0.0
    assert read_as(tmp_path, "qwen3vl", KEYS).epsilon == pytest.approx(1e-5)
