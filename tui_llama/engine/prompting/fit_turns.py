"""Leaves old turns out of a prompt that is too long for the context.

Knows messages and lengths; nothing of weights, of sampling, or of who is told.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.prompting.ledger_prompt import EncodedPrompt
from tui_llama.engine.requests import Overflow, OverflowMode

_LARGEST_RESERVE = 4  # of the context, for an answer that may be long
_LEFT_WHEN_CUT = 2  # of the context may be filled by a prompt that turns are left out of


@dataclass(frozen=True, slots=True)
class FittedPrompt:
    """The prompt of a conversation without its oldest `left_out_messages`."""

    encoded: EncodedPrompt
    left_out_messages: int


def fit_turns(
    messages: Sequence[ChatMessage],
    encode: Callable[[Sequence[ChatMessage]], EncodedPrompt],
    most_tokens: int,
    context_size: int,
) -> FittedPrompt:
    """Encodes a conversation, without its oldest whole turns if it is too long.

    A turn is a message of the user with all that follows it. The messages before the first turn, which are the system
    prompt, and the last turn always stay, even if they are too long.

    When turns have to go, so many go that the prompt fills half of the context: to leave out one more each time would
    mean to read nearly the whole context for each answer. While it fits, the next prompt leaves out as many: the
    function sees this from how much of a prompt was fed before.

    Args:
        messages: The conversation, oldest first.
        encode: Makes a prompt of some of the messages; tells how much of it was fed before.
        most_tokens: The most tokens of a prompt that is not too long.
        context_size: The most tokens that a sequence holds.
    """
    starts = [index for index, message in enumerate(messages) if message.role is Role.USER] or [0]
    prompts: dict[int, EncodedPrompt] = {}

    def prompt_from(turn: int) -> EncodedPrompt:
        if turn not in prompts:
            prompts[turn] = encode([*messages[: starts[0]], *messages[starts[turn] :]])
        return prompts[turn]

    def first_turn_within(tokens: int) -> int:
        return bisect_left(range(len(starts) - 1), True, key=lambda turn: _length(prompt_from(turn)) <= tokens)

    turn = 0
    if _length(prompt_from(0)) > most_tokens:
        turn = first_turn_within(most_tokens)
        half = context_size // _LEFT_WHEN_CUT
        if _length(prompt_from(len(starts) - 1)) <= half:
            turns = range(turn, max(turn, first_turn_within(half)) + 1)
            turn = next((turn for turn in turns if _was_mostly_fed(prompt_from(turn))), turns[-1])
    return FittedPrompt(prompt_from(turn), starts[turn] - starts[0])


def most_prompt_tokens(overflow: Overflow, context_size: int, max_tokens: int | None) -> int:
    """Returns the most tokens of a prompt before turns are left out of it: an answer needs room, too.

    Args:
        overflow: What the user wants done about a full context.
        context_size: The most tokens that a sequence holds.
        max_tokens: The most tokens of the answer; None: there is no limit.
    """
    if overflow.mode is not OverflowMode.DROP_TURNS:
        return context_size - 1
    reserve = context_size // _LARGEST_RESERVE
    return context_size - max(1, reserve if max_tokens is None else min(max_tokens, reserve))


def _length(prompt: EncodedPrompt) -> int:
    return prompt.kept_tokens + len(prompt.token_ids)


def _was_mostly_fed(prompt: EncodedPrompt) -> bool:
    return prompt.kept_tokens > len(prompt.token_ids)
