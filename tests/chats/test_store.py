"""Chats on disk: nothing committed is lost, whatever happens to the program."""

import contextlib
import random
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.fakes.clock import BERLIN, KATHMANDU, NEW_YORK, TOKYO, Clock
from tests.patience import HANG_SECONDS
from tui_llama import paths
from tui_llama.chat import Role, StopReason, Usage
from tui_llama.chats.chat_date import date_text, local_now
from tui_llama.chats.database import schema
from tui_llama.chats.database.file import IN_MEMORY
from tui_llama.chats.ledger import Ledger
from tui_llama.chats.store import Store
from tui_llama.chats.stored import MessageState
from tui_llama.chats.stored_text import TITLE_LENGTH
from tui_llama.errors import CallerError, StoreError

FIXTURES = Path(__file__).parents[1] / "fixtures"
USAGE = Usage(5, 3, 2, read_seconds=0.5, context_size=64, drafted_tokens=4, accepted_tokens=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "chats.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store(path) as opened:
        yield opened


def answer(store: Store, chat_id: str, parent_id: int, *pieces: str) -> int:
    """A finished answer of those pieces."""
    message_id = store.begin_answer(chat_id, parent_id)
    for piece in pieces:
        store.append_to_answer(message_id, piece, [])
    store.finish_answer(message_id, StopReason.END_OF_GENERATION, None)
    return message_id


# --- in memory ----------------------------------------------------------------------------------------------


def test_a_store_in_memory_writes_no_file_and_has_nothing_of_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Store(IN_MEMORY) as one, Store(IN_MEMORY) as other:
        assert one.is_in_memory
        chat_id = one.create_chat()
        question = one.add_user_message(chat_id, "a secret")
        first, second = answer(one, chat_id, question, "one"), answer(one, chat_id, question, "two")
        assert one.versions(first) == [first, second]
        assert other.list_chats() == []
    assert list(tmp_path.iterdir()) == []


# --- chats --------------------------------------------------------------------------------------------------


def test_a_new_chat_is_empty_and_remembers_what_it_was_made_with(store: Store) -> None:
    chat_id = store.create_chat(title="Stories", model_path="/models/a.gguf", system_prompt="Be brief.")

    chat = store.chat(chat_id)
    assert (chat.title, chat.model_path, chat.system_prompt) == ("Stories", "/models/a.gguf", "Be brief.")
    assert chat.tip_message_id is None
    assert store.messages(chat_id) == []


def test_chats_are_listed_by_their_last_message_newest_first(store: Store) -> None:
    first, second = store.create_chat(model_path="/models/a.gguf"), store.create_chat()
    store.add_user_message(second, "two")
    store.add_user_message(first, "one")

    listed = store.list_chats()

    assert [(chat.chat_id, chat.title, chat.message_count) for chat in listed] == [
        (first, "one", 1),
        (second, "two", 1),
    ]
    assert [chat.model_name for chat in listed] == ["a.gguf", ""]
    assert [chat.chat_id for chat in store.list_chats(limit=1)] == [first]


def test_the_first_message_titles_an_untitled_chat_on_one_short_line(store: Store) -> None:
    chat_id = store.create_chat()

    store.add_user_message(chat_id, "  Why is\n\tthe sky " + "so very " * 20 + "blue?")
    store.add_user_message(chat_id, "Another thing")

    title = store.chat(chat_id).title
    assert title.startswith("Why is the sky so very so very")
    assert title.endswith("…")
    assert len(title) <= TITLE_LENGTH


def test_a_title_is_cut_between_what_people_see_as_characters(store: Store) -> None:
    chat_id = store.create_chat()
    flag = "\U0001f1e9\U0001f1ea"

    store.add_user_message(chat_id, f"x{flag * 100}")

    assert store.chat(chat_id).title == f"x{flag * (TITLE_LENGTH - 2)}…"


def test_a_given_title_stays(store: Store) -> None:
    chat_id = store.create_chat(title="Mine")

    store.add_user_message(chat_id, "Hello")

    assert store.chat(chat_id).title == "Mine"


def test_a_chat_is_renamed_and_moved_to_another_model(store: Store) -> None:
    chat_id = store.create_chat()

    store.rename_chat(chat_id, "New name")
    store.set_chat_model(chat_id, "/models/b.gguf")

    assert (store.chat(chat_id).title, store.chat(chat_id).model_path) == ("New name", "/models/b.gguf")


def test_deleting_a_chat_leaves_nothing_of_it_on_disk(store: Store, path: Path) -> None:
    kept = store.create_chat()
    store.add_user_message(kept, "stays")
    secret = "xyzzy-the-secret"
    ids = [0x5EC2E7, 0x5EC2E8]
    chat_id = store.create_chat(title=secret, system_prompt=secret, model_path=secret)
    answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, secret * 3000))
    store.set_answer_prompt(answer_id, 0, ids)
    store.append_to_answer(answer_id, secret, ids)

    store.delete_chat(chat_id)

    on_disk = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert secret.encode() not in on_disk
    assert b"\xe7\xc2\x5e\x00" not in on_disk
    assert [chat.chat_id for chat in store.list_chats()] == [kept]
    assert [message.text for message in store.messages(kept)] == ["stays"]


