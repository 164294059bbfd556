"""The text of an answer while its tokens arrive, without half characters and without stop texts.

The thought before it is parted from it, see `parter`; stop texts are looked for in the text only.
"""

from collections.abc import Iterable, Sequence

from tui_llama.engine.generation.stop_text import StopTextFinder
from tui_llama.engine.templates.thinking.forms import ThoughtForm
from tui_llama.engine.templates.thinking.parter import Parts, opened_parter
from tui_llama.engine.tokenizer.tokenizer import Tokenizer
from tui_llama.errors import EngineError


class AnswerText:
    """The text of one answer.

    Args:
        tokenizer: Supplies the tokens' bytes.
        stop_texts: Texts that end the answer; see `StopTextFinder`.
        form: How the model writes thoughts; None: it writes none.
        prompt_ids: The tokens before the answer, which may open a thought.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        stop_texts: Iterable[str],
        form: ThoughtForm | None = None,
        prompt_ids: Sequence[int] = (),
    ) -> None:
        self._tokenizer = tokenizer
        self._decoder = tokenizer.stream_decoder()
        self._finder = StopTextFinder(stop_texts)
        self._not_shown = Parts()
        self._parter = None if form is None else opened_parter(tokenizer, form, prompt_ids)

    @property
    def is_thinking(self) -> bool:
        """True within a thought."""
        return self._parter is not None and self._parter.is_thinking

    @property
    def is_before_text(self) -> bool:
        """True while the text has not begun: a thought, or what may become one."""
        return self._parter is not None and self._parter.is_before_text

    def go_on_after(self, token_ids: Sequence[int], shown: str, shown_thought: str = "") -> None:
        """Continues after the place where an answer was cut off.

        Text of generated tokens may have been held back there, such as half a character. `push` returns this text
        first.

        Args:
            token_ids: All tokens of the answer up to there.
            shown: The text of the answer as far as it was shown.
            shown_thought: The thought before it as far as it was shown.

        Raises:
            EngineError: the tokens have another text, so they belong to another model.
        """
        parts = [self._parted(token_id) for token_id in token_ids]
        written = Parts("".join(part.thought for part in parts), "".join(part.text for part in parts))
        if self._parter is not None and not shown_thought and not written.text.startswith(shown):
            # An answer of before thoughts were parted has its thought in its text.
            self._parter = None
            self._decoder = self._tokenizer.stream_decoder()
            self.go_on_after(token_ids, shown)
            return
        if not written.text.startswith(shown) or not written.thought.startswith(shown_thought):
            raise EngineError("the tokens of this answer belong to another model", "Ask this model for a new answer.")
        self._not_shown = Parts(written.thought[len(shown_thought) :], written.text[len(shown) :])

    def push(self, token_id: int) -> tuple[Parts, bool]:
        """Returns what may be shown after the next token, and whether a stop text was found."""
        return self._found(self._parted(token_id))

    def skip(self, token_ids: Iterable[int]) -> None:
        """Takes the start of an answer, or tokens that follow the answer so far; their text is known."""
        for token_id in token_ids:
            self._parted(token_id)

    def finish(self, *, is_cut: bool = False) -> Parts:
        """Returns what was held back for a whole character or stop text, when no more tokens come.

        What may be the beginning of a mark is left out of an answer that `is_cut`, because it may go on.
        """
        rest = self._decoder.finish()
        parts = Parts("", rest) if self._parter is None else self._parter.push(rest)
        if self._parter is not None and not is_cut:
            last = self._parter.finish()
            parts = Parts(parts.thought + last.thought, parts.text + last.text)
        shown, _ = self._found(parts)
        return Parts(shown.thought, shown.text + self._finder.finish())

    def _parted(self, token_id: int) -> Parts:
        if self._parter is None:
            return Parts("", self._decoder.push(token_id))
        stand_in = self._parter.marks.stand_in(token_id)
        return self._parter.push(self._decoder.finish() + stand_in if stand_in else self._decoder.push(token_id))

    def _found(self, parts: Parts) -> tuple[Parts, bool]:
        before, self._not_shown = self._not_shown, Parts()
        text, is_found = self._finder.push(before.text + parts.text)
        return Parts(before.thought + parts.thought, text), is_found
