"""Finds out why a reply reads tokens again that were read before, and names the cause in one word.

It compares the prompt with the tokens that are held already; it measures and reads nothing. If only the new message has
to be read, there is no cause to look for.
"""

from collections.abc import Sequence

from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.events import RereadCause
from tui_llama.engine.model.interface import LanguageModel
from tui_llama.engine.prompting.conversation_prompt import Prompt, render_conversation
from tui_llama.engine.prompting.ledger_prompt import encode_prompt
from tui_llama.engine.prompting.prompt_messages import prompt_messages
from tui_llama.engine.requests import CompleteRequest, ReplyRequest
from tui_llama.engine.templates.dates import dates_in

_WORTH_TELLING_TOKENS = 64
_FRAME_TOKENS = 16
"""Most tokens that templates write around a message, and that differ where it begins."""
_DATE_TOKENS = 32
"""Most tokens that a date has, even if each letter is a token."""


def why_read_again(
    model: LanguageModel, request: ReplyRequest, prompt: Prompt, reused_tokens: int
) -> RereadCause | None:
    """Returns the cause of reading clearly more than the last message; None if no more than that is read.

    Args:
        model: Supplies the template and the tokenizer.
        request: The messages to answer, and the ledger.
        prompt: The prompt of the request.
        reused_tokens: Tokens of the prompt that are held already.
    """
    shown = prompt_messages(request.messages)
    if not any(message.role is Role.ASSISTANT for message in shown):
        return None  # nothing of it can have been read before
    unread_tokens = len(prompt.token_ids) - reused_tokens
    if unread_tokens < _WORTH_TELLING_TOKENS:
        return None  # without tokenizing the message, which may be long: the first token waits for this
    new = _after_last_answer(shown)
    new_tokens = sum(len(model.tokenizer.tokenize(message.text)) for message in new) + _FRAME_TOKENS * len(new)
    read_again = unread_tokens - new_tokens
    if read_again < _WORTH_TELLING_TOKENS:
        return None
    lost_tokens = prompt.kept_tokens - reused_tokens
    if not request.ledger or lost_tokens > read_again // 2:
        return RereadCause.NOT_STORED
    if len(request.ledger) - prompt.kept_tokens <= _FRAME_TOKENS:
        # everything in the ledger is kept; the rest was never read, for example because the engine was killed before
        return None
    return _why_not_kept(model, shown, request, prompt)


def _after_last_answer(shown: Sequence[ChatMessage]) -> Sequence[ChatMessage]:
    """Returns the messages that the model has not answered: one of the user, or those of tools."""
    answers = [place for place, message in enumerate(shown) if message.role is Role.ASSISTANT]
    return shown[answers[-1] + 1 :] if answers else shown


def why_answer_is_read_again(request: CompleteRequest, prompt: Prompt, reused_tokens: int) -> RereadCause | None:
    """Returns the cause of reading again the text before a continued answer; None if nearly all of it is held."""
    is_read_again = len(prompt.token_ids) - reused_tokens >= _WORTH_TELLING_TOKENS
    if request.answer is None or not is_read_again:
        return None
    return RereadCause.ANOTHER_MODEL if request.messages else RereadCause.NOT_STORED


def _why_not_kept(
    model: LanguageModel, shown: Sequence[ChatMessage], request: ReplyRequest, prompt: Prompt
) -> RereadCause:
    """Returns the cause why the prompt does not begin with the ledger."""
    if prompt.kept_tokens <= 1:  # not even the beginning of the template is kept, only the beginning-of-sequence token
        return RereadCause.ANOTHER_MODEL
    if prompt.left_out_messages:
        return RereadCause.MESSAGES_LEFT_OUT
    if _tells_another_date(model, shown, request, prompt):
        return RereadCause.DATE_RENEWED
    if _changes_answers(model, shown, request):
        return RereadCause.TEMPLATE_CHANGES_ANSWERS
    return RereadCause.MESSAGE_CHANGED


def _tells_another_date(
    model: LanguageModel, shown: Sequence[ChatMessage], request: ReplyRequest, prompt: Prompt
) -> bool:
    """Tells whether more of the ledger would be kept if the prompt had a date that stands in the ledger."""
    beginning = request.ledger[: prompt.kept_tokens + _DATE_TOKENS]
    written = b"".join(model.tokenizer.piece(token_id, special=True) for token_id in beginning)
    others_texts = [message.text for message in shown if message.role in (Role.USER, Role.TOOL)]
    for moment in dates_in(written.decode(errors="replace")):
        rendered = render_conversation(model.chat_template, request, shown, now=moment)
        encoded = encode_prompt(model.tokenizer, rendered, request.ledger, others_texts)
        if encoded.kept_tokens > prompt.kept_tokens + _DATE_TOKENS:
            return True
    return False


def _changes_answers(model: LanguageModel, shown: Sequence[ChatMessage], request: ReplyRequest) -> bool:
    """Tells whether the template leaves out a part of an answer; most that do leave out the thinking before it."""
    rendered = render_conversation(model.chat_template, request, shown)
    answers = [message for message in shown if message.role is Role.ASSISTANT]
    return any(part.strip() not in rendered for answer in answers for part in (answer.text, answer.thought))
