"""What binds the answers to one message, as chats remember it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tui_llama.chat import AnswerBounds, ChatChoices, StopReason
from tui_llama.chats.journal import Journal
from tui_llama.chats.open_chat import OpenChat
from tui_llama.chats.store import Store

ONCE = AnswerBounds(grammar='root ::= "yes"')
ALWAYS = AnswerBounds(json_schema="{}")


@pytest.fixture
async def journal(path: Path) -> AsyncIterator[Journal]:
    with Store(path) as store:
        journal = Journal(store, lambda _error: None)
        yield journal
        await journal.close()


def answered(chat: OpenChat) -> AnswerBounds:
    """Answers the last message; returns what bound the answer."""
    chat.begin_answer()
    bounds = chat.answer_bounds
    chat.append("yes", ())
    chat.finish_answer(StopReason.END_OF_GENERATION, None)
    return bounds


def bound_chat(journal: Journal) -> OpenChat:
    """Returns a chat in which one message has an answer that was bound for once."""
    chat = OpenChat(journal)
    chat.next_bounds = ONCE
    chat.add_message("Sure?")
    assert answered(chat) == ONCE
    return chat


async def test_another_answer_to_the_message_is_bound_alike_and_the_next_message_is_not(journal: Journal) -> None:
    chat = bound_chat(journal)
    chat.set_answer_aside()
    assert answered(chat) == ONCE
    chat.add_message("And now?")
    assert answered(chat) == AnswerBounds()


async def test_it_is_known_when_the_chat_is_opened_again(journal: Journal) -> None:
    chat = bound_chat(journal)
    await journal.settle()
    opened = await OpenChat.restore(journal, chat.chat_id or "")
    assert [entry.bounds for entry in opened.entries] == [ONCE, None]
    assert opened.answer_bounds == ONCE


async def test_a_message_that_waits_for_the_model_takes_it_along(journal: Journal) -> None:
    chat = OpenChat(journal)
    chat.next_bounds = ONCE
    chat.add_message("Sure?")
    await journal.settle()
    assert (await OpenChat.restore(journal, chat.chat_id or "")).answer_bounds == ONCE


async def test_an_edited_message_keeps_it_unless_something_else_was_chosen(journal: Journal) -> None:
    chat = bound_chat(journal)
    chat.replace_message(0, "Really sure?")
    assert answered(chat) == ONCE
    chat.next_bounds = ALWAYS
    chat.replace_message(0, "Quite sure?")
    assert answered(chat) == ALWAYS
    await journal.settle()
    opened = await OpenChat.restore(journal, chat.chat_id or "")
    assert opened.answer_bounds == ALWAYS


async def test_what_is_chosen_before_another_answer_binds_that(journal: Journal) -> None:
    chat = bound_chat(journal)
    chat.set_answer_aside()
    chat.next_bounds = ALWAYS
    assert answered(chat) == ALWAYS


async def test_it_goes_before_what_binds_the_chat_and_can_be_taken_back(journal: Journal) -> None:
    chat = bound_chat(journal)
    chat.set_choices(ChatChoices(bounds=ALWAYS))
    assert chat.answer_bounds == ONCE
    chat.bind_question(None)
    await journal.settle()
    assert (await OpenChat.restore(journal, chat.chat_id or "")).answer_bounds == ALWAYS
