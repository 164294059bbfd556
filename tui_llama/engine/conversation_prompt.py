"""The prompt of a conversation, as it is for answering it, for reading it ahead and for estimating what that costs.

Knows what a prompt's tokens are, and how many of them are there already; nothing of reading them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.context_overflow import fit_turns, most_prompt_tokens
from tui_llama.engine.language_model import LanguageModel, TokenSequence
from tui_llama.engine.prompt import EncodedPrompt, encode_prompt
from tui_llama.engine.prompt_cache import PromptCache
from tui_llama.engine.protocol import EstimateRequest, OverflowMode, ReadAheadRequest, ReplyRequest
from tui_llama.errors import EngineError
from tui_llama.prompt_messages import prompt_messages

ConversationRequest: TypeAlias = ReplyRequest | ReadAheadRequest | EstimateRequest


@dataclass(frozen=True, slots=True)
class Prompt:
    """All tokens of a prompt; the first `kept_tokens` are the ledger's, and `left_out_messages` are not in it."""

    kept_tokens: int
    token_ids: list[int]
    left_out_messages: int = 0


def encode_conversation(model: LanguageModel, request: ConversationRequest, messages: Sequence[ChatMessage]) -> Prompt:
    """The prompt that asks for an answer to the last of the messages.

    Args:
        model: Brings the template, the tokenizer and the size of the context.
        request: Says what was fed before and what is done if the prompt is too long.
        messages: The path of the chat; the request's own, or one that may follow from it. The template is shown what
            `prompt_messages` makes of it.

    Raises:
        EngineError: the template refused the messages.
    """

    def encode(some: Sequence[ChatMessage]) -> EncodedPrompt:
        shown = prompt_messages(some)
        rendered = model.chat_template.render(shown)
        user_texts = [message.text for message in shown if message.role is Role.USER]
        return encode_prompt(model.tokenizer, rendered, request.ledger, user_texts)

    if request.overflow.mode is OverflowMode.STOP:
        encoded, left_out = encode(messages), 0
    else:
        most = most_prompt_tokens(request.overflow, model.context_size, request.max_tokens)
        fitted = fit_turns(messages, encode, most, model.context_size)
        encoded, left_out = fitted.encoded, fitted.left_out_messages
    token_ids = [*request.ledger[: encoded.kept_tokens], *encoded.token_ids]
    return Prompt(encoded.kept_tokens, token_ids, left_out)


def check_that_it_fits(model: LanguageModel, token_ids: Sequence[int]) -> None:
    """Refuses a prompt that cannot be answered.

    Raises:
        EngineError: it is empty, or leaves no room for an answer.
    """
    if not token_ids:
        raise EngineError("the prompt is empty", "Write something first.")
    context = model.context_size
    if len(token_ids) >= context:
        trained = model.info.trained_context_size
        raise EngineError(
            f"the prompt has {len(token_ids)} tokens, but the context has room for {context - 1}",
            f"Start a new chat, write less, or set a larger context; the model allows {trained}.",
        )


def hold_beginning(
    sequence: TokenSequence, prompt_cache: PromptCache | None, token_ids: Sequence[int], chat_id: str | None
) -> tuple[int, tuple[str, ...]]:
    """Leaves in a sequence the longest beginning of the tokens that it or the prompt cache has.

    Without a chat the prompt cache is not asked.

    Returns:
        How many tokens it holds then, and what the user should know, a few words each.
    """
    troubles: tuple[str, ...] = ()
    if prompt_cache is not None and chat_id is not None:
        troubles = prompt_cache.restore(sequence, token_ids, bytes.fromhex(chat_id)).troubles
    held = common_length(sequence.token_ids, token_ids)
    sequence.rewind(held)
    return held, troubles


def common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens the two have in common at their start."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((index for index, (one, other) in pairs if one != other), min(len(first), len(second)))
