"""Computes one token again, to tell whether keys and values from a file are those of its tokens and of this model.

The keys and values of a token depend on all tokens before it, through every layer. So one token tells whether weights,
rotation, layout and order are right. Our own must come out bit by bit. Those of another program cannot, because it adds
in another order and rounds in other places.
"""

from typing import Final

import numpy as np

from tui_llama.engine.state_file import KvArray
from tui_llama.engine.token_sequence import TokenSequence

MOST_RELATIVE_ERROR: Final = 0.1
"""The largest error, as a part of the root mean square of a layer's keys, or values; their cosine is above 0.995.

Measured against llama.cpp, whose activations are rounded to 8 bits as ours are, but not always to the same ones: up to
0.0002 with weights of 16 or 32 bits, 0.043 with those of 4 to 8 bits in 28 layers. Each layer adds to it. Weights of
another model, another order of heads or of positions give more than 1, and keys and values a tenth too large 0.15.
"""


def is_reproduced(sequence: TokenSequence, position: int, *, must_be_equal: bool) -> bool:
    """Computes the token at a position again; tells whether that gives the keys and values that the sequence has.

    Args:
        sequence: Ends after that token afterwards, with the keys and values that were computed now.
        position: That of a token in the sequence.
        must_be_equal: Whether all bits must be equal; else each layer's keys and values may differ by
            `MOST_RELATIVE_ERROR`.
    """
    token_id = int(sequence.token_ids[position])
    given = sequence.kv(position, position + 1)
    sequence.rewind(position)
    sequence.extend([token_id])
    computed = sequence.kv(position, position + 1)
    if must_be_equal or computed.dtype != np.float16:  # blocks of q8_0 are compared as they are: nobody else has them
        return given.tobytes() == computed.tobytes()
    return _are_close(given, computed)


def _are_close(given: KvArray, computed: KvArray) -> bool:
    """Compares (layers, 2, 1, kv_heads, head_dim) float16, for each layer and kind on its own."""
    planes = computed.shape[0] * computed.shape[1]
    ours = computed.reshape(planes, -1).astype(np.float64)
    differences = given.reshape(planes, -1).astype(np.float64) - ours
    errors, sizes = np.linalg.norm(differences, axis=1), np.linalg.norm(ours, axis=1)
    return bool((errors <= MOST_RELATIVE_ERROR * sizes).all())
