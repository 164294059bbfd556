"""Computes one token again, to tell whether keys and values from a file are those of its tokens and of this model.

The keys and values of a token depend on all tokens before it, through every layer. So one token tells whether weights,
rotation, layout and order are right. Our own must come out bit by bit. Those of another program cannot, because it adds
in another order and rounds in other places.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from tui_llama.engine.state_shape import KvArray, StateShape
from tui_llama.engine.token_sequence import TokenSequence

MOST_RELATIVE_ERROR: Final = 0.1
"""The largest error, as a part of the root mean square of a layer's keys, or values; their cosine is above 0.995.

Measured against llama.cpp, whose activations are rounded to 8 bits as ours are, but not always to the same ones: up to
0.0002 with weights of 16 or 32 bits, 0.043 with those of 4 to 8 bits in 28 layers. Each layer adds to it. Weights of
another model, another order of heads or of positions give more than 1, and keys and values a tenth too large 0.15.
"""


def is_reproduced(sequence: TokenSequence, shape: StateShape, position: int, *, must_be_equal: bool) -> bool:
    """Computes the token at a position again; tells whether that gives the keys and values that the sequence has.

    Args:
        sequence: Ends after that token afterwards, with the keys and values that were computed now.
        shape: The sizes of keys and values.
        position: That of a token in the sequence.
        must_be_equal: Whether all bits must be equal; else each layer's keys and values may differ by
            `MOST_RELATIVE_ERROR`.
    """
    groups = range(len(shape.groups))
    token_id = int(sequence.token_ids[position])
    given = [sequence.kv(group, position, position + 1) for group in groups]
    sequence.rewind(position)
    sequence.extend([token_id])
    computed = [sequence.kv(group, position, position + 1) for group in groups]
    if must_be_equal or shape.dtype != "f16":  # blocks of q8_0 are compared as they are: nobody else has them
        return all(first.tobytes() == second.tobytes() for first, second in zip(given, computed, strict=True))
    planes = zip(_planes(shape, given), _planes(shape, computed), strict=True)
    return all(_is_close(first, second) for first, second in planes)


def _planes(shape: StateShape, kv: Sequence[KvArray]) -> list[KvArray]:
    """Returns the keys and the values of each layer."""
    return [
        plane
        for group, some in zip(shape.groups, kv, strict=True)
        for layer in shape.layers(group, some)
        for plane in layer
    ]


def _is_close(given: KvArray, computed: KvArray) -> bool:
    """Compares the keys or values of a layer, float16."""
    ours = computed.reshape(-1).astype(np.float64)
    error = np.linalg.norm(given.reshape(-1).astype(np.float64) - ours)
    return bool(error <= MOST_RELATIVE_ERROR * np.linalg.norm(ours))
