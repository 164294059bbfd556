"""What the user changes of a chat: edits, deletions, branches, titles; and what undoing brings back."""

from collections.abc import AsyncIterator

import pytest

from tui_llama.chat import Role, StopReason, Usage
from tui_llama.chats.database.file import IN_MEMORY
from tui_llama.chats.journal import Journal
from tui_llama.chats.open_chat import OpenChat
from tui_llama.chats.path.undo import MOST_STEPS, Change
from tui_llama.chats.store import Store

USAGE = Usage(generated_tokens=2, context_used=9)


@pytest.fixture(params=["on the disk", "incognito"])
async def journal(store: Store, request: pytest.FixtureRequest) -> AsyncIterator[Journal]:
    failures: list[Exception] = []
    is_incognito = request.param == "incognito"
    opened = Journal(Store(IN_MEMORY) if is_incognito else store, failures.append, is_incognito=is_incognito)
    yield opened
    await opened.close()
    assert failures == []


async def reopened(chat: OpenChat, journal: Journal) -> OpenChat:
    await journal.settle()
    assert chat.chat_id is not None
    return await OpenChat.restore(journal, chat.chat_id)


def answered(chat: OpenChat, question: str, answer: str) -> None:
    chat.add_message(question)
    answer_again(chat, answer)


def answer_again(chat: OpenChat, answer: str) -> None:
    chat.set_answer_aside()
    chat.begin_answer()
    chat.set_prompt(0, (1, 2))
    chat.append(answer, (3, 4))
    chat.finish_answer(StopReason.END_OF_GENERATION, USAGE)


def texts(chat: OpenChat) -> list[str]:
    return [entry.text for entry in chat.entries]


def places(chat: OpenChat) -> list[tuple[int, int]]:
    return [(entry.version, entry.version_count) for entry in chat.entries]


async def test_an_edited_answer_is_a_version_and_what_followed_stays_with_the_old_one(journal: Journal) -> None:
    chat = OpenChat(journal)
    answered(chat, "one", "two")
    answered(chat, "three", "four")
    entry = chat.replace_answer(1, "too")
    assert (entry.role, entry.stop_reason, entry.version, entry.version_count) == (
        Role.ASSISTANT,
        StopReason.EDITED,
        2,
        2,
    )
    assert texts(chat) == ["one", "too"]
    assert (await reopened(chat, journal)).entries == chat.entries
    ledger, answer_tokens = await chat.ledger_to_go_on()
    assert (ledger.newest_ids, ledger.lacks_end, answer_tokens) == ([1, 2, 3, 4], True, 0)
    older = chat.version_beside(1, -1)
    assert older is not None
    assert chat.version_beside(1, 1) is None
    chat.show_message(older)
    assert texts(chat) == ["one", "two", "three", "four"]


async def test_undoing_an_edit_takes_the_version_away_unless_something_follows_it(journal: Journal) -> None:
    chat = OpenChat(journal)
    answered(chat, "one", "two")
    answered(chat, "three", "four")
    chat.replace_answer(1, "too")
    assert chat.undo() is Change.EDIT
    assert (texts(chat), places(chat)) == (["one", "two", "three", "four"], [(1, 1)] * 4)
    chat.replace_message(2, "third")
    answer_again(chat, "fourth")
    assert chat.undo() is Change.EDIT
    assert (texts(chat), places(chat)) == (["one", "two", "three", "four"], [(1, 1), (1, 1), (1, 2), (1, 1)])
    assert chat.undo() is None
    assert (await reopened(chat, journal)).entries == chat.entries


async def test_a_copy_of_an_answer_can_go_on_where_the_old_one_must_stay(journal: Journal) -> None:
    chat = OpenChat(journal)
    answered(chat, "one", "two")
    answered(chat, "three", "four")
    copy = chat.replace_answer(1, "two")
    assert (copy.stop_reason, copy.usage, copy.is_replied_to) == (StopReason.END_OF_GENERATION, USAGE, False)
    _, answer_tokens = await chat.ledger_to_go_on()
    assert answer_tokens == 2


