"""Computes the same as the kernels, in the most obvious NumPy and in float64 where that is possible."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def rms_norm(x: Array, weight: Array, epsilon: float, bias: Array | float = 0.0) -> Array:
    """Computes the root-mean-square norm over the last axis."""
    mean: Array = (x**2).mean(axis=-1, keepdims=True)
    out: Array = x / np.sqrt(mean + epsilon) * weight + bias
    return out


def layer_norm(x: Array, weight: Array, epsilon: float, bias: Array | float = 0.0) -> Array:
    """Computes the norm over the last axis that subtracts the mean too."""
    return rms_norm(x - x.mean(axis=-1, keepdims=True), weight, epsilon, bias)


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


def attention(
    queries: Array,
    keys: Array,
    values: Array,
    first_position: int,
    scale: float,
    *,
    window: int = 0,
    chunked: bool = False,
    soft_cap: float = 0.0,
    slopes: Array | None = None,
    sinks: Array | None = None,
) -> Array:
    """Computes causal softmax attention.

    Args:
        queries: (tokens, heads, head_dim) at positions from `first_position` on.
        keys: (positions, kv_heads, head_dim).
        values: (positions, kv_heads, value_dim).
        first_position: Position of the first query.
        scale: Multiplies the scores.
        window: How many positions a token sees, its own included; 0: all up to its own.
        chunked: Whether a token sees those from the last multiple of `window` on instead.
        soft_cap: Where scores level off; 0: nowhere.
        slopes: (heads,) by which scores fall with each position of distance.
        sinks: (heads,) scores without a value.

    Returns:
        (tokens, heads, value_dim)
    """
    tokens, heads, _ = queries.shape
    group = heads // keys.shape[1]
    out = np.zeros((tokens, heads, values.shape[2]))
    for token in range(tokens):
        seen = first_position + token + 1
        for head in range(heads):
            first = max(0, seen - window) if window else 0
            if chunked:
                first = (seen - 1) // window * window
            scores = keys[first:seen, head // group] @ queries[token, head] * scale
            if soft_cap:
                scores = soft_cap * np.tanh(scores / soft_cap)
            if slopes is not None:
                scores = scores - slopes[head] * np.arange(seen - 1 - first, -1, -1)
            weights = np.exp(scores)
            sink = 0.0 if sinks is None else np.exp(sinks[head])
            out[token, head] = weights / (weights.sum() + sink) @ values[first:seen, head // group]
    return out


def sigmoid(x: Array) -> Array:
    """Computes 1 / (1 + exp(-x))."""
    return 1.0 / (1.0 + np.exp(-x))


def swiglu(gates: Array, ups: Array) -> Array:
    """Computes silu(gates) × ups."""
    return gates / (1.0 + np.exp(-gates)) * ups


def gelu(x: Array) -> Array:
    """Computes the Gaussian error linear unit in its tanh form."""
    out: Array = 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))
    return out


def relu_squared(x: Array) -> Array:
    """Computes the square of the positive part."""
    out: Array = np.maximum(x, 0.0) ** 2
    return out


def relu(x: Array) -> Array:
    """Computes the positive part."""
    return np.maximum(x, 0.0)


def softplus(x: Array) -> Array:
    """Computes ln(1 + exp(x))."""
    out: Array = np.logaddexp(0.0, x)
    return out


def xielu(x: Array, below: float, above: float, slope: float, highest: float) -> Array:
    """Computes the activation of Apertus: above · x² + slope · x above 0, an exponential below."""
    grown = below * (np.expm1(np.minimum(x, highest)) - x)
    out: Array = np.where(x > 0.0, above * x**2, grown) + slope * x
    return out


def limited_swiglu(gates: Array, ups: Array, limit: float) -> Array:
    """Computes silu(gates) × ups, the first at most the limit, the second within it."""
    out: Array = np.minimum(gates * sigmoid(gates), limit) * np.clip(ups, -limit, limit)
    return out


def scale_and_cap(x: Array, scale: float, cap: float) -> Array:
    """Multiplies numbers, and lets them level off at a cap; 0 is none."""
    out: Array = scale * x if cap == 0.0 else cap * np.tanh(scale * x / cap)
    return out


def limit(x: Array, most: float) -> Array:
    """Replaces numbers beyond a limit by the limit, with their sign."""
    return np.clip(x, -most, most)


def clamped_swiglu(gates: Array, ups: Array) -> Array:
    """Computes gate · sigmoid(1.702 · gate) × (up + 1), with the limits of gpt-oss."""
    gates, ups = np.minimum(gates, 7.0), np.clip(ups, -7.0, 7.0)
    return gates / (1.0 + np.exp(-1.702 * gates)) * (ups + 1.0)


def quantize(x: Array, columns: int) -> tuple[npt.NDArray[np.int8], Array]:
    """Blocks of `columns` as whole numbers from -127 to 127, (rows, blocks, columns), and scales, (rows, blocks)."""
    blocks = x.reshape(len(x), -1, columns)
    peaks = np.abs(blocks).max(axis=-1)
    safe = np.where(peaks == 0, 1.0, peaks)
    quants = np.rint(blocks * (127.0 / safe)[..., None])
    return quants.astype(np.int8), peaks / 127.0


def cache_rows(x: npt.NDArray[np.float32], cache_type: str) -> npt.NDArray[np.float16] | npt.NDArray[np.uint8]:
    """Turns keys or values, (tokens, kv_heads, head_dim), into rows of a cache; kv_cache.py says what these are."""
    if cache_type == "f16":
        return x.astype(np.float16)
    filled = np.pad(x, ((0, 0), (0, 0), (0, -x.shape[-1] % 32)))
    blocks = filled.reshape(*x.shape[:2], -1, 32)
    scales = (np.abs(blocks).max(axis=-1) / np.float32(127.0)).astype(np.float16)
    wide = scales.astype(np.float32)
    inverses = np.where(wide > 0, np.float32(1.0) / np.where(wide > 0, wide, np.float32(1.0)), np.float32(0.0))
    quants = np.rint(np.clip(blocks * inverses[..., None], -127, 127)).astype(np.int8)
    parts = [scales[..., None].view(np.uint8), quants.view(np.uint8)]
    return np.concatenate(parts, axis=-1).reshape(*x.shape[:2], -1)


def from_cache_rows(rows: npt.NDArray[np.float16] | npt.NDArray[np.uint8], head_dim: int) -> Array:
    """Returns the values that rows of a cache stand for, (tokens, kv_heads, head_dim)."""
    if rows.dtype == np.float16:
        return rows.astype(np.float64)
    blocks = rows.reshape(*rows.shape[:2], -1, 34)
    scales = np.ascontiguousarray(blocks[..., :2]).view(np.float16).astype(np.float64)
    components: Array = np.ascontiguousarray(blocks[..., 2:]).view(np.int8) * scales
    return components.reshape(*rows.shape[:2], -1)[..., :head_dim]


def turned_rows(
    rows: npt.NDArray[np.float16] | npt.NDArray[np.uint8],
    turns: npt.NDArray[np.float32],
    head_dim: int,
    neighbours: bool,
) -> npt.NDArray[np.float16] | npt.NDArray[np.uint8]:
    """Rotates rows of keys, (tokens, kv_heads, …), by (tokens, pairs, 2) cosines and sines, all in float32."""
    pairs = turns.shape[1]
    x = from_cache_rows(rows, head_dim).astype(np.float32)
    out = x.copy()
    first = np.arange(pairs) * 2 if neighbours else np.arange(pairs)
    second = first + 1 if neighbours else first + pairs
    cosine, sine = turns[:, None, :, 0], turns[:, None, :, 1]
    out[..., first] = x[..., first] * cosine - x[..., second] * sine
    out[..., second] = x[..., first] * sine + x[..., second] * cosine
    return cache_rows(out, "f16" if rows.dtype == np.float16 else "q8_0")
