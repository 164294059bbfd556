"""The forward pass of a decoder, written once; the differences between architectures are data.

This module emits the steps of a plan and computes nothing itself.

Source: Vaswani et al. 2017, with pre-norms, rotary positions and gated feed-forward blocks as in Touvron et al. 2023.
"""

from dataclasses import dataclass

from tui_llama.engine.plan.architectures.plan_writer import PlanWriter, Values


@dataclass(frozen=True, slots=True)
class Architecture:
    """Properties in which architectures differ.

    Args:
        name: Its name in GGUF.
        rotates_neighbours: Rotations pair components (2i, 2i + 1); else (i, i + half).
        attention_biases: Queries, keys and values must have biases. If False, biases are added where a file has them.
        head_norms: Each query and key head is normalised before it is rotated.
        frequency_factors: Files may have a tensor of divisors of the frequencies, Llama 3's scaling.
    """

    name: str
    rotates_neighbours: bool
    attention_biases: bool = False
    head_norms: bool = False
    frequency_factors: bool = False


def emit_forward_pass(plan: PlanWriter[Values], architecture: Architecture) -> None:
    """Emits all plan steps from token ids to logits."""
    sizes = plan.sizes
    residual = plan.embed("token_embd")
    for layer in range(sizes.layer_count):
        last = layer == sizes.layer_count - 1
        _emit_attention(plan, architecture, residual, layer, last)
        _emit_feed_forward(plan, residual, layer)
    normed = plan.rms_norm(residual, "output_norm")
    output = "output" if plan.has("output.weight") else "token_embd"
    plan.multiply(normed, {output: plan.logits})


def _emit_attention(
    plan: PlanWriter[Values], architecture: Architecture, residual: Values, layer: int, last: bool
) -> None:
    """Emits residual += attention(norm(residual))."""
    sizes, block = plan.sizes, f"blk.{layer}."
    query_size, kv_size = sizes.head_count * sizes.head_dim, sizes.kv_head_count * sizes.head_dim
    queries, keys = plan.buffer("queries", query_size), plan.buffer("keys", kv_size)
    values = plan.buffer("values", kv_size)
    normed = plan.rms_norm(residual, block + "attn_norm")
    plan.multiply(
        normed,
        {block + "attn_q": queries, block + "attn_k": keys, block + "attn_v": values},
        bias_required=architecture.attention_biases,
    )
    if architecture.head_norms:
        plan.head_norm(queries, block + "attn_q_norm", sizes.head_count)
        plan.head_norm(keys, block + "attn_k_norm", sizes.kv_head_count)
    plan.store(keys, values, layer, architecture.rotates_neighbours)
    if last:
        # All keys and values are stored now, so only the tokens whose logits are wanted go on.
        plan.continue_with_output_tokens()
    rotated = plan.rotate(queries, architecture.rotates_neighbours)
    attended = plan.attention(rotated, layer, scale=sizes.head_dim**-0.5)
    plan.multiply(attended, {block + "attn_output": residual}, add=True)


def _emit_feed_forward(plan: PlanWriter[Values], residual: Values, layer: int) -> None:
    """Emits residual += down(silu(gate(norm(residual))) · up(norm(residual)))."""
    block = f"blk.{layer}."
    gates, ups = plan.buffer("gates", plan.sizes.hidden_size), plan.buffer("ups", plan.sizes.hidden_size)
    normed = plan.rms_norm(residual, block + "ffn_norm")
    plan.multiply(normed, {block + "ffn_gate": gates, block + "ffn_up": ups})
    gated = plan.swiglu(gates, ups)
    plan.multiply(gated, {block + "ffn_down": residual}, add=True)
