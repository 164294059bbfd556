"""A chat is found by its id, and known by its tokens."""

import pytest

from tui_llama import paths
from tui_llama.chat import StopReason
from tui_llama.chats.find_chat import find_chat
from tui_llama.chats.store import Store
from tui_llama.engine.requests import CompleteRequest
from tui_llama.errors import StoreError


def make_chat(store: Store, token_ids: tuple[int, ...]) -> str:
    chat_id = store.create_chat(model_path="model.gguf")
    answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, "hello"))
    store.set_answer_prompt(answer_id, 0, token_ids)
    return chat_id


def test_a_chat_is_found_by_the_beginning_of_its_id() -> None:
    with Store(paths.database_file()) as store:
        chat_id = make_chat(store, (1, 2, 3))
    found = [find_chat(name) for name in (chat_id, chat_id[:8], chat_id[:5].upper())]
    assert [(chat.chat_id, chat.model_path) for chat in found] == [(chat_id, "model.gguf")] * 3
    assert [chat.ledger.newest_ids for chat in found] == [[1, 2, 3]] * 3


def test_a_chat_that_is_not_there_is_an_error() -> None:
    with pytest.raises(StoreError, match="no chats yet"):
        find_chat("abc")
    assert not paths.database_file().exists()
    with Store(paths.database_file()) as store:
        make_chat(store, (1,))
    with pytest.raises(StoreError, match="no chat id begins with 'xyz'"):
        find_chat("xyz")


def test_a_beginning_that_several_chats_have_is_an_error_with_a_hint() -> None:
    with Store(paths.database_file()) as store:
        make_chat(store, (1,))
        make_chat(store, (1,))
    with pytest.raises(StoreError, match="several chat ids") as raised:
        find_chat("")
    assert raised.value.hint


def test_a_chat_that_no_model_has_read_is_an_error() -> None:
    with Store(paths.database_file()) as store:
        chat_ids = [store.create_chat(), store.create_chat()]
        store.add_user_message(chat_ids[1], "hello")
    for chat_id in chat_ids:
        with pytest.raises(StoreError, match="no model has read"):
            find_chat(chat_id)


def test_a_chat_that_only_a_server_has_held_goes_on_from_its_text() -> None:
    with Store(paths.database_file()) as store:
        chat_id = store.create_chat()
        answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, "hello"))
        store.append_to_answer(answer_id, "from afar", ())
        store.finish_answer(answer_id, StopReason.LENGTH, None)
    found = find_chat(chat_id)
    request = found.continued(CompleteRequest(0, ""), "bytes")
    assert (request.ledger, request.answer_tokens) == ((), 0)
    assert [message.text for message in request.messages] == ["hello", "from afar"]


@pytest.mark.parametrize("end", ["nothing", "an unanswered message", "an answer that failed before its first word"])
def test_an_answer_of_a_server_is_not_skipped_whatever_came_to_nothing_behind_it(end: str) -> None:
    with Store(paths.database_file()) as store:
        chat_id = make_chat(store, (1, 2, 3))
        store.append_to_answer(2, "Hi", (4,))
        store.finish_answer(2, StopReason.END_OF_GENERATION, None)
        served_id = store.begin_answer(chat_id, store.add_user_message(chat_id, "and there?"))
        store.append_to_answer(served_id, "from afar", ())
        store.finish_answer(served_id, StopReason.LENGTH, None)
        if end != "nothing":
            message_id = store.add_user_message(chat_id, "more")
        if end.startswith("an answer"):
            store.finish_answer(store.begin_answer(chat_id, message_id), StopReason.FAILED, None)
    request = find_chat(chat_id).continued(CompleteRequest(0, ""), "")
    assert [message.text for message in request.messages] == ["hello", "Hi", "and there?", "from afar"]
    assert (request.answer_tokens, request.answer_has_ended) == (0, False)


def test_behind_an_answer_with_tokens_a_failed_one_without_any_changes_nothing() -> None:
    with Store(paths.database_file()) as store:
        chat_id = make_chat(store, (1, 2, 3))
        store.append_to_answer(2, "Hi", (4, 5))
        store.finish_answer(2, StopReason.END_OF_GENERATION, None)
        failed_id = store.begin_answer(chat_id, store.add_user_message(chat_id, "more"))
        store.finish_answer(failed_id, StopReason.FAILED, None)
    request = find_chat(chat_id).continued(CompleteRequest(0, ""), "")
    assert (request.ledger, request.messages) == ((1, 2, 3, 4, 5), ())
    assert (request.answer_tokens, request.answer_has_ended) == (2, True)


def test_an_answer_that_was_stopped_before_its_first_word_is_gone_on_with_behind_its_prompt() -> None:
    with Store(paths.database_file()) as store:
        chat_id = make_chat(store, (1, 2, 3))
    assert [message.text for message in find_chat(chat_id).messages] == ["hello", ""]
