"""A mixture of experts in the most obvious NumPy and in float64."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tui_llama.engine.tensors.expert_sizes import ExpertSizes

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def choose(logits: Array, sizes: ExpertSizes, bias: Array | None = None) -> tuple[IntArray, Array]:
    """Returns the experts of each token by rank and their weights, both (tokens, used), from (tokens, experts)."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    gated = shifted / shifted.sum(axis=-1, keepdims=True)
    if sizes.gating == "sigmoid":
        gated = 1.0 / (1.0 + np.exp(-logits))
    scores = (logits if sizes.selects_by_logits or sizes.gating == "softmax of chosen" else gated).copy()
    if bias is not None:
        scores += bias
    if sizes.group_count > 1:
        groups = scores.reshape(len(scores), sizes.group_count, -1)
        group_scores = np.sort(groups, axis=-1)[..., -2:].sum(axis=-1)
        order = np.argsort(-group_scores, axis=-1, kind="stable")
        for token, best in enumerate(order):
            groups[token, best[sizes.used_group_count :]] = -np.inf
    chosen = np.argsort(-scores, axis=-1, kind="stable")[:, : sizes.used_count]
    weights = np.take_along_axis(gated, chosen, axis=-1)
    if sizes.gating == "softmax of chosen":
        numbers = np.exp(np.take_along_axis(logits, chosen, axis=-1))
        weights = numbers / numbers.sum(axis=-1, keepdims=True)
    if sizes.normalises:
        weights = weights / np.maximum(weights.sum(axis=-1, keepdims=True), 6.103515625e-5)
    return chosen, weights * sizes.weights_scale


def apply(
    x: Array, chosen: IntArray, weights: Array, expert: Callable[[int, Array], Array], *, weighs_input: bool = False
) -> Array:
    """Returns the weighed sum of what the chosen experts make of each token's row of `x`."""
    out = []
    for row, experts, factors in zip(x, chosen, weights, strict=True):
        parts = [
            expert(int(number), row * factor) if weighs_input else factor * expert(int(number), row)
            for number, factor in zip(experts, factors, strict=True)
        ]
        out.append(sum(parts[1:], parts[0]))
    return np.stack(out)
