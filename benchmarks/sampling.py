"""Measures how long it takes to choose one token from a large vocabulary.

    python -m benchmarks.sampling [--vocab 128256] [--tokens 300]

The logits come from a normal distribution, with a few likely tokens on top. Each token gets another set of them.
Targets: 0.3 ms a token for the default chain, 0.1 ms for greedy.
"""

import argparse
import statistics
from time import perf_counter

import numpy as np
import numpy.typing as npt

from tui_llama.engine import ops
from tui_llama.engine.generation.samplers.chain import SamplerChain
from tui_llama.engine.toolchain.loader import load_kernels
from tui_llama.sampling.settings import SamplingSettings

_CHAINS = {
    "default": (SamplingSettings(seed=1), 0.3e-3),
    "greedy": (SamplingSettings(temperature=0.0), 0.1e-3),
    "with penalties": (SamplingSettings(seed=1, repeat_penalty=1.1, frequency_penalty=0.1), 0.5e-3),
    "top_p alone": (SamplingSettings(seed=1, top_k=0, min_p=0.0), None),
    "all of them": (
        SamplingSettings(
            seed=1,
            repeat_penalty=1.1,
            dry_multiplier=0.8,
            dry_sequence_breakers="none",
            top_n_sigma=2.0,
            typical_p=0.95,
            xtc_probability=0.3,
            dynatemp_range=0.3,
        ),
        None,
    ),
    "mirostat 1": (SamplingSettings(seed=1, mirostat=1), None),
    "mirostat 2": (SamplingSettings(seed=1, mirostat=2), None),
    "adaptive_p": (SamplingSettings(seed=1, samplers="min_p;adaptive_p", adaptive_target=0.3), None),
}
_SETS = 16


def main() -> None:
    """Measures each chain and prints its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab", type=int, default=128256, help="tokens in the vocabulary")
    parser.add_argument("--tokens", type=int, default=300, help="tokens to choose")
    options = parser.parse_args()
    load_kernels(ops.SAMPLING)
    sets = [_logits(options.vocab, seed) for seed in range(_SETS)]
    for name, (settings, target) in _CHAINS.items():
        chain = SamplerChain(settings, options.vocab)
        seconds = _measure(chain, sets, options.tokens)
        wanted = "" if target is None else f" (target {1000 * target:.1f} ms)"
        print(f"{name}: median {1000 * statistics.median(seconds):.3f} ms{wanted}, {chain}")


def _logits(vocab_size: int, seed: int) -> npt.NDArray[np.float32]:
    """Returns logits, (vocab,) float32, that are as peaked as those of a language model."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0.0, 2.5, vocab_size).astype(np.float32)
    logits[generator.integers(0, vocab_size, 8)] += 12.0
    return logits


def _measure(chain: SamplerChain, sets: list[npt.NDArray[np.float32]], count: int) -> list[float]:
    """Returns the seconds of each token, with the time to accept it. The first tokens warm up and do not count."""
    seconds = []
    for index in range(count + _SETS):
        logits = sets[index % _SETS]
        start = perf_counter()
        chain.accept(chain.sample(logits))
        seconds.append(perf_counter() - start)
    return seconds[_SETS:]


if __name__ == "__main__":
    main()
