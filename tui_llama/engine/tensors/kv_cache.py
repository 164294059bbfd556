"""KV cache: keys and values of the tokens so far. Operations: append, rewind, length, copying out, filling in.

In memory, keys and values are padded with zeros to `width` components, and 16 positions make a tile. A layer has
(kv_heads, positions / 16, tile bytes) of keys and likewise of values. A vector of keys holds one component of 16
positions; a vector of values holds 16 components of one position. So neither scores nor weighted values are summed
across lanes. With W for the width, a multiple of 16, or of 32 for q8_0:

    f16     float16 keys (W, 16) or values (16, W)                                                      32 · W bytes
    q8_0    float16 scales (W / 32, 16 positions), then i8 quants: keys (W, 16) or values (16, W)       17 · W bytes

A component of a q8_0 cache is its quant times the scale of its position's block of 32 components. Such a cache takes
about half the memory, and a token at depth has half as much to read.

A layer that sees all positions has room for the context. One with a window is a ring: position p lies where p modulo
the ring's positions says, and takes the place of an older one. The ring is longer than the window, so that a batch fits
in before its first token has looked back, and so that the last tokens can be taken back: twice the window, and at least
the window, a batch and 512 positions; a multiple of 64, so that no block of attention wraps; never more than the
context. Layers of a group (state_shape.py) lie one after the other.

Outside, keys and values are an array for each group; see `state_shape.KvArray`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tui_llama.engine.layouts.plan_row import F16_CACHE, Q8_0_CACHE
from tui_llama.engine.machine.memory import ask_for_huge_pages, padded, zeroed_array
from tui_llama.engine.state_shape import QUANT_BLOCK, QUANT_BLOCK_BYTES, KvArray, LayerGroup, StateShape
from tui_llama.engine.tensors.hyperparameters import Hyperparameters
from tui_llama.errors import CallerError, ModelFileError, ShapeMismatchError

POSITIONS_PER_TILE = 16
_BLOCK_POSITIONS = 64
_SPARE_POSITIONS = 512

_Sizes: TypeAlias = tuple[int, int]
"""The components of a key or value, without and with padding."""


def state_shape_of(sizes: Hyperparameters, dtype: str) -> StateShape:
    """Returns the sizes of a model's keys and values.

    Layers that see chunks need no more than if they saw a window of the same length. Of latent attention only the
    compressed vectors are kept.

    Raises:
        ModelFileError: no state can have such sizes.
    """
    groups: dict[tuple[int, int, int, int], list[int]] = {}
    for index in sizes.storing_layers:
        layer = sizes.layers[index]
        is_absorbed = layer.latent is not None and layer.latent.is_absorbed
        value_dim = 0 if is_absorbed else layer.value_dim
        groups.setdefault((layer.kv_head_count, layer.head_dim, value_dim, layer.window), []).append(index)
    try:
        return StateShape(tuple(LayerGroup(tuple(layers), *key) for key, layers in groups.items()), dtype)
    except CallerError as error:
        raise ModelFileError("the keys and values of its layers are too large", "Choose another model.") from error


@dataclass(frozen=True, slots=True)
class CacheShape:
    """The sizes of a cache.

    Args:
        state: The sizes of one token's keys and values, outside the cache.
        context_size: Tokens that fit in.
        batch_tokens: The most tokens that are written before the first of them looks back.
    """

    state: StateShape
    context_size: int
    batch_tokens: int = 512

    @property
    def kernel_type(self) -> int:
        """The cache type as plan rows hold it."""
        return F16_CACHE if self.state.dtype == "f16" else Q8_0_CACHE

    @property
    def padded_context(self) -> int:
        """Positions that memory is reserved for in layers that see all."""
        return padded(self.context_size, _BLOCK_POSITIONS)

    @property
    def keys_bytes(self) -> int:
        """Bytes of all keys in memory."""
        return sum(self._bytes(group, group.key_dim) for group in self.state.groups)

    @property
    def values_bytes(self) -> int:
        """Bytes of all values in memory."""
        return sum(self._bytes(group, group.value_dim) for group in self.state.groups)

    def width(self, dim: int) -> int:
        """Returns the components in memory of a key or value of so many components."""
        return padded(dim, 16 if self.state.dtype == "f16" else QUANT_BLOCK)

    def tile_bytes(self, dim: int) -> int:
        """Returns the bytes of 16 positions of a head in memory."""
        return (32 if self.state.dtype == "f16" else 17) * self.width(dim)

    def positions(self, group: LayerGroup) -> int:
        """Returns the positions that a layer of a group has memory for, a multiple of 64; see this module's top."""
        if not group.window:
            return self.padded_context
        longest = group.window + max(group.window, self.batch_tokens + _SPARE_POSITIONS)
        return min(self.padded_context, padded(longest, _BLOCK_POSITIONS))

    def row_fields(self, layer: int) -> dict[str, int]:
        """Returns the fields of a plan row that say where the keys and values of a layer are, and of what sizes.

        Raises:
            CallerError: the layer has none of its own.
        """
        keys_offset = values_offset = 0
        for group in self.state.groups:
            if layer in group.layers:
                index, count = group.layers.index(layer), len(group.layers)
                return {
                    "kv_heads": group.kv_heads,
                    "cache_type": self.kernel_type,
                    "cache_positions": self.positions(group),
                    "keys_offset": keys_offset + index * (self._bytes(group, group.key_dim) // count),
                    "values_offset": values_offset + index * (self._bytes(group, group.value_dim) // count),
                    "value_dim": group.value_dim,
                    "padded_value_dim": self.width(group.value_dim),
                }
            keys_offset += self._bytes(group, group.key_dim)
            values_offset += self._bytes(group, group.value_dim)
        raise CallerError(f"layer {layer} has no keys and values of its own")

    def tiles_shape(self, group: LayerGroup, dim: int) -> tuple[int, int, int, int]:
        """Returns the sizes of the keys or values of a group in memory: (layers, kv_heads, tiles, tile bytes)."""
        return len(group.layers), group.kv_heads, self.positions(group) // POSITIONS_PER_TILE, self.tile_bytes(dim)

    def _bytes(self, group: LayerGroup, dim: int) -> int:
        layers, kv_heads, tiles, tile_bytes = self.tiles_shape(group, dim)
        return layers * kv_heads * tiles * tile_bytes


class KeyValueCache:
    """The keys and values of one sequence. The system supplies memory as positions are first written."""

    def __init__(self, shape: CacheShape) -> None:
        self.shape = shape
        self.length = 0
        self._kept_from = [0] * len(shape.state.groups)
        # Without huge pages: with them, the heads of a short chat would take the memory of a full context.
        self._keys, self._values = (
            zeroed_array((size,), np.uint8, huge_pages=False).view(np.uint8)
            for size in (shape.keys_bytes, shape.values_bytes)
        )
        self._planes = [
            _GroupPlanes(shape, group, keys, values)
            for group, keys, values in zip(
                shape.state.groups,
                _parts(self._keys, [shape.tiles_shape(group, group.key_dim) for group in shape.state.groups]),
                _parts(self._values, [shape.tiles_shape(group, group.value_dim) for group in shape.state.groups]),
                strict=True,
            )
        ]

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
        self._note_written(self.length)

    def kept_from(self, group: int) -> int:
        """Returns the first position whose keys and values a group of layers still has."""
        return self._kept_from[group]

    def rewindable(self, length: int) -> int:
        """Returns where `rewind` can go instead of `length`: there, or only to the start.

        A layer with a window must still have what the next token sees of the tokens before it.
        """
        seen = (max(0, length - group.window + 1) if group.window else 0 for group in self.shape.state.groups)
        return length if all(kept <= first for kept, first in zip(self._kept_from, seen, strict=True)) else 0

    def rewind(self, length: int) -> None:
        """Forgets every token from position `length` on.

        Raises:
            CallerError: there are fewer tokens than that, or layers with a window lack tokens before; see `rewindable`.
        """
        if not 0 <= length <= self.length or self.rewindable(length) < length:
            raise CallerError(f"cannot rewind to {length} of {self.length} tokens")
        self.length = length
        if length == 0:
            self._kept_from = [0] * len(self._kept_from)

    def kv(self, group: int, first: int, last: int) -> KvArray:
        """Copies keys and values of a group of layers at positions `first` … `last` - 1; see `KvArray`.

        Raises:
            CallerError: there are fewer tokens, or they are no longer kept.
        """
        if not self._kept_from[group] <= first <= last <= self.length:
            raise CallerError(f"there are no keys and values {first} … {last - 1} of {self.length} tokens")
        state = self.shape.state
        kv: KvArray = np.empty(state.kv_shape(state.groups[group], last - first), state.element)
        self._planes[group].copy_out(first, kv)
        return kv

    def expect(self, length: int, firsts: Sequence[int]) -> None:
        """Announces keys and values up to position `length`: of each group those from a first position on.

        What the new ones take the place of is no longer kept. Uses huge pages if they nearly fill the memory: a head of
        a half-filled cache would take whole huge pages for its half, and new memory can be slow to come.

        Args:
            length: The position behind the last one.
            firsts: For each group the first position that will be filled in; what lies between the tokens that there
                are and that position is not kept.
        """
        for index, first in enumerate(firsts):
            if first > self.length:
                self._kept_from[index] = max(self._kept_from[index], first)
        self._note_written(length)
        if 8 * length >= 7 * self.shape.context_size:
            for memory in (self._keys, self._values):
                ask_for_huge_pages(memory)

    def fill(self, group: int, first: int, kv: KvArray) -> None:
        """Writes keys and values of a group of layers from position `first` on.

        `length` does not change until `append`. Several threads may call this for different positions.

        Raises:
            ShapeMismatchError: they are not of the cache's type, or do not fit.
        """
        state = self.shape.state
        expected = state.kv_shape(state.groups[group], kv.shape[1] if kv.ndim == 4 else 0)
        fits = 0 <= first <= self.shape.context_size - expected[1]
        if kv.shape != expected or kv.dtype != state.element or not fits:
            size, given = self.shape.context_size, f"{kv.dtype} {kv.shape}"
            raise ShapeMismatchError(f"keys and values at {first} of {size} must be {expected}, not {given}")
        self._planes[group].fill_in(first, kv)

    def set_length(self, length: int, kept_from: Sequence[int]) -> None:
        """Notes that tokens were moved: how many there are now, and from which position on each group has them."""
        self.length, self._kept_from = length, list(kept_from)

    def _note_written(self, end: int) -> None:
        """Notes that positions before `end` were written: in a ring they took the places of older ones."""
        for index, group in enumerate(self.shape.state.groups):
            if group.window:
                self._kept_from[index] = max(self._kept_from[index], end - self.shape.positions(group))


def _parts(memory: npt.NDArray[np.uint8], sizes: Sequence[tuple[int, ...]]) -> Iterator[npt.NDArray[np.uint8]]:
    """Yields views of consecutive parts of memory, of some sizes."""
    start = 0
    for shape in sizes:
        size = int(np.prod(shape))
        yield memory[start : start + size].reshape(shape)
        start += size


class _GroupPlanes:
    """The memory of one group of layers: its keys and its values, (layers, kv_heads, tiles, tile bytes) uint8."""

    def __init__(
        self, shape: CacheShape, group: LayerGroup, keys: npt.NDArray[np.uint8], values: npt.NDArray[np.uint8]
    ) -> None:
        self._state = shape.state
        self._positions = shape.positions(group)
        key_width = shape.state.key_width(group)
        self._parts = [(keys, group.key_dim, shape.width(group.key_dim), slice(0, key_width))]
        if group.value_dim:
            self._parts.append((values, group.value_dim, shape.width(group.value_dim), slice(key_width, None)))

    def copy_out(self, first: int, kv: KvArray) -> None:
        """Copies positions from `first` on into an array; see `KvArray`."""
        for index, (memory, dim, width, columns) in enumerate(self._parts):
            for slot, start, end in self._pieces(first, kv.shape[1]):
                self._copy_piece(memory, slot, kv[:, start:end, :, columns], (dim, width), is_keys=index == 0)

    def fill_in(self, first: int, kv: KvArray) -> None:
        """Writes an array to positions from `first` on."""
        for index, (memory, dim, width, columns) in enumerate(self._parts):
            for slot, start, end in self._pieces(first, kv.shape[1]):
                self._fill_piece(memory, slot, kv[:, start:end, :, columns], (dim, width), is_keys=index == 0)

    def _pieces(self, first: int, count: int) -> Iterator[tuple[int, int, int]]:
        """Splits tokens where the ring ends; yields the place of the first in memory, the first and the end."""
        start = 0
        while start < count:
            slot = (first + start) % self._positions
            end = min(count, start + self._positions - slot)
            yield slot, start, end
            start = end

    def _copy_piece(
        self,
        memory: npt.NDArray[np.uint8],
        slot: int,
        array: npt.NDArray[Any],
        sizes: tuple[int, int],
        *,
        is_keys: bool,
    ) -> None:
        dim, width = sizes
        if self._state.dtype == "f16":
            _copy(_positions(memory.view(np.float16), transposed=is_keys)[..., :dim], slot, array)
            return
        scales, quants = _quantised_parts(memory, width, is_keys=is_keys)
        blocks = array.reshape(*array.shape[:3], width // QUANT_BLOCK, QUANT_BLOCK_BYTES)
        some_scales = np.empty(blocks.shape[:-1], np.float16)
        some_quants = np.empty((*array.shape[:3], width), np.uint8)
        _copy(scales, slot, some_scales)
        _copy(quants, slot, some_quants)
        blocks[..., :2] = some_scales[..., None].view(np.uint8)
        blocks[..., 2:] = some_quants.reshape(*blocks.shape[:-1], QUANT_BLOCK)

    def _fill_piece(
        self,
        memory: npt.NDArray[np.uint8],
        slot: int,
        array: npt.NDArray[Any],
        sizes: tuple[int, int],
        *,
        is_keys: bool,
    ) -> None:
        dim, width = sizes
        if self._state.dtype == "f16":
            _fill(_positions(memory.view(np.float16), transposed=is_keys)[..., :dim], slot, array)
            return
        scales, quants = _quantised_parts(memory, width, is_keys=is_keys)
        blocks = array.reshape(*array.shape[:3], width // QUANT_BLOCK, QUANT_BLOCK_BYTES)
        _fill(scales, slot, np.ascontiguousarray(blocks[..., :2]).view(np.float16)[..., 0])
        _fill(quants, slot, blocks[..., 2:].reshape(*array.shape[:3], width))


def _quantised_parts(
    memory: npt.NDArray[np.uint8], width: int, *, is_keys: bool
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Returns views: scales (layers, kv_heads, tiles, 16, W / 32) and quants (layers, kv_heads, tiles, 16, W)."""
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
