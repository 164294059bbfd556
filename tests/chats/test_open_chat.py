"""The chat on the screen and its record in the store."""

from collections.abc import AsyncIterator

import pytest

from tui_llama import paths
from tui_llama.chat import ChatChoices, ChatMessage, Role, StopReason, Usage
from tui_llama.chats.database.file import IN_MEMORY
from tui_llama.chats.journal import Journal
from tui_llama.chats.ledger import Ledger
from tui_llama.chats.open_chat import OpenChat
from tui_llama.chats.store import Store
from tui_llama.chats.stored import MessageState
from tui_llama.errors import StoreError

USAGE = Usage(generated_tokens=2, context_used=9)


@pytest.fixture
def failures() -> list[Exception]:
    return []


@pytest.fixture
async def journal(store: Store, failures: list[Exception]) -> AsyncIterator[Journal]:
    opened = Journal(store, failures.append)
    yield opened
    await opened.close()


def ids(ledger: Ledger) -> tuple[int, ...]:
    return tuple(ledger.newest_ids)


async def answered(chat: OpenChat, question: str, answer: str) -> None:
    chat.add_message(question)
    chat.begin_answer()
    chat.set_prompt(0, (1, 2))
    chat.append(answer, (3, 4))
    chat.finish_answer(StopReason.END_OF_GENERATION, USAGE)


async def test_a_chat_is_made_with_its_first_message_and_titled_after_it(store: Store, journal: Journal) -> None:
    chat = OpenChat(journal, model_path="/models/m.gguf", system_prompt="Be brief.")
    await journal.settle()
    assert store.list_chats() == []
    chat.add_message("What is\na llama?")
    await journal.settle()
    assert chat.chat_id is not None
    stored = store.chat(chat.chat_id)
    assert (stored.title, stored.model_path, stored.system_prompt) == (
        "What is a llama?",
        "/models/m.gguf",
        "Be brief.",
    )
    assert stored.title == chat.title


async def test_the_next_prompt_will_have_the_whole_path_and_what_was_fed_on_it(journal: Journal) -> None:
    chat = OpenChat(journal, system_prompt="Be brief.")
    assert (chat.messages(), ids(await chat.whole_ledger())) == ((ChatMessage(Role.SYSTEM, "Be brief."),), ())
    await answered(chat, "hi", "yes")
    assert chat.messages() == (
        ChatMessage(Role.SYSTEM, "Be brief."),
        ChatMessage(Role.USER, "hi"),
        ChatMessage(Role.ASSISTANT, "yes"),
    )
    assert ids(await chat.whole_ledger()) == (1, 2, 3, 4)


async def test_a_chat_comes_back_as_it_was(journal: Journal) -> None:
    chat = OpenChat(journal, system_prompt="Be brief.")
    await answered(chat, "one", "two")
    await journal.settle()
    assert chat.chat_id is not None
    again = await OpenChat.restore(journal, chat.chat_id)
    assert again.entries == chat.entries
    assert again.title == "one"
    assert again.prompt_messages() == (
        ChatMessage(Role.SYSTEM, "Be brief."),
        ChatMessage(Role.USER, "one"),
    )


async def test_the_prompt_is_what_was_said_before_the_open_answer(journal: Journal) -> None:
    chat = OpenChat(journal)
    await answered(chat, "one", "two")
    chat.add_message("three")
    chat.begin_answer()
    assert [message.text for message in chat.prompt_messages()] == ["one", "two", "three"]
    assert ids(await chat.ledger()) == (1, 2, 3, 4)


async def test_pieces_are_written_by_a_flush(store: Store, journal: Journal) -> None:
    chat = OpenChat(journal)
    chat.add_message("one")
    entry = chat.begin_answer()
    chat.append("half", ())
    await journal.settle()
    assert chat.chat_id is not None
    assert store.messages(chat.chat_id)[-1].text == ""
    chat.flush()
    await journal.settle()
    assert store.messages(chat.chat_id)[-1].text == "half"
    assert entry.text == "half"


