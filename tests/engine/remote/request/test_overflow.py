"""A chat that is too long for a server loses its oldest turns, and never what it is about now."""

import pytest

from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.remote.request.overflow import share_that_fits, without_oldest_turns

SYSTEM = ChatMessage(Role.SYSTEM, "Be brief.")


def turns(count: int) -> list[ChatMessage]:
    return [ChatMessage(role, f"{place}".ljust(100)) for place in range(count) for role in (Role.USER, Role.ASSISTANT)]


def test_whole_turns_are_left_out_and_the_system_message_stays() -> None:
    messages = (SYSTEM, *turns(4), ChatMessage(Role.USER, "And now?"))
    assert without_oldest_turns(messages, 0.6) == (SYSTEM, *messages[5:])


def test_at_least_one_turn_is_left_out() -> None:
    messages = (*turns(4), ChatMessage(Role.USER, "And now?"))
    assert without_oldest_turns(messages, 1.0) == messages[2:]


def test_the_last_message_of_the_user_stays_and_what_follows_it() -> None:
    messages = (SYSTEM, *turns(4))
    assert without_oldest_turns(messages, 0.0) == (SYSTEM, *messages[-2:])


def test_nothing_can_be_left_out_of_one_turn() -> None:
    messages = (SYSTEM, *turns(1))
    assert without_oldest_turns(messages, 0.1) == messages


@pytest.mark.parametrize(
    ("prompt_tokens", "context_size", "max_tokens", "share"),
    [
        (None, 4096, None, 0.5),
        (8000, None, None, 0.5),
        (8000, 4000, None, 0.9 * 3000 / 8000),
        (8000, 4000, 100, 0.9 * 3900 / 8000),
        (8000, 4000, 10**6, 0.9 * 2000 / 8000),
        (10, 4000, None, 0.5),
    ],
)
def test_the_share_leaves_room_for_the_answer(
    prompt_tokens: int | None, context_size: int | None, max_tokens: int | None, share: float
) -> None:
    assert share_that_fits(prompt_tokens, context_size, max_tokens) == pytest.approx(share)
