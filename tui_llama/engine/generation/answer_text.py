"""The text of an answer while its tokens arrive, without half characters and without stop texts."""

from collections.abc import Iterable, Sequence

from tui_llama.engine.generation.stop_text import StopTextFinder
from tui_llama.engine.tokenizer.tokenizer import Tokenizer
from tui_llama.errors import EngineError


class AnswerText:
    """The text of one answer.

    Args:
        tokenizer: Supplies the tokens' bytes.
        stop_texts: Texts that end the answer; see `StopTextFinder`.
    """

    def __init__(self, tokenizer: Tokenizer, stop_texts: Iterable[str]) -> None:
        self._decoder = tokenizer.stream_decoder()
        self._finder = StopTextFinder(stop_texts)
        self._not_shown = ""

    def go_on_after(self, token_ids: Sequence[int], shown: str) -> None:
        """Continues after the place where an answer was cut off.

        Text of generated tokens may have been held back there, such as half a character. `push` returns this text
        first.

        Args:
            token_ids: All tokens of the answer up to there.
            shown: The text of the answer as far as it was shown.

        Raises:
            EngineError: the tokens have another text, so they belong to another model.
        """
        written = "".join(map(self._decoder.push, token_ids))
        if not written.startswith(shown):
            raise EngineError("the tokens of this answer belong to another model", "Ask this model for a new answer.")
        self._not_shown = written[len(shown) :]

    def begin_after(self, token_ids: Sequence[int]) -> None:
        """Begins behind the start of an answer, whose text is known."""
        for token_id in token_ids:
            self._decoder.push(token_id)

    def push(self, token_id: int) -> tuple[str, bool]:
        """Returns the text that may be shown after the next token, and whether a stop text was found."""
        return self._finder.push(self._pending() + self._decoder.push(token_id))

    def finish(self) -> str:
        """Returns the text that was held back for a whole character or stop text, when no more tokens come."""
        held_back, _ = self._finder.push(self._pending() + self._decoder.finish())
        return held_back + self._finder.finish()

    def _pending(self) -> str:
        text, self._not_shown = self._not_shown, ""
        return text
