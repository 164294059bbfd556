"""The store behind one thread."""

import asyncio
import threading

import pytest

from tests.patience import HANG_SECONDS
from tui_llama.chats.journal import Journal
from tui_llama.chats.store import Store
from tui_llama.errors import StoreConflictError, StoreError


async def test_everything_happens_in_order_on_another_thread(store: Store) -> None:
    journal = Journal(store, lambda _error: None)
    seen: list[object] = []
    journal.write(lambda _store: seen.append(threading.get_ident()))
    journal.write(lambda _store: seen.append("second"))
    assert await journal.read(lambda _store: len(seen)) == 2
    assert seen[0] != threading.get_ident()
    await journal.close()


async def test_a_write_that_fails_is_reported_and_the_next_one_happens(store: Store) -> None:
    failures: list[Exception] = []
    journal = Journal(store, failures.append)
    journal.write(lambda each: each.rename_chat("no such chat", "title"))
    journal.write(lambda each: each.set_preference("key", "value"))
    assert await journal.read(lambda each: each.preference("key")) == "value"
    await journal.close()
    assert [type(failure) for failure in failures] == [StoreConflictError]


async def test_a_read_raises_what_the_store_raises(store: Store) -> None:
    journal = Journal(store, lambda _error: None)
    with pytest.raises(StoreError):
        await journal.read(lambda each: each.chat("no such chat"))
    await journal.close()


async def test_a_read_can_have_an_answer_for_a_store_that_fails(store: Store) -> None:
    failures: list[Exception] = []
    journal = Journal(store, failures.append)
    assert await journal.read_or(lambda each: each.chat("no such chat"), None) is None
    assert len(failures) == 1
    await journal.close()


class Writer:
    """Whose writes keep their order."""

    chat_id = ""


async def test_what_is_written_while_the_waiting_is_stored_is_stored_as_well(store: Store) -> None:
    loop, recovered, seen, is_full = asyncio.get_running_loop(), asyncio.Event(), list[str](), True
    journal = Journal(store, lambda _error: None, recovered.set)
    first, second = Writer(), Writer()

    def store_first(_store: Store) -> None:
        if is_full:
            raise StoreError("the disk is full", "")

    def store_second(each: Store) -> None:
        """The first writer, whose writes are all stored by now, writes once more."""
        store_first(each)
        is_written = threading.Event()

        def write_late() -> None:
            journal.write(lambda _store: seen.append("late"), first)
            is_written.set()

        loop.call_soon_threadsafe(write_late)
        is_written.wait(HANG_SECONDS)

    journal.write(store_first, first)
    journal.write(store_second, second)
    await journal.settle()
    assert journal.trouble is not None
    is_full = False
    await journal.try_again()
    await recovered.wait()
    assert seen == ["late"]
    assert not journal.waiting
    await journal.close()
