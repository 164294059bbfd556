"""The forward pass of a decoder, written once; the differences between architectures are data.

This module emits the steps of a plan and computes nothing itself.

Source: Vaswani et al. 2017, with norms, rotary positions and gated feed-forward blocks as in Touvron et al. 2023.
"""

from tui_llama.engine.plan.architectures.declaration import Architecture
from tui_llama.engine.plan.forward.attention import emit_attention
from tui_llama.engine.plan.forward.experts import emit_experts, emit_router
from tui_llama.engine.plan.forward.feed_forward import emit_feed_forward
from tui_llama.engine.plan.forward.plan_writer import PlanWriter, Values
from tui_llama.engine.plan.forward.sublayer import emit_norm


def emit_forward_pass(plan: PlanWriter[Values], architecture: Architecture) -> None:
    """Emits all plan steps from token ids to logits."""
    sizes = plan.sizes
    residual = plan.buffer("residual", sizes.embedding_size)
    plan.embed("token_embd", residual, sizes.embedding_scale)
    if architecture.emit_before_layers is not None:
        architecture.emit_before_layers(plan, architecture, residual)
    emit_layer = architecture.emit_layer or _emit_layer
    for layer in range(sizes.layer_count):
        emit_layer(plan, architecture, residual, layer)
    normed = emit_norm(plan, architecture, residual, "output_norm")
    has_own = architecture.output == "own" or (architecture.output == "own or embedding" and plan.has("output.weight"))
    output = "output" if has_own else "token_embd"
    plan.multiply(normed, {output: plan.logits}, bias_required="output" in architecture.required_biases)
    if sizes.logit_scale != 1.0 or sizes.logit_cap:
        plan.scale_and_cap(plan.logits, sizes.logit_scale, sizes.logit_cap)


def _emit_layer(plan: PlanWriter[Values], architecture: Architecture, residual: Values, layer: int) -> None:
    """Emits one layer: residual += attention(norm(residual)), then residual += feed_forward(norm(residual))."""
    norms, block = architecture.norms, f"blk.{layer}."
    is_side_by_side, experts = _is_side_by_side(plan, architecture, block), plan.sizes.layers[layer].experts
    if experts is not None and architecture.experts is not None and architecture.experts.reads_layer_input:
        emit_router(plan, architecture.experts, experts, residual, block)
    normed = residual
    if norms.before_attention:
        normed = emit_norm(plan, architecture, residual, block + norms.before_attention)
    attention_input = normed
    if is_side_by_side:
        attention_input, normed = _emit_second_norm(plan, architecture, residual, normed, block)
    emit_attention(plan, architecture, attention_input, residual, layer)
    if norms.before_feed_forward and not is_side_by_side:
        normed = emit_norm(plan, architecture, residual, block + norms.before_feed_forward)
    emit_block = emit_feed_forward if experts is None else emit_experts
    emit_block(plan, architecture, normed, residual, layer)


def _is_side_by_side(plan: PlanWriter[Values], architecture: Architecture, block: str) -> bool:
    """Tells whether attention and feed-forward block of a layer both read what is before the layer."""
    if architecture.side_by_side == "without a second norm":
        return not plan.has(f"{block}{architecture.norms.before_feed_forward}.weight")
    return architecture.side_by_side == "always" or plan.sizes.is_side_by_side


def _emit_second_norm(
    plan: PlanWriter[Values], architecture: Architecture, residual: Values, first: Values, block: str
) -> tuple[Values, Values]:
    """Returns what attention and feed-forward block read side by side: the first norm, or one of them a second one."""
    norms, target = architecture.norms, "normed besides"
    if norms.of_attention_alone and plan.has(f"{block}{norms.of_attention_alone}.weight"):
        return emit_norm(plan, architecture, residual, block + norms.of_attention_alone, target), first
    if plan.sizes.is_side_by_side:
        return first, emit_norm(plan, architecture, residual, block + norms.before_feed_forward, target)
    return first, first
