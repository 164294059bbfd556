"""Angles of rotary position embedding: plain, divided by frequency factors, or stretched (linear, yarn).

Sources: Su et al. 2021 (RoFormer); Peng et al. 2023 (YaRN); llama.cpp's ggml_rope_yarn for how they combine.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tui_llama.engine.machine.memory import zeroed_array
from tui_llama.engine.tensors.hyperparameters import Hyperparameters, Rotation
from tui_llama.errors import ModelFileError

FloatArray = npt.NDArray[np.float32]
_POSITIONS_AT_ONCE = 1024


class RotaryTable:
    """Cosine and sine of every position and pair of one rotation, computed when a position is first needed.

    Args:
        rotation: How the layers that use the table rotate.
        factors: (dim / 2,) float32 divisors of the frequencies, or None.
        positions: Number of positions in the table.

    Raises:
        ModelFileError: the factors are not positive numbers, one for each pair.
    """

    def __init__(self, rotation: Rotation, factors: FloatArray | None, positions: int) -> None:
        pairs = rotation.dim // 2
        if factors is not None and (factors.shape != (pairs,) or not np.all(np.isfinite(factors) & (factors > 0))):
            raise ModelFileError(f"the divisors of frequencies must be {pairs} positive numbers, one for each pair")
        self._angles_per_position, self._magnitude = _frequencies(rotation, factors), rotation.scaling.magnitude
        self._table = zeroed_array((positions, pairs, 2), np.float32)
        self._ready = 0

    @property
    def address(self) -> int:
        """Address of the table: float32 (positions, dim / 2, 2), cosine and sine."""
        return int(self._table.ctypes.data)

    @property
    def stride_bytes(self) -> int:
        """Bytes from one position to the next."""
        return int(self._table.strides[0])

    def row(self, position: int) -> FloatArray:
        """Returns one position's (dim / 2, 2) float32; zeros if it was not prepared."""
        return np.array(self._table[position], np.float32)

    def turns(self, differences: npt.NDArray[np.int64]) -> FloatArray:
        """Computes rotations that move rotated components by so many positions; negative numbers move them back.

        Rotated components were already multiplied by yarn's factor, so these rotations leave the factor out.

        Args:
            differences: (turns,) int64.

        Returns:
            (turns, dim / 2, 2) float32, cosine and sine.
        """
        angles = differences.astype(np.float64)[:, None] * self._angles_per_position
        return np.stack([np.cos(angles), np.sin(angles)], axis=-1).astype(np.float32)

    def prepare(self, position_count: int) -> None:
        """Computes positions 0 … `position_count` - 1 that are still missing."""
        while self._ready < position_count:
            last = min(len(self._table), self._ready + _POSITIONS_AT_ONCE)
            positions = np.arange(self._ready, last, dtype=np.float64)
            angles = positions[:, None] * self._angles_per_position
            self._table[self._ready : last, :, 0] = np.cos(angles) * self._magnitude
            self._table[self._ready : last, :, 1] = np.sin(angles) * self._magnitude
            self._ready = last


class RotaryTables:
    """The tables of all rotations of a model.

    Args:
        sizes: The model's sizes.
        read_factors: Returns the tensor of divisors of a name, of so many numbers.
        positions: Number of positions in each table.
        context_size: Tokens of the context, by which a model chooses between divisors.

    Raises:
        ModelFileError: divisors are missing, or not positive numbers, one for each pair.
    """

    def __init__(
        self, sizes: Hyperparameters, read_factors: Callable[[str, int], FloatArray], positions: int, context_size: int
    ) -> None:
        self._tables = {}
        for rotation in sizes.rotations:
            name, pairs = rotation.factors_in(context_size), rotation.dim // 2
            factors = read_factors(name, rotation.factor_count)[:pairs] if name else None
            self._tables[rotation] = RotaryTable(rotation, factors, positions)

    def __getitem__(self, rotation: Rotation) -> RotaryTable:
        """Returns the table of one of the model's rotations."""
        return self._tables[rotation]

    @property
    def tables(self) -> tuple[RotaryTable, ...]:
        """All tables, in the order in which layers first use them."""
        return tuple(self._tables.values())

    def prepare(self, position_count: int) -> None:
        """Computes positions 0 … `position_count` - 1 that are still missing, in all tables."""
        for table in self._tables.values():
            table.prepare(position_count)


def _frequencies(rotation: Rotation, factors: FloatArray | None) -> npt.NDArray[np.float64]:
    """Returns the angle by which each pair rotates from one position to the next."""
    pairs = np.arange(rotation.dim // 2, dtype=np.float64)
    plain = rotation.base ** (-2.0 * pairs / rotation.dim)
    if factors is not None:
        plain = plain / factors.astype(np.float64)
    plain[list(rotation.still_pairs)] = 0.0
    stretched = plain / rotation.scaling.factor
    if rotation.scaling.kind != "yarn":
        return stretched
    low, high = _yarn_bounds(rotation)
    kept = 1.0 - np.clip((pairs - low) / max(0.001, high - low), 0.0, 1.0)
    return stretched * (1.0 - kept) + plain * kept


def _yarn_bounds(rotation: Rotation) -> tuple[float, float]:
    """Returns the pairs between which yarn changes from plain to stretched angles."""
    scaling = rotation.scaling

    def pair_of(turns: float) -> float:
        ratio = scaling.original_context / (turns * 2.0 * math.pi)
        return rotation.dim * math.log(ratio) / (2.0 * math.log(rotation.base))

    low = max(0.0, math.floor(pair_of(scaling.beta_fast)))
    high = min(rotation.dim - 1.0, math.ceil(pair_of(scaling.beta_slow)))
    return low, high
