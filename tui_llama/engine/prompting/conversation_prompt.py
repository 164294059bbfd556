"""The prompt of a conversation: for a reply, for idle prefill, and for an estimate of its cost.

This module knows the tokens of a prompt and how many of them are held already; it does not read them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias, TypeVar

import msgspec

from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.model.interface import LanguageModel, PromptTemplate
from tui_llama.engine.prompt_cache.cache import PromptCache
from tui_llama.engine.prompt_cache.common_prefix import common_prefix_length
from tui_llama.engine.prompting.edited_answer import answer_tokens
from tui_llama.engine.prompting.fit_turns import fit_turns, most_prompt_tokens
from tui_llama.engine.prompting.ledger_prompt import EncodedPrompt, encode_prompt
from tui_llama.engine.prompting.prompt_messages import prompt_messages
from tui_llama.engine.prompting.thought_tokens import MOST_MARK_TOKENS, thought_and_text_tokens
from tui_llama.engine.requests import (
    CompleteRequest,
    EstimateRequest,
    IdlePrefillRequest,
    OverflowMode,
    ReplyRequest,
)
from tui_llama.engine.templates.given_values import template_values
from tui_llama.engine.token_sequence import TokenSequence
from tui_llama.errors import CallerError, EngineError, PromptTooLongError

ConversationRequest: TypeAlias = ReplyRequest | IdlePrefillRequest | EstimateRequest | CompleteRequest

_LOST = " \t\r\n\ufffd"
"""Characters at the ends of a stored text that may differ from the generated text."""

_Request = TypeVar("_Request", bound=ConversationRequest)


@dataclass(frozen=True, slots=True)
class Prompt:
    """All tokens of a prompt; the first `kept_tokens` are the ledger's, and `left_out_messages` are not in it.

    A template of `template_source` has written it. When an answer is continued, `answer_ids` are its tokens so far,
    which are part of `token_ids`; the first
    `asked_tokens` of these are the prompt before the answer.
    """

    kept_tokens: int
    token_ids: list[int]
    left_out_messages: int = 0
    answer_ids: tuple[int, ...] = ()
    template_source: str = ""
    asked_tokens: int = 0


def without_foreign_tokens(model: LanguageModel, request: _Request) -> _Request:
    """Returns the request with a ledger that the model may use, because ids of another vocabulary mean other tokens.

    A ledger of unknown vocabulary is kept if it contains the text of a given answer: then its ids are the model's own.
    If there is no answer, the ledger is kept as well, because its text is compared with the new prompt anyway.

    Raises:
        EngineError: a continuation of a ledger needs all of it.
    """
    is_known = max(request.ledger, default=0) < model.tokenizer.vocab_size
    if is_known and request.vocabulary in ("", model.info.vocabulary) and _may_be_own(model, request):
        return request
    if not isinstance(request, CompleteRequest):
        return msgspec.structs.replace(request, ledger=())
    if not request.messages:
        raise EngineError(
            "the chat has tokens that this model does not know", "Use the model that answered in this chat."
        )
    return msgspec.structs.replace(request, ledger=(), answer_tokens=0)


def _may_be_own(model: LanguageModel, request: ConversationRequest) -> bool:
    """Tells whether tokens below the vocabulary's size may be the model's own."""
    answers = [each.text.strip(_LOST) for each in request.messages if each.role is Role.ASSISTANT]
    if request.vocabulary or not any(answers):
        return True
    tokenizer = model.tokenizer
    written = b"".join(tokenizer.piece(token_id, special=True) for token_id in request.ledger).decode(errors="replace")
    return any(answer in written for answer in answers if answer)


def told_moment(request: ConversationRequest) -> datetime | None:
    """Returns the moment for a template that asks for the date; None for the present.

    Raises:
        CallerError: the request's text is not a moment.
    """
    try:
        return datetime.fromisoformat(request.begun_at) if request.begun_at else None
    except ValueError as error:
        raise CallerError(f"no moment at which a chat began: {request.begun_at[:40]!r}") from error


def check_images(messages: Sequence[ChatMessage]) -> None:
    """Checks that no message has images, which our models cannot see.

    Raises:
        EngineError: one has.
    """
    if any(message.images for message in messages):
        raise EngineError("this model sees no images", "Send the message without them, or choose a model that does.")


def render_conversation(
    template: PromptTemplate,
    request: ConversationRequest,
    shown: Sequence[ChatMessage],
    *,
    asks_for_answer: bool = True,
    now: datetime | None = None,
) -> str:
    """Returns what the template writes for a request: it is told whether to think, and what else the request gives.

    Args:
        template: The model's, perhaps without its fallback.
        request: Its `thinking`, and what it gives the template.
        shown: The messages that the template is to see.
        asks_for_answer: True: an answer begins after the last message.
        now: The moment for a template that asks for the date; by default the one that the request tells.

    Raises:
        EngineError: the template refused the messages, or the request's values are no JSON object.
    """
    switch = template.thinking.switch(request.thinking)
    given = template_values(request.template_values) if isinstance(request, ReplyRequest | CompleteRequest) else {}
    return template.render(
        switch.told(shown),
        add_generation_prompt=asks_for_answer,
        now=now or told_moment(request),
        values={**switch.values, **given},
    )


def _keeps_template(request: ConversationRequest) -> bool:
    return isinstance(request, ReplyRequest | CompleteRequest) and request.keeps_template


def encode_conversation(
    model: LanguageModel,
    request: ConversationRequest,
    messages: Sequence[ChatMessage],
    *,
    asks_for_answer: bool = True,
    reserved_tokens: int = 0,
) -> Prompt:
    """Makes the prompt that asks for an answer to the last of the messages.

    Args:
        model: Supplies the template, the tokenizer and the size of the context.
        request: Holds the ledger, and the rule for a prompt that is too long.
        messages: The path of the chat; the request's own, or one that may follow from it. The template gets the
            messages that `prompt_messages` makes of it.
        asks_for_answer: True: an answer begins after the last message.
        reserved_tokens: Tokens that will follow the prompt before anything is generated.

    Raises:
        EngineError: the template refused the messages, or they have images.
    """
    check_images(messages)
    template = model.chat_template.without_fallback() if _keeps_template(request) else model.chat_template

    def encode(some: Sequence[ChatMessage]) -> EncodedPrompt:
        shown = prompt_messages(some)
        rendered = render_conversation(template, request, shown, asks_for_answer=asks_for_answer)
        others_texts = [message.text for message in shown if message.role in (Role.USER, Role.TOOL)]
        return encode_prompt(model.tokenizer, rendered, request.ledger, others_texts)

    if request.overflow.mode is OverflowMode.STOP:
        encoded, left_out = encode(messages), 0
    else:
        most = most_prompt_tokens(request.overflow, model.context_size, request.max_tokens) - reserved_tokens
        fitted = fit_turns(messages, encode, most, model.context_size)
        encoded, left_out = fitted.encoded, fitted.left_out_messages
    token_ids = [*request.ledger[: encoded.kept_tokens], *encoded.token_ids]
    return Prompt(encoded.kept_tokens, token_ids, left_out, template_source=encoded.source, asked_tokens=len(token_ids))


def encode_continuation(model: LanguageModel, request: CompleteRequest) -> Prompt:
    """Makes the prompt that continues a ledger or a conversation, or that begins with nothing before it.

    Args:
        model: As for `encode_conversation`.
        request: Its ledger is the model's own; see `without_foreign_tokens`.

    Raises:
        EngineError: the template refused the messages.
    """
    tokenizer = model.tokenizer
    is_in_answer = False
    if not request.messages or _ledger_writes_answer(model, request):
        answer_ids = request.ledger[max(0, len(request.ledger) - request.answer_tokens) :]
        asked_tokens = len(request.ledger) - len(answer_ids)
        prompt = Prompt(len(request.ledger), [*request.ledger], answer_ids=answer_ids, asked_tokens=asked_tokens)
    else:
        is_in_answer = not request.answer_has_ended
        prompt = _encode_said(model, request)
    before = prompt.token_ids
    continues = bool(before) and (is_in_answer or not tokenizer.is_special(before[-1]))
    new = tokenizer.tokenize(request.text, add_special=not before, parse_special=True, continues=continues)
    return replace(prompt, token_ids=[*before, *new])


def _ledger_writes_answer(model: LanguageModel, request: CompleteRequest) -> bool:
    """Tells whether ledger tokens of unknown vocabulary have the last answer's text: then they are the model's own."""
    if request.vocabulary or not 0 < request.answer_tokens <= len(request.ledger):
        return False
    written = "".join(map(model.tokenizer.stream_decoder().push, request.ledger[-request.answer_tokens :]))
    _asked, answer = _asked_and_answered(request.messages)
    text, thought = answer.text.rstrip(_LOST), answer.thought.rstrip(_LOST)
    return bool(text or thought) and (text in written and thought in written if thought else written.startswith(text))


def _encode_said(model: LanguageModel, request: CompleteRequest) -> Prompt:
    """Makes the prompt of a conversation; an answer that has not ended follows the prompt that asks for it."""
    if request.answer_has_ended:
        return encode_conversation(model, request, request.messages, asks_for_answer=False)
    asked, answer = _asked_and_answered(request.messages)
    if request.messages[-1].role is Role.ASSISTANT and request.messages[-1].fields:
        raise EngineError("only the text of an answer can be continued", "Leave out the further fields of the answer.")
    reserved_tokens = len(answer_tokens(model.tokenizer, (), answer.thought + answer.text)) + MOST_MARK_TOKENS
    prompt = encode_conversation(model, request, asked, reserved_tokens=reserved_tokens)
    length = len(prompt.token_ids)
    generated = request.ledger[length:] if prompt.kept_tokens == length else ()
    answer_ids = thought_and_text_tokens(model, prompt.token_ids, answer, generated)
    return replace(prompt, token_ids=[*prompt.token_ids, *answer_ids], answer_ids=tuple(answer_ids))


def _asked_and_answered(messages: tuple[ChatMessage, ...]) -> tuple[tuple[ChatMessage, ...], ChatMessage]:
    """Returns the messages before the last answer, and the answer; an empty one if nothing was answered yet."""
    if messages[-1].role is Role.ASSISTANT:
        return messages[:-1], messages[-1]
    return messages, ChatMessage(Role.ASSISTANT, "")


def check_that_it_fits(model: LanguageModel, token_ids: Sequence[int]) -> None:
    """Checks that a prompt can be answered.

    Raises:
        EngineError: it is empty.
        PromptTooLongError: it leaves no room for an answer.
    """
    if not token_ids:
        raise EngineError("the prompt is empty", "Write something first.")
    context = model.context_size
    if len(token_ids) >= context:
        trained = model.info.trained_context_size
        raise PromptTooLongError(
            f"the prompt has {len(token_ids)} tokens, but the context has room for {context - 1}",
            f"Start a new chat, write less, or set a larger context; the model allows {trained}.",
            len(token_ids),
        )


def restore_longest_prefix(
    sequence: TokenSequence, prompt_cache: PromptCache | None, token_ids: Sequence[int], chat_id: str | None
) -> tuple[int, tuple[str, ...]]:
    """Restores into a sequence the longest prefix of the tokens that the sequence or the prompt cache holds.

    Without a chat the prompt cache is not asked.

    Returns:
        The length of the prefix in tokens, and problems that the user should know, a few words each.
    """
    problems: tuple[str, ...] = ()
    if prompt_cache is not None and chat_id is not None:
        problems = prompt_cache.restore(sequence, token_ids, bytes.fromhex(chat_id)).problems
    held = sequence.rewindable(common_prefix_length(sequence.token_ids, token_ids))
    sequence.rewind(held)
    return held, problems