def test_a_very_long_chat_can_be_deleted(store: Store) -> None:
    chat_id = store.create_chat()
    with store._transaction() as connection:
        connection.executemany(
            "INSERT INTO messages VALUES (?, ?, ?, 'user', 'complete', '', NULL, x'', x'', NULL, NULL, 0, NULL)",
            [(number, chat_id, number - 1 or None) for number in range(1, 3001)],
        )

    store.delete_chat(chat_id)

    assert store.list_chats() == []


@pytest.mark.parametrize("method", ["chat", "messages", "delete_chat"])
def test_a_chat_that_is_gone_is_named_so(store: Store, method: str) -> None:
    with pytest.raises(StoreError, match="no longer exists"):
        getattr(store, method)("0" * 32)


# --- messages -----------------------------------------------------------------------------------------------


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


def test_an_answer_under_way_reads_as_far_as_it_came(store: Store) -> None:
    chat_id = store.create_chat()
    answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, "Hello"))
    store.append_to_answer(answer_id, "Once ", [])
    store.append_to_answer(answer_id, "upon", [])

    message = store.messages(chat_id)[-1]

    assert (message.text, message.state, message.stop_reason) == ("Once upon", MessageState.PARTIAL, None)


def test_a_finished_answer_keeps_its_reason_and_its_cost(store: Store) -> None:
    chat_id = store.create_chat()
    answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, "Hello"))
    store.append_to_answer(answer_id, "Once", [])

    store.finish_answer(answer_id, StopReason.STOPPED, USAGE)

    message = store.messages(chat_id)[-1]
    assert (message.text, message.state) == ("Once", MessageState.COMPLETE)
    assert (message.stop_reason, message.usage) == (StopReason.STOPPED, USAGE)


def test_a_finished_answer_takes_no_more(store: Store) -> None:
    chat_id = store.create_chat()
    question = store.add_user_message(chat_id, "Hello")
    answer_id = answer(store, chat_id, question, "Hi")

    for message_id in (question, answer_id):
        with pytest.raises(CallerError, match="no answer under way"):
            store.append_to_answer(message_id, " there", [])
        with pytest.raises(CallerError, match="no answer under way"):
            store.finish_answer(message_id, StopReason.LENGTH, None)


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


# --- tokens -------------------------------------------------------------------------------------------------


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


# --- coming back --------------------------------------------------------------------------------------------


def test_everything_is_there_after_reopening(path: Path) -> None:
    with Store(path) as store:
        chat_id = store.create_chat(title="Kept")
        answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, "Hello"))
        store.set_answer_prompt(answer_id, 0, [1])
        store.append_to_answer(answer_id, "Hi", [2])
        before = (store.messages(chat_id), store.ledger(answer_id), store.list_chats())

    with Store(path) as store:
        assert (store.messages(chat_id), store.ledger(answer_id), store.list_chats()) == before


