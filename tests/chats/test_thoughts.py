"""What a model thought before its answer is stored with it, piece by piece, and comes back with it."""

from pathlib import Path

from tui_llama.chat import ChatMessage, Role, StopReason, Usage
from tui_llama.chats.export import save_chats
from tui_llama.chats.journal import Journal
from tui_llama.chats.open_chat import OpenChat
from tui_llama.chats.store import Store


async def test_a_chat_comes_back_with_its_thoughts(path: Path) -> None:
    with Store(path) as store:
        journal = Journal(store, lambda _error: None)
        chat = OpenChat(journal)
        chat.add_message("Why?")
        chat.begin_answer()
        chat.append("", (), "Let me ")
        chat.flush()
        chat.append("", (), "see.")
        chat.append("Because.", ())
        chat.finish_answer(StopReason.END_OF_GENERATION, Usage(thought_tokens=4, thought_seconds=1.5))
        await journal.settle()

        opened = await OpenChat.restore(journal, chat.chat_id or "")

        assert opened.entries == chat.entries
        assert opened.messages()[-1] == ChatMessage(Role.ASSISTANT, "Because.", thought="Let me see.")
        await journal.close()


def test_a_thought_under_way_reads_as_far_as_it_came(store: Store) -> None:
    chat_id = store.create_chat()
    answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, "Why?"))
    store.append_to_answer(answer_id, "", [], thought="Let me ")
    store.append_to_answer(answer_id, "", [], thought="see")

    message = store.messages(chat_id)[-1]

    assert (message.thought, message.text) == ("Let me see", "")


async def test_an_answer_that_goes_on_keeps_the_cost_of_its_thought(path: Path) -> None:
    with Store(path) as store:
        journal = Journal(store, lambda _error: None)
        chat = OpenChat(journal)
        chat.add_message("Why?")
        chat.begin_answer()
        chat.append("", (), "Let me\ufffd")
        chat.finish_answer(StopReason.STOPPED, Usage(thought_tokens=4, thought_seconds=1.5))
        assert chat.reopen_answer().thought == "Let me"
        chat.append("Because.", (), " see.")
        entry = chat.finish_answer(StopReason.END_OF_GENERATION, Usage(thought_tokens=2, thought_seconds=0.5))
        await journal.settle()

        assert entry.usage == Usage(thought_tokens=6, thought_seconds=2.0)
        stored = store.messages(chat.chat_id or "")[-1]
        assert (stored.thought, stored.text, stored.usage) == ("Let me see.", "Because.", entry.usage)
        await journal.close()


def test_an_exported_thought_is_a_quotation_before_its_answer(store: Store, tmp_path: Path) -> None:
    chat_id = store.create_chat(title="Llamas")
    answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, "Why?"))
    store.append_to_answer(answer_id, "Because.", [], thought="One.\n\nTwo.")
    store.finish_answer(answer_id, StopReason.END_OF_GENERATION, None)

    written = save_chats([store], str(tmp_path / "chats.md")).read_text()

    assert written.endswith("## Answer\n\n> One.\n>\n> Two.\n\nBecause.\n")


def test_no_tokens_write_a_thought_that_a_server_has_written(store: Store) -> None:
    chat_id = store.create_chat()
    question = store.add_user_message(chat_id, "why?")
    answer = store.begin_answer(chat_id, question)
    store.set_answer_prompt(answer, 0, (1, 2), "a")
    store.append_to_answer(answer, "so", (3,))
    store.finish_answer(answer, StopReason.LENGTH, None)
    thought = store.begin_answer(chat_id, store.add_user_message(chat_id, "really?"))
    store.append_to_answer(thought, "", (), thought="hm")
    assert not store.ledger(thought).writes_end_in("a")
    store.finish_answer(thought, StopReason.STOPPED, None)
    assert not store.ledger(thought).writes_end_in("a")
