"""When the engine is asked to read ahead: as soon as the draft has rested for a moment and nothing else is under way.

What is asked for is the conversation and the finished part of the draft. A reading goes on while the draft only grows,
and is dropped when what it reads is edited. What the user stopped is not read again before the draft is another one.
Knows neither the screen nor the turn machine: the app says when there is rest and when it ends. No timer runs while
there is nothing to ask.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeAlias

from tui_llama.engine.protocol import (
    Engine,
    Failed,
    IdlePrefillFinished,
    IdlePrefillProgress,
    IdlePrefillRequest,
    Notice,
)
from tui_llama.errors import EngineLostError, UserError

REST_SECONDS = 0.3

_LONGEST_WORD = 32
_UNFINISHED_CHARACTERS = 8


def finished_part(draft: str) -> str:
    """The beginning of a draft that is likely to stay: all up to before its last word and the white space there.

    Languages without spaces have no such words; there the last few characters count as one.
    """
    text = draft.rstrip()
    if len(text) < len(draft):
        return text
    word = len(text.rsplit(maxsplit=1)[-1]) if text else 0
    return text[: len(text) - (word if word < _LONGEST_WORD else _UNFINISHED_CHARACTERS)].rstrip()


class Running(Protocol):
    """Something that runs beside the event loop's other tasks."""

    def cancel(self) -> object:
        """Ends it at its next await."""
        ...


MakeRequest: TypeAlias = Callable[[str], Awaitable[tuple[Engine, IdlePrefillRequest] | None]]
Spawn: TypeAlias = Callable[[Callable[[], Coroutine[Any, Any, None]]], Running]


class IdlePrefillScheduler:
    """Asks an engine to read ahead.

    Args:
        make_request: Makes a request of the finished part of the draft, and says whom to ask; None if there is nothing
            to read.
        spawn: Runs a coroutine, which it makes; one that is cancelled at once was never made.
        on_progress: Learns how many tokens of the next prompt are ready, of how many; at the end the same number twice.
        on_notice: Learns what the user should see.
    """

    def __init__(
        self,
        make_request: MakeRequest,
        spawn: Spawn,
        on_progress: Callable[[int, int], None],
        on_notice: Callable[[str], None],
    ) -> None:
        self._make_request = make_request
        self._spawn = spawn
        self._on_progress = on_progress
        self._on_notice = on_notice
        self._part: str | None = None
        self._running: Running | None = None
        self._being_read: IdlePrefillRequest | None = None
        self._has_failed = False
        self._is_held = False

    def rest(self, draft: str) -> None:
        """There is nothing else to do, and this is written; whatever was being read before is dropped."""
        self._drop()
        self._part = finished_part(draft)
        if not self._is_held:
            self._start()

    def edit(self, draft: str) -> None:
        """The draft has changed; without effect while there is other work."""
        part = finished_part(draft)
        if self._part is None or part == self._part:
            return
        self._part = part
        self._is_held = False
        if self._being_read is None or not part.startswith(self._being_read.draft):
            self._drop()
            self._start()

    def stop(self) -> None:
        """There is other work to do."""
        self._drop()
        self._part = None
        self._is_held = False

    def hold(self) -> None:
        """The user wants nothing to be read, until the draft is another one or there was other work."""
        self._is_held = True
        if self._running is not None:
            self._drop()
            self._on_progress(0, 0)

    def _start(self) -> None:
        self._running = self._spawn(self._run)

    def _drop(self) -> None:
        if self._running is not None:
            self._running.cancel()
        self._running = self._being_read = None

    async def _run(self) -> None:
        """Reads until what is written is read."""
        while True:
            await asyncio.sleep(REST_SECONDS)
            asked_for = await self._make_request(self._part or "")
            if asked_for is None:
                self._on_progress(0, 0)
                break
            engine, request = asked_for
            self._being_read = request
            if not await self._read(engine, request):
                break
            self._being_read = None
            if request.draft == self._part:
                break
        self._running = self._being_read = None

    async def _read(self, engine: Engine, request: IdlePrefillRequest) -> bool:
        """Whether the request was carried out; else nothing is told to be ready."""
        is_finished = False
        try:
            async for event in engine.idle_prefill(request):
                match event:
                    case IdlePrefillProgress(ready_tokens=ready, total_tokens=total):
                        self._on_progress(ready, total)
                    case IdlePrefillFinished(ready_tokens=ready):
                        is_finished = True
                        self._on_progress(ready, ready)
                    case Notice(text=text):
                        self._on_notice(text)
                    case Failed(message=message):
                        self._tell_of_failure(message)
        except EngineLostError:
            pass  # told when the user wants something next, which starts the engine again
        except UserError as error:
            self._tell_of_failure(str(error))
        if not is_finished:
            self._on_progress(0, 0)
        return is_finished

    def _tell_of_failure(self, message: str) -> None:
        """Once: what fails here fails again with every word that is written, and in the turn it is told anyway."""
        if not self._has_failed:
            self._has_failed = True
            self._on_notice(f"Nothing could be read ahead: {message}")
