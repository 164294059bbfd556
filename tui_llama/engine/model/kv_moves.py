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

_NO_ANGLES = np.zeros(1, np.float32)


class PositionMoves:
    """Moves tokens in caches that a plan has filled.

    Args:
        plan: Says how each layer's keys are rotated and stored.
    """

    def __init__(self, plan: Plan) -> None:
        is_key_row = [step.operation == ops.STORE_KEYS.name for step in plan.steps]
        self._rows = np.ascontiguousarray(plan.rows[is_key_row])
        self._rotary = plan.rotary
        self._scratch = np.zeros((2, int(self._rows["head_dim"].max())), np.float32)

    def remove(self, cache: KeyValueCache, first: int, count: int) -> None:
        """Forgets positions `first` … `first` + `count` - 1; those behind move down, their keys turned back by `count`.

        Raises:
            CallerError: there are no such positions.
        """
        if not 0 <= first <= first + count <= cache.length:
            raise CallerError(f"positions {first} to {first + count} are not all among the {cache.length} there are")
        moved = cache.length - first - count
        if count > 0:
            self._move(cache, first, count, np.full(moved, -count, np.int64))
        cache.rewind(first + moved)

    def turn(self, cache: KeyValueCache, differences: npt.NDArray[np.int64]) -> None:
        """Turns keys on, as if each position were another one; nothing moves.

        Args:
            cache: The keys that are turned.
            differences: (positions,) int64, by how many positions, below 0 for back; 0 changes nothing.

        Raises:
            ShapeMismatchError: there is not one for every position in the cache.
        """
        if differences.shape != (cache.length,):
            raise ShapeMismatchError(f"{cache.length} positions need as many differences, not {differences.shape}")
        self._move(cache, 0, 0, differences)

    def _move(self, cache: KeyValueCache, first: int, distance: int, differences: npt.NDArray[np.int64]) -> None:
        distinct, places = np.unique(differences, return_inverse=True)
        turns = np.where(differences == 0, UNTURNED, places).astype(np.int32)
        batch = np.zeros((), BATCH)
        batch["keys"], batch["values"] = cache.keys_address, cache.values_address
        batch["context_size"] = cache.shape.padded_context
        for address in np.unique(self._rows["extra"]).tolist():
            rows = np.ascontiguousarray(self._rows[self._rows["extra"] == address])
            angles = self._angles(address, distinct)
            ops.MOVE_POSITIONS(
                int(rows.ctypes.data), len(rows), int(batch.ctypes.data), first, len(differences), distance,
                int(turns.ctypes.data), int(angles.ctypes.data), int(self._scratch.ctypes.data),
            )  # fmt: skip

    def _angles(self, address: int, differences: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Returns the rotations by so many positions, as the table at an address rotates; 0 stands for not at all."""
        turns = [table.turns(differences) for table in self._rotary.tables if table.address == address]
        return turns[0] if turns else _NO_ANGLES