async def test_another_version_of_a_message_leaves_what_followed_in_the_store(store: Store, journal: Journal) -> None:
    chat = OpenChat(journal, system_prompt="Be brief.")
    await answered(chat, "one", "two")
    await answered(chat, "three", "four")
    assert chat.messages_before(2) == chat.messages()[:3]
    assert ids(await chat.ledger_before(2)) == (1, 2, 3, 4)
    assert ids(await chat.ledger_before(0)) == ()
    entry = chat.replace_message(2, "third")
    assert [each.text for each in chat.entries] == ["one", "two", "third"]
    assert (entry.version, entry.version_count) == (2, 2)
    await journal.settle()
    assert chat.chat_id is not None
    assert [each.text for each in store.messages(chat.chat_id)] == ["one", "two", "third"]
    assert [branch.question for branch in await chat.branches()] == ["third", "three"]
    again = await OpenChat.restore(journal, chat.chat_id)
    assert again.entries == chat.entries
    await again.turn_to_branch((await again.branches())[1].tip_message_id)
    assert [each.text for each in again.entries] == ["one", "two", "three", "four"]
    assert (again.entries[2].version, again.entries[2].version_count) == (1, 2)


async def test_the_first_message_can_have_another_version_and_the_title_stays(store: Store, journal: Journal) -> None:
    chat = OpenChat(journal)
    await answered(chat, "one", "two")
    chat.replace_message(0, "first")
    chat.begin_answer()
    assert chat.prompt_messages() == (ChatMessage(Role.USER, "first"),)
    assert ids(await chat.ledger()) == ()
    await journal.settle()
    assert chat.chat_id is not None
    assert store.chat(chat.chat_id).title == chat.title == "one"
    assert [each.text for each in store.messages(chat.chat_id)] == ["first", ""]


async def test_a_chat_that_is_not_in_the_store_has_no_branches(journal: Journal) -> None:
    assert await OpenChat(journal).branches() == []


async def test_an_answer_goes_on_as_the_same_message(store: Store, journal: Journal) -> None:
    chat = OpenChat(journal)
    await answered(chat, "why?", "Beca\ufffd")
    asked_about = chat.entries[-1]
    assert chat.reopen_answer() is asked_about
    assert (asked_about.text, asked_about.stop_reason) == ("Beca", None)
    ledger, own_tokens = await chat.ledger_to_go_on()
    assert (ids(ledger), own_tokens) == ((1, 2, 3, 4), 2)
    chat.append("use.", (77,))
    chat.flush()
    longer, own_tokens = await chat.ledger_to_go_on()
    assert (ids(longer), own_tokens) == ((1, 2, 3, 4, 77), 3)
    chat.finish_answer(StopReason.LENGTH, None)
    assert ids(await chat.whole_ledger()) == (1, 2, 3, 4, 77)
    assert chat.chat_id is not None
    assert [message.text for message in store.messages(chat.chat_id)] == ["why?", "Because."]
    restored = await OpenChat.restore(journal, chat.chat_id)
    assert restored.ends_in_answer
    assert restored.has_prompt


async def test_an_answer_that_another_program_writes_is_not_written_to(
    store: Store, journal: Journal, failures: list[Exception]
) -> None:
    chat = OpenChat(journal)
    await answered(chat, "why?", "Beca")
    await journal.settle()
    message_id = chat.entries[-1].message_id
    assert message_id is not None
    store.reopen_answer(message_id)
    chat.reopen_answer()
    with pytest.raises(StoreError, match="already being written"):
        await chat.ledger_to_go_on()
    chat.finish_answer(StopReason.FAILED, None)
    await journal.settle()
    assert failures == []
    assert chat.chat_id is not None
    stored = store.messages(chat.chat_id)[-1]
    assert (stored.text, stored.state) == ("Beca", MessageState.PARTIAL)
    store.append_to_answer(message_id, "use", (5,))
    store.finish_answer(message_id, StopReason.LENGTH, None)
    chat.reopen_answer()
    with pytest.raises(StoreError, match="text of this answer is different"):
        await chat.ledger_to_go_on()
    chat.finish_answer(StopReason.FAILED, None)
    assert chat.chat_id is not None
    again = await OpenChat.restore(journal, chat.chat_id)
    again.reopen_answer()
    ledger, own_tokens = await again.ledger_to_go_on()
    assert (ids(ledger), own_tokens) == ((1, 2, 3, 4, 5), 3)


