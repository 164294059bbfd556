"""Which turns are left out of a prompt that is too long."""

import itertools
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.prompting.fit_turns import fit_turns
from tui_llama.engine.prompting.ledger_prompt import EncodedPrompt

SYSTEM = ChatMessage(Role.SYSTEM, "system")


def conversation(*lengths: int) -> list[ChatMessage]:
    """A system prompt of 6 letters, and messages of so many, the user's first."""
    speakers = itertools.cycle((Role.USER, Role.ASSISTANT))
    return [SYSTEM, *(ChatMessage(role, "x" * length) for role, length in zip(speakers, lengths, strict=False))]


def letters(messages: Sequence[ChatMessage]) -> EncodedPrompt:
    """A token for every letter, none of them fed before."""
    return EncodedPrompt(0, [1] * sum(len(message.text) for message in messages))


def test_a_conversation_that_fits_is_left_as_it_is() -> None:
    fitted = fit_turns(conversation(40, 34, 20), letters, 100, 200)
    assert (fitted.left_out_messages, len(fitted.encoded.token_ids)) == (0, 100)


def test_one_that_does_not_fit_is_cut_to_half_of_the_context() -> None:
    fitted = fit_turns(conversation(*[10] * 19), letters, 150, 200)
    assert (fitted.left_out_messages, len(fitted.encoded.token_ids)) == (10, 96)


def test_the_system_prompt_and_the_last_turn_stay_though_they_do_not_fit() -> None:
    fitted = fit_turns(conversation(10, 10, 300), letters, 150, 200)
    assert (fitted.left_out_messages, len(fitted.encoded.token_ids)) == (2, 306)


def test_where_half_of_the_context_cannot_be_reached_no_more_goes_than_has_to() -> None:
    fitted = fit_turns(conversation(20, 20, 10, 10, 110), letters, 150, 200)
    assert (fitted.left_out_messages, len(fitted.encoded.token_ids)) == (2, 136)


def test_a_limit_below_half_of_the_context_is_kept() -> None:
    fitted = fit_turns(conversation(30, 10, 30, 10, 30), letters, 50, 200)
    assert (fitted.left_out_messages, len(fitted.encoded.token_ids)) == (4, 36)


def test_turns_stay_left_out_as_long_as_the_prompt_that_was_fed_can_go_on() -> None:
    def fed_without_six(messages: Sequence[ChatMessage]) -> EncodedPrompt:
        count = sum(len(message.text) for message in messages)
        return EncodedPrompt(120, [1] * (count - 120)) if len(messages) == 14 else EncodedPrompt(6, [1] * (count - 6))

    fitted = fit_turns(conversation(*[10] * 19), fed_without_six, 150, 200)
    assert fitted.left_out_messages == 6


def test_messages_that_nobody_has_asked_for_are_left_as_they_are() -> None:
    assert fit_turns([SYSTEM], letters, 3, 4).left_out_messages == 0


@given(st.lists(st.integers(0, 60), min_size=1, max_size=15).filter(lambda lengths: len(lengths) % 2 == 1))
def test_whole_turns_go_and_only_if_they_have_to(lengths: list[int]) -> None:
    messages = conversation(*lengths)
    fitted = fit_turns(messages, letters, 90, 120)
    rest = [SYSTEM, *messages[1 + fitted.left_out_messages :]]
    assert fitted.encoded == letters(rest)
    assert fitted.left_out_messages % 2 == 0
    fits = len(fitted.encoded.token_ids) <= 90
    assert fits or len(rest) == 2
    assert (fitted.left_out_messages == 0) == (len(letters(messages).token_ids) <= 90 or len(messages) == 2)
