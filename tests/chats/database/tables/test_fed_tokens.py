"""The ledger of a branch: every token as it was fed and generated, in each vocabulary."""

import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.stored_answers import USAGE, answer
from tui_llama.chat import StopReason
from tui_llama.chats.database.moments import new_moment
from tui_llama.chats.ledger import Ledger
from tui_llama.chats.store import Store
from tui_llama.errors import CallerError, StoreError


def test_the_ledger_holds_every_token_as_fed_and_as_generated(store: Store) -> None:
    chat_id = store.create_chat()
    first = store.begin_answer(chat_id, store.add_user_message(chat_id, "Hello"))
    store.set_answer_prompt(first, 0, [1, 2, 3])
    store.append_to_answer(first, "Hi", [10, 11])
    store.append_to_answer(first, "!", [12])
    store.finish_answer(first, StopReason.END_OF_GENERATION, USAGE)
    second = store.begin_answer(chat_id, store.add_user_message(chat_id, "Bye"))
    store.set_answer_prompt(second, 6, [4, 5])
    store.append_to_answer(second, "See", [13])

    assert store.ledger(first).newest_ids == [1, 2, 3, 10, 11, 12]
    assert store.ledger(second).newest_ids == [1, 2, 3, 10, 11, 12, 4, 5, 13]


def test_an_answer_that_keeps_less_forgets_the_rest(store: Store) -> None:
    chat_id = store.create_chat()
    first = store.begin_answer(chat_id, store.add_user_message(chat_id, "Hello"))
    store.set_answer_prompt(first, 0, [1, 2, 3])
    store.append_to_answer(first, "Hi", [10, 11])
    store.finish_answer(first, StopReason.END_OF_GENERATION, None)
    second = store.begin_answer(chat_id, store.add_user_message(chat_id, "Bye"))

    store.set_answer_prompt(second, 2, [7])

    assert store.ledger(second).newest_ids == [1, 2, 7]
    assert store.ledger(first).newest_ids == [1, 2, 3, 10, 11]


def answered_in(store: Store, chat_id: str, kept: int, prompt: Sequence[int], ids: Sequence[int], words: str) -> int:
    """An answer whose tokens are of the vocabulary that these words name."""
    answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, "?"))
    store.set_answer_prompt(answer_id, kept, prompt, words)
    store.append_to_answer(answer_id, "!", ids)
    store.finish_answer(answer_id, StopReason.END_OF_GENERATION, None)
    return answer_id


def test_each_vocabulary_has_a_ledger_of_its_own(store: Store) -> None:
    chat_id = store.create_chat()
    answered_in(store, chat_id, 0, [1, 2], [3], "a")
    second = answered_in(store, chat_id, 0, [900, 901], [902], "b")
    third = answered_in(store, chat_id, 2, [4], [5], "a")
    assert store.ledger(second) == Ledger({"a": (1, 2, 3), "b": (900, 901, 902)}, "b")
    assert store.ledger(third) == Ledger({"a": (1, 2, 4, 5), "b": (900, 901, 902)}, "a")
    with pytest.raises(CallerError, match="Cannot keep 5 tokens of a ledger of 4"):
        answered_in(store, chat_id, 5, [], [], "a")
    with pytest.raises(CallerError, match="Cannot keep 1 tokens of a ledger of 0"):
        answered_in(store, chat_id, 1, [], [], "c")


def test_what_is_kept_of_an_unknown_vocabulary_is_of_the_known_one_from_then_on(store: Store) -> None:
    chat_id = store.create_chat()
    answered_in(store, chat_id, 0, [1, 2], [3], "")
    second = answered_in(store, chat_id, 2, [4], [5], "a")
    assert store.ledger(second) == Ledger({"": (1, 2, 3), "a": (1, 2, 4, 5)}, "a")


def test_an_answer_that_goes_on_gets_tokens_of_another_vocabulary_in_place_of_its_own(store: Store) -> None:
    chat_id = store.create_chat()
    answered_in(store, chat_id, 0, [1, 2], [3], "a")
    answer_id = answered_in(store, chat_id, 0, [900, 901], [902], "b")
    store.reopen_answer(answer_id)
    store.set_answer_tokens(answer_id, 3, [4, 5, 6], "a", 2)
    store.append_to_answer(answer_id, "!", [7])
    assert store.ledger(answer_id) == Ledger({"a": (1, 2, 3, 4, 5, 6, 7)}, "a")
    assert store.generated_token_count(answer_id) == 3
    for kept, ids, own in ((8, (), 0), (0, (1,), 2), (0, (1,), -1)):
        with pytest.raises(CallerError):
            store.set_answer_tokens(answer_id, kept, ids, "b", own)
    assert store.ledger(answer_id) == Ledger({"a": (1, 2, 3, 4, 5, 6, 7)}, "a")
    store.finish_answer(answer_id, StopReason.LENGTH, None)
    with pytest.raises(CallerError):
        store.set_answer_tokens(answer_id, 0, [1], "b", 1)


