"""Gemma 4: layers that read keys and values of others, embeddings for each layer, and experts beside a dense block.

Source: llama.cpp, src/models/gemma4.cpp of October 2026.
"""

from tui_llama.engine.plan.architectures.declaration import Architecture
from tui_llama.engine.plan.forward.attention import emit_scores
from tui_llama.engine.plan.forward.experts import emit_chosen
from tui_llama.engine.plan.forward.feed_forward import emit_feed_forward, emit_hidden
from tui_llama.engine.plan.forward.plan_writer import MatrixName, PlanWriter, Values
from tui_llama.engine.plan.forward.sublayer import add_output, emit_norm

_LAYER_INPUTS = "layer inputs"


def emit_layer_inputs(plan: PlanWriter[Values], architecture: Architecture, residual: Values) -> None:
    """Emits what each layer gets of a token besides the residual stream.

    inputs = (norm(projection · e / √E) + own embedding · √P) / √2, in pieces of P numbers, one for each layer.
    """
    sizes = plan.sizes
    piece, width = sizes.layer_embedding_size, sizes.layer_embedding_size * sizes.layer_count
    if not piece:
        return
    inputs, own = plan.buffer(_LAYER_INPUTS, width), plan.buffer("own layer inputs", width)
    plan.embed("per_layer_token_embd", own, piece**0.5)
    plan.multiply(residual, {"per_layer_model_proj": inputs})
    plan.scale_and_cap(inputs, sizes.embedding_size**-0.5, 0.0)
    plan.head_norm(inputs, "per_layer_proj_norm", sizes.layer_count, "rms")
    plan.add(inputs, own, 1.0)
    plan.scale_and_cap(inputs, 0.5**0.5, 0.0)


def emit_layer(plan: PlanWriter[Values], architecture: Architecture, residual: Values, layer: int) -> None:
    """Emits one layer."""
    block = f"blk.{layer}."
    normed = emit_norm(plan, architecture, residual, block + architecture.norms.before_attention)
    _emit_attention(plan, architecture, normed, residual, layer)
    normed = emit_norm(plan, architecture, residual, block + architecture.norms.before_feed_forward)
    emit_block = emit_feed_forward if plan.sizes.layers[layer].experts is None else _emit_dense_and_experts
    emit_block(plan, architecture, normed, residual, layer)
    _emit_layer_input(plan, residual, layer)
    if plan.has(f"{block}layer_output_scale.weight"):
        plan.multiply_by(residual, f"{block}layer_output_scale")


def _emit_attention(
    plan: PlanWriter[Values], architecture: Architecture, normed: Values, residual: Values, layer: int
) -> None:
    """Emits attention. Values have a norm without weights; without a matrix they are keys before the keys' norm."""
    sizes, block = plan.sizes.layers[layer], f"blk.{layer}."
    queries = plan.buffer("queries", sizes.head_count * sizes.head_dim)
    if sizes.kv_source != layer:
        plan.multiply(normed, {block + "attn_q": queries})
        plan.head_norm(queries, block + "attn_q_norm", sizes.head_count, "rms")
        emit_scores(plan, architecture, (queries, None, None), residual, layer)
        return
    keys = plan.buffer("keys", sizes.kv_head_count * sizes.head_dim)
    values = plan.buffer("values", sizes.kv_head_count * sizes.value_dim)
    targets: dict[MatrixName, Values] = {block + "attn_q": queries, block + "attn_k": keys}
    has_values = plan.has(f"{block}attn_v.weight")
    if has_values:
        targets[block + "attn_v"] = values
    plan.multiply(normed, targets)
    plan.bare_head_norm(values if has_values else keys, values, sizes.kv_head_count)
    plan.head_norm(queries, block + "attn_q_norm", sizes.head_count, "rms")
    plan.head_norm(keys, block + "attn_k_norm", sizes.kv_head_count, "rms")
    emit_scores(plan, architecture, (queries, keys, values), residual, layer)


def _emit_dense_and_experts(
    plan: PlanWriter[Values], architecture: Architecture, normed: Values, residual: Values, layer: int
) -> None:
    """Emits residual += norm(norm(dense(normed)) + norm(experts(norm(residual)))); the router has a norm of its own."""
    rules, experts = architecture.experts, plan.sizes.layers[layer].experts
    assert rules is not None and experts is not None
    block, size = f"blk.{layer}.", plan.sizes.embedding_size
    dense, output = plan.buffer("dense output", size), plan.buffer("block output", size)
    logits = plan.buffer("router", experts.count)
    plan.multiply(emit_hidden(plan, architecture, normed, layer), {block + "ffn_down": dense})
    plan.norm_in_place(dense, block + "post_ffw_norm_1", "rms")
    routed = plan.experts.norm_for_router(residual, f"{block}ffn_gate_inp.scale", size**-0.5)
    plan.multiply(routed, {block + "ffn_gate_inp": logits})
    plan.experts.choose(logits, experts, "")
    normed = plan.norm(residual, block + "pre_ffw_norm_2", "rms")
    emit_chosen(plan, rules, experts, normed, output, block, add=False)
    plan.norm_in_place(output, block + "post_ffw_norm_2", "rms")
    plan.add(output, dense, 1.0)
    add_output(plan, output, residual, block + architecture.norms.after_feed_forward)


def _emit_layer_input(plan: PlanWriter[Values], residual: Values, layer: int) -> None:
    """Emits residual += norm(proj · (gelu(gate · residual) · input of the layer))."""
    sizes, block = plan.sizes, f"blk.{layer}."
    piece = sizes.layer_embedding_size
    if not piece:
        return
    gates, inputs = plan.buffer("layer gates", piece), plan.buffer(_LAYER_INPUTS, piece * sizes.layer_count)
    output = plan.buffer("block output", sizes.embedding_size)
    plan.multiply(residual, {block + "inp_gate": gates})
    plan.gate(gates, plan.part(inputs, layer * piece, piece), "gelu")
    plan.multiply(gates, {block + "proj": output})
    plan.norm_in_place(output, block + "post_norm", "rms")
    plan.add(residual, output, 1.0)
