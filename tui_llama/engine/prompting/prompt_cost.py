"""Cost of a prompt before it is read: how many tokens are held already, and how long the rest would take."""

from collections.abc import Sequence
from itertools import groupby

import msgspec

from tui_llama.engine.events import PromptEstimate, PromptPart
from tui_llama.engine.model.interface import LanguageModel
from tui_llama.engine.prompt_cache.cache import PromptCache
from tui_llama.engine.prompt_cache.common_prefix import common_prefix_length
from tui_llama.engine.prompting.conversation_prompt import check_that_it_fits
from tui_llama.engine.prompting.reply_start import encode_reply
from tui_llama.engine.requests import EstimateRequest
from tui_llama.engine.token_sequence import TokenSequence
from tui_llama.engine.tokenizer.tokenizer import Tokenizer

_REMEMBERED_TOKENS = 4096
"""Older measurements fade: a machine slows down when it gets warm, and attention when a text gets longer."""


class ReadingSpeed:
    """Speed at which prompts were read lately."""

    def __init__(self) -> None:
        self._tokens = self._seconds = 0.0

    def note(self, tokens: int, seconds: float) -> None:
        """Notes that `tokens` tokens were read in this time."""
        if tokens <= 0 or seconds <= 0:
            return
        kept = min(1.0, _REMEMBERED_TOKENS / (self._tokens + tokens))
        self._tokens, self._seconds = kept * (self._tokens + tokens), kept * (self._seconds + seconds)

    def seconds_for(self, tokens: int) -> float | None:
        """Returns the seconds that reading `tokens` tokens takes; None as long as nothing was read."""
        return tokens * self._seconds / self._tokens if self._tokens else None


def estimate_prompt(
    model: LanguageModel,
    sequence: TokenSequence,
    request: EstimateRequest,
    speed: ReadingSpeed,
    prompt_cache: PromptCache | None,
) -> PromptEstimate:
    """Estimates how many tokens a reply to the request would keep and read; reads and loads nothing for it.

    Raises:
        EngineError: there can be no such prompt.
    """
    prompt = encode_reply(model, request, request.messages)
    token_ids = prompt.token_ids
    check_that_it_fits(model, token_ids)
    reusable = token_ids[:-1]
    kept = sequence.rewindable(common_prefix_length(sequence.token_ids[: sequence.exact_tokens], reusable))
    if prompt_cache is not None and request.chat_id is not None:
        kept = max(kept, prompt_cache.stored_length(reusable, bytes.fromhex(request.chat_id)))
    read = len(token_ids) - kept
    message_tokens = len(model.tokenizer.tokenize(request.messages[-1].text)) if request.messages else 0
    estimate = PromptEstimate(
        kept,
        read,
        speed.seconds_for(read),
        message_tokens=message_tokens,
        left_out_messages=prompt.left_out_messages,
    )
    if not request.shows_prompt:
        return estimate
    parts = prompt_parts(token_ids, model.tokenizer)
    return msgspec.structs.replace(estimate, prompt=parts, template_source=prompt.template_source)


def prompt_parts(token_ids: Sequence[int], tokenizer: Tokenizer) -> tuple[PromptPart, ...]:
    """Splits a prompt into parts for people to read: special tokens one by one, and the text between them."""
    parts: list[PromptPart] = []
    for is_special, run in groupby(token_ids, tokenizer.is_special):
        pieces = [tokenizer.piece(token_id, special=True) for token_id in run]
        texts = pieces if is_special else [b"".join(pieces)]
        parts += [PromptPart(text.decode("utf-8", "replace"), is_special) for text in texts]
    return tuple(parts)
