"""Our samplers beside llama.cpp's own: the same candidates, probabilities and tokens for the same logits and seed.

    python -m benchmarks.samplers [--llama-cpp-python PYTHON] [--vocabulary MODEL.gguf] [--rounds 40]

Each case is a chain of samplers, run over some rounds of random logits, whose tokens both programs count as used.
Printed is for each case in how many rounds the sets of candidates differ, the largest difference of a probability, and
in how many rounds another token is taken. A set may differ by a candidate at the very border, because the last bits of
exponentials do. DRY needs a vocabulary, whose first tokens
are those of the logits. Without an interpreter the program builds llama-cpp-python, as
`benchmarks.compare` does.
"""

import argparse
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.peer import build_llama_cpp_python
from tui_llama.engine import ops
from tui_llama.engine.generation.samplers.candidates import FloatArray
from tui_llama.engine.generation.samplers.chain import SamplerChain
from tui_llama.engine.tokenizer.tokenizer import Tokenizer, open_tokenizer
from tui_llama.engine.toolchain.loader import load_kernels
from tui_llama.sampling import chain as names
from tui_llama.sampling.settings import SamplingSettings
from tui_llama.sampling.texts import read_biases, read_breakers

_PROGRAM: Final = Path(__file__).with_name("llama_cpp_samplers.py")
_VOCAB_SIZE: Final = 4096
_SEED: Final = 4711
_OFF: Final = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "temperature": 1.0}

_MOST: Final[dict[str, Any]] = {
    **{"repeat_penalty": 1.1, "dry_multiplier": 0.8, "top_k": 300, "top_p": 0.95, "min_p": 0.01},
    **{"xtc_probability": 0.5, "xtc_threshold": 0.05, "temperature": 1.2},
}
_CASES: Final[dict[str, dict[str, Any]]] = {
    "none": {},
    "logit bias": {"logit_bias": "17+4.5 18-inf 900-2 901+30"},
    "penalties": {"repeat_penalty": 1.3, "frequency_penalty": 0.4, "presence_penalty": 0.7},
    "penalties over few": {"repeat_penalty": 0.8, "presence_penalty": -0.5, "penalty_last_n": 5},
    "dry": {"dry_multiplier": 0.8},
    "dry, steep": {"dry_multiplier": 2.0, "dry_base": 3.0, "dry_allowed_length": 1, "dry_sequence_breakers": "none"},
    "top_n_sigma": {"top_n_sigma": 1.0},
    "top_k": {"top_k": 40},
    "typical_p": {"typical_p": 0.7},
    "typical_p, keep": {"typical_p": 0.05, "min_keep": 9},
    "top_p": {"top_p": 0.9},
    "top_p, keep": {"top_p": 0.01, "min_keep": 7},
    "min_p": {"min_p": 0.05},
    "min_p, keep": {"min_p": 0.999, "min_keep": 5},
    "xtc": {"xtc_probability": 1.0, "xtc_threshold": 0.02},
    "xtc by chance": {"xtc_probability": 0.5, "xtc_threshold": 0.01},
    "temperature": {"temperature": 0.6},
    "dynamic temperature": {"temperature": 1.1, "dynatemp_range": 0.8, "dynatemp_exponent": 1.5},
    "greedy": {"temperature": 0.0},
    "mirostat": {"mirostat": 1, "mirostat_tau": 4.0, "mirostat_eta": 0.2, "temperature": 0.9},
    "mirostat 2": {"mirostat": 2, "mirostat_tau": 3.0, "mirostat_eta": 0.2, "temperature": 0.9},
    "adaptive_p": {"samplers": "min_p;adaptive_p", "min_p": 0.02, "adaptive_target": 0.3},
    "adaptive_p off": {"samplers": "top_k;adaptive_p", "top_k": 50},
    "as usual": {"top_k": 40, "top_p": 0.95, "min_p": 0.05, "temperature": 0.8},
    # Not both at once: behind top_n_sigma, llama.cpp's typical_p computes with a NaN, from 0 times infinity.
    "all but typical_p": {**_MOST, "top_n_sigma": 2.0},
    "all but top_n_sigma": {**_MOST, "typical_p": 0.95},
    "another order": {
        **{"samplers": "temperature;min_p;xtc;top_k;penalties", "temperature": 1.5, "min_p": 0.02},
        **{"xtc_probability": 0.7, "xtc_threshold": 0.03, "top_k": 60, "frequency_penalty": 0.5},
    },
}


@dataclass(frozen=True, slots=True)
class Round:
    """What a chain did with the logits of one token.

    Attributes:
        left: The candidates before the last sampler, with their logits.
        chosen: The token that the last one took.
    """

    left: dict[int, float]
    chosen: int

    def probabilities(self) -> dict[int, float]:
        """Returns the probabilities of the candidates that are not excluded."""
        ids = [token_id for token_id, logit in self.left.items() if logit != -np.inf]
        logits = np.array([self.left[each] for each in ids], np.float64)
        weights = np.exp(logits - logits.max())
        return dict(zip(ids, (weights / weights.sum()).tolist(), strict=True))


