"""Computes whether a model fits into this machine's memory, and about how fast it would write. Nothing but arithmetic.

A model needs its weights, the keys and values of the wanted context, and `OVERHEAD_BYTES` for everything else. Writing
a token reads once all weights that take part in it. So it takes about as long as reading their bytes from memory. The
engine reads nearly as fast as the machine can. In each layer it does some work that does not depend on the layer's
size; this shows only in very small models. With these two figures, the estimate is within a twentieth of what
`benchmarks/compare.py` measured for eight models of 0.6 and 1.2 billion parameters (AMX). On a machine with AVX2, two
of them wrote 15 and 20 % slower than estimated, and the starter 15 % faster.

Experts that do not fit into memory stay in the file. Such a mixture can run, but the disk decides how fast.
"""

from typing import Final, Protocol

import msgspec

from tui_llama.engine.machine.free_memory import OVERHEAD_BYTES
from tui_llama.engine.requests import DEFAULT_CONTEXT_SIZE
from tui_llama.models.downloads import size_words
from tui_llama.models.machine import Machine

READ_SHARE: Final = 0.9
"""The share of the machine's reading speed that the engine reaches."""

LAYER_SECONDS: Final = 60e-6
"""The time that a layer takes for a token besides reading its weights."""

_CACHE_SHARES: Final = {"f16": 1.0, "q8_0": 34 / 64}
"""The size of keys and values by their type, as a share of float16: q8_0 has 34 bytes for 32 elements."""


class Needs(Protocol):
    """The facts about a model that an estimate needs. `ModelFacts` has them, and so has an entry of the catalogue."""

    @property
    def weight_bytes(self) -> int:
        """The bytes of its weights in memory."""
        ...

    @property
    def expert_bytes(self) -> int:
        """Of these, the weights of experts, which stay in the file where they do not fit."""
        ...

    @property
    def bytes_read_per_token(self) -> int:
        """Bytes of weights that writing one token reads."""
        ...

    @property
    def key_value_bytes_per_token(self) -> int:
        """Bytes of one token's keys and values as float16."""
        ...

    @property
    def window_bytes_per_token(self) -> int:
        """Of these, the bytes in layers that keep only the last `window_positions` tokens."""
        ...

    @property
    def window_positions(self) -> int:
        """Tokens that layers with a window keep."""
        ...

    @property
    def layer_count(self) -> int:
        """The number of its layers."""
        ...

    @property
    def trained_context_size(self) -> int:
        """Tokens that it was trained to see."""
        ...


class Fit(msgspec.Struct, frozen=True):
    """The fit of a model on a machine.

    Attributes:
        needed_bytes: Memory that the model takes, its context included.
        free_bytes: Memory that the machine has for it; None if unknown.
        tokens_per_second: The approximate speed of writing; 0 if unknown.
        expert_bytes: Of the memory, what weights of experts take, which may stay in the file.
    """

    needed_bytes: int
    free_bytes: int | None
    tokens_per_second: float
    expert_bytes: int = 0

    @property
    def least_bytes(self) -> int:
        """Memory without which the model cannot run."""
        return self.needed_bytes - self.expert_bytes

    @property
    def lacking_bytes(self) -> int:
        """Bytes of experts' weights, at least, that have to stay in the file."""
        lacking = 0 if self.free_bytes is None else self.needed_bytes - self.free_bytes
        return min(self.expert_bytes, max(0, lacking))

    @property
    def fits(self) -> bool:
        """True if there is enough memory, or if nobody knows how much there is."""
        return self.free_bytes is None or self.least_bytes <= self.free_bytes

    @property
    def speed_words(self) -> str:
        """The speed in words, such as "about 14 tok/s"; empty if unknown. What stays in the file makes it slow."""
        if self.lacking_bytes:
            return f"slow: {size_words(self.lacking_bytes)} stay in the file"
        speed = self.tokens_per_second
        if not speed:
            return ""
        return f"about {speed:.0f} tok/s" if speed >= 9.5 else f"about {speed:.1f} tok/s"

    @property
    def refusal(self) -> str:
        """The reason why it does not fit, such as "needs 9.1 GB, 6.0 GB free"; empty if it does."""
        if self.free_bytes is None or self.fits:
            return ""
        return f"needs {size_words(self.least_bytes)}, {size_words(self.free_bytes)} free"


def judge(needs: Needs, machine: Machine, *, context_size: int = 0, cache_type: str = "f16") -> Fit:
    """Returns how a model fits a machine.

    Args:
        needs: The model.
        machine: Its `free_bytes` without what a model takes that would be closed first.
        context_size: Tokens of context asked for; 0 for the smaller of the model's own and 8192.
        cache_type: How keys and values would be kept.
    """
    context = context_size or min(needs.trained_context_size, DEFAULT_CONTEXT_SIZE)
    needed_bytes = needs.weight_bytes + cache_bytes(needs, context, cache_type) + OVERHEAD_BYTES
    fit = Fit(needed_bytes, machine.free_bytes, _tokens_per_second(needs, machine), needs.expert_bytes)
    return msgspec.structs.replace(fit, tokens_per_second=0.0) if fit.lacking_bytes else fit


def cache_bytes(needs: Needs, context_size: int, cache_type: str) -> int:
    """Returns the bytes of the keys and values of a full context."""
    in_windows = needs.window_bytes_per_token * min(context_size, needs.window_positions)
    in_others = (needs.key_value_bytes_per_token - needs.window_bytes_per_token) * context_size
    return round((in_windows + in_others) * _CACHE_SHARES[cache_type])


def _tokens_per_second(needs: Needs, machine: Machine) -> float:
    if not needs.bytes_read_per_token or not machine.read_bytes_per_second:
        return 0.0
    reading_seconds = needs.bytes_read_per_token / (READ_SHARE * machine.read_bytes_per_second)
    return 1 / (reading_seconds + LAYER_SECONDS * needs.layer_count)
