"""Answers while they are written, finished, left by a program that died, and opened again."""

from pathlib import Path

import pytest

from tests.fakes.stored_answers import USAGE, answer
from tui_llama.chat import StopReason
from tui_llama.chats.store import Store
from tui_llama.chats.stored import MessageState
from tui_llama.errors import CallerError, StoreError


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
        with pytest.raises(CallerError, match="not an unfinished answer"):
            store.append_to_answer(message_id, " there", [])
        with pytest.raises(CallerError, match="not an unfinished answer"):
            store.finish_answer(message_id, StopReason.LENGTH, None)


# --- coming back ---


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
    with pytest.raises(CallerError, match="not an answer"):
        store.reopen_answer(store.messages(chat_id)[0].message_id)
