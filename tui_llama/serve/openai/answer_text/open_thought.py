"""Tells whether a prompt ends inside a thought: many templates write the opening mark for the model.

Then the answer begins with the thought itself. The prompt is known by its tokens, so the mark is looked for as tokens.
"""

from collections.abc import Sequence
from typing import Final

from tui_llama.engine.descriptions import ModelInfo
from tui_llama.engine.events import PromptEncoded
from tui_llama.engine.protocol import Engine
from tui_llama.engine.requests import TokenizeRequest
from tui_llama.serve.openai.answer_text.reasoning import OPENING_MARK

_LINE_END: Final = "\n"
_ENDINGS: Final = (OPENING_MARK, f"{OPENING_MARK}\n", f"{OPENING_MARK}\n\n", f"{OPENING_MARK} ")


class OpenThoughts:
    """Knows how a model's prompts end if they open a thought; asks the engine once for each vocabulary."""

    def __init__(self) -> None:
        self._vocabulary: str | None = None
        self._endings: frozenset[tuple[int, ...]] = frozenset()

    async def learn(self, engine: Engine, model: ModelInfo) -> None:
        """Asks the engine for the tokens of the mark, if it is another model's than the last time.

        Raises:
            EngineError: the engine does not tell tokens.
        """
        if self._vocabulary == model.vocabulary:
            return
        before = await _tokens(engine, _LINE_END)
        endings: set[tuple[int, ...]] = set()
        for text in _ENDINGS:
            endings.add(await _tokens(engine, text))
            # Score-based vocabularies write a text with a blank in front if nothing stands there.
            framed = await _tokens(engine, _LINE_END + text)
            if framed[: len(before)] == before:
                endings.add(framed[len(before) :])
        self._vocabulary, self._endings = model.vocabulary, frozenset(endings - {()})

    def is_open_at_end(self, prompt: PromptEncoded) -> bool:
        """Tells whether a prompt, without the answer that it may end with, ends with the opening mark."""
        token_ids: Sequence[int] = prompt.token_ids
        if prompt.answer_tokens:
            token_ids = token_ids[: -prompt.answer_tokens]
        return any(tuple(token_ids[-len(ending) :]) == ending for ending in self._endings)


async def _tokens(engine: Engine, text: str) -> tuple[int, ...]:
    return (await engine.tokenize(TokenizeRequest(text, parse_special=True))).token_ids
