"""How much memory a model's weights need, and which experts stay in its file where there is less.

A token uses only few of the experts of a layer, so weights that do not fit into memory should be those of experts. As
many as fit are kept in memory, since they need not be packed anew each time.
"""

import re
from collections.abc import Mapping
from typing import Final

from tui_llama.engine.gguf.file import TensorInfo
from tui_llama.engine.layouts.weight_tile import FORMATS
from tui_llama.engine.requests import IN_FILE, IN_MEMORY

_EXPERTS: Final = re.compile(r"blk\.(\d{1,6})\.ffn_\w+_exps\.")
_USED_SHARE: Final = 0.9  # of the free memory: the rest is for what the system keeps of the file


def layer_of_experts(name: str) -> int | None:
    """Returns the layer whose experts a tensor belongs to; None for any other tensor."""
    match = _EXPERTS.match(name)
    return int(match[1]) if match else None


def bytes_in_memory(tensor: TensorInfo) -> int:
    """Returns the bytes of a tensor in tiles, which may be more than in the file."""
    layout = FORMATS.get(tensor.type_id)
    if layout is None or layout.is_float:
        return tensor.size_bytes
    return layout.bytes_in_tiles(tensor.size_bytes)


def expert_bytes(tensors: Mapping[str, TensorInfo]) -> dict[str, int]:
    """Returns the bytes in memory of each tensor that holds matrices of experts, in the order of the file."""
    return {
        name: bytes_in_memory(tensor)
        for name, tensor in tensors.items()
        if name.endswith(".weight") and layer_of_experts(name) is not None
    }


def other_bytes(tensors: Mapping[str, TensorInfo]) -> int:
    """Returns the bytes in memory of everything but experts."""
    experts = expert_bytes(tensors)
    return sum(bytes_in_memory(tensor) for name, tensor in tensors.items() if name not in experts)


def experts_in_file(
    experts: Mapping[str, int], needed_bytes: int, free_bytes: int | None, place: str
) -> frozenset[str]:
    """Returns the tensors of experts that stay in the file.

    Args:
        experts: Tensors and their bytes in memory.
        needed_bytes: Bytes of everything else that has to be in memory.
        free_bytes: Bytes of memory that are free; None if nobody knows.
        place: One of `requests.EXPERT_PLACES`.
    """
    if place == IN_FILE:
        return frozenset(experts)
    if place == IN_MEMORY or free_bytes is None or needed_bytes + sum(experts.values()) <= free_bytes:
        return frozenset()
    left_bytes = int(free_bytes * _USED_SHARE) - needed_bytes
    in_file = set()
    for name, size_bytes in experts.items():
        if size_bytes <= left_bytes:
            left_bytes -= size_bytes
        else:
            in_file.add(name)
    return frozenset(in_file)