async def test_deleting_takes_all_that_follows_along_and_undo_brings_it_back(journal: Journal) -> None:
    chat = OpenChat(journal)
    answered(chat, "one", "two")
    answered(chat, "three", "four")
    answer_again(chat, "for")
    assert (chat.count_below(2), chat.count_below(1), chat.count_below(3)) == (3, 4, 1)
    assert chat.delete_message(2) == 3
    assert texts(chat) == ["one", "two"]
    assert [each.beginning for each in chat.tree()] == ["one", "two"]
    assert (await reopened(chat, journal)).entries == chat.entries
    assert chat.undo() is Change.DELETION
    assert texts(chat) == ["one", "two", "three", "for"]
    assert places(chat)[-1] == (2, 2)


async def test_deleting_a_version_shows_another_one(journal: Journal) -> None:
    chat = OpenChat(journal)
    answered(chat, "one", "a")
    answer_again(chat, "b")
    answer_again(chat, "c")
    chat.delete_message(1)
    assert (texts(chat), places(chat)) == (["one", "b"], [(1, 1), (2, 2)])
    chat.show_message(chat.version_beside(1, -1) or 0)
    chat.delete_message(1)
    assert (texts(chat), places(chat)) == (["one", "b"], [(1, 1), (1, 1)])


async def test_all_messages_can_be_deleted_and_the_chat_goes_on(journal: Journal) -> None:
    chat = OpenChat(journal)
    answered(chat, "one", "two")
    assert chat.delete_message(0) == 2
    assert (texts(chat), chat.tree(), chat.is_empty) == ([], [], True)
    answered(chat, "three", "four")
    assert (await reopened(chat, journal)).entries == chat.entries
    assert chat.undo() is Change.DELETION
    assert texts(chat) == ["one", "two"]


async def test_a_deletion_can_be_undone_after_a_restart(journal: Journal) -> None:
    chat = OpenChat(journal)
    answered(chat, "one", "two")
    answered(chat, "three", "four")
    chat.delete_message(3)
    chat.delete_message(2)
    again = await reopened(chat, journal)
    assert again.undo() is Change.DELETION
    assert texts(again) == ["one", "two", "three"]
    again = await reopened(again, journal)
    assert again.undo() is Change.DELETION
    assert texts(again) == ["one", "two", "three", "four"]
    assert again.undo() is None
    assert (await reopened(again, journal)).entries == again.entries


async def test_a_branch_begins_after_any_message(journal: Journal) -> None:
    chat = OpenChat(journal)
    answered(chat, "one", "two")
    answered(chat, "three", "four")
    chat.branch_after(1)
    assert texts(chat) == ["one", "two"]
    assert chat.entries[-1].is_replied_to
    answered(chat, "third", "fourth")
    assert places(chat)[2] == (2, 2)
    assert (await reopened(chat, journal)).entries == chat.entries
    assert chat.undo() is Change.BRANCH
    assert texts(chat) == ["one", "two", "three", "four"]


async def test_an_answer_below_a_question_that_has_one_is_a_version(journal: Journal) -> None:
    chat = OpenChat(journal)
    answered(chat, "one", "two")
    chat.branch_after(0)
    answer_again(chat, "too")
    assert places(chat) == [(1, 1), (2, 2)]


async def test_a_message_of_the_path_that_is_shown_changes_nothing(journal: Journal) -> None:
    chat = OpenChat(journal)
    answered(chat, "one", "a")
    answer_again(chat, "b")
    chat.branch_after(0)
    chat.show_message(chat.entries[0].message_id)
    assert texts(chat) == ["one"]


async def test_a_title_can_be_undone(journal: Journal) -> None:
    chat = OpenChat(journal)
    answered(chat, "one", "two")
    chat.rename("Numbers")
    chat.rename("Numbers")
    chat.rename("Figures")
    assert chat.undo() is Change.NAME
    assert chat.title == "Numbers"
    assert chat.undo() is Change.NAME
    assert (await reopened(chat, journal)).title == chat.title == "one"
    assert chat.undo() is None


async def test_only_so_many_steps_are_remembered(journal: Journal) -> None:
    chat = OpenChat(journal)
    answered(chat, "one", "two")
    for number in range(MOST_STEPS + 5):
        chat.rename(f"title {number}")
    while chat.undo() is not None:
        pass
    assert chat.title == "title 4"


