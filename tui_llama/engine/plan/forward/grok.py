"""A layer of Grok: what its experts and a dense block beside them give is added, and made smaller by √2.

Source: llama.cpp, src/models/grok.cpp of October 2026.
"""

from tui_llama.engine.plan.architectures.declaration import Architecture
from tui_llama.engine.plan.forward.attention import emit_attention
from tui_llama.engine.plan.forward.experts import emit_choice, emit_chosen
from tui_llama.engine.plan.forward.feed_forward import emit_hidden
from tui_llama.engine.plan.forward.plan_writer import PlanWriter, Values
from tui_llama.engine.plan.forward.sublayer import add_output, emit_norm


def emit_layer(plan: PlanWriter[Values], architecture: Architecture, residual: Values, layer: int) -> None:
    """Emits one layer; files without a dense block beside the experts have neither the sum nor its factor."""
    rules, experts = architecture.experts, plan.sizes.layers[layer].experts
    assert rules is not None and experts is not None
    norms, block, size = architecture.norms, f"blk.{layer}.", plan.sizes.embedding_size
    normed = emit_norm(plan, architecture, residual, block + norms.before_attention)
    emit_attention(plan, architecture, normed, residual, layer)
    normed = emit_norm(plan, architecture, residual, block + norms.before_feed_forward)
    output = plan.buffer("block output", size)
    emit_choice(plan, rules, experts, normed, block)
    emit_chosen(plan, rules, experts, normed, output, block, add=False)
    if plan.has(f"{block}ffn_up.weight"):
        dense = plan.buffer("dense output", size)
        plan.multiply(emit_hidden(plan, architecture, normed, layer), {f"{block}ffn_down": dense})
        plan.add(output, dense, 1.0)
        plan.scale_and_cap(output, 0.5**0.5, 0.0)
    behind = norms.after_feed_forward
    if not plan.has(f"{block}{behind}.weight"):
        behind = "post_ffw_norm"  # the name that other architectures have for it
    add_output(plan, output, residual, block + behind)
