"""The attention block of a layer.

Sources: Vaswani et al. 2017; Ainslie et al. 2023 (query heads that share keys and values).
"""

from tui_llama.engine.plan.architectures.declaration import Architecture, HeadNorms
from tui_llama.engine.plan.forward.latent_attention import emit_latent_attention
from tui_llama.engine.plan.forward.plan_writer import MatrixName, PlanWriter, Rows, Values
from tui_llama.engine.plan.forward.sublayer import emit_norm, emit_output

_BUFFERS = ("queries", "keys", "values")


def emit_attention(
    plan: PlanWriter[Values], architecture: Architecture, normed: Values, residual: Values, layer: int
) -> None:
    """Emits residual += attention(normed)."""
    if plan.sizes.layers[layer].latent is not None:
        emit_latent_attention(plan, architecture, normed, residual, layer)
        return
    queries, keys, values = emit_projections(plan, architecture, normed, layer)
    norms = architecture.head_norms
    if norms is not None and not _has_head_norms(plan, architecture, norms, layer):
        norms = None
    if norms is not None and not norms.is_after_rotation:
        _emit_head_norms(plan, architecture, norms, (queries, keys), layer)
    if norms is not None and norms.is_after_rotation:
        plan.rotate_in_place(queries, layer, plan.sizes.layers[layer].head_count)
        plan.rotate_in_place(keys, layer, plan.sizes.layers[layer].kv_head_count)
        _emit_head_norms(plan, architecture, norms, (queries, keys), layer)
    is_after_rotation = norms is not None and norms.is_after_rotation
    gates = _emit_gates(plan, normed, layer) if plan.sizes.layers[layer].attention_gates else None
    emit_scores(
        plan, architecture, (queries, keys, values), residual, layer, are_rotated=is_after_rotation, gates=gates
    )


def emit_projections(
    plan: PlanWriter[Values], architecture: Architecture, normed: Values, layer: int
) -> tuple[Values, Values, Values]:
    """Emits queries, keys and values; they come from three matrices, or from the rows of one."""
    sizes, block = plan.sizes.layers[layer], f"blk.{layer}."
    widths = {
        "attn_q": sizes.head_count * sizes.head_dim,
        "attn_k": sizes.kv_head_count * sizes.head_dim,
        "attn_v": sizes.kv_head_count * sizes.value_dim,
    }
    buffers = [plan.buffer(name, width) for name, width in zip(_BUFFERS, widths.values(), strict=True)]
    targets: dict[MatrixName, Values] = {}
    first = 0
    is_fused = plan.has(f"{block}attn_qkv.weight")
    for (name, width), buffer in zip(widths.items(), buffers, strict=True):
        fused = Rows(f"{block}attn_qkv", first, sum(widths.values()), block + name)
        targets[fused if is_fused else block + name] = buffer
        first += width
    plan.multiply(normed, targets, bias_required="attn_q" in architecture.required_biases)
    if plan.sizes.projection_limit:
        for buffer in buffers:
            plan.limit(buffer, plan.sizes.projection_limit)
    return buffers[0], buffers[1], buffers[2]


def emit_scores(
    plan: PlanWriter[Values],
    architecture: Architecture,
    queries_keys_values: tuple[Values, Values | None, Values | None],
    residual: Values,
    layer: int,
    *,
    are_rotated: bool = False,
    gates: Values | None = None,
) -> None:
    """Emits what follows the projections: storing, softmax attention and the product with the output matrix.

    Keys and values are None in layers that read those of another one. Gates, if any, multiply what attention gives.
    """
    queries, keys, values = queries_keys_values
    block = f"blk.{layer}."
    if keys is not None and values is not None:
        plan.store(keys, values, layer, is_rotated=are_rotated)
    if layer == plan.sizes.layer_count - 1:
        # All keys and values are stored now, so only the tokens whose logits are wanted go on.
        plan.continue_with_output_tokens()
    rotated = plan.arrange(queries, layer) if are_rotated else plan.rotate(queries, layer)
    attended = plan.attention(rotated, layer, sinks=_sinks(plan, architecture, f"{block}attn_sinks.weight"))
    if gates is not None:
        attended = _emit_gating(plan, architecture, gates, attended, layer)
    if plan.sizes.attention_output_scale != 1.0:
        plan.scale_and_cap(attended, plan.sizes.attention_output_scale, 0.0)
    if architecture.norms.before_attention_output:
        attended = emit_norm(plan, architecture, attended, block + architecture.norms.before_attention_output)
    behind = architecture.norms.after_attention
    emit_output(
        plan, architecture, attended, block + "attn_output", residual, behind and block + behind,
        bias_required="attn_output" in architecture.required_biases,
    )  # fmt: skip


def _sinks(plan: PlanWriter[Values], architecture: Architecture, name: str) -> str:
    """Returns the tensor of a layer's sinks, or "" if it has none."""
    has_sinks = architecture.sinks == "required" or (architecture.sinks == "optional" and plan.has(name))
    return name if has_sinks else ""


def _emit_gates(plan: PlanWriter[Values], normed: Values, layer: int) -> Values:
    gates = plan.buffer("attention gates", plan.sizes.layers[layer].attention_gates)
    plan.multiply(normed, {f"blk.{layer}.attn_gate": gates})
    return gates


def _emit_gating(
    plan: PlanWriter[Values], architecture: Architecture, gates: Values, attended: Values, layer: int
) -> Values:
    """Emits activation(gates) × attended; each gate is for an element or for a head."""
    sizes, activation = plan.sizes.layers[layer], architecture.gate_activation
    if activation == "sigmoid" and sizes.attention_gates == sizes.head_count * sizes.value_dim:
        return plan.gate(gates, attended, activation)
    plan.activate(gates, activation)
    plan.weigh_heads(attended, gates)
    return attended


def _has_head_norms(plan: PlanWriter[Values], architecture: Architecture, norms: HeadNorms, layer: int) -> bool:
    sizes = plan.sizes.layers[layer]
    if not norms.applies(plan.sizes, sizes):
        return False
    return not norms.is_optional or plan.has(f"blk.{layer}.attn_q_norm.weight")


def _emit_head_norms(
    plan: PlanWriter[Values],
    architecture: Architecture,
    norms: HeadNorms,
    queries_keys: tuple[Values, Values],
    layer: int,
) -> None:
    sizes, kind = plan.sizes.layers[layer], plan.sizes.norm_kind
    counts = (sizes.head_count, sizes.kv_head_count)
    for values, name, heads in zip(queries_keys, ("attn_q_norm", "attn_k_norm"), counts, strict=True):
        full_name = f"blk.{layer}.{name}" if norms.has_weights else ""
        if norms.spans == "all heads":
            plan.norm_in_place(values, full_name, kind)
        else:
            plan.head_norm(values, full_name, heads, kind, vector_per_head=norms.vector_per_head)
