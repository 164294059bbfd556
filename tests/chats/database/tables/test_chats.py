"""Chats: titles, models, beginnings, the list of all, and deleting without a trace."""

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from tests.fakes.clock import BERLIN, NEW_YORK, Clock
from tui_llama.chat import AnswerBounds, ChatChoices, Thinking
from tui_llama.chats.chat_date import date_text, local_now
from tui_llama.chats.database.file import IN_MEMORY
from tui_llama.chats.store import Store
from tui_llama.chats.stored_text import TITLE_LENGTH
from tui_llama.errors import CallerError, StoreError


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


def test_a_very_long_chat_can_be_deleted(store: Store, path: Path) -> None:
    chat_id = store.create_chat()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO messages (message_id, chat_id, parent_id, role, state, text,"
            " prompt_ids, generated_ids, created_at)"
            " VALUES (?, ?, ?, 'user', 'complete', '', x'', x'', 0)",
            [(number, chat_id, number - 1 or None) for number in range(1, 3001)],
        )

    store.delete_chat(chat_id)

    assert store.list_chats() == []


@pytest.mark.parametrize("method", ["chat", "messages", "delete_chat"])
def test_a_chat_that_is_gone_is_named_so(store: Store, method: str) -> None:
    with pytest.raises(StoreError, match="no longer exists"):
        getattr(store, method)("0" * 32)


def test_the_beginning_of_a_chat_is_kept_with_its_offset_and_can_be_another(store: Store, clock: Clock) -> None:
    clock.set("2026-11-27 23:58:03", BERLIN)
    chat_id = store.create_chat()
    clock.set("2026-11-28 12:00:00", NEW_YORK)
    assert date_text(store.chat(chat_id).begun_at) == "2026-11-27T23:58:03+01:00"
    store.set_chat_beginning(chat_id, local_now())
    assert date_text(store.chat(chat_id).begun_at) == "2026-11-28T12:00:00-05:00"
    with pytest.raises(CallerError):
        store.set_chat_beginning(chat_id, datetime(2026, 11, 28))


def test_what_was_chosen_for_a_chat_is_kept(store: Store) -> None:
    choices = ChatChoices(
        {"temperature": 0.2, "seed": None}, Thinking.LOW, 300, "Sure:\ud800", "pirate", AnswerBounds("{}")
    )
    chat_id = store.create_chat(choices=choices)
    kept = msgspec.structs.replace(choices, reply_start="Sure:\ufffd")

    assert store.chat(chat_id).choices == kept
    store.set_chat_choices(chat_id, ChatChoices())
    assert store.chat(chat_id).choices == ChatChoices()
    store.set_chat_choices(chat_id, choices)
    with closing(Store(IN_MEMORY)) as memory:
        store.copy_chat(chat_id, memory)
        assert memory.chat(chat_id).choices == kept


def test_a_chat_gets_another_system_prompt(store: Store) -> None:
    chat_id = store.create_chat(system_prompt="Be brief.")

    store.set_chat_system_prompt(chat_id, "Be \udcff long.")

    assert store.chat(chat_id).system_prompt == "Be \ufffd long."


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"thinking": "very"}', "\x00"])
def test_choices_that_cannot_be_read_are_named_as_damage(store: Store, path: Path, damage: str) -> None:
    chat_id = store.create_chat()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE chats SET choices = ?", (damage,))

    with pytest.raises(StoreError, match="damaged"):
        store.chat(chat_id)
    assert len(store.list_chats()) == 1
