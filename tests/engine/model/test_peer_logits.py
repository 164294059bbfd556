"""Architectures without golden data: logits of small random models against a real llama-server's."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.engine.model.peer_logits import LENGTHS, MOST_ERROR, compare_with_server
from tests.engine.model.random_model import Key, write_random_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("xllamacpp") is None, reason="needs the package xllamacpp, a real llama-server"),
]

HALF = {"rope.dimension_count": 8}
BIASES = ("blk.*.bias",)
EXPERTS: Mapping[str, Key] = {
    "block_count": 3, "expert_count": 8, "expert_used_count": 3, "expert_feed_forward_length": 32,
}  # fmt: skip
BEHIND_DENSE: Mapping[str, Key] = {
    **EXPERTS, "leading_dense_block_count": 1, "expert_shared_count": 2, "expert_weights_scale": 2.5,
    "expert_weights_norm": True, "expert_gating_func": 2,
}  # fmt: skip
ROUTERS = ("blk.1.ffn_gate_inp.weight", "blk.2.ffn_gate_inp.weight")
FULL_HEADS: Mapping[str, Key] = {"attention.head_count_kv": 4}
SIX_HEADS: Mapping[str, Key] = {"attention.head_count": 6, "attention.head_count_kv": 6, "embedding_length": 96}
DISTANCE = {"attention.max_alibi_bias": 5.0}
FUSED = ("*attn_qkv.weight", "*attn_qkv.bias")
WINDOW = {"block_count": 5, "attention.sliding_window": 20}
LAYERS_APART: Mapping[str, Key] = {
    "attention.sliding_window": 20, "attention.sliding_window_pattern": [True, False, True],
    "attention.rope_pattern": [False, True, True], "attention.scale": 0.2,
    "embedding_scale": 3.0, "residual_scale": 0.5, "logit_scale": 4.0,
}  # fmt: skip
LATENT: Mapping[str, Key] = {
    "attention.q_lora_rank": 24, "attention.kv_lora_rank": 32, "attention.key_length_mla": 24,
    "attention.value_length_mla": 16, "rope.dimension_count": 8, "attention.key_length": 40,
    "attention.value_length": 32, "attention.head_count_kv": 1,
    "attention.temperature_scale": 0.3, "attention.temperature_length": 16,
}  # fmt: skip
UNABSORBED: Mapping[str, Key | None] = {
    "attention.key_length_mla": None, "attention.value_length_mla": None, "attention.key_length": 24,
    "attention.value_length": 16, "attention.head_count_kv": 4, "attention.temperature_scale": None,
}  # fmt: skip
MIMO2: Mapping[str, Key] = {
    **EXPERTS, **HALF, "attention.sliding_window": 20, "attention.sliding_window_pattern": [True, False, True],
    "attention.head_count_kv": [4, 2, 1], "attention.key_length": 24, "attention.value_length": 16,
    "attention.value_scale": 0.7, "rope.freq_base_swa": 100.0, "rope.scaling.type": "linear",
    "rope.scaling.factor": 4.0,
}  # fmt: skip
GROK_2: Mapping[str, Key] = {
    "attention.output_scale": 0.4, "attn_logit_softcapping": 1.5, "final_logit_softcapping": 2.0, "logit_scale": 0.7,
    "router_logit_softcapping": 0.5, "attention.temperature_length": 16,
    "embedding_scale": 3.0, "rope.scaling.type": "yarn", "rope.scaling.factor": 4.0,
    "rope.scaling.original_context_length": 64,
}  # fmt: skip
STEP35: Mapping[str, Key] = {
    **EXPERTS, "attention.sliding_window": 20, "attention.sliding_window_pattern": [False, True, True],
    "attention.head_count": [4, 8, 2], "attention.head_count_kv": [2, 4, 1], "attention.key_length": 16,
    "attention.value_length": 16, "expert_shared_feed_forward_length": 40, "expert_weights_scale": 2.5,
    "expert_weights_norm": True, "swiglu_clamp_exp": [0.0, 0.0, 0.3], "swiglu_clamp_shexp": [0.2, 0.0, 0.4],
    "rope.freq_base_swa": 100.0,
}  # fmt: skip
XIELU: Mapping[str, Key] = {
    "xielu.alpha_n": [0.4, -0.3], "xielu.alpha_p": [0.8, 0.2], "xielu.beta": [0.5, 0.3], "xielu.eps": -1e-6,
}  # fmt: skip
LAGUNA: Mapping[str, Key | None] = {
    **BEHIND_DENSE, "attention.sliding_window": 20, "attention.head_count": [4, 8, 8], "attention.key_length": 16,
    "attention.value_length": 16, "expert_shared_feed_forward_length": 40, "rope.dimension_count": 8,
    "rope.dimension_count_swa": 16, "rope.freq_base_swa": 100.0, "rope.scaling.type": "yarn",
    "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 64, "expert_gating_func": None,
}  # fmt: skip
COHERE2MOE: Mapping[str, Key | None] = {
    **BEHIND_DENSE, **WINDOW, "logit_scale": 0.5, "attention.layer_norm_rms_epsilon": None, "expert_gating_func": None,
}  # fmt: skip
WIDE = {"embedding_length": 256}  # its logits are multiplied by 256 / embedding

Case = tuple[str, Mapping[str, Key | None], Sequence[str]]
CASES: Sequence[Case] = [
    ("afmoe", {**BEHIND_DENSE, **WINDOW, "expert_gating_func": None}, ("*exp_probs_b.bias",)),
    ("apertus", XIELU, ("rope_freqs.weight",)),
    ("baichuan", {**FULL_HEADS, "block_count": 32}, ()),
    ("baichuan", {**FULL_HEADS, "block_count": 40}, ()),
    ("bailingmoe", BEHIND_DENSE, ()),
    ("bitnet", {}, ()),
    ("bloom", SIX_HEADS, (*FUSED, "token_embd_norm.bias")),
    ("chatglm", HALF, FUSED),
    ("cohere2moe", COHERE2MOE, ()),
    (
        "cohere2moe",
        {**COHERE2MOE, "attention.layer_norm_rms_epsilon": 0.02, "expert_shared_count": 0},
        ("output.weight",),
    ),
    ("dbrx", {**EXPERTS, "attention.clamp_kqv": 0.7}, ("*attn_qkv.weight",)),
    ("deepseek", BEHIND_DENSE, ()),
    ("dots1", {**BEHIND_DENSE, "attention.head_count_kv": 4}, ("*exp_probs_b.bias",)),
    ("exaone", {}, ("output.weight",)),
    ("exaone-moe", {**BEHIND_DENSE, **WINDOW}, ("*exp_probs_b.bias",)),
    ("falcon", {"attention.head_count_kv": 1}, ("*attn_qkv.weight",)),
    ("falcon", {}, ("*attn_qkv.weight", "*attn_norm_2.weight")),
    ("gpt2", FULL_HEADS, FUSED),
    ("gptneox", {**HALF, **FULL_HEADS, "use_parallel_residual": True}, FUSED),
    ("gptneox", {**FULL_HEADS, "use_parallel_residual": False}, FUSED),
    ("granite_swa", {**EXPERTS, **LAYERS_APART, "expert_shared_feed_forward_length": 40}, ()),
    ("grok", {**EXPERTS, **GROK_2}, ("*ffn_up.weight", "*layer_output_norm.weight")),
    ("grok", EXPERTS, ()),
    ("hy_v3", {**BEHIND_DENSE, "expert_gating_func": None}, (*ROUTERS, "*exp_probs_b")),
    ("jais", {**FULL_HEADS, **DISTANCE}, FUSED),
    ("jais2", {}, BIASES),
    ("laguna", LAGUNA, ()),
    ("maincoder", {}, ()),
    ("mellum", {**EXPERTS, **WINDOW, "rope.scaling.type": "linear", "rope.scaling.factor": 4.0}, ()),
    ("mimo2", MIMO2, (*ROUTERS, "*exp_probs_b.bias", "blk.0.attn_sinks.weight")),
    ("minicpm3", {**LATENT, **WIDE, **UNABSORBED}, ()),
    ("minimax-m2", {**EXPERTS, **HALF, "expert_gating_func": 2}, ()),
    ("mistral4", {**BEHIND_DENSE, **LATENT}, ("*exp_probs_b.bias",)),
    ("mpt", {**SIX_HEADS, **DISTANCE, "attention.clamp_kqv": 0.7}, ("*attn_qkv.weight", "*norm.bias")),
    ("mpt", {**FULL_HEADS, "attention.max_alibi_bias": 0.0}, ("*attn_qkv.weight", "position_embd.weight")),
    ("nemotron", HALF, BIASES),
    ("olmo", {"attention.clamp_kqv": 0.7}, ()),
    ("orion", {}, ()),
    ("pangu-embedded", {}, ("blk.*.attn_*.bias",)),
    ("phimoe", EXPERTS, ("*attn_?.bias",)),
    ("plamo", {}, ()),
    ("qwen", FULL_HEADS, FUSED),
    ("refact", {"attention.head_count_kv": 1}, ()),
    ("smallthinker", {**EXPERTS, **WINDOW, "expert_gating_func": 2}, ()),
    ("smallthinker", {**EXPERTS, "block_count": 5, "expert_gating_func": 1}, ()),
    ("starcoder", {"attention.head_count_kv": 1}, FUSED),
    (
        "step35",
        STEP35,
        (*ROUTERS, "*exp_probs_b.bias", "blk.0.attn_gate.weight", "blk.1.attn_gate.weight", "*attn_?_norm.weight"),
    ),
    (
        "step35",
        {**STEP35, "rope.scaling.type": "linear", "rope.scaling.factor": 4.0},
        (*ROUTERS, "blk.2.attn_gate.weight", "rope_freqs.weight"),
    ),
    ("xverse", {}, ()),
]
"""Architecture, keys, and tensors that a file of it may have."""


@pytest.mark.parametrize(("architecture", "keys", "optional"), CASES, ids=[case[0] for case in CASES])
def test_logits_are_those_of_llama_cpp_and_the_same_bits_every_way(
    tmp_path: Path, architecture: str, keys: Mapping[str, Key | None], optional: Sequence[str]
) -> None:
    path = write_random_model(tmp_path / "model.gguf", architecture, keys, optional)
    result = compare_with_server(path, tmp_path / "state.tlk")
    assert [error < MOST_ERROR for error in result.errors] == [True] * len(LENGTHS), result.errors
    assert result.is_same_in_pieces
    assert result.is_same_alone
