"""Keys and values of the tokens so far: append, rewind, length, rows out, rows in.

In memory both are float16 with heads rounded up to 16 components of zero padding. Keys lie in tiles of 16 positions,
(layers, kv_heads, context / 16, padded_head_dim, 16), values in rows, (layers, kv_heads, context, padded_head_dim);
attention_kernels.py says why. Outside, a token's keys or values are rows (tokens, kv_heads, head_dim).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tui_llama.engine.memory import padded, zeroed_array
from tui_llama.errors import CallerError, ShapeMismatchError

HalfArray = npt.NDArray[np.float16]
POSITIONS_PER_TILE = 16
_CONTEXT_MULTIPLE = 64


@dataclass(frozen=True, slots=True)
class CacheShape:
    """The sizes of a cache.

    Args:
        layer_count: Layers that keep keys and values.
        kv_heads: Key-value heads of a layer.
        head_dim: Components of a head.
        context_size: Tokens that fit in.
    """

    layer_count: int
    kv_heads: int
    head_dim: int
    context_size: int

    @property
    def padded_head_dim(self) -> int:
        """Components of a head in memory."""
        return padded(self.head_dim)

    @property
    def padded_context(self) -> int:
        """Positions that memory is reserved for."""
        return padded(self.context_size, _CONTEXT_MULTIPLE)

    @property
    def bytes_per_token(self) -> int:
        """Bytes of one token's keys and values over all layers, without padding."""
        return 2 * 2 * self.layer_count * self.kv_heads * self.head_dim


class KeyValueCache:
    """The keys and values of one sequence. Memory is taken from the system as positions are first written."""

    def __init__(self, shape: CacheShape) -> None:
        self.shape = shape
        self.length = 0
        layers, heads, width, positions = (
            shape.layer_count,
            shape.kv_heads,
            shape.padded_head_dim,
            shape.padded_context,
        )
        tiles = positions // POSITIONS_PER_TILE
        # Not in huge pages, of which the heads of a short chat would take all that a full context needs.
        self._keys = zeroed_array((layers, heads, tiles, width, POSITIONS_PER_TILE), np.float16, huge_pages=False)
        self._values = zeroed_array((layers, heads, positions, width), np.float16, huge_pages=False)

    @property
    def keys_address(self) -> int:
        """Where the keys begin in memory."""
        return int(self._keys.ctypes.data)

    @property
    def values_address(self) -> int:
        """Where the values begin in memory."""
        return int(self._values.ctypes.data)

    def append(self, token_count: int) -> None:
        """Counts tokens in whose keys and values the kernels have just written.

        Raises:
            CallerError: they do not fit.
        """
        if self.length + token_count > self.shape.context_size:
            raise CallerError(f"{token_count} tokens do not fit: {self.length} of {self.shape.context_size} are used")
        self.length += token_count

    def rewind(self, length: int) -> None:
        """Forgets every token from position `length` on.

        Raises:
            CallerError: there are fewer tokens than that.
        """
        if not 0 <= length <= self.length:
            raise CallerError(f"cannot rewind to {length} of {self.length} tokens")
        self.length = length

    def layer_rows(self, layer: int) -> tuple[HalfArray, HalfArray]:
        """Copies of a layer's keys and values, each float16 (tokens, kv_heads, head_dim), C-contiguous."""
        length, head_dim = self.length, self.shape.head_dim
        tiles = padded(length, POSITIONS_PER_TILE) // POSITIONS_PER_TILE
        by_position = self._keys[layer, :, :tiles].transpose(1, 3, 0, 2)
        keys = by_position.reshape(-1, self.shape.kv_heads, self.shape.padded_head_dim)[:length, :, :head_dim]
        values = self._values[layer, :, :length, :head_dim].transpose(1, 0, 2)
        return _contiguous_half(keys), _contiguous_half(values)

    def fill_layer(self, layer: int, keys: HalfArray, values: HalfArray) -> None:
        """Writes a layer's rows from position 0 on; `length` stays as it is until `publish`.

        Raises:
            ShapeMismatchError: they are not float16 (tokens ≤ context, kv_heads, head_dim).
        """
        tokens = len(keys)
        expected = (tokens, self.shape.kv_heads, self.shape.head_dim)
        for array in (keys, values):
            if array.shape != expected or array.dtype != np.float16 or tokens > self.shape.context_size:
                raise ShapeMismatchError(f"a layer's rows are float16 {expected}, not {array.dtype} {array.shape}")
        whole = tokens // POSITIONS_PER_TILE
        split = whole * POSITIONS_PER_TILE
        head_dim = self.shape.head_dim
        tiled = keys[:split].reshape(whole, POSITIONS_PER_TILE, self.shape.kv_heads, head_dim)
        self._keys[layer, :, :whole, :head_dim, :] = tiled.transpose(2, 0, 3, 1)
        if split < tokens:
            self._keys[layer, :, whole, :head_dim, : tokens - split] = keys[split:].transpose(1, 2, 0)
        self._values[layer, :, :tokens, :head_dim] = values.transpose(1, 0, 2)

    def publish(self, length: int) -> None:
        """Says that positions 0 … `length` - 1 are filled in every layer.

        Raises:
            CallerError: more than fit.
        """
        self.length = 0
        self.append(length)


def _contiguous_half(rows: npt.NDArray[np.generic]) -> HalfArray:
    return np.ascontiguousarray(rows, np.float16)
