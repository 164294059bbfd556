"""Edits, deletions, branches, versions and undoing in any order: the tree stays sound, and undo restores the path."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from tui_llama.chat import Role, StopReason
from tui_llama.chats.database.file import IN_MEMORY
from tui_llama.chats.journal import Journal
from tui_llama.chats.open_chat import OpenChat
from tui_llama.chats.store import Store

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["say", "edit", "delete", "delete alone", "branch", "version", "undo"]), st.integers(0, 9)
    ),
    max_size=14,
)


def say(chat: OpenChat, text: str) -> None:
    if not chat.entries or chat.ends_in_answer:
        chat.add_message(text)
    chat.begin_answer()
    chat.set_prompt(0, (1, 2))
    chat.append(f"to {text}", (3,))
    chat.finish_answer(StopReason.LENGTH, None)


def path(chat: OpenChat) -> list[tuple[int, str]]:
    return [(entry.message_id, entry.text) for entry in chat.entries]


def change(chat: OpenChat, what: str, number: int, text: str) -> bool:
    """Makes one change that can be undone; returns whether it was possible."""
    if not chat.entries:
        return False
    position = number % len(chat.entries)
    if what == "delete":
        chat.delete_message(position)
    elif what == "delete alone":
        chat.delete_message_alone(position)
    elif what == "branch":
        chat.branch_after(position)
    elif chat.entries[position].role is Role.USER:
        chat.replace_message(position, text)
    else:
        chat.replace_answer(position, text)
    return True


def check_soundness(chat: OpenChat) -> None:
    tree = {each.message_id: each for each in chat.tree()}
    before = None
    for entry in chat.entries:
        assert tree[entry.message_id].parent_id == before
        shown = tree[entry.message_id]
        assert (shown.version, shown.version_count) == (entry.version, entry.version_count)
        beside = [each for each in tree.values() if each.parent_id == before]
        assert [each.message_id for each in beside].index(entry.message_id) + 1 == entry.version
        assert len(beside) == entry.version_count
        before = entry.message_id
    assert all(each.parent_id is None or each.parent_id in tree for each in tree.values())


async def run(steps: list[tuple[str, int]]) -> None:
    failures: list[Exception] = []
    store = Store(IN_MEMORY)
    journal = Journal(store, failures.append)
    chat = OpenChat(journal)
    say(chat, "first")
    paths: list[list[tuple[int, str]]] = []
    for at, (what, number) in enumerate(steps):
        if what == "say":
            say(chat, f"question {at}")
        elif what == "version" and chat.entries:
            version = chat.version_beside(number % len(chat.entries), 1 - 2 * (number % 2))
            if version is not None:
                chat.show_message(version)
        elif what == "undo":
            expected = paths.pop() if paths else None
            if expected is not None:
                assert chat.undo() is not None
                assert path(chat) == expected
        elif what in ("edit", "delete", "delete alone", "branch"):
            before = path(chat)
            if change(chat, what, number, f"text {at}"):
                paths.append(before)
        check_soundness(chat)
    await journal.settle()
    assert chat.chat_id is not None
    again = await OpenChat.restore(journal, chat.chat_id)
    assert [entry.text for entry in again.entries] == [entry.text for entry in chat.entries]
    await journal.close()
    store.close()
    assert failures == []


@settings(deadline=None, max_examples=40)
@given(STEPS)
def test_changes_in_any_order_keep_the_tree_sound_and_undo_restores_the_path(steps: list[tuple[str, int]]) -> None:
    asyncio.run(run(steps))
