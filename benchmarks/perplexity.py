"""Perplexity of a text: ours and llama.cpp's, for a trained model.

    python -m benchmarks.perplexity MODEL [TEXT]

Both read the same tokens, ours, and both logits are turned into log-likelihoods here, in float64. Perplexity is e to
the power of the mean negative log-likelihood of each token after the first (Jelinek et al. 1977).
"""

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.peer import build_llama_cpp_python
from tui_llama.engine import open_model

_PROGRAM = Path(__file__).with_name("llama_cpp_logits.py")
_TEXT = Path(__file__).parent / "texts" / "prose.answer.txt"


def perplexity(logits: npt.NDArray[np.float32], ids: list[int]) -> float:
    """Returns the perplexity of tokens.

    Args:
        logits: (tokens, vocab), after each token.
        ids: The tokens.
    """
    rows = logits[:-1].astype(np.float64)
    rows -= rows.max(axis=1, keepdims=True)
    likelihoods = rows[np.arange(len(rows)), ids[1:]] - np.log(np.exp(rows).sum(axis=1))
    return float(np.exp(-likelihoods.mean()))


def llama_cpp_logits(python: Path, model: Path, ids: list[int], vocab_size: int) -> npt.NDArray[np.float32]:
    """Returns llama.cpp's logits after each token, (tokens, vocab)."""
    command = [str(python), str(_PROGRAM), str(model)]
    done = subprocess.run(
        command, input=json.dumps(ids).encode(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
    )
    return np.frombuffer(done.stdout, np.float32).reshape(len(ids), vocab_size)


def main() -> None:
    """Prints both perplexities and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path, nargs="?", default=_TEXT)
    parser.add_argument("--tokens", type=int, default=1024, help="the most tokens of the text (default: 1024)")
    options: Any = parser.parse_args()
    with open_model(options.model, context_size=options.tokens) as model:
        ids = model.tokenize(options.text.read_text(), add_special=True)[: options.tokens]
        ours, vocab_size = perplexity(model.logits(ids), ids), model.vocab_size
    theirs = perplexity(llama_cpp_logits(build_llama_cpp_python(), options.model, ids, vocab_size), ids)
    print(f"{len(ids)} tokens: ours {ours:.4f}, llama.cpp {theirs:.4f}, ratio {ours / theirs:.4f}")


if __name__ == "__main__":
    main()
