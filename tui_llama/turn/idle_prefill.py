"""Asks the engine for idle prefill once the draft has not changed for a moment and nothing else is under way.

The engine reads the conversation and the finished part of the draft. Idle prefill goes on while the draft only grows,
and ends when the user edits a part that it reads. If the user has stopped it, it begins again with another draft or
after other work. This module knows neither the screen nor the turn machine: the app says when nothing is under way and
when that ends. No timer runs while there is nothing to ask.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar

from tui_llama.engine.events import Failed, IdlePrefillFinished, IdlePrefillProgress, Notice
from tui_llama.engine.protocol import Engine
from tui_llama.engine.requests import IdlePrefillRequest
from tui_llama.errors import EngineLostError, UserError

REST_SECONDS = 0.3
Result = TypeVar("Result")

_LONGEST_WORD = 32
_UNFINISHED_CHARACTERS = 8


def finished_part(draft: str) -> str:
    """Returns the beginning of a draft that is likely to stay: all before its last word and the white space there.

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
    """Asks an engine for idle prefill.

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
        """Begins idle prefill for this draft, because there is no other work; drops what was being read before."""
        self._drop()
        self._part = finished_part(draft)
        if not self._is_held:
            self._start()

    def edit(self, draft: str) -> None:
        """Takes a changed draft; has no effect while there is other work."""
        part = finished_part(draft)
        if self._part is None or part == self._part:
            return
        self._part = part
        self._is_held = False
        if self._being_read is None or not part.startswith(self._being_read.draft):
            self._drop()
            self._start()

    def stop(self) -> None:
        """Ends idle prefill, because there is other work."""
        self._drop()
        self._part = None
        self._is_held = False

    def hold(self) -> None:
        """Ends idle prefill at the user's wish, until the draft is another one or there was other work."""
        self._is_held = True
        if self._running is not None:
            self._drop()
            self._on_progress(0, 0)

    @property
    def is_reading(self) -> bool:
        """True while the engine reads."""
        return self._being_read is not None

    async def give_way(self, work: Awaitable[Result]) -> Result:
        """Returns what other work of the engine returns, which would end idle prefill; goes on with it afterwards."""
        was_wanted = self._running is not None
        self._drop()
        try:
            return await work
        finally:
            if was_wanted and self._part is not None and self._running is None and not self._is_held:
                self._start(rests=False)

    def _start(self, *, rests: bool = True) -> None:
        self._running = self._spawn(partial(self._run, rests))

    def _drop(self) -> None:
        if self._running is not None:
            self._running.cancel()
        self._running = self._being_read = None

    async def _run(self, rests: bool) -> None:
        """Reads until what is written is read; each time after a rest, which may be left out the first time."""
        while True:
            await asyncio.sleep(REST_SECONDS if rests else 0)
            rests = True
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
        """Tells whether the engine carried out the request; if not, it reports nothing as ready."""
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
        """Tells of a failure once only: it comes again with every written word, and the turn tells of it anyway."""
        if not self._has_failed:
            self._has_failed = True
            self._on_notice(f"Nothing could be read ahead: {message}")
