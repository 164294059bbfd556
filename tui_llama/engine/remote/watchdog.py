"""Tells a server that is reading a long prompt from a dead one.

Silence is counted in periods that were slept through, not on a clock, because a program that was suspended, or a
machine that slept, has not heard anything for a reason of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from enum import Enum, auto
from typing import Any, Final, NoReturn, TypeVar

from tui_llama.engine.events import FailureCause, Notice
from tui_llama.engine.remote.failures import RemoteEngineError
from tui_llama.engine.remote.patience import Patience

_Result = TypeVar("_Result")

_UNANSWERED: Final = 2
"""So many unanswered questions in a row make a dead server."""


class Sign(Enum):
    """What comes of the question whether a server lives."""

    ANSWERS = auto()
    SAYS_NOTHING = auto()
    """It takes the connection. Some servers answer one request at a time, and so nothing while they read a prompt."""
    IS_GONE = auto()


class Watchdog:
    """Watches over one answer.

    Args:
        name: The server's name.
        patience: How long to wait.
        ask: Asks the server whether it lives, on a connection of its own.
        tell: Tells the user a notice.
    """

    def __init__(
        self,
        name: str,
        patience: Patience,
        ask: Callable[[], Awaitable[Sign]],
        tell: Callable[[Notice], Awaitable[None]],
    ) -> None:
        self._name = name
        self._patience = patience
        self._ask = ask
        self._tell = tell
        self._is_listening = True
        self._has_heard = False
        self._answer_has_begun = False

    def listens(self) -> None:
        """Notes that from now on the server has to say something."""
        self._is_listening = True

    def heard(self) -> None:
        """Notes that the server has said something, which is now worked on."""
        self._has_heard = True
        self._is_listening = False

    def answer_begins(self) -> None:
        """Notes that the first token has come."""
        self._answer_has_begun = True

    async def guard(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Returns what `work` returns, as long as the server lives.

        Raises:
            RemoteEngineError: the server is silent, and `work` was stopped.
        """
        working = asyncio.ensure_future(work)
        watching = asyncio.ensure_future(self._watch())
        try:
            await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                await watching  # raises
            return working.result()
        finally:
            working.cancel()
            watching.cancel()
            await asyncio.gather(working, watching, return_exceptions=True)

    async def _watch(self) -> NoReturn:
        silent_seconds = 0.0
        unanswered = 0
        has_told = False
        while True:
            self._has_heard = False
            await asyncio.sleep(self._patience.silence_seconds)
            sign = await self._ask() if self._is_silent() else Sign.ANSWERS
            if not self._is_silent():
                silent_seconds, unanswered = 0.0, 0
                continue
            is_alive = sign is Sign.ANSWERS or (sign is Sign.SAYS_NOTHING and not self._answer_has_begun)
            silent_seconds += self._patience.silence_seconds
            unanswered = 0 if is_alive else unanswered + 1
            if unanswered >= _UNANSWERED:
                raise self._silent("and does not answer another question either")
            if self._answer_has_begun and silent_seconds >= self._patience.answer_silence_seconds:
                raise self._silent(f"for {silent_seconds:.0f} s in the middle of the answer")
            if is_alive and not self._answer_has_begun and not has_told:
                has_told = True
                await self._tell(Notice(self._still_reading(sign)))

    def _still_reading(self, sign: Sign) -> str:
        if sign is Sign.ANSWERS:
            return f"{self._name} lives and is not done reading; the answer will come."
        return f"{self._name} still takes connections, and says nothing; it may be reading. Stop it, or wait."

    def _is_silent(self) -> bool:
        return self._is_listening and not self._has_heard

    def _silent(self, how: str) -> RemoteEngineError:
        return RemoteEngineError(
            FailureCause.SILENT, f"{self._name} says nothing, {how}", "Look whether the server still runs; try again."
        )
