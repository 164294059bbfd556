"""Work in a daemon thread gives what it gives, and the end of a loop does not wait for it."""

import asyncio
import contextvars
import threading
from pathlib import Path

import pytest

from tests.patience import HANG_SECONDS
from tui_llama.system.daemon_threads import import_in_thread, in_daemon_thread


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


def test_a_module_is_imported_in_another_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_module_of_a_test.py").write_text("import threading\nthreading.was_imported.set()\n")
    monkeypatch.syspath_prepend(tmp_path)
    was_imported = threading.Event()
    monkeypatch.setattr(threading, "was_imported", was_imported, raising=False)
    import_in_thread("slow_module_of_a_test")
    assert was_imported.wait(HANG_SECONDS)
