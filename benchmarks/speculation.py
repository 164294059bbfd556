"""Measures the gain of speculation: the time of an answer with tokens guessed from the context, and without.

    python -m benchmarks.speculation -m MODEL.gguf [--rounds 3] [--tokens 400] [--text edit]

The answers are given (benchmarks/texts): a module of code that is written again with changes ("edit"), a summary of a
report with quotes from it ("quotes"), a story that repeats nothing ("prose"). The model reads the prompt and is then
made to write the given answer: every token is computed, sampled and turned into text as in a chat, but the next token
of the given text replaces the sampled one. So drafts are accepted exactly as often as with a model that writes this
text itself, whatever the weights, and the time is the engine's time for it.

Both ways take turns after every sixteen tokens, so that a noisy machine disturbs both. The measured costs of batches
are kept from round to round, as they are from answer to answer in a chat. Each way has its own copy of the prompt.
Targets: 1.8 times as fast on the two texts that repeat their context, and at least 0.97 times as fast on the other.
"""

import argparse
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from tui_llama.engine import open_model, ops
from tui_llama.engine.generation.samplers.chain import SamplerChain
from tui_llama.engine.generation.speculation import BatchCosts, Speculation
from tui_llama.engine.model.model import Model
from tui_llama.engine.requests import DEFAULT_DRAFT_MAX
from tui_llama.engine.token_sequence import Logits
from tui_llama.engine.toolchain.loader import load_kernels
from tui_llama.sampling.settings import SamplingSettings

_TEXTS = Path(__file__).parent / "texts"
_TARGETS = {"edit": 1.8, "quotes": 1.8, "prose": 0.97}
_TOKENS_IN_TURN = 16


@dataclass(frozen=True)
class GivenText:
    """A prompt and its given answer, as token ids."""

    prompt: list[int]
    answer: list[int]


@dataclass
class Way:
    """One way through an answer, with or without speculation."""

    model: Model
    text: GivenText
    draft_max: int
    costs: BatchCosts
    seconds: float = 0.0
    said: int = 0
    ahead: Speculation = field(init=False)

    def __post_init__(self) -> None:
        self._logits: Logits = self._read_prompt()
        self._sampler = SamplerChain(SamplingSettings(seed=1), self.model.vocab_size)
        self._decoder = self.model.tokenizer.stream_decoder()

    def say(self, end: int) -> None:
        """Writes the answer up to its token `end`, and further to the end of tokens that were already computed."""
        start = perf_counter()
        while self.said < len(self.text.answer) and (self.said < end or self.ahead.has_guesses_left):
            self._say_one()
        self.seconds += perf_counter() - start

    def close(self) -> None:
        """Frees the memory of keys and values."""
        self._sequence.close()

    def _read_prompt(self) -> Logits:
        self._sequence = self.model.new_sequence()
        logits = self._sequence.extend(self.text.prompt)
        start = perf_counter()
        self.ahead = Speculation(self._sequence, self.text.prompt, self.draft_max, self.costs)
        self.seconds += perf_counter() - start
        return logits

    def _say_one(self) -> None:
        self._sampler.sample(self._logits)
        token_id = self.text.answer[self.said]
        self._sampler.accept(token_id)
        self._decoder.push(token_id)
        self.said += 1
        self._logits = self.ahead.extend(token_id, len(self.text.answer) - self.said)


def _given_text(model: Model, name: str, most_tokens: int) -> GivenText:
    prompt, answer = (
        model.tokenize((_TEXTS / f"{name}.{part}.txt").read_text(encoding="utf-8"), add_special=part == "prompt")
        for part in ("prompt", "answer")
    )
    return GivenText(prompt, answer[:most_tokens] if most_tokens else answer)


def _one_round(model: Model, text: GivenText, draft_max: int, costs: BatchCosts) -> tuple[Way, Way]:
    """Goes through the answer both ways, in turns. Each way is first in every other turn."""
    plain, guessed = Way(model, text, 0, BatchCosts()), Way(model, text, draft_max, costs)
    ways = [plain, guessed]
    for end in range(_TOKENS_IN_TURN, len(text.answer) + _TOKENS_IN_TURN, _TOKENS_IN_TURN):
        for way in ways:
            way.say(end)
        ways.reverse()
    plain.close()
    guessed.close()
    return plain, guessed


def _measure(model: Model, name: str, options: argparse.Namespace, costs: BatchCosts) -> None:
    text = _given_text(model, name, options.tokens)
    ratios, plain_rates, guessed_rates = [], [], []
    for _ in range(options.rounds):
        plain, guessed = _one_round(model, text, options.draft_max, costs)
        ratios.append(plain.seconds / guessed.seconds)
        plain_rates.append(len(text.answer) / plain.seconds)
        guessed_rates.append(len(text.answer) / guessed.seconds)
    ratio = statistics.median(ratios)
    verdict = "met" if ratio >= _TARGETS[name] else "missed"
    print(
        f"{name}: {ratio:.2f} × (target {_TARGETS[name]} ×: {verdict}), "
        f"{statistics.median(plain_rates):.1f} → {statistics.median(guessed_rates):.1f} tok/s, "
        f"{guessed.ahead.accepted_tokens} of {guessed.ahead.drafted_tokens} guesses accepted, "
        f"{len(text.answer)} tokens after {len(text.prompt)}; rounds {' '.join(f'{ratio:.2f}' for ratio in ratios)}",
        flush=True,
    )


def main() -> None:
    """Measures each text and prints its figures, then the costs of batches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", type=Path, required=True, help="model file")
    parser.add_argument("-t", "--threads", type=int, default=0, help="threads; 0: one for each core")
    parser.add_argument("--rounds", type=int, default=3, help="times that each answer is said both ways")
    parser.add_argument("--tokens", type=int, default=0, help="most tokens of an answer; 0: all")
    parser.add_argument("--draft-max", type=int, default=DEFAULT_DRAFT_MAX, help="most tokens guessed at once")
    parser.add_argument("--text", action="append", choices=_TARGETS, help="only this text; may be repeated")
    options = parser.parse_args()
    load_kernels(ops.SAMPLING)
    costs = BatchCosts()
    with open_model(options.model, context_size=4096, threads=options.threads) as model:
        for name in options.text or _TARGETS:
            _measure(model, name, options, costs)
    sizes = range(2, options.draft_max + 2)
    print("a batch in times of one token: " + ", ".join(f"{size}: {costs.relative(size):.2f}" for size in sizes))


if __name__ == "__main__":
    main()
