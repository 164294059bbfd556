"""The engine in a process of its own, for asyncio: requests go in, events come out.

The screen's event loop never blocks and never dies with the engine: a lost process is an `EngineLostError`, and the
next `load` starts another. The worker takes events from the pipe as they come, whether or not anybody asks for them
yet, so a slow screen does not hold up the engine.

Knows processes and messages; nothing of models, chats or widgets.
"""

import asyncio
import os
import signal
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import TypeVar, cast

from tui_llama import paths
from tui_llama.engine.process.border import engine_errors
from tui_llama.engine.process.engine_log import note_traceback, open_log
from tui_llama.engine.process.exchange import Exchange
from tui_llama.engine.process.framing import FrameError, decode_event, encode_frame, receive_frame
from tui_llama.engine.protocol import (
    AnsweredRequest,
    CompleteRequest,
    EstimateRequest,
    Event,
    Failed,
    IdlePrefillEvent,
    IdlePrefillRequest,
    LoadEvent,
    LoadRequest,
    Notice,
    PromptEstimate,
    ReplyEvent,
    ReplyRequest,
    Request,
    ShutdownRequest,
    Tokenized,
    TokenizeRequest,
)
from tui_llama.errors import CallerError, EngineError, EngineLostError
from tui_llama.system.child_process import child_command

Answer = TypeVar("Answer", PromptEstimate, Tokenized)

DEFAULT_ENGINE = "tui_llama.engine.local:LocalEngine"

# A little more than the process allows itself for saving when it is told to end.
_CLOSING_SECONDS = 12.0
# How long a process that has closed its pipe may take to end by itself.
_DYING_SECONDS = 2.0
_MOST_LATE_NOTICES = 16


class EngineWorker:
    """An `Engine` whose work is done by a child process.

    Args:
        engine: `module:callable` that the child calls to make its engine.
        log_file: Where the child's standard error goes; None is `paths.log_file()`.
    """

    def __init__(self, engine: str = DEFAULT_ENGINE, log_file: Path | None = None) -> None:
        self._engine = engine
        self._log_file = log_file
        self._child: _Child | None = None
        self._exchange: Exchange | None = None
        # Starting and ending a process take turns, so that closing during a start leaves none behind.
        self._changing = asyncio.Lock()

    @property
    def process_id(self) -> int | None:
        """The child's process id while there is one."""
        return self._child.process.pid if self._child is not None and self._child.lost is None else None

    @property
    def is_alive(self) -> bool:
        """See `Engine.is_alive`."""
        return self.process_id is not None

    def load(self, request: LoadRequest) -> AsyncGenerator[LoadEvent, None]:
        """See `Engine.load`. Starts the process if there is none.

        Raises:
            EngineLostError: the process ended or could not be started.
            CallerError: something else is under way.
        """
        return cast("AsyncGenerator[LoadEvent, None]", self._converse(request))

    def reply(self, request: ReplyRequest | CompleteRequest) -> AsyncGenerator[ReplyEvent, None]:
        """See `Engine.reply`.

        Raises:
            EngineLostError: the process ended, during this reply or before it.
            CallerError: something else is under way.
        """
        return cast("AsyncGenerator[ReplyEvent, None]", self._converse(request))

    def idle_prefill(self, request: IdlePrefillRequest) -> AsyncGenerator[IdlePrefillEvent, None]:
        """See `Engine.idle_prefill`.

        Raises:
            EngineLostError: the process ended.
            CallerError: something else is under way.
        """
        return cast("AsyncGenerator[IdlePrefillEvent, None]", self._converse(request))

    async def estimate(self, request: EstimateRequest) -> PromptEstimate:
        """See `Engine.estimate`.

        Raises:
            EngineError: there can be no such prompt, and why.
            EngineLostError: the process ended.
            CallerError: something else is under way.
        """
        return await self._only_answer(request, PromptEstimate)

    async def tokenize(self, request: TokenizeRequest) -> Tokenized:
        """See `Engine.tokenize`; raises as `estimate`."""
        return await self._only_answer(request, Tokenized)

    async def _only_answer(self, request: EstimateRequest | TokenizeRequest, kind: type[Answer]) -> Answer:
        async with aclosing(self._converse(request)) as events:
            async for event in events:
                if isinstance(event, kind):
                    return event
                if isinstance(event, Failed):
                    raise EngineError(event.message, event.hint)
        raise EngineError("the engine got another request in the meantime")

    def cancel(self) -> None:
        """See `Engine.cancel`. To be called from the event loop's thread."""
        if self._exchange is not None:
            self._exchange.cancel()

    async def close(self) -> None:
        """Ends the process, after what it is saving is saved, at most some seconds later.

        May be called twice.
        """
        async with self._changing:
            if self._child is not None:
                await self._child.end()

    async def _converse(self, request: AnsweredRequest) -> AsyncGenerator[Event, None]:
        if self._exchange is not None:
            if not self._exchange.is_idle_prefill:
                raise CallerError("the engine carries out one request at a time")
            self._exchange.abandon()
        exchange = self._exchange = Exchange(request)
        with engine_errors(self._log_file):
            try:
                child = await self._started_child() if isinstance(request, LoadRequest) else self._living_child()
                await child.begin(exchange)
                while (event := await exchange.next()) is not None:
                    yield event
            finally:
                # A caller that stops listening early wants no more events; the remaining ones are dropped.
                exchange.abandon()
                if self._exchange is exchange:
                    self._exchange = None

    async def _started_child(self) -> "_Child":
        async with self._changing:
            if self._child is None or self._child.lost is not None:
                self._child = await _start_child(self._engine, self._log_file or paths.log_file())
            return self._child

    def _living_child(self) -> "_Child":
        if self._child is None:
            raise EngineLostError("the engine is not running", "Load a model first.")
        if self._child.lost is not None:
            raise self._child.lost
        return self._child