def test_an_abandoned_answer_is_interrupted_and_keeps_what_it_had(path: Path) -> None:
    with Store(path) as store:
        chat_id = store.create_chat()
        answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, "Hello"))
        store.set_answer_prompt(answer_id, 0, [1])
        store.append_to_answer(answer_id, "Once", [2])

    with Store(path) as store:
        assert store.recover() == [answer_id]
        message = store.messages(chat_id)[-1]
        assert (message.state, message.text) == (MessageState.INTERRUPTED, "Once")
        assert store.ledger(answer_id).newest_ids == [1, 2]
        assert store.recover() == []


def test_an_answer_being_written_is_not_abandoned(store: Store) -> None:
    chat_id = store.create_chat()
    store.begin_answer(chat_id, store.add_user_message(chat_id, "Hello"))

    assert store.recover() == []


def test_an_interrupted_answer_can_be_continued_and_finished(path: Path) -> None:
    with Store(path) as store:
        chat_id = store.create_chat()
        answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, "Hello"))
        store.append_to_answer(answer_id, "Once", [])
    with Store(path) as store:
        store.recover()

        store.append_to_answer(answer_id, " upon", [])
        assert store.messages(chat_id)[-1].text == "Once upon"
        store.finish_answer(answer_id, StopReason.LENGTH, None)

        assert store.messages(chat_id)[-1].state is MessageState.COMPLETE


def test_a_message_is_replied_to_as_soon_as_there_is_one_below_it(store: Store) -> None:
    chat_id = store.create_chat()
    question = store.add_user_message(chat_id, "why?")
    assert not store.is_replied_to(question)
    store.begin_answer(chat_id, question)
    store.set_tip(chat_id, question)
    assert store.is_replied_to(question)


def cut_off_answer(store: Store, reason: StopReason = StopReason.LENGTH) -> tuple[str, int]:
    chat_id = store.create_chat()
    question = store.add_user_message(chat_id, "why?")
    message_id = store.begin_answer(chat_id, question)
    store.set_answer_prompt(message_id, 0, [1, 2])
    store.append_to_answer(message_id, "Beca\ufffd", [3, 4])
    store.finish_answer(message_id, reason, None)
    return chat_id, message_id


def test_an_answer_that_was_cut_off_is_reopened_and_finished_again(store: Store) -> None:
    chat_id, message_id = cut_off_answer(store)
    store.reopen_answer(message_id)
    reopened = store.messages(chat_id)[-1]
    assert (reopened.text, reopened.state, reopened.stop_reason) == ("Beca", MessageState.PARTIAL, None)
    assert store.recover() == []
    store.append_to_answer(message_id, "use.", [5])
    store.finish_answer(message_id, StopReason.END_OF_GENERATION, None)
    finished = store.messages(chat_id)[-1]
    assert (finished.text, finished.stop_reason) == ("Because.", StopReason.END_OF_GENERATION)
    assert store.ledger(message_id).newest_ids == [1, 2, 3, 4, 5]
    assert store.generated_token_count(message_id) == 3
    assert store.versions(message_id) == [message_id]


def test_a_reopened_answer_that_is_abandoned_keeps_all_it_had(path: Path) -> None:
    with Store(path) as store:
        chat_id, message_id = cut_off_answer(store, StopReason.LOOP)
        store.reopen_answer(message_id)
        store.append_to_answer(message_id, "use.", [5])
    with Store(path) as store:
        assert store.recover() == [message_id]
        found = store.messages(chat_id)[-1]
        assert (found.text, found.state) == ("Because.", MessageState.INTERRUPTED)
        assert found.prompt_is_known
        assert store.ledger(message_id).newest_ids == [1, 2, 3, 4, 5]
        store.reopen_answer(message_id)


