"""How near the starter's answers are to those of exact arithmetic, and to llama.cpp's.

The reference has, for a text of 640 tokens (the beginning of this project's README), the logarithms of the exact
probabilities of the next token at 64 places, and of llama.cpp's the KL divergence from them and the likeliest token.
"""

from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest

from tui_llama.engine import open_model

pytestmark = [pytest.mark.starter, pytest.mark.shared, pytest.mark.slow]

Array: TypeAlias = npt.NDArray[np.float64]

MOST_DIVERGENCE = 1.2
"""Of llama.cpp's: both quantise activations, in their own ways."""

FEWER_HITS = 2


@pytest.fixture(scope="module")
def reference(shared_folder: Path) -> dict[str, npt.NDArray[np.generic]]:
    with np.load(shared_folder / "golden" / "real" / "smollm2.npz") as file:
        return dict(file)


def log_probabilities(logits: npt.NDArray[np.float32]) -> Array:
    """(places, vocab) → the same; the logarithm of softmax, in float64."""
    shifted: Array = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted


def divergence(exact: Array, ours: Array) -> Array:
    """KL(exact ‖ ours) at each place, from logarithms of probabilities, in nats."""
    result: Array = (np.exp(exact) * (exact - ours)).sum(axis=1)
    return result


def test_the_next_token_is_as_well_known_as_llama_cpp_knows_it(
    starter_model: Path, reference: dict[str, npt.NDArray[np.generic]]
) -> None:
    with open_model(starter_model, threads=2) as model:
        logits = model.logits(reference["tokens"].tolist())[reference["positions"].astype(np.int64)]
    ours, exact = log_probabilities(logits), reference["exact_log_probabilities"].astype(np.float64)
    peer_divergence = reference["peer_kl"].astype(np.float64)
    assert divergence(exact, ours).mean() <= MOST_DIVERGENCE * peer_divergence.mean()
    likeliest = exact.argmax(axis=1)
    hits = np.count_nonzero(ours.argmax(axis=1) == likeliest)
    assert hits >= np.count_nonzero(reference["peer_top1"] == likeliest) - FEWER_HITS


def test_a_real_text_is_made_of_the_same_tokens(
    starter_model: Path, reference: dict[str, npt.NDArray[np.generic]]
) -> None:
    token_ids = reference["tokens"].tolist()
    with open_model(starter_model, threads=1) as model:
        text = model.detokenize(token_ids)
        assert model.tokenize(text) == token_ids
    assert text.startswith("# tui_llama\n\nA full-screen terminal chat with its own inference engine.")