class _Child:
    """A running engine process, and the one task that listens to it."""

    def __init__(self, process: asyncio.subprocess.Process, log_file: Path | None) -> None:
        self.process = process
        self.lost: EngineLostError | None = None
        self._log_file = log_file
        self._exchanges: deque[Exchange] = deque()
        self._late_notices: deque[Notice] = deque(maxlen=_MOST_LATE_NOTICES)
        self._ending = False
        self._listener = asyncio.create_task(self._listen(), name="engine listener")

    async def begin(self, exchange: Exchange) -> None:
        """Sends the exchange's request; its events come after those of earlier requests."""
        frame = encode_frame(exchange.request)
        if self.lost is not None:
            raise self.lost
        while self._late_notices and exchange.takes_notices:
            exchange.offer(self._late_notices.popleft())
        self._write(frame)
        self._exchanges.append(exchange)
        exchange.attach(self)
        with suppress(ConnectionError):  # the listener reports the loss, with its cause
            await self._requests.drain()

    def send(self, request: Request) -> None:
        """Sends a request that is not answered."""
        self._write(encode_frame(request))

    def keep_notices(self, unseen: Iterable[Event]) -> None:
        """Keeps the notices among events that nobody has seen, for the next request."""
        self._late_notices.extend(event for event in unseen if isinstance(event, Notice))

    async def end(self) -> None:
        """Asks the process to end, waits, and kills it if it has not ended by then."""
        self._ending = True
        try:
            if self.lost is None:
                self.send(ShutdownRequest())
                self._requests.close()
                await asyncio.wait((self._listener,), timeout=_CLOSING_SECONDS)
        except Exception as error:  # a process that cannot be asked is killed all the same
            note_traceback(error, self._log_file)
        finally:
            self._kill()
            await asyncio.wait((self._listener,))

    @property
    def _requests(self) -> asyncio.StreamWriter:
        assert self.process.stdin is not None
        return self.process.stdin

    @property
    def _events(self) -> asyncio.StreamReader:
        assert self.process.stdout is not None
        return self.process.stdout

    def _write(self, frame: bytes) -> None:
        if self.lost is None and not self._requests.is_closing():
            self._requests.write(frame)

    async def _listen(self) -> None:
        fault: Exception | None = None
        try:
            while (body := await receive_frame(self._events)) is not None:
                self._route(decode_event(body))
        except Exception as error:  # whatever it is, every waiting caller gets an error
            fault = error
        await self._reap(fault)

    def _route(self, event: Event) -> None:
        answered = self._exchanges[0] if self._exchanges else None
        if isinstance(event, Notice):
            # A notice that comes when nobody listens any more belongs to the next request, already sent or not.
            listener = next((exchange for exchange in self._exchanges if exchange.takes_notices), None)
            if listener is not None:
                listener.offer(event)
            else:
                self._late_notices.append(event)
        elif answered is not None:
            answered.offer(event)
            if answered.ended:
                self._exchanges.popleft()
        else:
            raise FrameError(f"a {type(event).__name__} that nothing asked for")

    async def _reap(self, fault: Exception | None) -> None:
        """Makes sure that the process is gone, and raises its loss in every waiting exchange."""
        if fault is not None:
            self._kill()
        try:
            await self._see_out()
        except Exception as error:
            fault = fault or error
        if fault is not None and not isinstance(fault, FrameError):
            note_traceback(fault, self._log_file)
        self.lost = self._loss_error(fault)
        for exchange in self._exchanges:
            exchange.lose(self.lost)
        self._exchanges.clear()

    async def _see_out(self) -> None:
        """Waits for the end of the process, and kills it if it does not end."""
        # asyncio sees the end of the process only once the pipe is empty.
        while await self._events.read(1 << 16):
            pass
        # A process that closed its pipe but lives on is of no more use.
        try:
            await asyncio.wait_for(self.process.wait(), _DYING_SECONDS)
        except TimeoutError:
            self._kill()
            await self.process.wait()
        self._requests.close()

    def _kill(self) -> None:
        if self.process.returncode is None:
            with suppress(ProcessLookupError):  # it ended on its own just now
                self.process.kill()

    def _loss_error(self, fault: Exception | None) -> EngineLostError:
        if self._ending:
            return EngineLostError("the engine was closed")
        hint = "Try again: the engine starts again."
        hint += f" Details may be in {self._log_file}." if self._log_file is not None else ""
        if isinstance(fault, FrameError):
            return EngineLostError(f"the engine's process sent an invalid message: {fault}", hint)
        if fault is not None:
            return EngineLostError(f"the engine's process cannot be read from: {type(fault).__name__}: {fault}", hint)
        status = self.process.returncode
        assert status is not None
        if status >= 0:
            return EngineLostError(f"the engine's process ended with exit status {status}", hint)
        if -status == signal.SIGKILL:
            hint = "Try again: the engine starts again. If nobody killed it, the machine ran out of memory."
        return EngineLostError(f"the engine's process was ended by {_signal_name(-status)}", hint)


async def _start_child(engine: str, log_file: Path) -> _Child:
    try:
        log, is_kept = open_log(log_file)
        try:
            process = await asyncio.create_subprocess_exec(
                *child_command("tui_llama.engine.process.server", "--engine", engine),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                # Its own session: the terminal's Ctrl+C, Ctrl+Z and hang-up are not for it.
                start_new_session=True,
            )
        finally:
            os.close(log)
    except OSError as error:
        raise EngineLostError(f"the engine's process could not be started: {error}") from error
    return _Child(process, log_file if is_kept else None)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
