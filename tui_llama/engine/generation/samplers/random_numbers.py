"""The random numbers of llama.cpp for a seed. Every sampler that needs some has a generator of its own."""

import math
from typing import Any, cast

import numpy as np


class UniformNumbers:
    """Random numbers from 0 to below 1, the same as llama.cpp's for the same seed.

    The generator is MT19937 seeded with 32 bits. Two of its numbers, the first one as the lower half, make 64 bits, and
    these make a fraction, as in the standard library of GCC.
    """

    def __init__(self, seed: int) -> None:
        self._bits = np.random.MT19937()
        self._bits.state = cast(Any, np.random.RandomState(seed).get_state(legacy=False))

    def next(self) -> float:
        """Returns the next number."""
        low, high = (float(number) for number in self._bits.random_raw(2))
        return min((low + high * 2.0**32) / 2.0**64, math.nextafter(1.0, 0.0))

    def next_single(self) -> np.float32:
        """Returns the next number, made of one number of the generator, in 32 bits."""
        fraction = np.float32(self._bits.random_raw()) / np.float32(2.0**32)
        return min(fraction, np.nextafter(np.float32(1), np.float32(0)))
