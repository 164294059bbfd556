"""Keys and values of the tokens so far: append, rewind, length, rows out, rows in.

In memory, heads are rounded up with zeros to `width` components, and 16 positions make a tile:
(layers, kv_heads, context / 16, tile bytes). A vector of keys holds one component of 16 positions, a vector of values
16 components of one; attention_kernels.py says why. With W for the width, a multiple of 16, or of 32 for q8_0:

    f16     float16 keys (W, 16) or values (16, W)                                                      32 · W bytes
    q8_0    float16 scales (W / 32, 16 positions), then i8 quants: keys (W, 16) or values (16, W)       17 · W bytes

A component of a q8_0 cache is its quant times the scale of its position's block of 32 components.

Outside, a token's keys or values are rows (tokens, kv_heads, …), and … is head_dim float16 or, for q8_0, blocks of 34
bytes: a float16 scale and 32 quants, as GGUF's type of that name has them; the last block is filled with zeros.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tui_llama.engine.memory import padded, zeroed_array
from tui_llama.engine.rows import F16_CACHE, Q8_0_CACHE
from tui_llama.errors import CallerError, ShapeMismatchError

CacheRows: TypeAlias = npt.NDArray[np.float16] | npt.NDArray[np.uint8]
POSITIONS_PER_TILE = 16
QUANT_BLOCK, QUANT_BLOCK_BYTES = 32, 34
_CONTEXT_MULTIPLE = 64


@dataclass(frozen=True, slots=True)
class CacheShape:
    """The sizes of a cache.

    Args:
        layer_count: Layers that keep keys and values.
        kv_heads: Key-value heads of a layer.
        head_dim: Components of a head.
        context_size: Tokens that fit in.
        cache_type: How a component is kept: "f16" or "q8_0".
    """

    layer_count: int
    kv_heads: int
    head_dim: int
    context_size: int
    cache_type: str = "f16"

    @property
    def kernel_type(self) -> int:
        """The type as rows of a plan have it."""
        return F16_CACHE if self.cache_type == "f16" else Q8_0_CACHE

    @property
    def padded_head_dim(self) -> int:
        """Components of a head in memory."""
        return padded(self.head_dim, 16 if self.cache_type == "f16" else QUANT_BLOCK)

    @property
    def padded_context(self) -> int:
        """Positions that memory is reserved for."""
        return padded(self.context_size, _CONTEXT_MULTIPLE)

    @property
    def tile_bytes(self) -> int:
        """Bytes of 16 positions of a head in memory."""
        return (32 if self.cache_type == "f16" else 17) * self.padded_head_dim

    @property
    def bytes_per_token(self) -> int:
        """Bytes of one token's keys and values over all layers, as rows."""
        size, dtype = self.row_type
        return 2 * self.layer_count * self.kv_heads * size * dtype.itemsize

    @property
    def row_type(self) -> tuple[int, np.dtype[Any]]:
        """How many elements of which type a head has in a row."""
        if self.cache_type == "f16":
            return self.head_dim, np.dtype(np.float16)
        return self.padded_head_dim // QUANT_BLOCK * QUANT_BLOCK_BYTES, np.dtype(np.uint8)