def test_an_answer_that_is_being_written_cannot_be_reopened(store: Store) -> None:
    chat_id, message_id = cut_off_answer(store)
    store.reopen_answer(message_id)
    with pytest.raises(StoreError, match="already"):
        store.reopen_answer(message_id)
    with pytest.raises(CallerError, match="no answer"):
        store.reopen_answer(store.messages(chat_id)[0].message_id)


def test_preferences_are_remembered(path: Path) -> None:
    with Store(path) as store:
        assert store.preference("last_model") is None
        store.set_preference("last_model", "/models/a.gguf")
        store.set_preference("last_model", "/models/b.gguf")

    with Store(path) as store:
        assert store.preference("last_model") == "/models/b.gguf"


# --- the program dies ---------------------------------------------------------------------------------------

# Says what is committed after each commit, and goes on as fast as it can: the kill lands anywhere in the
# next step.
WRITER = """
import sys
from pathlib import Path
from tui_llama.chats.store import Store

store = Store(Path(sys.argv[1]))
chat_id = store.create_chat()
print("chat", chat_id, flush=True)
for turn in range(1000):
    question = store.add_user_message(chat_id, f"question {turn}")
    print("question", turn, flush=True)
    answer_id = store.begin_answer(chat_id, question)
    print("answer", answer_id, flush=True)
    store.set_answer_prompt(answer_id, len(store.ledger(question).newest_ids), [turn, turn])
    for piece in range(7):
        store.append_to_answer(answer_id, f"{turn}.{piece} ", [100 + piece])
        print("piece", piece, flush=True)
    store.finish_answer(answer_id, "length", None)
    print("finished", answer_id, flush=True)
"""


def start(script: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True)


def said_before_death(path: Path, lines: int) -> list[list[str]]:
    """Kills a writer with SIGKILL after so many lines; returns all that it had said by then."""
    with start(WRITER, str(path)) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(lines)]
        writer.kill()
        said += writer.stdout.readlines()
        assert writer.wait() == -signal.SIGKILL
    return [line.split() for line in said if line.endswith("\n")]


@pytest.mark.parametrize("lines", [1, 2, 3, 4, 7, 11, 12, 23, *random.Random(1).sample(range(24, 120), 4)])
def test_nothing_committed_is_lost_when_the_program_is_killed(path: Path, lines: int) -> None:
    said = said_before_death(path, lines)
    chat_id = said[0][1]

    with Store(path) as store:
        partial = store.recover()
        messages = store.messages(chat_id)

        questions = [m.text for m in messages if m.role is Role.USER]
        spoken = [f"question {turn}" for kind, turn in said[1:] if kind == "question"]
        assert questions[: len(spoken)] == spoken
        assert len(questions) <= len(spoken) + 1
        pieces = sum(m.text.count(" ") for m in messages if m.role is Role.ASSISTANT)
        promised = sum(kind == "piece" for kind, _ in said)
        assert promised <= pieces <= promised + 1
        assert all(
            m.text == "".join(f"{turn}.{piece} " for piece in range(m.text.count(" ")))
            for turn, m in enumerate(m for m in messages if m.role is Role.ASSISTANT)
        )
        finished = [int(number) for kind, number in said if kind == "finished"]
        assert not set(finished) & set(partial)
        assert {m.state for m in messages} <= {MessageState.COMPLETE, MessageState.INTERRUPTED}
        answers = [m for m in messages if m.role is Role.ASSISTANT]
        if answers and answers[-1].text:
            tokens = [100 + piece for piece in range(answers[-1].text.count(" "))]
            assert store.ledger(answers[-1].message_id).newest_ids[-len(tokens) :] == tokens


# --- more than one at a time --------------------------------------------------------------------------------

HOLDER = """
import sys
from pathlib import Path
from tui_llama.chats.store import Store

store = Store(Path(sys.argv[1]))
chat_id = store.create_chat()
answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, "Hello"))
print(answer_id, flush=True)
sys.stdin.read()
"""

