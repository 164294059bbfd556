"""Reads the sizes of multi-head latent attention.

Source: DeepSeek-AI 2024 (DeepSeek-V2), section 2.1; llama.cpp, src/models/deepseek2.cpp of October 2026.
"""

from collections.abc import Callable

from tui_llama.engine.layouts.weight_tile import ROWS
from tui_llama.engine.plan.sizes.keys import OTHER_MODEL_HINT, Keys
from tui_llama.engine.tensors.hyperparameters import MAX_HEAD_DIM, MAX_SIZE, LatentSizes


def read_latent(keys: Keys, query_rank: Callable[[Keys], int]) -> LatentSizes:
    """Reads the sizes that all layers share; see `Keys` for the errors."""
    is_absorbed = keys.has("attention.key_length_mla")
    key_name = "attention.key_length_mla" if is_absorbed else "attention.key_length"
    value_name = "attention.value_length_mla" if is_absorbed else "attention.value_length"
    rotated_dim, key_dim = keys.size("rope.dimension_count", MAX_HEAD_DIM), keys.size(key_name, MAX_HEAD_DIM)
    if key_dim <= rotated_dim:
        raise keys.refuse(key_name, f"{key_dim} leaves nothing besides the {rotated_dim} elements that are rotated")
    rank_key = "attention.kv_lora_rank"
    rank, value_dim = keys.size(rank_key, MAX_HEAD_DIM - rotated_dim), keys.size(value_name, MAX_HEAD_DIM)
    for name, size in ((rank_key, rank), (value_name, value_dim)):
        if is_absorbed and size % ROWS:  # the products of heads lie side by side, in whole tiles
            raise keys.refuse(name, f"{size} is not a multiple of {ROWS}, which is not supported", OTHER_MODEL_HINT)
    return LatentSizes(
        query_rank=query_rank(keys),
        rank=rank,
        plain_dim=key_dim - rotated_dim,
        rotated_dim=rotated_dim,
        value_dim=value_dim,
        is_absorbed=is_absorbed,
    )


def check_latent(keys: Keys, latent: LatentSizes, cached: tuple[int, int, int], head_count: int) -> None:
    """Checks that the sizes of the cache are those of what is stored.

    Args:
        keys: The file's.
        latent: The sizes of attention.
        cached: Key-value heads, and the elements of a key and of a value, as the file gives them.
        head_count: Query heads.

    Raises:
        ModelFileError: they are not, or all heads together are too large.
    """
    expected = (head_count, latent.plain_dim + latent.rotated_dim, latent.value_dim)
    if latent.is_absorbed:
        expected = (1, latent.rank + latent.rotated_dim, latent.rank)
    names = ("attention.head_count_kv", "attention.key_length", "attention.value_length")
    for name, size, right in zip(names, cached, expected, strict=True):
        if size != right:
            raise keys.refuse(name, f"{size} should be {right}")
    if head_count * (latent.rank + latent.plain_dim + latent.value_dim) > MAX_SIZE:
        raise keys.refuse("attention.kv_lora_rank", f"{head_count} heads of {latent.rank} are more than {MAX_SIZE}")
