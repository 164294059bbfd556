"""Work that may never end, in a thread for which the end of the program does not wait."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

_Result = TypeVar("_Result")


async def in_daemon_thread(work: Callable[[], _Result]) -> _Result:
    """Returns what `work` returns, or raises what it raises; it runs in a thread of its own.

    Unlike `asyncio.to_thread`, which is joined at the end of the loop: a program that asks for a password, or a keyring
    that is locked, would keep the whole program from ending.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_Result] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: Callable[[], None]) -> None:
        if not future.done():  # else nobody waits any more
            result()

    def run() -> None:
        settled: Callable[[], None]
        try:
            settled = partial(future.set_result, context.run(work))
        except Exception as error:
            settled = partial(future.set_exception, error)
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, settled)

    threading.Thread(target=run, name="waiting", daemon=True).start()
    return await future


def begin_in_thread(*works: Callable[[], object]) -> None:
    """Begins work that will be needed soon, one after the other, so that nobody has to wait for it then."""

    def run() -> None:
        for work in works:
            work()

    threading.Thread(target=run, name="prepare", daemon=True).start()