CROWD = """
import sys
from pathlib import Path
from tui_llama.chats.database import connection
from tui_llama.chats.store import Store

connection.BUSY_SECONDS = float(sys.argv[3])
sys.stdin.read()
with Store(Path(sys.argv[1])) as store:
    store.recover()
    chat_id = store.create_chat(title=sys.argv[2])
    for number in range(15):
        answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, f"{number}"))
        store.append_to_answer(answer_id, f"answer {number}", [])
        store.finish_answer(answer_id, "length", None)
        store.list_chats()
"""


def test_an_answer_that_another_program_writes_is_left_alone_until_that_dies(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        answer_id = int(holder.stdout.readline())
        with Store(path) as store:
            assert store.recover() == []

            holder.kill()
            holder.wait()

            assert store.recover() == [answer_id]


def test_several_programs_share_one_new_database(path: Path) -> None:
    crowd = [
        subprocess.Popen(
            [sys.executable, "-c", CROWD, str(path), f"chat {number}", str(HANG_SECONDS)], stdin=subprocess.PIPE
        )
        for number in range(4)
    ]
    for one in crowd:
        assert one.stdin is not None
        one.stdin.close()

    assert [one.wait() for one in crowd] == [0] * 4

    with Store(path) as store:
        assert {chat.title: chat.message_count for chat in store.list_chats()} == {
            f"chat {number}": 30 for number in range(4)
        }
        assert all(
            message.state is MessageState.COMPLETE
            for chat in store.list_chats()
            for message in store.messages(chat.chat_id)
        )


def test_threads_share_one_store(store: Store) -> None:
    chat_ids = [store.create_chat() for _ in range(4)]

    def talk(chat_id: str) -> None:
        for number in range(10):
            answer(store, chat_id, store.add_user_message(chat_id, f"{number}"), f"answer {number}")

    threads = [threading.Thread(target=talk, args=(chat_id,)) for chat_id in chat_ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for chat_id in chat_ids:
        assert [message.text for message in store.messages(chat_id)] == [
            text for number in range(10) for text in (f"{number}", f"answer {number}")
        ]


# --- the file -----------------------------------------------------------------------------------------------


def test_files_and_folder_are_the_users_alone(store: Store, path: Path) -> None:
    store.create_chat()

    assert {file.name for file in path.parent.iterdir()} >= {"chats.sqlite3", "chats.sqlite3-wal"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_database_that_others_could_read_is_closed_to_them(path: Path) -> None:
    Store(path).close()
    path.chmod(0o644)

    Store(path).close()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_database_of_another_program_keeps_its_mode(path: Path) -> None:
    paths.make_private_folder(path.parent)
    with closing(sqlite3.connect(path)) as theirs:
        theirs.execute("CREATE TABLE songs (title TEXT)")
    path.chmod(0o644)

    with pytest.raises(StoreError, match="another program"):
        Store(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_every_commit_goes_through_to_the_disk(store: Store) -> None:
    with store._transaction() as connection:
        pragmas = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        }

    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}


def test_a_database_of_version_1_is_read_as_it_was_written(path: Path) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.executescript((FIXTURES / "chats-version-1.sql").read_text())
    connection.close()

    with Store(path) as store:
        (chat,) = store.list_chats()
        messages = store.messages(chat.chat_id)
        assert [(m.role, m.text, m.state, m.stop_reason) for m in messages] == [
            (Role.USER, "Hello", MessageState.COMPLETE, None),
            (Role.ASSISTANT, "Hi there", MessageState.COMPLETE, StopReason.END_OF_GENERATION),
            (Role.USER, "Tell me a story", MessageState.COMPLETE, None),
            (Role.ASSISTANT, "Once upon", MessageState.PARTIAL, None),
        ]
        assert messages[1].usage == Usage(0, 3, 2, 0.5, 0.25, 5, 64)
        assert store.ledger(messages[-1].message_id).newest_ids == [1, 2, 3, 10, 11, 4, 300, 128255]
        assert store.preference("last_model") == "/models/stories.gguf"


def old_database(path: Path, *created_at: int) -> None:
    """A database of version 1 whose chats were made at these microseconds since 1970."""
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript((FIXTURES / "chats-version-1.sql").read_text())
        for number, microseconds in enumerate(created_at):
            connection.execute("INSERT INTO chats VALUES (?, '', '', '', NULL, ?, 0)", (f"{number:032x}", microseconds))
        connection.commit()


@pytest.mark.parametrize(
    ("zone", "winter", "summer"),
    [
        (BERLIN, "2026-01-15T12:00:00+01:00", "2026-07-15T13:00:00+02:00"),
        (NEW_YORK, "2026-01-15T06:00:00-05:00", "2026-07-15T07:00:00-04:00"),
        (KATHMANDU, "2026-01-15T16:45:00+05:45", "2026-07-15T16:45:00+05:45"),
        ("NST3:30", "2026-01-15T07:30:00-03:30", "2026-07-15T07:30:00-03:30"),
    ],
)
def test_chats_of_version_1_began_when_they_were_made_in_local_time(
    path: Path, clock: Clock, zone: str, winter: str, summer: str
) -> None:
    old_database(path, 1_768_474_800_000_000, 1_784_113_200_999_999)
    clock.set("2026-11-27 12:00:00", zone)
    Store(path).close()
    clock.set("2026-11-27 12:00:00", TOKYO)  # it is fixed now
    with Store(path) as store:
        begun = [date_text(store.chat(f"{number:032x}").begun_at) for number in range(2)]
    assert begun == [winter, summer]


def test_a_beginning_that_cannot_be_read_is_when_the_chat_was_made(path: Path) -> None:
    old_database(path, 1_768_474_800_000_000, -(2**62))
    with Store(path) as store:
        store._connection.sqlite.execute("UPDATE chats SET begun_at = 'long ago' WHERE chat_id = ?", (f"{0:032x}",))
        chat = store.chat(f"{0:032x}")
        assert chat.begun_at == chat.created_at
        assert len(store.list_chats()) == 3


def test_the_beginning_of_a_chat_is_kept_with_its_offset_and_can_be_another(store: Store, clock: Clock) -> None:
    clock.set("2026-11-27 23:58:03", BERLIN)
    chat_id = store.create_chat()
    clock.set("2026-11-28 12:00:00", NEW_YORK)
    assert date_text(store.chat(chat_id).begun_at) == "2026-11-27T23:58:03+01:00"
    store.set_chat_beginning(chat_id, local_now())
    assert date_text(store.chat(chat_id).begun_at) == "2026-11-28T12:00:00-05:00"
    with pytest.raises(CallerError):
        store.set_chat_beginning(chat_id, datetime(2026, 11, 28))


def test_ids_of_version_1_are_of_a_vocabulary_that_nobody_knows(path: Path) -> None:
    old_database(path)
    with Store(path) as store:
        ledger = store.ledger(store.messages(store.list_chats()[0].chat_id)[-1].message_id)
        assert ledger == Ledger({"": (1, 2, 3, 10, 11, 4, 300, 128255)}, "")


def test_an_older_schema_is_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(path) as store:
        chat_id = store.create_chat(title="Old")
    steps = ("ALTER TABLE chats ADD COLUMN color TEXT", "UPDATE chats SET color = 'blue'")
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, steps))

    with Store(path) as store, store._transaction() as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == len(schema.MIGRATIONS)
        assert connection.execute("SELECT chat_id, color FROM chats").fetchone()[:] == (chat_id, "blue")


