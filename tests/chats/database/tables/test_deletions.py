"""Messages that were deleted, versions that the user has written, and the tree without what was deleted."""

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