def main() -> None:
    """Prints the table."""
    options = _options()
    load_kernels(ops.SAMPLING)
    tokenizer = None if options.vocabulary is None else open_tokenizer(options.vocabulary)
    python = options.llama_cpp_python or build_llama_cpp_python()
    cases = {
        name: SamplingSettings(seed=_SEED, **{**_OFF, **chosen})
        for name, chosen in _CASES.items()
        if tokenizer is not None or "dry_multiplier" not in chosen
    }
    rounds = _rounds(options.rounds)
    prompt = np.random.default_rng(_SEED).integers(0, 40, 60).tolist()
    theirs = _theirs(python, options.vocabulary, list(cases.values()), prompt, rounds)
    print(f"{'case':22}{'sets':>6}{'probability':>14}{'tokens':>8}   of {len(rounds)} rounds; {_VOCAB_SIZE} tokens")
    for (name, settings), their_rounds in zip(cases.items(), theirs, strict=True):
        _print_case(name, _ours(settings, tokenizer, prompt, rounds), their_rounds)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-cpp-python", type=Path, metavar="PYTHON", help="interpreter that has the library")
    parser.add_argument("--vocabulary", type=Path, metavar="GGUF", help="a model file, for DRY")
    parser.add_argument("--rounds", type=int, default=40, help="tokens for each case")
    return parser.parse_args()


def _rounds(count: int) -> list[FloatArray]:
    """Returns logits, (vocab,) float32 each, from flat to steep; a few tokens stand out, so that some repeat."""
    generator = np.random.default_rng(_SEED)
    rounds = []
    for number in range(count):
        logits = generator.normal(0, 0.5 + 4 * number / count, _VOCAB_SIZE)
        logits[generator.integers(0, 40, 12)] += generator.uniform(4, 12, 12)
        rounds.append(logits.astype(np.float32))
    return rounds


def _theirs(
    python: Path,
    vocabulary: Path | None,
    cases: Sequence[SamplingSettings],
    prompt: list[int],
    rounds: list[FloatArray],
) -> list[list[Round]]:
    asked = {
        "vocabulary": None if vocabulary is None else str(vocabulary),
        "prompt": prompt,
        "rounds": [logits.tolist() for logits in rounds],
        "cases": [
            [_their_sampler(name, settings, len(rounds[0])) for name in names.chain_names(settings)]
            for settings in cases
        ],
    }
    ran = subprocess.run([python, _PROGRAM], input=json.dumps(asked), capture_output=True, text=True, check=True)
    return [[Round(dict(each["left"]), each["chosen"]) for each in case] for case in json.loads(ran.stdout)]


def _their_sampler(name: str, settings: SamplingSettings, vocab_size: int) -> tuple[str, list[Any]]:
    """Returns the name and the arguments of llama.cpp's function that makes the sampler."""
    keep, seed = settings.min_keep, settings.seed
    penalties = [
        settings.penalty_last_n,
        settings.repeat_penalty,
        settings.frequency_penalty,
        settings.presence_penalty,
    ]
    dry = [settings.dry_multiplier, settings.dry_base, settings.dry_allowed_length, settings.dry_penalty_last_n]
    tau_and_eta = [settings.mirostat_tau, settings.mirostat_eta]
    made: dict[str, tuple[str, list[Any]]] = {
        names.LOGIT_BIAS: ("logit_bias", [vocab_size, [list(each) for each in read_biases(settings.logit_bias)]]),
        names.PENALTIES: ("penalties", [vocab_size, *penalties]),
        names.DRY: ("dry", [*dry, read_breakers(settings.dry_sequence_breakers)]),
        names.TOP_N_SIGMA: ("top_n_sigma", [settings.top_n_sigma]),
        names.TOP_K: ("top_k", [settings.top_k]),
        names.TYPICAL_P: ("typical", [settings.typical_p, keep]),
        names.TOP_P: ("top_p", [settings.top_p, keep]),
        names.MIN_P: ("min_p", [settings.min_p, keep]),
        names.XTC: ("xtc", [settings.xtc_probability, settings.xtc_threshold, keep, seed]),
        names.TEMPERATURE: (
            "temp_ext",
            [settings.temperature, settings.dynatemp_range, settings.dynatemp_exponent],
        ),
        names.GREEDY: ("greedy", []),
        names.RANDOM: ("dist", [seed]),
        names.ADAPTIVE_P: ("adaptive_p", [settings.adaptive_target, settings.adaptive_decay, seed]),
        names.MIROSTAT: ("mirostat", [vocab_size, seed, *tau_and_eta, 100])
        if settings.mirostat == 1
        else ("mirostat_v2", [seed, *tau_and_eta]),
    }
    return made[name]


def _ours(
    settings: SamplingSettings, tokenizer: Tokenizer | None, prompt: list[int], rounds: list[FloatArray]
) -> list[Round]:
    chain = SamplerChain(settings, len(rounds[0]), tokenizer)
    chain.accept_all(prompt)
    done = []
    for logits in rounds:
        kept = chain.kept(logits)
        chosen = chain.choose(kept)
        chain.accept(chosen)
        done.append(Round({kept.token_id(place): float(logit) for place, logit in enumerate(kept.logits)}, chosen))
    return done


def _print_case(name: str, ours: list[Round], theirs: list[Round]) -> None:
    other_sets = other_tokens = 0
    largest = 0.0
    for our_round, their_round in zip(ours, theirs, strict=True):
        other_tokens += our_round.chosen != their_round.chosen
        our, their = our_round.probabilities(), their_round.probabilities()
        other_sets += our.keys() != their.keys()
        largest = max(largest, *(abs(our.get(each, 0.0) - their.get(each, 0.0)) for each in our.keys() | their.keys()))
    print(f"{name:22}{other_sets:>6}{largest:>14.1e}{other_tokens:>8}")


if __name__ == "__main__":
    main()