def test_a_migration_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(path) as store:
        chat_id = store.create_chat(title="Old")
    steps = ("ALTER TABLE chats ADD COLUMN color TEXT", "SELECT * FROM nowhere")
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, steps))
        with pytest.raises(StoreError, match="nowhere"):
            Store(path)

    with Store(path) as store:
        assert store.chat(chat_id).title == "Old"


def test_a_newer_database_is_refused_and_left_alone(path: Path) -> None:
    Store(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS) + 1}")
    connection.close()

    with pytest.raises(StoreError, match="newer version") as caught:
        Store(path)

    assert "Update" in caught.value.hint


@pytest.mark.parametrize("statement", ["CREATE TABLE notes (text)", "PRAGMA application_id = 7"])
def test_a_database_of_another_program_is_refused_and_left_alone(path: Path, statement: str) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.close()
    before = path.read_bytes()

    with pytest.raises(StoreError, match="another program"):
        Store(path)

    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_with_a_hint(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database, but a text of some length" * 100)

    with pytest.raises(StoreError, match="damaged or not a database") as caught:
        Store(path)

    assert "move the file away" in caught.value.hint


def test_a_folder_in_the_place_of_the_file_is_named(path: Path) -> None:
    path.mkdir(parents=True)

    with pytest.raises(StoreError, match="cannot be opened"):
        Store(path)


def test_a_file_in_the_place_of_the_folder_is_named(path: Path) -> None:
    path.parent.write_text("")

    with pytest.raises(StoreError, match="Not a directory"):
        Store(path)


def test_a_full_disk_loses_only_what_was_not_written(store: Store) -> None:
    chat_id = store.create_chat()
    store.add_user_message(chat_id, "Hello")
    with store._transaction() as connection:
        connection.execute("PRAGMA max_page_count = 1")

    with pytest.raises(StoreError, match="the disk is full") as caught:
        store.add_user_message(chat_id, "long " * 20000)

    assert "Free some space" in caught.value.hint
    assert [message.text for message in store.messages(chat_id)] == ["Hello"]


def test_a_database_that_cannot_be_written_is_named(store: Store) -> None:
    with store._transaction("DEFERRED") as connection:
        connection.execute("PRAGMA query_only = ON")

    with pytest.raises(StoreError, match="cannot be written"):
        store.create_chat()


def test_a_database_that_stays_locked_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_llama.chats.database.connection.BUSY_SECONDS", 0.05)
    with Store(path) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(StoreError, match="in use by another program"):
            store.create_chat()

        other.close()
        assert store.create_chat()


def test_a_closed_store_says_that_it_was_used_wrongly(path: Path) -> None:
    store = Store(path)
    store.close()
    store.close()

    with pytest.raises(CallerError, match="closed"):
        store.list_chats()


def test_damage_anywhere_is_an_error_and_never_a_crash(path: Path, tmp_path: Path) -> None:
    with Store(path) as store:
        for number in range(8):
            chat_id = store.create_chat()
            answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, "Hello " * 200))
            store.set_answer_prompt(answer_id, 0, range(200))
            store.append_to_answer(answer_id, "Hi", [number])
    whole = path.read_bytes()
    chance = random.Random(7)
    refused = 0
    for number in range(150):
        damaged = tmp_path / f"{number}" / "chats.sqlite3"
        damaged.parent.mkdir()
        content = bytearray(whole)
        place, length = chance.randrange(len(whole)), chance.choice((1, 8, 300))
        content[place : place + length] = chance.randbytes(min(length, len(whole) - place))
        damaged.write_bytes(content)
        refused += not everything_reads(damaged)
        shutil.rmtree(damaged.parent)

    assert refused > 10


