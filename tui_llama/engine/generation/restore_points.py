"""Saves what was read while a long prompt is read, for models that cannot go back to any position by themselves.

Layers with a window forget what they no longer see. After an answer, only what they still have can be saved, and a
model can go on only there. So the end of a long prompt is saved before the answer begins, and positions inside of it
where they are cheap (`PromptCache.restore_point_tokens`): another answer, another question about the same text, or an
edit need not read all of it again. To save takes a hundredth of the time that reading has taken. A state that is valid
at single positions would be saved at just these.
"""

from collections.abc import Iterator
from typing import Final

from tui_llama.engine.events import Notice
from tui_llama.engine.prompt_cache.cache import PromptCache
from tui_llama.engine.token_sequence import TokenSequence

_WORTH_SAVING_TOKENS: Final = 512
"""A prompt of so many tokens that were read is saved at its end; fewer are soon read again."""


class RestorePoints:
    """The restore points of one prompt.

    Args:
        prompt_cache: Where they are saved; None if nowhere.
        chat_id: The chat that they are saved for; None for none.
    """

    def __init__(self, prompt_cache: PromptCache | None, chat_id: str | None) -> None:
        self._prompt_cache = prompt_cache
        self._chat_id = chat_id
        self._saved: int | None = None

    def pass_by(self, sequence: TokenSequence, *, is_end: bool) -> Iterator[Notice]:
        """Saves a sequence if it is time for it; yields a notice if that failed.

        Args:
            sequence: Has read some more tokens of the prompt.
            is_end: Whether these were the last ones.
        """
        cache, chat_id = self._prompt_cache, self._chat_id
        if cache is None or chat_id is None or not cache.restore_point_tokens:
            return
        if self._saved is None:
            self._saved = cache.stored_length(sequence.token_ids, bytes.fromhex(chat_id))
        distance = _WORTH_SAVING_TOKENS if is_end else cache.restore_point_tokens
        if len(sequence) - self._saved >= distance:
            self._saved = len(sequence)
            yield from save_for(cache, chat_id, sequence)


def save_for(prompt_cache: PromptCache, chat_id: str, sequence: TokenSequence) -> Iterator[Notice]:
    """Stores the keys and values of a sequence for a chat; yields a notice if that failed."""
    outcome = prompt_cache.save(bytes.fromhex(chat_id), sequence)
    if outcome.problems:
        yield Notice(f"The stored prompt of this chat was not saved ({'; '.join(outcome.problems)}); its text is safe.")
