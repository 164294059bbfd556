"""What the kernels compute, written in the most obvious NumPy and in float64 where that is possible."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def rms_norm(x: Array, weight: Array, epsilon: float) -> Array:
    """Root-mean-square norm over the last axis."""
    mean: Array = (x**2).mean(axis=-1, keepdims=True)
    out: Array = x / np.sqrt(mean + epsilon) * weight
    return out


def rotate(x: Array, angles: Array, neighbours: bool) -> Array:
    """Rotates pairs of the first components of (tokens, heads, head_dim) by (tokens, pairs) angles."""
    pairs = angles.shape[-1]
    out = x.copy()
    first = np.arange(pairs) * 2 if neighbours else np.arange(pairs)
    second = first + 1 if neighbours else first + pairs
    cosine, sine = np.cos(angles)[:, None], np.sin(angles)[:, None]
    out[..., first] = x[..., first] * cosine - x[..., second] * sine
    out[..., second] = x[..., first] * sine + x[..., second] * cosine
    return out


def attention(queries: Array, keys: Array, values: Array, first_position: int, scale: float) -> Array:
    """Causal softmax attention.

    Args:
        queries: (tokens, heads, head_dim) at positions from `first_position` on.
        keys: (positions, kv_heads, head_dim).
        values: as keys.
        first_position: Position of the first query.
        scale: Multiplies the scores.

    Returns:
        (tokens, heads, head_dim)
    """
    tokens, heads, _ = queries.shape
    group = heads // keys.shape[1]
    out = np.zeros_like(queries)
    for token in range(tokens):
        seen = first_position + token + 1
        for head in range(heads):
            scores = keys[:seen, head // group] @ queries[token, head] * scale
            weights = np.exp(scores - scores.max())
            out[token, head] = weights / weights.sum() @ values[:seen, head // group]
    return out


def gate(gates: Array, ups: Array) -> Array:
    """silu(gates) × ups"""
    return gates / (1.0 + np.exp(-gates)) * ups


def quantize(x: Array, columns: int) -> tuple[npt.NDArray[np.int8], Array]:
    """Blocks of `columns` as whole numbers from -127 to 127, (rows, blocks, columns), and scales, (rows, blocks)."""
    blocks = x.reshape(len(x), -1, columns)
    peaks = np.abs(blocks).max(axis=-1)
    safe = np.where(peaks == 0, 1.0, peaks)
    quants = np.rint(blocks * (127.0 / safe)[..., None])
    return quants.astype(np.int8), peaks / 127.0
