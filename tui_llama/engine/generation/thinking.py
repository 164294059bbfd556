"""A thought while it is written: what it costs, and the tokens that close it before its own end."""

from collections import deque
from collections.abc import Callable
from time import perf_counter

from tui_llama.engine.templates.thinking.forms import ThoughtForm
from tui_llama.engine.tokenizer.tokenizer import Tokenizer


class Thinking:
    """The thought of one answer.

    Args:
        tokenizer: Writes what closes a thought.
        form: How the model writes thoughts; None: it writes none.
        most_tokens: The most tokens of a thought; None: there is no limit.
        should_answer: Asked before every token of a thought; true: the text is to begin.
        clock: Returns the seconds of a monotonic clock.

    Attributes:
        form: As above.
        tokens: The tokens of the thought so far, with those of its marks.
        seconds: How long it has taken so far.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        form: ThoughtForm | None,
        most_tokens: int | None,
        should_answer: Callable[[], bool],
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self.form = form
        self.tokens = 0
        self.seconds = 0.0
        self._tokenizer = tokenizer
        self._most_tokens = most_tokens
        self._should_answer = should_answer
        self._clock = clock
        self._noted_at = 0.0
        self._was_thinking = False
        self._forced: deque[int] = deque()

    def begin(self, is_thinking: bool) -> None:
        """Notes that the answer begins, or goes on, now: within a thought or not."""
        self._noted_at, self._was_thinking = self._clock(), is_thinking

    def note(self, is_thinking: bool) -> None:
        """Notes a token, and whether the answer is in a thought behind it."""
        now = self._clock()
        if is_thinking or self._was_thinking:
            self.tokens += 1
            self.seconds += now - self._noted_at
        self._noted_at, self._was_thinking = now, is_thinking

    def forced_token(self, is_thinking: bool) -> int | None:
        """Returns the next token of what closes the thought; None if the model goes on by itself."""
        if not self._forced and is_thinking and self.form is not None and self._is_over():
            ending = self._tokenizer.tokenize(self.form.ending, parse_special=True, continues=True)
            self._forced.extend(ending)
        return self._forced.popleft() if self._forced else None

    def _is_over(self) -> bool:
        return (self._most_tokens is not None and self.tokens >= self._most_tokens) or self._should_answer()
