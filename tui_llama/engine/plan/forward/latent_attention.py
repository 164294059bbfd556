"""Multi-head latent attention: the KV cache holds one compressed vector of each token, which all heads share.

Files come in two forms. In the newer one the matrices that would expand the vector into keys and values of each head
are applied to the queries and to the result instead ("absorbed"), so that the vector itself is the key and the value.
In the older one the vector is expanded, and the cache holds keys and values of every head.

Source: DeepSeek-AI 2024 (DeepSeek-V2), section 2.1; llama.cpp, src/models/deepseek2.cpp of October 2026.
"""

from tui_llama.engine.plan.architectures.declaration import Architecture
from tui_llama.engine.plan.forward.plan_writer import PlanWriter, Rows, Values
from tui_llama.engine.plan.forward.sublayer import emit_output
from tui_llama.engine.tensors.hyperparameters import LatentSizes, LayerSizes


def emit_latent_attention(
    plan: PlanWriter[Values], architecture: Architecture, normed: Values, residual: Values, layer: int
) -> None:
    """Emits residual += attention(normed)."""
    sizes, block = plan.sizes.layers[layer], f"blk.{layer}."
    latent = sizes.latent
    assert latent is not None
    queries, compressed = _emit_projections(plan, normed, sizes, latent, block)
    if latent.is_absorbed:
        keys, values = compressed, None
        queries = _emit_absorbed_queries(plan, queries, sizes, latent, block)
    else:
        keys, values = _emit_expanded(plan, compressed, sizes, latent, block)
    plan.store(keys, values, layer)
    if layer == plan.sizes.layer_count - 1:
        # All keys and values are stored now, so only the tokens whose logits are wanted go on.
        plan.continue_with_output_tokens()
    attended = plan.attention(plan.rotate(queries, layer), layer)
    if latent.is_absorbed:
        attended = _emit_values(plan, attended, sizes, latent, block)
    emit_output(plan, architecture, attended, block + "attn_output", residual, "", bias_required=False)


def _emit_projections(
    plan: PlanWriter[Values], normed: Values, sizes: LayerSizes, latent: LatentSizes, block: str
) -> tuple[Values, Values]:
    """Emits the queries of all heads, and the compressed vector with the rotated part of the keys behind it."""
    queries = plan.buffer("queries", sizes.head_count * (latent.plain_dim + latent.rotated_dim))
    compressed = plan.buffer("compressed keys", latent.rank + latent.rotated_dim)
    if latent.query_rank:
        short = plan.buffer("compressed queries", latent.query_rank)
        plan.multiply(normed, {block + "attn_q_a": short, block + "attn_kv_a_mqa": compressed})
        plan.norm_in_place(short, block + "attn_q_a_norm", "rms")
        plan.multiply(short, {block + "attn_q_b": queries})
    else:
        plan.multiply(normed, {block + "attn_q": queries, block + "attn_kv_a_mqa": compressed})
    plan.norm_in_place(plan.part(compressed, 0, latent.rank), block + "attn_kv_a_norm", "rms")
    return queries, compressed


def _emit_absorbed_queries(
    plan: PlanWriter[Values], queries: Values, sizes: LayerSizes, latent: LatentSizes, block: str
) -> Values:
    """Emits queries that look for compressed vectors: each head's plain part times a matrix, then its rotated part."""
    heads, width = sizes.head_count, latent.plain_dim + latent.rotated_dim
    absorbed = plan.buffer("absorbed queries", heads * sizes.head_dim)
    plan.multiply_heads(
        [plan.part(queries, head * width, latent.plain_dim) for head in range(heads)],
        [Rows(f"{block}attn_k_b", head * latent.rank, heads * latent.rank, "", heads) for head in range(heads)],
        [plan.part(absorbed, head * sizes.head_dim, latent.rank) for head in range(heads)],
    )
    rotated = plan.part(queries, latent.plain_dim, latent.rotated_dim)
    plan.copy_heads(rotated, width, plan.part(absorbed, latent.rank, latent.rotated_dim), sizes.head_dim, heads)
    return absorbed


def _emit_values(
    plan: PlanWriter[Values], attended: Values, sizes: LayerSizes, latent: LatentSizes, block: str
) -> Values:
    """Emits the values of all heads, from what their attention made of compressed vectors."""
    heads = sizes.head_count
    values = plan.buffer("expanded values", heads * latent.value_dim)
    plan.multiply_heads(
        [plan.part(attended, head * latent.rank, latent.rank) for head in range(heads)],
        [
            Rows(f"{block}attn_v_b", head * latent.value_dim, heads * latent.value_dim, "", heads)
            for head in range(heads)
        ],
        [plan.part(values, head * latent.value_dim, latent.value_dim) for head in range(heads)],
    )
    return values


def _emit_expanded(
    plan: PlanWriter[Values], compressed: Values, sizes: LayerSizes, latent: LatentSizes, block: str
) -> tuple[Values, Values]:
    """Emits keys and values of all heads. The rotated part of the keys is the same for all."""
    heads, width = sizes.head_count, latent.plain_dim + latent.value_dim
    both = plan.buffer("expanded keys and values", heads * width)
    keys, values = plan.buffer("keys", heads * sizes.head_dim), plan.buffer("values", heads * latent.value_dim)
    plan.multiply(plan.part(compressed, 0, latent.rank), {block + "attn_kv_b": both})
    plan.copy_heads(plan.part(both, 0, latent.plain_dim), width, keys, sizes.head_dim, heads)
    rotated = plan.part(compressed, latent.rank, latent.rotated_dim)
    plan.copy_heads(rotated, 0, plan.part(keys, latent.plain_dim, latent.rotated_dim), sizes.head_dim, heads)
    plan.copy_heads(plan.part(both, latent.plain_dim, latent.value_dim), width, values, latent.value_dim, heads)
    return keys, values
