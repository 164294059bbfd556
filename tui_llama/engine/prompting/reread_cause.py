"""Why a reply reads again what was read before: the cause in one word, found by comparing what is there already.

Nothing is measured here and nothing read; where only the new message has to be read there is no cause to look for.
"""

from collections.abc import Sequence
from datetime import datetime

from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.model.interface import LanguageModel
from tui_llama.engine.prompting.conversation_prompt import Prompt, told_moment
from tui_llama.engine.prompting.ledger_prompt import encode_prompt
from tui_llama.engine.prompting.prompt_messages import prompt_messages
from tui_llama.engine.protocol import CompleteRequest, ReplyRequest, RereadCause
from tui_llama.engine.templates.dates import dates_in

_WORTH_TELLING_TOKENS = 64
_FRAME_TOKENS = 16
"""What templates write around a message, and tokens that change where it begins."""
_DATE_TOKENS = 32
"""At most as many as a date has, even where each letter is a token."""


def why_read_again(
    model: LanguageModel, request: ReplyRequest, prompt: Prompt, reused_tokens: int
) -> RereadCause | None:
    """The cause of reading clearly more than the last message; None where that is not so.

    Args:
        model: Brings the template and the tokenizer.
        request: What is to be answered, and what was fed before.
        prompt: Its tokens.
        reused_tokens: How many of them are there already.
    """
    shown = prompt_messages(request.messages)
    if not any(message.role is Role.ASSISTANT for message in shown):
        return None  # nothing of it can have been read before
    unread_tokens = len(prompt.token_ids) - reused_tokens
    if unread_tokens < _WORTH_TELLING_TOKENS:
        return None  # without a look at the message, which may be long: the first token waits for this
    new_tokens = len(model.tokenizer.tokenize(shown[-1].text)) + _FRAME_TOKENS
    read_again = unread_tokens - new_tokens
    if read_again < _WORTH_TELLING_TOKENS:
        return None
    lost_tokens = prompt.kept_tokens - reused_tokens
    if not request.ledger or lost_tokens > read_again // 2:
        return RereadCause.NOT_STORED
    if len(request.ledger) - prompt.kept_tokens <= _FRAME_TOKENS:
        return None  # all that was fed is still there; the rest was never read, as where the engine was killed before
    return _why_not_kept(model, shown, request, prompt)


def why_answer_is_read_again(request: CompleteRequest, prompt: Prompt, reused_tokens: int) -> RereadCause | None:
    """The cause of reading again what an answer that goes on follows; None where nearly all is there."""
    is_read_again = len(prompt.token_ids) - reused_tokens >= _WORTH_TELLING_TOKENS
    if request.answer is None or not is_read_again:
        return None
    return RereadCause.ANOTHER_MODEL if request.messages else RereadCause.NOT_STORED


def _why_not_kept(
    model: LanguageModel, shown: Sequence[ChatMessage], request: ReplyRequest, prompt: Prompt
) -> RereadCause:
    """Why the prompt does not begin with what was fed before."""
    if prompt.kept_tokens <= 1:  # not even what the template begins with, besides the beginning of all sequences
        return RereadCause.ANOTHER_MODEL
    if prompt.left_out_messages:
        return RereadCause.MESSAGES_LEFT_OUT
    if _tells_another_date(model, shown, request, prompt):
        return RereadCause.DATE_RENEWED
    if _changes_answers(model, shown, told_moment(request)):
        return RereadCause.TEMPLATE_CHANGES_ANSWERS
    return RereadCause.MESSAGE_CHANGED


def _tells_another_date(
    model: LanguageModel, shown: Sequence[ChatMessage], request: ReplyRequest, prompt: Prompt
) -> bool:
    """Whether more would be kept with a date that stands in what was fed before."""
    beginning = request.ledger[: prompt.kept_tokens + _DATE_TOKENS]
    written = b"".join(model.tokenizer.piece(token_id, special=True) for token_id in beginning)
    user_texts = [message.text for message in shown if message.role is Role.USER]
    for moment in dates_in(written.decode(errors="replace")):
        rendered = model.chat_template.render(shown, now=moment)
        encoded = encode_prompt(model.tokenizer, rendered, request.ledger, user_texts)
        if encoded.kept_tokens > prompt.kept_tokens + _DATE_TOKENS:
            return True
    return False


def _changes_answers(model: LanguageModel, shown: Sequence[ChatMessage], now: datetime | None) -> bool:
    """Whether the template leaves out a part of an answer: of most, what was thought before it."""
    rendered = model.chat_template.render(shown, now=now)
    answers = (message.text.strip() for message in shown if message.role is Role.ASSISTANT)
    return any(answer not in rendered for answer in answers)
