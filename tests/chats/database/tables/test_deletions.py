"""Messages that were deleted, versions that the user has written, and the tree without what was deleted."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tui_llama.chat import Role, StopReason, Usage
from tui_llama.chats.database.moments import new_moment
from tui_llama.chats.store import Store
from tui_llama.chats.stored import MessageState
from tui_llama.errors import CallerError, StoreConflictError


def answered(store: Store, chat_id: str, question: str, answer: str) -> tuple[int, int]:
    asked = store.add_user_message(chat_id, question)
    answered_id = store.begin_answer(chat_id, asked)
    store.set_answer_prompt(answered_id, len(store.ledger(asked).newest_ids), (1, 2))
    store.append_to_answer(answered_id, answer, (3, 4))
    store.finish_answer(answered_id, StopReason.LENGTH, Usage(generated_tokens=2))
    return asked, answered_id


def texts(store: Store, chat_id: str) -> list[str]:
    return [message.text for message in store.messages(chat_id)]


def test_what_is_deleted_leaves_the_path_the_versions_the_branches_and_the_tree(store: Store) -> None:
    chat_id = store.create_chat()
    first, answer = answered(store, chat_id, "one", "two")
    asked, _ = answered(store, chat_id, "three", "four")
    other = store.replace_user_message(asked, "third")
    assert store.versions(asked) == [asked, other]
    assert store.delete_messages(asked, new_moment(), answer) == 2
    assert texts(store, chat_id) == ["one", "two"]
    assert store.versions(other) == [other]
    assert [each.tip_message_id for each in store.branches(chat_id)] == [other]
    assert [each.message_id for each in store.tree(chat_id)] == [first, answer, other]
    assert [each.text for each in store.all_messages(chat_id)] == ["one", "two", "third"]
    assert store.list_chats()[0].message_count == 3
    assert store.is_replied_to(asked)  # so that nobody lets it grow below what may come back


def test_all_of_a_chat_can_be_deleted_and_begun_again(store: Store) -> None:
    chat_id = store.create_chat()
    first, _ = answered(store, chat_id, "one", "two")
    assert store.delete_messages(first, new_moment(), None) == 2
    assert (texts(store, chat_id), store.branches(chat_id), store.tree(chat_id)) == ([], [], [])
    store.add_user_message(chat_id, "again")
    assert texts(store, chat_id) == ["again"]


def test_a_deletion_is_taken_back_as_it_was_made(store: Store) -> None:
    chat_id = store.create_chat()
    _, answer = answered(store, chat_id, "one", "two")
    asked, last = answered(store, chat_id, "three", "four")
    assert store.last_deletion(chat_id) is None
    inner, outer = new_moment(), new_moment()
    assert store.delete_messages(last, inner, asked) == 1
    assert store.delete_messages(asked, outer, answer) == 1  # the answer below is deleted already
    deletion = store.last_deletion(chat_id)
    assert deletion is not None
    assert (deletion.message_id, deletion.deleted_at, deletion.message_count) == (asked, outer, 1)
    store.bring_back(chat_id, outer, asked)
    assert texts(store, chat_id) == ["one", "two", "three"]
    assert store.ledger(last).newest_ids == [1, 2, 3, 4, 1, 2, 3, 4]
    store.bring_back(chat_id, inner, last)
    store.bring_back(chat_id, inner, last)  # a second time changes nothing
    assert texts(store, chat_id) == ["one", "two", "three", "four"]
    assert store.last_deletion(chat_id) is None


def test_deleting_twice_at_the_same_moment_is_deleting_once(store: Store) -> None:
    chat_id = store.create_chat()
    first, _ = answered(store, chat_id, "one", "two")
    moment = new_moment()
    assert store.delete_messages(first, moment, None) == store.delete_messages(first, moment, None) == 2


def test_an_edited_answer_is_a_version_that_keeps_the_tokens_before_the_edit(store: Store) -> None:
    chat_id = store.create_chat()
    asked, answer = answered(store, chat_id, "one", "two four")
    made_at = new_moment()
    edited = store.add_answer_version(answer, "two five", made_at=made_at)
    assert store.add_answer_version(answer, "two five", made_at=made_at) == edited
    assert store.versions(answer) == [answer, edited]
    assert texts(store, chat_id) == ["one", "two five"]
    last = store.messages(chat_id)[-1]
    assert (last.parent_id, last.role, last.state) == (asked, Role.ASSISTANT, MessageState.COMPLETE)
    assert (last.stop_reason, last.usage, last.prompt_is_known) == (StopReason.EDITED, None, False)
    ledger = store.ledger(edited)
    assert (ledger.newest_ids, ledger.lacks_end) == ([1, 2, 3, 4], True)
    assert store.generated_token_count(edited) == 0


def test_a_copy_of_an_answer_has_all_that_it_has(store: Store) -> None:
    chat_id = store.create_chat()
    _, answer = answered(store, chat_id, "one", "two")
    copy = store.add_answer_version(answer, "two")
    last = store.messages(chat_id)[-1]
    assert (last.message_id, last.stop_reason, last.usage) == (copy, StopReason.LENGTH, Usage(generated_tokens=2))
    assert store.ledger(copy) == store.ledger(answer)
    assert store.generated_token_count(copy) == 2
    store.reopen_answer(copy, "two")
    store.append_to_answer(copy, " and more", (5,))
    assert store.messages(chat_id, answer)[-1].text == "two"


def test_what_the_user_said_is_no_answer(store: Store) -> None:
    chat_id = store.create_chat()
    asked, _ = answered(store, chat_id, "one", "two")
    with pytest.raises(CallerError):
        store.add_answer_version(asked, "zero")


def test_a_version_can_be_removed_unless_something_hangs_below_it(store: Store) -> None:
    chat_id = store.create_chat()
    _, answer = answered(store, chat_id, "one", "two")
    edited = store.add_answer_version(answer, "too")
    store.remove_version(edited, chat_id, answer)
    store.remove_version(edited, chat_id, answer)
    assert store.versions(answer) == [answer]
    edited = store.add_answer_version(answer, "too")
    store.add_user_message(chat_id, "three")
    store.remove_version(edited, chat_id, answer)
    assert store.versions(answer) == [answer, edited]
    assert texts(store, chat_id) == ["one", "two"]


def test_the_newest_tip_is_found_below_a_message(store: Store) -> None:
    chat_id = store.create_chat()
    first, answer = answered(store, chat_id, "one", "two")
    asked, _ = answered(store, chat_id, "three", "four")
    other = store.replace_user_message(asked, "third")
    assert (store.newest_tip_below(first), store.newest_tip_below(other)) == (other, other)
    store.delete_messages(other, new_moment(), answer)
    assert store.newest_tip_below(first) == asked + 1
    with pytest.raises(StoreConflictError):
        store.newest_tip_below(99)


def test_the_tree_has_the_beginnings_of_all_messages(store: Store) -> None:
    chat_id = store.create_chat()
    first, answer = answered(store, chat_id, "x" * 300, "two")
    assert [(each.message_id, each.parent_id, each.beginning) for each in store.tree(chat_id)] == [
        (first, None, "x" * 200),
        (answer, first, "two"),
    ]


def test_a_message_deleted_alone_leaves_no_gap_for_anybody(store: Store) -> None:
    chat_id = store.create_chat()
    first, answer = answered(store, chat_id, "one", "two")
    asked, last = answered(store, chat_id, "three", "four")
    ledger = store.ledger(last)
    moment = new_moment()
    store.delete_message(answer, moment, last)
    store.delete_message(answer, new_moment(), last)  # again, as after a lost word: the first moment counts
    shown = [(first, None), (asked, first), (last, asked)]
    assert [(each.message_id, each.parent_id) for each in store.messages(chat_id)] == shown
    assert [(each.message_id, each.parent_id) for each in store.all_messages(chat_id)] == shown
    assert [(each.message_id, each.parent_id) for each in store.tree(chat_id)] == shown
    assert [(each.tip_message_id, each.message_count) for each in store.branches(chat_id)] == [(last, 3)]
    assert (store.versions(answer), store.versions(asked)) == ([], [asked])
    assert store.newest_tip_below(first) == last
    assert store.ledger(last).newest_ids == ledger.newest_ids
    store.bring_back(chat_id, moment, last)
    assert texts(store, chat_id) == ["one", "two", "three", "four"]
    assert store.ledger(last) == ledger


@pytest.mark.parametrize("is_alone", [True, False])
def test_a_deleted_message_stays_for_undo_and_is_gone_for_good_with_its_chat(tmp_path: Path, is_alone: bool) -> None:
    file = tmp_path / "chats.sqlite3"
    with closing(Store(file)) as store:
        chat_id = store.create_chat()
        first, answer = answered(store, chat_id, "one", "a secret answer")
        answered(store, chat_id, "three", "a secret sequel")
        if is_alone:
            store.delete_message(answer, new_moment(), first + 3)
        else:
            store.delete_messages(answer, new_moment(), first)
        assert "a secret answer" not in texts(store, chat_id)
        assert count_rows(file) == [4, 0, 1]
        store.delete_chat(chat_id)
        assert count_rows(file) == [0, 0, 0]
    left = b"".join(each.read_bytes() for each in tmp_path.iterdir() if each.is_file())
    assert b"secret" not in left


def count_rows(file: Path) -> list[int]:
    """Returns how many messages, pieces of answers and chats a database has, deleted or not."""
    with closing(sqlite3.connect(file)) as database:
        return [
            database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("messages", "answer_pieces", "chats")
        ]
