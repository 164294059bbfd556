"""Renders a conversation with marks beside the one without, and so finds what others than the model wrote in it.

Where a template does not write the marked texts as it writes the plain ones, only the names of control tokens are
marked. If that fails too, a name could become a token unseen, so the conversation is refused.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from tui_llama.chat import ChatMessage
from tui_llama.engine.templates.given_values import GivenValuesError, strings_in
from tui_llama.engine.templates.manners import Given
from tui_llama.engine.templates.message_marks import MarkedText, marked, marking, take_out_marks, with_marked_names
from tui_llama.engine.tokenizer.tokenizer import Span
from tui_llama.errors import EngineError

Run: TypeAlias = Callable[[Sequence[ChatMessage], Given], str]

_HIDDEN_TOKEN: Final = (
    "the tools or their calls hold the name of a control token, and the template hides where it writes it"
)
_HIDDEN_NAME: Final = "a message holds the name of a control token, and the template hides where it writes it"


def others_places(
    text: str,
    messages: Sequence[ChatMessage],
    given: Given,
    run: Run,
    control_spans: Callable[[str], Sequence[Span]],
    *,
    marks_answers: bool,
) -> MarkedText | None:
    """Returns where a rendered text has the texts of others, and where answers begin.

    Args:
        text: The conversation as the template writes it without marks.
        messages: The conversation.
        given: What is given beside it.
        run: Renders messages and what is given beside them.
        control_spans: Returns where the names of control tokens are in a text.
        marks_answers: Answers are looked for too.

    Returns:
        The places; None where the template hides them and no text of others has the name of a control token.

    Raises:
        GivenValuesError: the template hides them, and there is such a name.
    """
    given_texts = [*strings_in(given.variables()), *(each for m in messages for each in strings_in(given.fields_of(m)))]
    mark = marking(given_texts, control_spans) if given_texts else None
    given = replace(given, mark=mark)
    found = _found(run, [marked(message, marks_answers) for message in messages], given)
    if found is not None and found.text == text:
        return found
    named_messages = with_marked_names(messages, control_spans)
    if named_messages is not None:
        found = _found(run, named_messages, given)
        if found is not None and found.text == text:
            return found
    if mark is not None:
        raise GivenValuesError(_HIDDEN_TOKEN, "Give the tools in other words.")
    if named_messages is not None:
        raise GivenValuesError(_HIDDEN_NAME, "Write it in other words.")
    return None


def _found(run: Run, marked_messages: Sequence[ChatMessage], given: Given) -> MarkedText | None:
    """Returns the text of messages with marks, and where they are; None where the template does not take them."""
    try:
        return take_out_marks(run(marked_messages, given))
    except EngineError:
        return None
