"""The prompt of a reply whose beginning is given: the tokens of that text follow what the template writes.

They are the answer's own tokens, as if the model had generated them. So the answer can be continued, and the next
prompt keeps its tokens.
"""

from collections.abc import Sequence
from dataclasses import replace

from tui_llama.chat import ChatMessage
from tui_llama.engine.model.interface import LanguageModel
from tui_llama.engine.prompting.conversation_prompt import Prompt, encode_conversation
from tui_llama.engine.prompting.thought_tokens import MOST_MARK_TOKENS, text_opening
from tui_llama.engine.requests import EstimateRequest, IdlePrefillRequest, ReplyRequest


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
    prompt = encode_conversation(model, request, messages, reserved_tokens=len(start_ids) + MOST_MARK_TOKENS)
    asked_ids = [*prompt.token_ids, *text_opening(model, prompt.token_ids)]
    return replace(prompt, token_ids=[*asked_ids, *start_ids], answer_ids=tuple(start_ids), asked_tokens=len(asked_ids))
