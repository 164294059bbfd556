"""Takes tokens that are in a cache to other positions: a range forgotten and the rest moved down, or keys turned.

It knows where tokens lie and how keys are rotated. It does not know which tokens ought to be forgotten, or why.
"""

import numpy as np
import numpy.typing as npt

from tui_llama.engine import ops
from tui_llama.engine.layouts.plan_row import BATCH, UNTURNED
from tui_llama.engine.plan.plan import Plan
from tui_llama.engine.tensors.kv_cache import KeyValueCache
from tui_llama.errors import CallerError, ShapeMismatchError

_NO_ANGLES = np.zeros((1, 0, 2), np.float32)


class PositionMoves:
    """Moves tokens in caches that a plan has filled.

    Attributes:
        can_turn: Whether keys can be turned for other positions: they must be stored as their rotation left them, not
            normalised or put together afterwards, and positions must not have entered the embeddings.
        can_share: Whether tokens may share positions: keys can be turned, and nothing else depends on distances.

    Args:
        plan: Says how each layer's keys are rotated and stored.
    """

    def __init__(self, plan: Plan) -> None:
        is_key_row = [step.operation == ops.STORE_KEYS.name for step in plan.steps]
        self._rows = np.ascontiguousarray(plan.rows[is_key_row])
        is_turned_later = (self._rows["rotated_dim"] == 0) & (self._rows["extra"] != 0)
        is_embedded = any(step.operation == ops.EMBED_POSITIONS.name for step in plan.steps)
        self.can_turn = not (is_turned_later.any() or is_embedded)
        self.can_share = self.can_turn and not plan.rows["slopes"].any()
        self._rotary = plan.rotary
        self._scratch = np.zeros((2, int(self._rows["head_dim"].max())), np.float32)

    def can_remove(self, cache: KeyValueCache, first: int, count: int) -> bool:
        """Tells whether `remove` works: keys can be turned, and layers with a window have all that they would see."""
        length = cache.length - count
        return (self.can_turn or first + count == cache.length) and all(
            not group.window or self._kept_then(cache, index, first, count) <= max(0, length - group.window + 1)
            for index, group in enumerate(cache.shape.state.groups)
        )

    def remove(self, cache: KeyValueCache, first: int, count: int) -> None:
        """Forgets positions `first` … `first` + `count` - 1; those behind move down, their keys turned back by `count`.

        Layers with a window move only what they still see.

        Raises:
            CallerError: there are no such positions, or it cannot be done; see `can_remove`.
        """
        if not 0 <= first <= first + count <= cache.length:
            raise CallerError(f"positions {first} to {first + count} are not all among the {cache.length} there are")
        if not self.can_remove(cache, first, count):
            raise CallerError(f"positions {first} to {first + count} cannot be forgotten")
        length, kept = cache.length - count, []
        for index, group in enumerate(cache.shape.state.groups):
            start = max(first, self._first_moved(cache, index, count)) if group.window else first
            kept.append(self._kept_then(cache, index, first, count) if group.window else 0)
            if count > 0:
                self._move_group(cache, index, start, count, length - start)
        cache.set_length(length, kept)

    def turn(self, cache: KeyValueCache, differences: npt.NDArray[np.int64]) -> None:
        """Turns keys on, as if each position were another one; nothing moves.

        Args:
            cache: The keys that are turned, of layers without a window.
            differences: (positions,) int64, by how many positions, below 0 for back; 0 changes nothing.

        Raises:
            ShapeMismatchError: there is not one for every position in the cache.
        """
        if differences.shape != (cache.length,):
            raise ShapeMismatchError(f"{cache.length} positions need as many differences, not {differences.shape}")
        self._move(self._rows, cache, 0, 0, differences)

    def _first_moved(self, cache: KeyValueCache, group: int, count: int) -> int:
        """Returns the first position that a layer with a window fills, when `count` positions are forgotten."""
        window = cache.shape.state.groups[group].window
        return max(cache.kept_from(group), cache.length - window) - count

    def _kept_then(self, cache: KeyValueCache, group: int, first: int, count: int) -> int:
        """Returns the first position that a layer with a window has after positions were forgotten."""
        start, ring = self._first_moved(cache, group, count), cache.shape.positions(cache.shape.state.groups[group])
        if count == 0:
            return cache.kept_from(group)
        return start if start > first else max(cache.kept_from(group), cache.length - count - ring)

    def _move_group(self, cache: KeyValueCache, group: int, first: int, distance: int, count: int) -> None:
        """Fills `count` positions of a group's layers from those `distance` further on.

        A ring is at least twice as long as what moves in it. So of the two orders, upwards and downwards, one never
        writes over what is still to be moved.
        """
        shape = cache.shape.state.groups[group]
        ring = cache.shape.positions(shape)
        offsets = [cache.shape.row_fields(layer)["keys_offset"] for layer in shape.layers]
        rows = np.ascontiguousarray(self._rows[np.isin(self._rows["keys_offset"], offsets)])
        differences = np.full(count, -distance, np.int64)
        if ring >= cache.shape.padded_context or ring - distance % ring >= count:
            self._move(rows, cache, first, distance, differences)
            return
        for position in reversed(range(first, first + count)):
            self._move(rows, cache, position, distance, differences[:1])

    def _move(
        self,
        rows: npt.NDArray[np.void],
        cache: KeyValueCache,
        first: int,
        distance: int,
        differences: npt.NDArray[np.int64],
    ) -> None:
        distinct, places = np.unique(differences, return_inverse=True)
        turns = np.where(differences == 0, UNTURNED, places).astype(np.int32)
        batch = np.zeros((), BATCH)
        batch["keys"], batch["values"] = cache.keys_address, cache.values_address
        for address in np.unique(rows["extra"]).tolist():
            some = np.ascontiguousarray(rows[rows["extra"] == address])
            angles = self._angles(address, distinct)
            ops.MOVE_POSITIONS(
                int(some.ctypes.data), len(some), int(batch.ctypes.data), first, len(differences), distance,
                int(turns.ctypes.data), int(angles.ctypes.data), int(self._scratch.ctypes.data),
            )  # fmt: skip

    def _angles(self, address: int, differences: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Returns the rotations by so many positions, as the table at an address rotates; 0 stands for not at all."""
        turns = [table.turns(differences) for table in self._rotary.tables if table.address == address]
        return turns[0] if turns else _NO_ANGLES