def everything_reads(path: Path) -> bool:
    try:
        with Store(path) as store:
            store.recover()
            for chat in store.list_chats():
                for message in store.messages(chat.chat_id):
                    store.ledger(message.message_id)
    except StoreError as error:
        assert "\n" not in str(error)
        return False
    return True


def test_tokens_that_are_missing_are_damage(store: Store) -> None:
    chat_id = store.create_chat()
    answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, "Hello"))
    with store._transaction() as connection:
        connection.execute("UPDATE messages SET kept_tokens = 9 WHERE message_id = ?", (answer_id,))

    with pytest.raises(StoreError, match="damaged"):
        store.ledger(answer_id)


# --- any order of calls -------------------------------------------------------------------------------------


class StoreAgainstModel(RuleBasedStateMachine):
    """The store beside plain dictionaries, with the program ending at any moment."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store(Path(self.folder.name) / "chats.sqlite3")
        self.chat_id = self.store.create_chat()
        self.parents: dict[int, int | None] = {}
        self.texts: dict[int, str] = {}
        self.ledgers: dict[int | None, list[int]] = {None: []}
        self.open_answer: int | None = None
        self.answers: list[int] = []
        self.tip: int | None = None

    def add(self, message_id: int, parent: int | None, text: str) -> None:
        self.parents[message_id], self.texts[message_id] = parent, text
        self.ledgers[message_id] = list(self.ledgers[parent])
        self.tip = message_id

    @rule(text=st.text(max_size=5))
    def speak(self, text: str) -> None:
        self.add(self.store.add_user_message(self.chat_id, text), self.tip, text)

    @precondition(lambda self: self.tip is not None and self.open_answer is None)
    @rule(data=st.data(), prompt=st.lists(st.integers(0, 9), max_size=4))
    def answer(self, data: st.DataObject, prompt: list[int]) -> None:
        assert self.tip is not None
        parent = self.tip
        self.open_answer = self.store.begin_answer(self.chat_id, parent)
        self.answers.append(self.open_answer)
        self.add(self.open_answer, parent, "")
        kept = data.draw(st.integers(0, len(self.ledgers[parent])))
        self.store.set_answer_prompt(self.open_answer, kept, prompt)
        self.ledgers[self.open_answer] = self.ledgers[parent][:kept] + prompt

    @precondition(lambda self: self.open_answer is not None)
    @rule(text=st.text(max_size=3), ids=st.lists(st.integers(0, 99), max_size=3))
    def grow(self, text: str, ids: list[int]) -> None:
        assert self.open_answer is not None
        # A message may already hang below the answer: it was added while the answer was being written.
        if self.open_answer in self.parents.values():
            return
        self.store.append_to_answer(self.open_answer, text, ids)
        self.texts[self.open_answer] += text
        self.ledgers[self.open_answer] += ids

    @precondition(lambda self: self.open_answer is not None)
    @rule()
    def finish(self) -> None:
        assert self.open_answer is not None
        self.store.finish_answer(self.open_answer, StopReason.LENGTH, None)
        self.open_answer = None

    @precondition(lambda self: self.open_answer is None and bool(self.answers))
    @rule(data=st.data())
    def reopen(self, data: st.DataObject) -> None:
        answer_id = data.draw(st.sampled_from(self.answers))
        self.store.reopen_answer(answer_id)
        self.texts[answer_id] = self.texts[answer_id].rstrip("\ufffd")
        self.open_answer = answer_id

    @precondition(lambda self: bool(self.parents))
    @rule(data=st.data())
    def go_elsewhere(self, data: st.DataObject) -> None:
        self.tip = data.draw(st.sampled_from([None, *self.parents]))
        self.store.set_tip(self.chat_id, self.tip)

    @rule()
    def come_back(self) -> None:
        path = self.store.path
        self.store.close()
        self.store = Store(path)
        assert self.store.recover() == ([] if self.open_answer is None else [self.open_answer])
        self.open_answer = None

    @rule()
    def compare(self) -> None:
        expected = []
        message_id = self.tip
        while message_id is not None:
            expected.append((message_id, self.texts[message_id]))
            message_id = self.parents[message_id]
        seen = [(message.message_id, message.text) for message in self.store.messages(self.chat_id)]
        assert seen == expected[::-1]
        if self.tip is not None:
            assert self.store.ledger(self.tip).newest_ids == self.ledgers[self.tip]

    def teardown(self) -> None:
        self.compare()
        self.store.close()
        self.folder.cleanup()


StoreAgainstModel.TestCase.settings = settings(max_examples=25, stateful_step_count=25)
TestStoreAgainstModel = StoreAgainstModel.TestCase
