"""Makes the samplers of a chain by their names, each with what it needs: histories, random numbers, a tokenizer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from tui_llama.engine.generation.samplers.breakers import Words, breakers_in
from tui_llama.engine.generation.samplers.candidates import Candidates
from tui_llama.engine.generation.samplers.choosing import AdaptiveP, Chooser, FirstMirostat, Greedy, Mirostat, Random
from tui_llama.engine.generation.samplers.dry import Dry, Repetitions
from tui_llama.engine.generation.samplers.logits import LogitBias, Penalties, RecentTokens
from tui_llama.engine.generation.samplers.random_numbers import UniformNumbers
from tui_llama.engine.generation.samplers.temperature import DynamicTemperature, Temperature
from tui_llama.engine.generation.samplers.truncation import MinP, TopK, TopNSigma, TopP, TypicalP, Xtc
from tui_llama.errors import CallerError
from tui_llama.sampling import chain as names
from tui_llama.sampling.settings import SamplingSettings
from tui_llama.sampling.texts import read_biases, read_breakers


class SamplingStep(Protocol):
    """One step of the chain before the token is taken."""

    def apply(self, candidates: Candidates) -> Candidates:
        """Returns the candidates that this step keeps, without changing the arrays of `candidates`."""
        ...


class History(Protocol):
    """What counts the tokens so far."""

    def accept(self, token_id: int) -> None:
        """Counts a token."""
        ...

    def accept_all(self, token_ids: Sequence[int]) -> None:
        """Counts many tokens."""
        ...


class Builder:
    """Makes samplers.

    Args:
        settings: The sampling settings.
        vocab_size: Number of logits.
        seed: With which the random numbers of every sampler begin, as in llama.cpp.
        words: The tokenizer; None where the settings have no texts.

    Attributes:
        histories: What the samplers that were made have to be told of every token.
    """

    def __init__(self, settings: SamplingSettings, vocab_size: int, seed: int, words: Words | None) -> None:
        self.histories: list[History] = []
        self._settings = settings
        self._vocab_size = vocab_size
        self._seed = seed
        self._words = words

    def step(self, name: str) -> SamplingStep:
        """Makes the step of that name."""
        settings = self._settings
        makers: Mapping[str, Callable[[], SamplingStep]] = {
            names.LOGIT_BIAS: self._bias,
            names.PENALTIES: self._penalties,
            names.DRY: self._dry,
            names.TOP_N_SIGMA: lambda: TopNSigma(settings.top_n_sigma),
            names.TOP_K: lambda: TopK(settings.top_k),
            names.TYPICAL_P: lambda: TypicalP(settings.typical_p, settings.min_keep),
            names.TOP_P: lambda: TopP(settings.top_p, settings.min_keep),
            names.MIN_P: lambda: MinP(settings.min_p, settings.min_keep),
            names.XTC: self._xtc,
            names.TEMPERATURE: self._temperature,
        }
        return makers[name]()

    def chooser(self, name: str) -> Chooser:
        """Makes what takes the token, by its name."""
        settings = self._settings
        makers: Mapping[str, Callable[[], Chooser]] = {
            names.GREEDY: Greedy,
            names.RANDOM: lambda: Random(self._numbers()),
            names.MIROSTAT: self._mirostat,
            names.ADAPTIVE_P: lambda: AdaptiveP(settings.adaptive_target, settings.adaptive_decay, self._numbers()),
        }
        return makers[name]()

    def _bias(self) -> LogitBias:
        """Makes the step that adds biases; of a text to each of its tokens, and of a token named twice both."""
        biases: dict[int, float] = {}
        for token, bias in read_biases(self._settings.logit_bias):
            for token_id in (token,) if isinstance(token, int) else self._tokenizer.tokenize(token):
                if token_id < self._vocab_size:  # the settings may be those of another model
                    biases[token_id] = biases.get(token_id, 0.0) + bias
        return LogitBias(biases)

    @property
    def _tokenizer(self) -> Words:
        if self._words is None:
            raise CallerError("the settings of sampling have texts, and the chain has no tokenizer")
        return self._words

    def _numbers(self) -> UniformNumbers:
        return UniformNumbers(self._seed)

    def _penalties(self) -> Penalties:
        settings = self._settings
        recent = RecentTokens(settings.penalty_last_n)
        self.histories.append(recent)
        return Penalties(recent.counts, settings.repeat_penalty, settings.frequency_penalty, settings.presence_penalty)

    def _dry(self) -> Dry:
        settings = self._settings
        texts = read_breakers(settings.dry_sequence_breakers)
        breakers = breakers_in(self._tokenizer, texts) if texts else {}
        repetitions = Repetitions(settings.dry_penalty_last_n, breakers)
        self.histories.append(repetitions)
        return Dry(repetitions, settings.dry_multiplier, settings.dry_base, settings.dry_allowed_length)

    def _temperature(self) -> SamplingStep:
        middle, reach = self._settings.temperature, self._settings.dynatemp_range
        if not names.has_dynamic_temperature(self._settings):
            return Temperature(middle)
        return DynamicTemperature(max(0.0, middle - reach), middle + reach, self._settings.dynatemp_exponent)

    def _xtc(self) -> Xtc:
        settings = self._settings
        return Xtc(settings.xtc_probability, settings.xtc_threshold, self._numbers(), settings.min_keep)

    def _mirostat(self) -> Mirostat:
        tau, eta = self._settings.mirostat_tau, self._settings.mirostat_eta
        if self._settings.mirostat == 1:
            return FirstMirostat(tau, eta, self._numbers(), self._vocab_size)
        return Mirostat(tau, eta, self._numbers())
