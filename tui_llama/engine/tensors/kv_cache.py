"""KV cache: keys and values of the tokens so far. Operations: append, rewind, length, copying out, filling in.

In memory, heads are padded with zeros to `width` components, and 16 positions make a tile:
(layers, kv_heads, context / 16, tile bytes). A vector of keys holds one component of 16 positions; a vector of values
holds 16 components of one position. So neither scores nor weighted values are summed across lanes. With W for the
width, a multiple of 16, or of 32 for q8_0:

    f16     float16 keys (W, 16) or values (16, W)                                                      32 · W bytes
    q8_0    float16 scales (W / 32, 16 positions), then i8 quants: keys (W, 16) or values (16, W)       17 · W bytes

A component of a q8_0 cache is its quant times the scale of its position's block of 32 components. Such a cache takes
about half the memory, and a token at depth has half as much to read.

Outside, keys and values are an array (layers, 2, tokens, kv_heads, …), keys before values. The last axis is head_dim
float16 or, for q8_0, blocks of 34 bytes: a float16 scale and 32 quants, as in GGUF's type of that name; the last block
is padded with zeros.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tui_llama.engine.layouts.plan_row import F16_CACHE, Q8_0_CACHE
from tui_llama.engine.machine.memory import ask_for_huge_pages, padded, zeroed_array
from tui_llama.engine.state_file import QUANT_BLOCK, QUANT_BLOCK_BYTES, KvArray, StateShape
from tui_llama.engine.tensors.hyperparameters import Hyperparameters
from tui_llama.errors import CallerError, ModelFileError, ShapeMismatchError

POSITIONS_PER_TILE = 16
_CONTEXT_MULTIPLE = 64


def state_shape_of(sizes: Hyperparameters, dtype: str) -> StateShape:
    """Returns the sizes of a model's keys and values.

    Raises:
        ModelFileError: its layers differ.
    """
    shapes = {(layer.kv_head_count, layer.head_dim, layer.value_dim) for layer in sizes.layers}
    ((kv_heads, head_dim, value_dim), *others) = shapes
    if others or value_dim != head_dim or len(sizes.storing_layers) != sizes.layer_count:
        raise ModelFileError(
            "the keys and values of its layers differ, which is not supported",
            "Choose a model whose layers are all alike.",
        )
    return StateShape(sizes.layer_count, kv_heads, head_dim, dtype)


@dataclass(frozen=True, slots=True)
class CacheShape:
    """The sizes of a cache.

    Args:
        state: The sizes of one token's keys and values, outside the cache.
        context_size: Tokens that fit in.
    """

    state: StateShape
    context_size: int

    @property
    def kernel_type(self) -> int:
        """The cache type as plan rows hold it."""
        return F16_CACHE if self.state.dtype == "f16" else Q8_0_CACHE

    @property
    def padded_head_dim(self) -> int:
        """Components of a head in memory."""
        return padded(self.state.head_dim, 16 if self.state.dtype == "f16" else QUANT_BLOCK)

    @property
    def padded_context(self) -> int:
        """Positions that memory is reserved for."""
        return padded(self.context_size, _CONTEXT_MULTIPLE)

    @property
    def tile_bytes(self) -> int:
        """Bytes of 16 positions of a head in memory."""
        return (32 if self.state.dtype == "f16" else 17) * self.padded_head_dim


class KeyValueCache:
    """The keys and values of one sequence. The system supplies memory as positions are first written."""

    def __init__(self, shape: CacheShape) -> None:
        self.shape = shape
        self.length = 0
        tiles = shape.padded_context // POSITIONS_PER_TILE
        sizes = (shape.state.layer_count, shape.state.kv_heads, tiles, shape.tile_bytes)
        # Without huge pages: with them, the heads of a short chat would take the memory of a full context.
        self._keys, self._values = (zeroed_array(sizes, np.uint8, huge_pages=False).view(np.uint8) for _ in range(2))

    @property
    def keys_address(self) -> int:
        """Address of the keys."""
        return int(self._keys.ctypes.data)

    @property
    def values_address(self) -> int:
        """Address of the values."""
        return int(self._values.ctypes.data)

    def append(self, token_count: int) -> None:
        """Counts tokens whose keys and values the kernels, or `fill`, have just written.

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

    def kv(self, first: int, last: int) -> KvArray:
        """Copies keys and values at positions `first` … `last` - 1 of every layer; see this module's top.

        Raises:
            CallerError: there are fewer tokens.
        """
        if not 0 <= first <= last <= self.length:
            raise CallerError(f"there are no keys and values {first} … {last - 1} of {self.length} tokens")
        kv: KvArray = np.empty(self.shape.state.kv_shape(last - first), self.shape.state.element)
        for index, memory in enumerate((self._keys, self._values)):
            self._copy_out(memory, first, kv[:, index], is_keys=index == 0)
        return kv

    def expect(self, length: int) -> None:
        """Announces keys and values up to position `length`; uses huge pages if they nearly fill the memory.

        A head of a half-filled cache would take whole huge pages for its half, and new memory can be slow to come.
        """
        if 8 * length >= 7 * self.shape.context_size:
            for memory in (self._keys, self._values):
                ask_for_huge_pages(memory)

    def fill(self, first: int, kv: KvArray) -> None:
        """Writes keys and values of every layer from position `first` on. `length` does not change until `append`.

        Several threads may call this for different positions.

        Raises:
            ShapeMismatchError: they are not of the cache's type, or do not fit.
        """
        dtype = self.shape.state.element
        expected = self.shape.state.kv_shape(kv.shape[2] if kv.ndim == 5 else 0)
        if kv.shape != expected or kv.dtype != dtype or not 0 <= first <= self.shape.context_size - expected[2]:
            raise ShapeMismatchError(
                f"keys and values at {first} of {self.shape.context_size} must be {dtype} {expected}, "
                f"not {kv.dtype} {kv.shape}"
            )
        for index, memory in enumerate((self._keys, self._values)):
            self._fill_in(memory, first, kv[:, index], is_keys=index == 0)

    def _copy_out(self, memory: npt.NDArray[np.uint8], first: int, array: npt.NDArray[Any], *, is_keys: bool) -> None:
        if self.shape.state.dtype == "f16":
            components = _positions(memory.view(np.float16), transposed=is_keys)
            _copy(components[..., : self.shape.state.head_dim], first, array)
            return
        scales, quants = self._quantised_parts(memory, is_keys=is_keys)
        blocks = array.reshape(*array.shape[:3], self.shape.padded_head_dim // QUANT_BLOCK, QUANT_BLOCK_BYTES)
        some_scales = np.empty(blocks.shape[:-1], np.float16)
        some_quants = np.empty((*array.shape[:3], self.shape.padded_head_dim), np.uint8)
        _copy(scales, first, some_scales)
        _copy(quants, first, some_quants)
        blocks[..., :2] = some_scales[..., None].view(np.uint8)
        blocks[..., 2:] = some_quants.reshape(*blocks.shape[:-1], QUANT_BLOCK)

    def _fill_in(self, memory: npt.NDArray[np.uint8], first: int, array: npt.NDArray[Any], *, is_keys: bool) -> None:
        if self.shape.state.dtype == "f16":
            components = _positions(memory.view(np.float16), transposed=is_keys)
            _fill(components[..., : self.shape.state.head_dim], first, array)
            return
        scales, quants = self._quantised_parts(memory, is_keys=is_keys)
        blocks = array.reshape(*array.shape[:3], self.shape.padded_head_dim // QUANT_BLOCK, QUANT_BLOCK_BYTES)
        _fill(scales, first, np.ascontiguousarray(blocks[..., :2]).view(np.float16)[..., 0])
        _fill(quants, first, blocks[..., 2:].reshape(*array.shape[:3], self.shape.padded_head_dim))

    def _quantised_parts(
        self, memory: npt.NDArray[np.uint8], *, is_keys: bool
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Returns views: scales (layers, kv_heads, tiles, 16, W / 32) and quants (layers, kv_heads, tiles, 16, W)."""
        width = self.shape.padded_head_dim
        scales = _positions(memory[..., :width].view(np.float16), transposed=True)
        return scales, _positions(memory[..., width:], transposed=is_keys)


def _positions(tiles: npt.NDArray[Any], *, transposed: bool) -> npt.NDArray[Any]:
    """Returns a view of tiles, (layers, kv_heads, tiles, …), as (layers, kv_heads, tiles, 16 positions, components)."""
    if transposed:
        return tiles.reshape(*tiles.shape[:3], -1, POSITIONS_PER_TILE).swapaxes(3, 4)
    return tiles.reshape(*tiles.shape[:3], POSITIONS_PER_TILE, -1)


def _copy(components: npt.NDArray[Any], first: int, array: npt.NDArray[Any]) -> None:
    """Copies positions from `first` on into an array (layers, tokens, kv_heads, components)."""
    for tile, tiles, lane, lanes, token in _pieces(first, array.shape[1]):
        source = components[:, :, tile : tile + tiles, lane : lane + lanes].transpose(0, 2, 3, 1, 4)
        target = array[:, token : token + tiles * lanes]
        target.reshape(len(array), tiles, lanes, *array.shape[2:])[:] = source


def _fill(components: npt.NDArray[Any], first: int, array: npt.NDArray[Any]) -> None:
    """Writes an array (layers, tokens, kv_heads, components) to positions from `first` on."""
    for tile, tiles, lane, lanes, token in _pieces(first, array.shape[1]):
        source = array[:, token : token + tiles * lanes].reshape(len(array), tiles, lanes, *array.shape[2:])
        components[:, :, tile : tile + tiles, lane : lane + lanes] = source.transpose(0, 3, 1, 2, 4)


def _pieces(first: int, count: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Splits positions into the end of a tile, whole tiles, and the beginning of a tile.

    Yields:
        The first tile and how many, the first position in each and how many, and the first token.
    """
    token = 0
    while token < count:
        tile, lane = divmod(first + token, POSITIONS_PER_TILE)
        whole = (count - token) // POSITIONS_PER_TILE if lane == 0 else 0
        lanes = POSITIONS_PER_TILE if whole else min(POSITIONS_PER_TILE - lane, count - token)
        yield tile, max(whole, 1), lane, lanes, token
        token += max(whole, 1) * lanes