async def test_a_chat_without_messages_has_nothing_to_undo(journal: Journal) -> None:
    chat = OpenChat(journal)
    assert (chat.undo(), chat.tree(), chat.tip) == (None, [], None)


async def test_undoing_an_edit_keeps_the_version_that_has_gone_on(journal: Journal) -> None:
    chat = OpenChat(journal)
    answered(chat, "one", "two")
    chat.replace_answer(1, "too")
    chat.reopen_answer()
    chat.append(" long", ())
    chat.finish_answer(StopReason.LENGTH, None)
    assert chat.undo() is Change.EDIT
    assert (texts(chat), places(chat)) == (["one", "two"], [(1, 1), (1, 2)])
    newer = chat.version_beside(1, 1)
    assert newer is not None
    chat.show_message(newer)
    assert texts(chat) == ["one", "too long"]
    assert (await reopened(chat, journal)).entries == chat.entries


# --- a message deleted alone ------------------------------------------------------------------------------------


async def test_what_follows_a_message_that_is_deleted_alone_stays_on_all_branches(journal: Journal) -> None:
    chat = OpenChat(journal)
    answered(chat, "one", "two")
    answered(chat, "three", "four")
    chat.branch_after(1)
    answered(chat, "third", "fourth")
    chat.delete_message_alone(1)
    assert texts(chat) == ["one", "third", "fourth"]
    assert places(chat) == [(1, 1), (2, 2), (1, 1)]
    assert (await reopened(chat, journal)).entries == chat.entries
    chat.show_message(chat.version_beside(1, -1) or 0)
    assert texts(chat) == ["one", "three", "four"]
    assert [message.text for message in chat.messages()] == ["one", "three", "four"]
    assert {(each.beginning, each.version, each.version_count) for each in chat.tree()} == {
        ("one", 1, 1),
        ("three", 1, 2),
        ("four", 1, 1),
        ("third", 2, 2),
        ("fourth", 1, 1),
    }
    assert chat.undoable is Change.DELETION
    again = await reopened(chat, journal)
    assert chat.undo() is again.undo() is Change.DELETION
    assert texts(chat) == [*texts(again)[:2], "third", "fourth"] == ["one", "two", "third", "fourth"]


async def test_an_answer_below_a_deleted_message_goes_on_from_its_text(journal: Journal) -> None:
    chat = OpenChat(journal)
    answered(chat, "one", "two")
    answered(chat, "three", "four")
    assert not (await chat.ledger_to_go_on())[0].lacks_end
    chat.delete_message_alone(1)
    assert (await chat.ledger_to_go_on())[0].lacks_end  # its tokens were read behind what is deleted
    answer_again(chat, "fourth")
    assert not (await chat.ledger_to_go_on())[0].lacks_end


async def test_a_message_deleted_alone_at_the_end_of_the_path_gives_way_to_what_follows_it(journal: Journal) -> None:
    chat = OpenChat(journal)
    answered(chat, "one", "two")
    answered(chat, "three", "four")
    chat.branch_after(1)
    chat.delete_message_alone(1)
    assert texts(chat) == ["one", "three", "four"]
    chat.delete_message_alone(2)  # which nothing follows
    assert texts(chat) == ["one", "three"]
    chat.delete_message_alone(0)
    assert texts(chat) == ["three"]
    for expected in (["one", "three"], ["one", "three", "four"], ["one", "two"]):
        chat.undo()
        assert texts(chat) == expected


async def test_own_messages_and_answers_in_one_place_are_versions_of_each_other(journal: Journal) -> None:
    chat = OpenChat(journal)
    answered(chat, "one", "two")
    chat.branch_after(0)
    chat.add_message("or rather")
    assert places(chat) == [(1, 1), (2, 2)]
    chat.show_message(chat.version_beside(1, -1) or 0)
    assert texts(chat) == ["one", "two"]
    assert places(chat) == [(1, 1), (1, 2)]
    assert [(each.version, each.version_count) for each in chat.tree()] == [(1, 1), (1, 2), (2, 2)]