async def test_an_answer_set_aside_stays_in_the_store_as_a_version(store: Store, journal: Journal) -> None:
    chat = OpenChat(journal)
    await answered(chat, "one", "first")
    chat.set_answer_aside()
    assert chat.last_answer is None
    entry = chat.begin_answer()
    chat.finish_answer(StopReason.STOPPED, None)
    await journal.settle()
    assert (entry.version, entry.version_count) == (2, 2)
    assert entry.message_id is not None
    assert len(store.versions(entry.message_id)) == 2


async def test_there_is_nothing_to_set_aside_after_a_message(journal: Journal) -> None:
    chat = OpenChat(journal)
    assert chat.set_answer_aside() is None
    chat.add_message("one")
    assert chat.set_answer_aside() is None
    assert len(chat.entries) == 1


async def test_a_failing_store_is_reported_and_memory_goes_on(
    store: Store, journal: Journal, failures: list[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> str:
        raise StoreError("The disk is full.")

    monkeypatch.setattr(store, "create_chat", full)
    chat = OpenChat(journal)
    await answered(chat, "one", "two")
    assert [entry.text for entry in chat.entries] == ["one", "two"]
    chat.add_message("three")
    chat.begin_answer()
    assert ids(await chat.ledger()) == (1, 2, 3, 4)
    assert chat.stored_owner_id is None
    assert {str(failure) for failure in failures} == {"The disk is full."}


async def test_a_title_given_before_the_first_message_is_kept(store: Store, journal: Journal) -> None:
    chat = OpenChat(journal)
    chat.rename("Mine")
    chat.add_message("one")
    await journal.settle()
    assert [summary.title for summary in store.list_chats()] == ["Mine"]


async def test_an_incognito_chat_has_all_that_others_have_until_it_is_left(failures: list[Exception]) -> None:
    chat = OpenChat(Journal(Store(IN_MEMORY), failures.append, is_incognito=True))
    assert chat.is_incognito
    await answered(chat, "one", "two")
    chat.set_answer_aside()
    chat.begin_answer()
    chat.finish_answer(StopReason.END_OF_GENERATION, USAGE)
    assert await chat.turn_to_version(-1)
    chat.add_message("three")
    chat.begin_answer()
    assert ids(await chat.ledger()) == (1, 2, 3, 4)
    assert len(await chat.branches()) == 2
    assert chat.chat_id is not None
    assert (chat.owner_id, chat.stored_owner_id) == (None, None)
    await chat.leave()
    assert not paths.database_file().parent.exists()
    with pytest.raises(RuntimeError):  # its thread has ended
        await chat.branches()
    assert failures == []


async def test_leaving_a_chat_that_is_kept_changes_nothing(store: Store, journal: Journal) -> None:
    chat = OpenChat(journal)
    assert not chat.is_incognito
    await answered(chat, "one", "two")
    await chat.leave()
    await journal.settle()
    assert chat.stored_owner_id == chat.owner_id == chat.chat_id == store.list_chats()[0].chat_id


# --- vocabularies ---


async def test_tokens_of_another_vocabulary_replace_those_of_an_answer_that_goes_on(
    store: Store, journal: Journal, failures: list[Exception]
) -> None:
    chat = OpenChat(journal)
    await answered(chat, "why?", "Beca")
    chat.reopen_answer()
    chat.set_answer_tokens(0, (900, 901, 902), "other", 1)
    chat.append("use", (903,))
    chat.finish_answer(StopReason.LENGTH, None)
    ledger = await chat.whole_ledger()
    assert ledger == Ledger({"other": (900, 901, 902, 903)}, "other")
    assert failures == []


async def test_tokens_never_stand_behind_those_of_another_vocabulary_whatever_the_store_does(
    store: Store, journal: Journal, failures: list[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = OpenChat(journal)
    await answered(chat, "why?", "Beca")
    chat.reopen_answer()
    await journal.settle()

    def fail(*_: object) -> None:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(store, "set_answer_tokens", fail)
        chat.set_answer_tokens(0, (900, 901, 902), "other", 1)
        await journal.settle()
    chat.append("use", (903,))
    chat.finish_answer(StopReason.LENGTH, None)
    assert chat.chat_id is not None
    tip = store.messages(chat.chat_id)[-1].message_id
    assert await journal.try_again()
    assert store.ledger(tip) == await chat.whole_ledger() == Ledger({"other": (900, 901, 902, 903)}, "other")
    assert [str(failure) for failure in failures] == ["the disk is full"]


# --- answers without tokens ---


async def test_an_answer_of_a_server_adds_nothing_to_the_ledger_and_is_known_to_be_missing(
    store: Store, journal: Journal
) -> None:
    chat = OpenChat(journal)
    await answered(chat, "first", "one")
    chat.add_message("second")
    chat.begin_answer()
    chat.append("from afar", ())
    chat.finish_answer(StopReason.LENGTH, None)
    ledger = await chat.whole_ledger()
    assert (ids(ledger), ledger.lacks_end, chat.has_prompt) == ((1, 2, 3, 4), True, False)
    assert not (await chat.ledger_before(3)).lacks_end
    await journal.settle()
    assert store.ledger(4) == ledger


@pytest.mark.parametrize("is_opened_again", [False, True])
async def test_where_a_server_goes_on_with_an_answer_its_tokens_count_to_the_prompt(
    store: Store, journal: Journal, is_opened_again: bool
) -> None:
    chat = OpenChat(journal)
    await answered(chat, "first", "one")
    chat.reopen_answer()
    chat.end_answer_tokens()
    chat.append(" more", ())
    chat.finish_answer(StopReason.LENGTH, None)
    await journal.settle()
    if is_opened_again:
        assert chat.chat_id is not None
        chat = await OpenChat.restore(journal, chat.chat_id)
    assert not chat.has_prompt
    chat.reopen_answer()
    ledger, answer_tokens = await chat.ledger_to_go_on()
    assert (ids(ledger), answer_tokens, ledger.lacks_end) == ((1, 2, 3, 4), 0, True)
    assert (store.messages(store.list_chats()[0].chat_id)[-1].text, store.generated_token_count(2)) == ("one more", 0)

    chat.set_answer_tokens(2, (3, 4, 5), "", 3)
    chat.append("!", (6,))
    chat.finish_answer(StopReason.END_OF_GENERATION, None)
    ledger = await chat.whole_ledger()
    assert (ids(ledger), ledger.lacks_end, chat.has_prompt) == ((1, 2, 3, 4, 5, 6), False, True)
    await journal.settle()
    assert store.generated_token_count(2) == 4


async def test_the_tokens_of_an_answer_that_no_server_has_written_on_end_at_its_text(journal: Journal) -> None:
    chat = OpenChat(journal)
    chat.add_message("first")
    chat.begin_answer()
    assert not (await chat.whole_ledger()).lacks_end  # nothing is written, so nothing is missing
    chat.end_answer_tokens()  # of an answer without tokens, there are none to count
    chat.append("from afar", ())
    chat.finish_answer(StopReason.LENGTH, None)
    assert (await chat.whole_ledger()).by_vocabulary == {}


async def test_what_is_chosen_for_a_chat_comes_back_with_it(store: Store, journal: Journal) -> None:
    chat = OpenChat(journal, system_prompt="Be brief.")
    chat.set_choices(ChatChoices({"top_k": 3}))
    chat.set_system_prompt("Be long.")
    await journal.settle()
    assert store.list_chats() == []

    await answered(chat, "one", "two")
    assert chat.chat_id is not None
    chat.set_choices(ChatChoices({"top_k": 3}, reply_start="Sure,"))
    chat.set_system_prompt("Be silent.")
    await journal.settle()

    stored = store.chat(chat.chat_id)
    again = await OpenChat.restore(journal, chat.chat_id)
    assert (stored.choices, stored.system_prompt) == (again.choices, again.system_prompt)
    assert again.choices == ChatChoices({"top_k": 3}, reply_start="Sure,")
    assert again.prompt_messages()[0] == ChatMessage(Role.SYSTEM, "Be silent.")


async def test_what_is_chosen_before_the_first_message_is_made_with_it(store: Store, journal: Journal) -> None:
    chat = OpenChat(journal)
    chat.set_choices(ChatChoices(persona="pirate"))
    chat.add_message("hi")
    await journal.settle()
    assert chat.chat_id is not None
    assert store.chat(chat.chat_id).choices.persona == "pirate"


async def test_an_answer_begins_as_it_is_to_begin_and_its_tokens_are_its_own(store: Store, journal: Journal) -> None:
    chat = OpenChat(journal)
    chat.set_choices(ChatChoices(reply_start="Sure"))
    chat.add_message("one")
    assert chat.begin_answer().text == "Sure"
    chat.set_answer_tokens(0, (1, 2, 8, 9), "v", 2)
    chat.append(", two", (3,))
    chat.flush()
    chat.append(".", (4,))
    chat.finish_answer(StopReason.LENGTH, USAGE)
    await journal.settle()
    assert chat.chat_id is not None
    answer = store.messages(chat.chat_id)[-1]
    assert (answer.text, answer.prompt_is_known) == ("Sure, two.", True)
    assert store.generated_token_count(answer.message_id) == 4
    assert store.ledger(answer.message_id).fed_in("v").token_ids == (1, 2, 8, 9, 3, 4)
    chat.reopen_answer()
    assert (await chat.ledger_to_go_on())[1] == 4


async def test_a_start_for_one_answer_is_gone_with_it_but_not_with_a_failure(journal: Journal) -> None:
    chat = OpenChat(journal)
    chat.set_choices(ChatChoices(reply_start="Always"))
    chat.next_reply_start = "Once"
    texts = []
    for reason in (StopReason.FAILED, StopReason.STOPPED, StopReason.END_OF_GENERATION):
        chat.add_message("one")
        texts.append(chat.begin_answer().text)
        chat.finish_answer(reason, None)
    assert texts == ["Once", "Once", "Always"]


async def test_an_answer_that_was_killed_in_its_start_goes_on_by_its_text(store: Store, journal: Journal) -> None:
    chat = OpenChat(journal)
    chat.next_reply_start = "Sure"
    chat.add_message("one")
    chat.begin_answer()
    await journal.settle()
    assert chat.chat_id is not None
    again = await OpenChat.restore(journal, chat.chat_id)
    assert (again.entries[-1].text, again.has_prompt) == ("Sure", False)


async def test_a_start_that_is_given_during_an_answer_is_for_the_next_one(journal: Journal) -> None:
    chat = OpenChat(journal)
    chat.add_message("one")
    chat.begin_answer()
    chat.next_reply_start = "Once"
    chat.finish_answer(StopReason.LENGTH, None)
    assert chat.reply_start == "Once"
    chat.reopen_answer()
    chat.finish_answer(StopReason.LENGTH, None)
    assert chat.reply_start == "Once"
    chat.add_message("two")
    assert chat.begin_answer().text == "Once"
    chat.finish_answer(StopReason.LENGTH, None)
    assert chat.reply_start == ""
