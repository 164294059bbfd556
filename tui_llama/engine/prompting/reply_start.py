"""The prompt of a reply whose beginning is given: the tokens of that text follow what the template writes.

They are the answer's own tokens, as if the model had generated them. So the answer can be continued, and the next
prompt keeps its tokens.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from tui_llama.chat import ChatMessage
from tui_llama.engine.model.interface import LanguageModel
from tui_llama.engine.prompting.conversation_prompt import Prompt, encode_conversation
from tui_llama.engine.requests import EstimateRequest, IdlePrefillRequest, ReplyRequest

_ENDS_OF_THOUGHTS: Final = (
    ("<think>\n", "\n</think>\n\n"),
    ("<think>", "\n\n</think>\n\n"),
    ("[THINK]", "[/THINK]"),
)
"""How templates open a thought where an answer begins, and what closes it as they write a thought of no words."""
_LONGEST_OPENING: Final = 16
"""The most tokens that an opening has, even if each letter is a token."""


def encode_reply(
    model: LanguageModel,
    request: ReplyRequest | IdlePrefillRequest | EstimateRequest,
    messages: Sequence[ChatMessage],
) -> Prompt:
    """Makes the prompt that asks for an answer, with the start of the answer that the request gives.

    A thought that the template opens is closed first, because the text of an answer begins behind it.

    Args:
        model: As for `encode_conversation`.
        request: As for `encode_conversation`.
        messages: The request's own, or some that may follow from them.

    Raises:
        EngineError: the template refused the messages, or they have images.
    """
    if not request.reply_start:
        return encode_conversation(model, request, messages)
    # As the model would have gone on: without a blank in front, and names of control tokens are text.
    start_ids = model.tokenizer.tokenize(request.reply_start, continues=True)
    longest_closing = max(len(_closing_ids(model, closing)) for _opening, closing in _ENDS_OF_THOUGHTS)
    prompt = encode_conversation(model, request, messages, reserved_tokens=len(start_ids) + longest_closing)
    token_ids = [*prompt.token_ids, *_thought_end(model, prompt.token_ids), *start_ids]
    return replace(prompt, token_ids=token_ids, answer_ids=tuple(start_ids))


def _thought_end(model: LanguageModel, token_ids: Sequence[int]) -> list[int]:
    """Returns the tokens that close a thought which the prompt opens at its end; none if it opens none."""
    end = b"".join(model.tokenizer.piece(each, special=True) for each in token_ids[-_LONGEST_OPENING:])
    closing = next((closing for opening, closing in _ENDS_OF_THOUGHTS if end.endswith(opening.encode())), "")
    return _closing_ids(model, closing) if closing else []


def _closing_ids(model: LanguageModel, closing: str) -> list[int]:
    return model.tokenizer.tokenize(closing, parse_special=True, continues=True)
