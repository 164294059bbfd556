"""A conversation as a chat template has written it: a text that knows which parts of it others wrote."""

from collections.abc import Sequence

from tui_llama.engine.tokenizer.tokenizer import Span


class RenderedPrompt(str):
    """A rendered conversation that knows which parts of it others than the model wrote.

    Attributes:
        user_spans: The texts of the user and of tools, and names of control tokens in what a request gives: first
            character and one past the last, in order; None if not known.
        answer_blanks: White space before answers that the model may have left out, in order.
        source: Where the template that wrote it is from, for the user to read.
    """

    __slots__ = ("answer_blanks", "source", "user_spans")

    user_spans: tuple[Span, ...] | None
    answer_blanks: tuple[Span, ...]
    source: str

    def __new__(  # noqa: D102
        cls, text: str, user_spans: Sequence[Span] | None = None, answer_blanks: Sequence[Span] = (), source: str = ""
    ) -> "RenderedPrompt":
        rendered = super().__new__(cls, text)
        rendered.user_spans = None if user_spans is None else tuple(user_spans)
        rendered.answer_blanks = tuple(answer_blanks)
        rendered.source = source
        return rendered