class KeyValueCache:
    """The keys and values of one sequence. Memory is taken from the system as positions are first written."""

    def __init__(self, shape: CacheShape) -> None:
        self.shape = shape
        self.length = 0
        tiles = shape.padded_context // POSITIONS_PER_TILE
        sizes = (shape.layer_count, shape.kv_heads, tiles, shape.tile_bytes)
        # Not in huge pages, of which the heads of a short chat would take all that a full context needs.
        self._keys, self._values = (zeroed_array(sizes, np.uint8, huge_pages=False).view(np.uint8) for _ in range(2))

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

    def layer_rows(self, layer: int) -> tuple[CacheRows, CacheRows]:
        """Copies of a layer's keys and values as rows, see the top, C-contiguous."""
        return self._rows(self._keys[layer], is_keys=True), self._rows(self._values[layer], is_keys=False)

    def fill_layer(self, layer: int, keys: CacheRows, values: CacheRows) -> None:
        """Writes a layer's rows from position 0 on; `length` stays as it is until `publish`.

        Raises:
            ShapeMismatchError: they are not rows of the cache's type, or more than fit.
        """
        size, dtype = self.shape.row_type
        expected = (len(keys), self.shape.kv_heads, size)
        for rows in (keys, values):
            if rows.shape != expected or rows.dtype != dtype or len(rows) > self.shape.context_size:
                raise ShapeMismatchError(f"a layer's rows are {dtype} {expected}, not {rows.dtype} {rows.shape}")
        self._fill(self._keys[layer], keys, is_keys=True)
        self._fill(self._values[layer], values, is_keys=False)

    def publish(self, length: int) -> None:
        """Says that positions 0 … `length` - 1 are filled in every layer.

        Raises:
            CallerError: more than fit.
        """
        self.length = 0
        self.append(length)

    def _rows(self, memory: npt.NDArray[np.uint8], *, is_keys: bool) -> CacheRows:
        length, heads, blocks = self.length, self.shape.kv_heads, self.shape.padded_head_dim // QUANT_BLOCK
        if self.shape.cache_type == "f16":
            components = _positions(memory.view(np.float16), transposed=is_keys)
            return _copied_rows(components, length)[:, :, : self.shape.head_dim].copy()
        scales, quants = self._quantised_parts(memory, is_keys=is_keys)
        rows = np.empty((length, heads, blocks, QUANT_BLOCK_BYTES), np.uint8)
        rows[..., :2] = _copied_rows(scales, length)[..., None].view(np.uint8)
        rows[..., 2:] = _copied_rows(quants, length).reshape(length, heads, blocks, QUANT_BLOCK)
        return rows.reshape(length, heads, blocks * QUANT_BLOCK_BYTES)

    def _fill(self, memory: npt.NDArray[np.uint8], rows: CacheRows, *, is_keys: bool) -> None:
        if self.shape.cache_type == "f16":
            components = _positions(memory.view(np.float16), transposed=is_keys)
            _write_rows(components[..., : self.shape.head_dim], rows)
            return
        scales, quants = self._quantised_parts(memory, is_keys=is_keys)
        length, heads, _ = rows.shape
        count = self.shape.padded_head_dim // QUANT_BLOCK
        blocks = rows.reshape(length, heads, count, QUANT_BLOCK_BYTES)
        _write_rows(scales, np.ascontiguousarray(blocks[..., :2]).view(np.float16)[..., 0])
        _write_rows(quants, blocks[..., 2:].reshape(length, heads, count * QUANT_BLOCK))

    def _quantised_parts(
        self, memory: npt.NDArray[np.uint8], *, is_keys: bool
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Views of scales, (kv_heads, tiles, 16, W / 32), and quants, (kv_heads, tiles, 16, W)."""
        width = self.shape.padded_head_dim
        scales = _positions(memory[..., :width].view(np.float16), transposed=True)
        return scales, _positions(memory[..., width:], transposed=is_keys)


def _positions(tiles: npt.NDArray[Any], *, transposed: bool) -> npt.NDArray[Any]:
    """A view of tiles, (kv_heads, tiles, …), as (kv_heads, tiles, 16 positions, components)."""
    if transposed:
        return tiles.reshape(*tiles.shape[:2], -1, POSITIONS_PER_TILE).swapaxes(2, 3)
    return tiles.reshape(*tiles.shape[:2], POSITIONS_PER_TILE, -1)


def _copied_rows(components: npt.NDArray[Any], length: int) -> npt.NDArray[Any]:
    """A copy of the first positions as (tokens, kv_heads, components)."""
    heads, _, _, width = components.shape
    tiles = components[:, : padded(length, POSITIONS_PER_TILE) // POSITIONS_PER_TILE]
    return tiles.transpose(1, 2, 0, 3).reshape(-1, heads, width)[:length]


def _write_rows(components: npt.NDArray[Any], rows: npt.NDArray[Any]) -> None:
    """Writes rows (tokens, kv_heads, components) from position 0 on."""
    length, heads, width = rows.shape
    whole = length // POSITIONS_PER_TILE
    split = whole * POSITIONS_PER_TILE
    tiled = rows[:split].reshape(whole, POSITIONS_PER_TILE, heads, width)
    components[:, :whole] = tiled.transpose(2, 0, 1, 3)
    if split < length:
        components[:, whole, : length - split] = rows[split:].swapaxes(0, 1)
