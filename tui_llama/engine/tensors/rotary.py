"""Angles of rotary position embedding: plain, divided by frequency factors, or stretched (linear, yarn).

Sources: Su et al. 2021 (RoFormer); Peng et al. 2023 (YaRN); llama.cpp's ggml_rope_yarn for how they combine.
"""

import math

import numpy as np
import numpy.typing as npt

from tui_llama.engine.machine.memory import zeroed_array
from tui_llama.engine.tensors.hyperparameters import Hyperparameters, RopeScaling
from tui_llama.errors import ModelFileError

FloatArray = npt.NDArray[np.float32]
FREQUENCY_FACTORS = "rope_freqs.weight"
"""Name of the tensor of divisors of the frequencies, which some architectures may have."""
_POSITIONS_AT_ONCE = 1024


class RotaryTable:
    """Cosine and sine of every position and pair, computed when a position is first needed.

    Args:
        sizes: The model's sizes, with its scaling.
        factors: (rope_dim / 2,) float32 divisors of the frequencies, or None.
        positions: Number of positions in the table.

    Raises:
        ModelFileError: the factors are not positive numbers, one for each pair.
    """

    def __init__(self, sizes: Hyperparameters, factors: FloatArray | None, positions: int) -> None:
        pairs = sizes.rope_dim // 2
        if factors is not None and (factors.shape != (pairs,) or not np.all(np.isfinite(factors) & (factors > 0))):
            raise ModelFileError(f"{FREQUENCY_FACTORS} must hold {pairs} positive numbers, one for each pair")
        self._angles_per_position, self._magnitude = _frequencies(sizes, factors)
        self._table = zeroed_array((positions, pairs, 2), np.float32)
        self._ready = 0

    @property
    def address(self) -> int:
        """Address of the table: float32 (positions, rope_dim / 2, 2), cosine and sine."""
        return int(self._table.ctypes.data)

    @property
    def stride_bytes(self) -> int:
        """Bytes from one position to the next."""
        return int(self._table.strides[0])

    def row(self, position: int) -> FloatArray:
        """Returns one position's (rope_dim / 2, 2) float32; zeros if it was not prepared."""
        return np.array(self._table[position], np.float32)

    def turns(self, differences: npt.NDArray[np.int64]) -> FloatArray:
        """Computes rotations that move rotated components by so many positions; negative numbers move them back.

        Rotated components were already multiplied by yarn's factor, so these rotations leave the factor out.

        Args:
            differences: (turns,) int64.

        Returns:
            (turns, rope_dim / 2, 2) float32, cosine and sine.
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


def _frequencies(sizes: Hyperparameters, factors: FloatArray | None) -> tuple[npt.NDArray[np.float64], float]:
    """Returns the angle by which each pair rotates from one position to the next, and the factor of sine and cosine."""
    pairs = np.arange(sizes.rope_dim // 2, dtype=np.float64)
    plain = sizes.rope_base ** (-2.0 * pairs / sizes.rope_dim)
    if factors is not None:
        plain = plain / factors.astype(np.float64)
    scaling = sizes.rope_scaling
    stretched = plain / scaling.factor
    if scaling.extension_factor == 0.0:
        return stretched, scaling.attention_factor
    low, high = _yarn_bounds(sizes)
    ramp = np.clip((pairs - low) / max(0.001, high - low), 0.0, 1.0)
    mix = (1.0 - ramp) * scaling.extension_factor
    return stretched * (1.0 - mix) + plain * mix, _yarn_magnitude(scaling)


def _yarn_bounds(sizes: Hyperparameters) -> tuple[float, float]:
    """Returns the pairs between which yarn changes from plain to stretched angles."""
    scaling = sizes.rope_scaling

    def pair_of(turns: float) -> float:
        ratio = scaling.original_context / (turns * 2.0 * math.pi)
        return sizes.rope_dim * math.log(ratio) / (2.0 * math.log(sizes.rope_base))

    low = max(0.0, math.floor(pair_of(scaling.beta_fast)))
    high = min(sizes.rope_dim - 1.0, math.ceil(pair_of(scaling.beta_slow)))
    return low, high


def _yarn_magnitude(scaling: RopeScaling) -> float:
    def growth(multiplier: float) -> float:
        return 1.0 if scaling.factor <= 1.0 else 0.1 * multiplier * math.log(scaling.factor) + 1.0

    magnitude = growth(1.0)
    if scaling.log_multiplier != 0.0:
        magnitude /= growth(scaling.log_multiplier)
    return magnitude * scaling.attention_factor
