"""Messages as a tree: conversations, versions and branches, and their texts as they were."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.stored_answers import answer
from tui_llama.chat import Role
from tui_llama.chats.store import Store
from tui_llama.errors import CallerError


def test_a_conversation_is_the_path_to_the_tip(store: Store) -> None:
    chat_id = store.create_chat()
    question = store.add_user_message(chat_id, "Hello")
    answer_id = answer(store, chat_id, question, "Hi", " there")
    last = store.add_user_message(chat_id, "Bye")

    messages = store.messages(chat_id)

    assert [(m.message_id, m.parent_id, m.role, m.text) for m in messages] == [
        (question, None, Role.USER, "Hello"),
        (answer_id, question, Role.ASSISTANT, "Hi there"),
        (last, answer_id, Role.USER, "Bye"),
    ]
    assert store.chat(chat_id).tip_message_id == last
    assert messages == sorted(messages, key=lambda message: message.created_at)


def test_a_second_answer_to_the_same_question_is_a_version_beside_the_first(store: Store) -> None:
    chat_id = store.create_chat()
    question = store.add_user_message(chat_id, "Hello")
    first, second = answer(store, chat_id, question, "Hi"), answer(store, chat_id, question, "Good day")

    assert store.versions(first) == store.versions(second) == [first, second]
    assert [message.text for message in store.messages(chat_id)] == ["Hello", "Good day"]
    assert [message.text for message in store.messages(chat_id, first)] == ["Hello", "Hi"]


def test_moving_the_tip_shows_another_branch(store: Store) -> None:
    chat_id = store.create_chat()
    question = store.add_user_message(chat_id, "Hello")
    first = answer(store, chat_id, question, "Hi")
    answer(store, chat_id, question, "Good day")

    store.set_tip(chat_id, first)

    assert [message.text for message in store.messages(chat_id)] == ["Hello", "Hi"]


def test_the_first_question_can_be_asked_in_another_way(store: Store) -> None:
    chat_id = store.create_chat()
    first = store.add_user_message(chat_id, "Helo")

    store.set_tip(chat_id, None)
    second = store.add_user_message(chat_id, "Hello")

    assert store.versions(first) == [first, second]
    assert [message.text for message in store.messages(chat_id)] == ["Hello"]


def test_another_version_of_a_message_is_beside_it_and_becomes_the_tip(store: Store) -> None:
    chat_id = store.create_chat()
    question = store.add_user_message(chat_id, "first")
    reply = answer(store, chat_id, question, "reply")
    second = store.add_user_message(chat_id, "second")
    answer(store, chat_id, second, "its reply")

    other = store.replace_user_message(second, "other")

    assert [message.text for message in store.messages(chat_id)] == ["first", "reply", "other"]
    assert store.versions(other) == [second, other]
    begun_anew = store.replace_user_message(question, "anew")
    assert [message.text for message in store.messages(chat_id)] == ["anew"]
    assert store.versions(begun_anew) == [question, begun_anew]
    with pytest.raises(CallerError):
        store.replace_user_message(reply, "not the user's")


def test_branches_are_the_ends_of_all_paths_newest_first(store: Store) -> None:
    chat_id, another = store.create_chat(), store.create_chat()
    assert store.branches(chat_id) == []
    store.add_user_message(another, "elsewhere")
    question = store.add_user_message(chat_id, "first")
    one = answer(store, chat_id, question, "re", "ply")
    two = answer(store, chat_id, question, "another reply")
    asked = store.add_user_message(chat_id, "and?", parent_id=two)

    branches = store.branches(chat_id)

    assert [(each.tip_message_id, each.question, each.answer, each.message_count) for each in branches] == [
        (asked, "and?", "", 3),
        (one, "first", "reply", 2),
    ]
    assert [each.tip_message_id for each in store.branches(chat_id, limit=1)] == [asked]


def test_a_message_can_be_added_below_any_other(store: Store) -> None:
    chat_id = store.create_chat()
    question = store.add_user_message(chat_id, "Hello")
    answer(store, chat_id, question, "Hi")

    store.add_user_message(chat_id, "Instead", parent_id=question)

    assert [message.text for message in store.messages(chat_id)] == ["Hello", "Instead"]


def test_a_message_of_another_chat_is_refused(store: Store) -> None:
    mine, other = store.create_chat(), store.create_chat()
    message_id = store.add_user_message(other, "Hello")

    for call in (store.set_tip, store.messages, store.begin_answer):
        with pytest.raises(CallerError, match="another chat"):
            call(mine, message_id)
    assert store.messages(mine) == []


def test_a_message_is_replied_to_as_soon_as_there_is_one_below_it(store: Store) -> None:
    chat_id = store.create_chat()
    question = store.add_user_message(chat_id, "why?")
    assert not store.is_replied_to(question)
    store.begin_answer(chat_id, question)
    store.set_tip(chat_id, question)
    assert store.is_replied_to(question)


@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=20), min_size=1, max_size=5))
@settings(max_examples=30)
def test_any_text_comes_back_as_it_was(pieces: list[str]) -> None:
    expected = "".join(pieces).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "chats.sqlite3") as store:
        chat_id = store.create_chat()
        whole = store.add_user_message(chat_id, pieces[0])
        answer(store, chat_id, whole, *pieces)

        texts = [message.text for message in store.messages(chat_id)]

    assert len(texts[1]) == len("".join(pieces))
    if not any("\ud800" <= character <= "\udfff" for piece in pieces for character in piece):
        assert texts == [pieces[0], expected]


def test_half_a_surrogate_pair_is_stored_as_a_replacement_character(store: Store) -> None:
    chat_id = store.create_chat(title="a\udc80")

    store.add_user_message(chat_id, "b\ud800c")

    assert store.chat(chat_id).title == "a\ufffd"
    assert store.messages(chat_id)[0].text == "b\ufffdc"