def test_branches_have_ledgers_of_their_own(store: Store) -> None:
    chat_id = store.create_chat()
    question = store.add_user_message(chat_id, "Hello")
    answers = [store.begin_answer(chat_id, question) for _ in range(2)]
    for number, answer_id in enumerate(answers):
        store.set_answer_prompt(answer_id, 0, [1, 2])
        store.append_to_answer(answer_id, "Hi", [20 + number])

    assert [store.ledger(answer_id).newest_ids for answer_id in answers] == [[1, 2, 20], [1, 2, 21]]
    assert store.ledger(question).newest_ids == []


def test_an_answer_without_tokens_leaves_the_ledger_as_it_was(store: Store) -> None:
    chat_id = store.create_chat()
    first = store.begin_answer(chat_id, store.add_user_message(chat_id, "Hello"))
    store.set_answer_prompt(first, 0, [1])
    store.append_to_answer(first, "Hi", [2])
    store.finish_answer(first, StopReason.END_OF_GENERATION, None)

    second = answer(store, chat_id, store.add_user_message(chat_id, "And?"), "text only")

    assert store.ledger(second).newest_ids == [1, 2]


@given(st.lists(st.lists(st.integers(0, 2**32 - 1), max_size=6), min_size=1, max_size=6))
@settings(max_examples=30)
def test_token_ids_are_exact(pieces: list[list[int]]) -> None:
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "chats.sqlite3") as store:
        chat_id = store.create_chat()
        answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, "Hello"))
        store.set_answer_prompt(answer_id, 0, pieces[0])
        for piece in pieces[1:]:
            store.append_to_answer(answer_id, "", piece)

        expected = [token for piece in pieces for token in piece]
        assert store.ledger(answer_id).newest_ids == expected
        store.finish_answer(answer_id, StopReason.LENGTH, None)
        assert store.ledger(answer_id).newest_ids == expected


@pytest.mark.parametrize("token_id", [-1, 2**32])
def test_a_token_id_that_does_not_fit_is_refused(store: Store, token_id: int) -> None:
    chat_id = store.create_chat()
    answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, "Hello"))

    with pytest.raises(CallerError, match="32 bits"):
        store.set_answer_prompt(answer_id, 0, [token_id])


def test_a_prompt_cannot_keep_more_than_there_is(store: Store) -> None:
    chat_id = store.create_chat()
    answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, "Hello"))

    with pytest.raises(CallerError, match="Cannot keep 1 tokens of a ledger of 0"):
        store.set_answer_prompt(answer_id, 1, [1])


def test_a_prompt_cannot_change_under_generated_tokens(store: Store) -> None:
    chat_id = store.create_chat()
    answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, "Hello"))
    store.set_answer_prompt(answer_id, 0, [1])
    store.set_answer_prompt(answer_id, 0, [1, 2])
    store.append_to_answer(answer_id, "Hi", [3])

    with pytest.raises(CallerError, match="after it had generated"):
        store.set_answer_prompt(answer_id, 0, [1])


def test_tokens_need_a_prompt_first(store: Store) -> None:
    chat_id = store.create_chat()
    answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, "Hello"))

    with pytest.raises(CallerError, match="before its prompt"):
        store.append_to_answer(answer_id, "Hi", [3])


def test_tokens_that_are_missing_are_damage(store: Store, path: Path) -> None:
    chat_id = store.create_chat()
    answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, "Hello"))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE messages SET kept_tokens = 9 WHERE message_id = ?", (answer_id,))

    with pytest.raises(StoreError, match="damaged"):
        store.ledger(answer_id)


def test_what_was_read_behind_a_message_deleted_since_then_is_told_apart(store: Store) -> None:
    chat_id = store.create_chat()
    first = answered_in(store, chat_id, 0, [1, 2], [3], "a")
    second = answered_in(store, chat_id, 3, [4], [5, 6], "a")
    question = store.messages(chat_id)[2].message_id
    nodes, outdated = store.fed_tree(chat_id, "a")
    assert [(node.node_id, node.kept_tokens) for node in nodes if node.kept_tokens is not None] == [
        (first, 0),
        (second, 3),
    ]
    assert outdated == set()
    store.delete_message(first, new_moment(), second)
    assert store.fed_tree(chat_id, "a") == (nodes, {question, second})  # the deleted one was read behind what is there
    assert all(node.kept_tokens is None for node in store.fed_tree(chat_id, "another")[0])
