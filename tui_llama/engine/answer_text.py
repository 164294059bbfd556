"""The text of an answer while its tokens come: never half a character, and nothing of a stop text."""

from collections.abc import Iterable, Iterator, Sequence

from tui_llama.engine.stop_text import StopTextFinder
from tui_llama.engine.tokenizer import Tokenizer
from tui_llama.errors import EngineError

_BEFORE_BYTES = 64  # looked at before an answer that goes on, so that its first character is whole


class AnswerText:
    """One answer's text.

    Args:
        tokenizer: Gives the tokens their bytes.
        stop_texts: What ends the answer; see `StopTextFinder`.
    """

    def __init__(self, tokenizer: Tokenizer, stop_texts: Iterable[str]) -> None:
        self._tokenizer = tokenizer
        self._decoder = tokenizer.stream_decoder()
        self._finder = StopTextFinder(stop_texts)
        self._not_shown = ""

    def go_on_after(self, token_ids: Sequence[int], shown: str) -> None:
        """Stands where an answer was cut off.

        Tokens may have been generated whose text was held back when that happened, such as half a character. It
        comes first now.

        Args:
            token_ids: All tokens up to there, of which the last ones are the answer's.
            shown: The text of the answer as far as it was shown.

        Raises:
            EngineError: the tokens have another text, so they are another model's.
        """
        written = "".join(map(self._decoder.push, self._end_of(token_ids, len(shown.encode()) + _BEFORE_BYTES)))
        start = written.rfind(shown)
        if start < 0:
            raise EngineError("the tokens of this answer are another model's", "Let this model answer again.")
        self._not_shown = written[start + len(shown) :]

    def push(self, token_id: int) -> tuple[str, bool]:
        """The text that may be shown after the next token, and whether a stop text was found."""
        return self._finder.push(self._pending() + self._decoder.push(token_id))

    def finish(self) -> str:
        """The text that waited for a character or a stop text to be whole, when no more tokens come."""
        held_back, _ = self._finder.push(self._pending() + self._decoder.finish())
        return held_back + self._finder.finish()

    def _pending(self) -> str:
        text, self._not_shown = self._not_shown, ""
        return text

    def _end_of(self, token_ids: Sequence[int], byte_count: int) -> Iterator[int]:
        """The last tokens, of so many bytes at least."""
        start = len(token_ids)
        while start and byte_count > 0:
            start -= 1
            byte_count -= len(self._tokenizer.piece(token_ids[start]))
        return iter(token_ids[start:])
