"""What is attached to messages, as chats remember it."""

from pathlib import Path

from tui_llama.attachments.prompt_text import with_attachments
from tui_llama.chat import Attachment, ChatMessage, Role, StopReason
from tui_llama.chats.journal import Journal
from tui_llama.chats.open_chat import OpenChat
from tui_llama.chats.store import Store

NOTES = Attachment("notes.txt", "one\ntwo\n", "/home/me/notes.txt", "ab" * 32)
PASTE = Attachment("pasted text", "long\n" * 3)


async def test_a_chat_comes_back_with_what_was_attached(path: Path) -> None:
    with Store(path) as store:
        journal = Journal(store, lambda _error: None)
        chat = OpenChat(journal)
        chat.add_message("What is this?", (NOTES, PASTE))
        chat.begin_answer()
        chat.append("Notes.", ())
        chat.finish_answer(StopReason.END_OF_GENERATION, None)
        await journal.settle()

        opened = await OpenChat.restore(journal, chat.chat_id or "")

        assert [entry.attachments for entry in opened.entries] == [(NOTES, PASTE), ()]
        assert opened.entries == chat.entries
        assert opened.messages() == (
            ChatMessage(Role.USER, with_attachments("What is this?", (NOTES, PASTE))),
            ChatMessage(Role.ASSISTANT, "Notes."),
        )
        await journal.close()


async def test_another_version_has_its_own_attachments_and_the_old_one_keeps_its(path: Path) -> None:
    with Store(path) as store:
        journal = Journal(store, lambda _error: None)
        chat = OpenChat(journal)
        chat.add_message("What is this?", (NOTES,))
        chat.replace_message(0, "And this?", (PASTE,))
        await journal.settle()

        versions = store.all_messages(chat.chat_id or "")

        assert [(message.text, message.attachments) for message in versions] == [
            ("What is this?", (NOTES,)),
            ("And this?", (PASTE,)),
        ]
        await journal.close()


def test_a_chat_that_begins_with_nothing_but_a_file_is_named_after_it(store: Store) -> None:
    chat_id = store.create_chat()

    store.add_user_message(chat_id, "", attachments=(NOTES,))

    assert store.chat(chat_id).title == "notes.txt"


def test_characters_that_are_none_do_not_keep_a_message_from_being_stored(store: Store) -> None:
    chat_id = store.create_chat()

    store.add_user_message(chat_id, "", attachments=(Attachment("a\udcff", "b\ud800", "/tmp/a\udcff", "00"),))

    assert store.messages(chat_id)[0].attachments == (Attachment("a\ufffd", "b\ufffd", "", "00"),)
