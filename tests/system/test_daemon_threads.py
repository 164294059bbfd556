"""Work in a daemon thread gives what it gives, and the end of a loop does not wait for it."""

import asyncio
import contextvars
import threading

import pytest

from tests.patience import HANG_SECONDS
from tui_llama.system.daemon_threads import begin_in_thread, in_daemon_thread


async def test_it_returns_and_raises_what_the_work_does() -> None:
    word = contextvars.ContextVar("word", default="")
    word.set("here")
    assert await in_daemon_thread(word.get) == "here"
    assert await in_daemon_thread(threading.get_ident) != threading.get_ident()

    def fail() -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        await in_daemon_thread(fail)


def test_the_end_of_the_loop_does_not_wait_for_the_work() -> None:
    begun, may_end, has_ended = threading.Event(), threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def wait() -> None:
        threads.append(threading.current_thread())
        begun.set()
        may_end.wait()
        has_ended.set()

    async def give_up() -> None:
        waiting = asyncio.ensure_future(in_daemon_thread(wait))
        await asyncio.to_thread(begun.wait)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        if not threads[0].daemon:  # the end of the loop would wait for it, and this test with it
            may_end.set()

    asyncio.run(give_up())
    assert not may_end.is_set()
    assert not has_ended.is_set()
    may_end.set()  # what it says now, nobody hears
    threads[0].join()


def test_work_is_done_in_another_thread_one_after_the_other() -> None:
    done: list[tuple[str, threading.Thread]] = []
    is_done = threading.Event()
    begin_in_thread(
        lambda: done.append(("first", threading.current_thread())),
        lambda: done.append(("second", threading.current_thread())),
        is_done.set,
    )
    assert is_done.wait(HANG_SECONDS)
    assert [name for name, _thread in done] == ["first", "second"]
    assert threading.main_thread() not in [thread for _name, thread in done]
