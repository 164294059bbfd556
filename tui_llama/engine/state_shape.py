"""The sizes of the keys and values that tokens leave behind, in memory and in files: groups of layers that are alike.

Layers may differ: some see a window of the last tokens only, some have other heads. Layers with equal sizes and equal
windows make a group. A layer that reads the keys and values of another one is in no group: they are stored once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tui_llama.engine.machine.memory import padded
from tui_llama.errors import CallerError
from tui_llama.files.token_digest import BLOCK_TOKENS

KvArray: TypeAlias = NDArray[np.float16] | NDArray[np.uint8]
"""Keys and values of some tokens in one group of layers: (layers, tokens, kv_heads, key and value).

The last axis has a head's key and behind it its value: float16, or for q8_0 blocks of 34 bytes, a float16 scale and 32
× int8, the last block of a key or value filled up with zeros. Keys are rotated for their position.
"""

RECORD_TOKENS: Final = BLOCK_TOKENS
"""Most tokens of one record of a file."""
ELEMENT_TYPES: Final = {"f16": 1, "q8_0": 2}
QUANT_BLOCK: Final = 32
"""Elements of a block of q8_0. The kernels name it `QUANT_COLUMNS`, since they may not import this module."""
QUANT_BLOCK_BYTES: Final = 34

MOST_LAYERS: Final = 4096
MOST_GROUPS: Final = 64
_MOST_RECORD_BYTES: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class LayerGroup:
    """Layers whose keys and values have the same sizes.

    Attributes:
        layers: Their numbers, ascending.
        kv_heads: Heads of keys and values.
        key_dim: Elements of a head's key.
        value_dim: Elements of a head's value; 0 where the values are the first elements of the keys.
        window: Positions that a token sees, its own included; 0: all.
    """

    layers: tuple[int, ...]
    kv_heads: int
    key_dim: int
    value_dim: int
    window: int = 0


@dataclass(frozen=True, slots=True)
class StateShape:
    """The sizes of one token's keys and values.

    Attributes:
        groups: The groups of layers, at least one.
        dtype: "f16" or "q8_0".
    """

    groups: tuple[LayerGroup, ...]
    dtype: str = "f16"

    def __post_init__(self) -> None:
        layers = [layer for group in self.groups for layer in group.layers]
        if not 0 < len(self.groups) <= MOST_GROUPS or len(set(layers)) < len(layers):
            raise CallerError(f"No state can have {len(self.groups)} groups of {len(layers)} layers.")
        for group in self.groups:
            sizes = (len(group.layers), group.kv_heads, group.key_dim, group.value_dim + 1, group.window + 1)
            if not all(0 < size < 1 << 32 for size in sizes) or max(group.layers) >= MOST_LAYERS:
                raise CallerError(f"No state can have layers as {group}.")
        if self.dtype not in ELEMENT_TYPES:
            raise CallerError(f"No state can have elements of type {self.dtype!r}.")
        if self.token_bytes * RECORD_TOKENS > _MOST_RECORD_BYTES:
            raise CallerError(f"No state can have {self.token_bytes} bytes a token.")

    @classmethod
    def uniform(cls, layer_count: int, kv_heads: int, head_dim: int, dtype: str = "f16") -> Self:
        """Returns the shape of layers that are all alike and see everything.

        Raises:
            CallerError: no state can have it.
        """
        return cls((LayerGroup(tuple(range(layer_count)), kv_heads, head_dim, head_dim),), dtype)

    @property
    def is_trimmable(self) -> bool:
        """Tells whether the state after any number of tokens is a part of the state after more of them."""
        return not any(group.window for group in self.groups)

    @property
    def element(self) -> np.dtype[Any]:
        """The dtype of the elements of keys and values."""
        return np.dtype("<f2" if self.dtype == "f16" else "u1")

    @property
    def token_bytes(self) -> int:
        """Bytes of one token's keys and values in all layers."""
        return sum(self.group_bytes(group) for group in self.groups)

    @property
    def lasting_bytes(self) -> int:
        """Bytes of one token's keys and values in the layers that keep them for the whole context."""
        return sum(self.group_bytes(group) for group in self.groups if not group.window)

    def head_bytes(self, dim: int) -> int:
        """Returns the bytes of one head of one token's keys, or values, of so many elements."""
        return 2 * dim if self.dtype == "f16" else padded(dim, QUANT_BLOCK) // QUANT_BLOCK * QUANT_BLOCK_BYTES

    def group_bytes(self, group: LayerGroup) -> int:
        """Returns the bytes of one token's keys and values in the layers of a group."""
        head_bytes = self.head_bytes(group.key_dim) + self.head_bytes(group.value_dim)
        return len(group.layers) * group.kv_heads * head_bytes

    def key_width(self, group: LayerGroup) -> int:
        """Returns how many entries of the last axis of a `KvArray` are a head's key."""
        return self.head_bytes(group.key_dim) // self.element.itemsize

    def kv_shape(self, group: LayerGroup, token_count: int) -> tuple[int, int, int, int]:
        """Returns the shape of the keys and values of so many tokens in the layers of a group."""
        head_bytes = self.head_bytes(group.key_dim) + self.head_bytes(group.value_dim)
        return len(group.layers), token_count, group.kv_heads, head_bytes // self.element.itemsize

    def layers(self, group: LayerGroup, kv: KvArray) -> Iterator[tuple[KvArray, KvArray]]:
        """Yields the keys and the values of each layer of a group, (tokens, kv_heads, key or value)."""
        width = self.key_width(group)
        for layer in kv:
            yield layer[..., :width], layer[..., width:]
