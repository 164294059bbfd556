"""The chain of samplers: one step after another, then one that takes the token.

    chain = SamplerChain(SamplingSettings(), vocab_size=32000)
    chain.accept_all(prompt)         # then `accept` for every token of the answer
    token_id = chain.sample(logits)

Which samplers are at work, and in which order, is said in `tui_llama.sampling.chain`.
"""

import secrets
from collections.abc import Sequence

import numpy as np

from tui_llama.engine.generation.samplers.breakers import Words
from tui_llama.engine.generation.samplers.building import Builder
from tui_llama.engine.generation.samplers.candidates import Candidates, FloatArray
from tui_llama.engine.generation.samplers.choosing import AdaptiveP
from tui_llama.errors import ShapeMismatchError
from tui_llama.sampling.chain import chain_names, chain_words
from tui_llama.sampling.settings import SamplingSettings
from tui_llama.settings import SAMPLING, check_fields


class SamplerChain:
    """The samplers of some settings, with the tokens so far and the state of the random numbers.

    `str(chain)` names the samplers in their order; those that would do nothing are left out.

    Args:
        settings: The sampling settings.
        vocab_size: Length of the logits that `sample` gets.
        words: The tokenizer, for texts in the settings: sequence breakers, and biases of texts.

    Attributes:
        seed: The seed in use, 32 bits: the same settings, seed, tokens and logits give the same answer.

    Raises:
        SettingsError: a setting makes no sense.
        CallerError: the settings have texts, and there is no tokenizer.
    """

    def __init__(self, settings: SamplingSettings, vocab_size: int, words: Words | None = None) -> None:
        check_settings(settings)
        self.seed = (secrets.randbits(32) if settings.seed is None else settings.seed) & 0xFFFFFFFF
        self._settings = settings
        self._vocab_size = vocab_size
        builder = Builder(settings, vocab_size, self.seed, words)
        *steps, last = chain_names(settings)
        self._steps = [builder.step(name) for name in steps]
        self._chooser = builder.chooser(last)
        self._histories = builder.histories

    def __str__(self) -> str:
        return chain_words(self._settings)

    def accept(self, token_id: int) -> None:
        """Counts a token as used."""
        for history in self._histories:
            history.accept(token_id)
        if isinstance(self._chooser, AdaptiveP):
            self._chooser.accept(token_id)

    def accept_all(self, token_ids: Sequence[int]) -> None:
        """Counts the tokens of a prompt as used, as llama.cpp does too."""
        for history in self._histories:
            history.accept_all(token_ids)

    def sample(self, logits: FloatArray) -> int:
        """Returns the next token; the caller must accept it. Takes and raises what `kept` does."""
        return self.choose(self.kept(logits))

    def kept(self, logits: FloatArray) -> Candidates:
        """Returns the candidates that all steps before the last one leave.

        Args:
            logits: (vocab,) float32, not changed. -inf excludes a token.

        Raises:
            EngineError: the logits are not numbers, or every token is excluded.
            ShapeMismatchError: `logits` has the wrong shape or type.
        """
        if logits.shape != (self._vocab_size,) or logits.dtype != np.float32:
            wanted = f"float32 ({self._vocab_size},)"
            raise ShapeMismatchError(f"logits are {logits.dtype} {logits.shape}, not {wanted}")
        candidates = Candidates(np.require(logits, requirements=("C", "W")))
        for step in self._steps:
            candidates = step.apply(candidates)
        return candidates

    def choose(self, candidates: Candidates) -> int:
        """Returns the token that the last step takes of what `kept` has returned. Raises EngineError as `kept`."""
        return self._chooser.choose(candidates)


def check_settings(settings: SamplingSettings) -> None:
    """Checks that settings make sense.

    Raises:
        SettingsError: with the name of the setting and its value.
    """
    check_fields(settings, *SamplingSettings.__struct_fields__, section=SAMPLING)
