"""Logits of a model beside those of a real llama-server that has loaded the same file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import numpy.typing as npt

from tests.engine.model.golden_cases import fed_in_pieces
from tests.engine.model.random_model import TOKENS
from tests.engine.remote.servers.test_real_server import real_server
from tui_llama.engine import open_model

LENGTHS = (1, 40, 100)
MOST_ERROR = 4e-3  # llama-server keeps keys and values in F16, as we do; a wrong formula gives several percent


@dataclass(frozen=True, slots=True)
class PeerResult:
    """What came of a model: errors by the length of the prompt, and whether all ways gave the same bits.

    Attributes:
        errors: Root mean square of the differences of log-probabilities, in deviations of ours; for each length.
        is_same_in_pieces: Whether odd batches, with saving and restoring between them, gave the same bits.
        is_same_alone: Whether one thread gave the bits of two.
    """

    errors: tuple[float, ...]
    is_same_in_pieces: bool
    is_same_alone: bool

    @property
    def is_same(self) -> bool:
        """Whether all ways gave the same bits."""
        return self.is_same_in_pieces and self.is_same_alone


def log_probabilities(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Returns the logarithms of the softmax over the last axis."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    result: npt.NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def servers_answer(url: str, ids: Sequence[int]) -> npt.NDArray[np.float64]:
    """Returns the logarithms of the probabilities of all tokens behind a prompt; NaN for one that it leaves out."""
    asked: dict[str, Any] = {"prompt": ids, "n_predict": 1, "n_probs": len(TOKENS), "cache_prompt": False}
    found = np.full(len(TOKENS), np.nan)
    for seed in range(20):  # an answer that is over at once has no probabilities
        body = json.dumps({**asked, "samplers": [], "seed": seed}).encode()
        request = Request(f"{url}/completion", body, {"Content-Type": "application/json"})
        with urlopen(request) as response:
            answers = json.load(response).get("completion_probabilities", [])
        if answers:
            for token in answers[0]["top_logprobs"]:
                found[token["id"]] = token["logprob"]
            return found
    return found


def compare_with_server(path: Path, state_file: Path) -> PeerResult:
    """Reads random tokens with a model all ways, and with a llama-server.

    Args:
        path: The model's file; its vocabulary is `TOKENS`.
        state_file: Where keys and values are saved meanwhile.
    """
    ids = np.random.default_rng(3).integers(0, 256, max(LENGTHS)).tolist()
    with open_model(path, threads=2, context_size=256) as model:
        logits = model.logits(ids)
        in_pieces = fed_in_pieces(model, ids, state_file)
    with open_model(path, threads=1, batch_tokens=7, context_size=256) as model:
        alone = model.logits(ids)
    ours = log_probabilities(logits)
    with real_server(path) as server:
        theirs = {length: servers_answer(server.url.removesuffix("/v1"), ids[:length]) for length in LENGTHS}
    return PeerResult(
        errors=tuple(
            float(np.sqrt(((ours[length - 1] - answer) ** 2).mean()) / ours[length - 1].std())
            for length, answer in theirs.items()
        ),
        is_same_in_pieces=in_pieces.tobytes() == logits[-1].tobytes(),
        is_same_alone=alone.tobytes() == logits.tobytes(),
    )
