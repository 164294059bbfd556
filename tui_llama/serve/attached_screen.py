"""One full-screen chat that uses the server's engine: its requests come as frames, and the events go back as frames.

A screen is one client of the queue, and its requests are carried out one after the other. This module knows the queue
and messages; nothing of HTTP, and nothing of where sockets lie.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec

from tui_llama import paths
from tui_llama.chat import StopReason, Usage
from tui_llama.engine.events import Failed, Finished, IdlePrefillFinished, LoadProgress, ModelLoaded, Notice
from tui_llama.engine.process.border import LOG_HINT, failure_words
from tui_llama.engine.process.engine_log import note_traceback
from tui_llama.engine.process.framing import FrameError, decode_request, encode_frame, receive_frame
from tui_llama.engine.protocol import LAST_EVENTS, AnsweredRequest, Engine, Event
from tui_llama.engine.requests import (
    AnswerNow,
    CancelRequest,
    CompleteRequest,
    EstimateRequest,
    IdlePrefillRequest,
    LoadRequest,
    ReplyRequest,
    ShutdownRequest,
    StopIdlePrefill,
    TokenizeRequest,
)
from tui_llama.errors import EngineError, UserError
from tui_llama.serve.queue import EngineQueue, QueueClosed, QueueFull

Admit: TypeAlias = Callable[[LoadRequest], AsyncGenerator[LoadProgress | ModelLoaded | Failed, None]]
"""Answers a screen that asks for a model: with the progress of its load as long as that goes on, and then with the
model or with the reason why it cannot be used."""

NOTICE_SECONDS: Final = 1.0
"""How long a reply waits for its turn before its user is told."""

_MOST_PENDING: Final = 16
"""How many requests of a screen may wait that are still to be carried out."""
_MOST_UNANSWERED: Final = 128
"""How many may wait with those that have been stopped and only wait to be answered in their order."""
_MOST_UNSENT_BYTES: Final = 256 * 1024 * 1024
"""What is kept for a screen that takes nothing. One that is stopped (Ctrl+Z) must not hold up the others."""


@dataclass(eq=False)
class _Job:
    request: AnsweredRequest
    came_at: float
    engine: Engine | None = None
    task: "asyncio.Task[None] | None" = None
    is_stopped: bool = False
    wants_answer: bool = False
    has_ended: bool = False

    @property
    def turn(self) -> int | None:
        return self.request.turn if isinstance(self.request, ReplyRequest | CompleteRequest) else None

    @property
    def is_idle_prefill(self) -> bool:
        return isinstance(self.request, IdlePrefillRequest)

    @property
    def is_question(self) -> bool:
        """True for what nobody waits for once the screen asks for something else; no cancel is sent for it."""
        return isinstance(self.request, EstimateRequest | TokenizeRequest)

    def is_ended_by(self, request: AnsweredRequest | CancelRequest | StopIdlePrefill) -> bool:
        """Tells whether a request stops the job.

        A cancel stops its turn, any other request stops idle prefill, and one that is answered stops older questions: a
        screen asks for one thing at a time.
        """
        if isinstance(request, CancelRequest):
            return self.turn is not None and self.turn == request.turn
        return self.is_idle_prefill or (self.is_question and not isinstance(request, StopIdlePrefill))

    def stop(self) -> None:
        """Stops the job: the engine ends a reply in order; what waits, and idle prefill, just ends."""
        self.is_stopped = True
        if self.engine is not None:
            if not self.is_question:  # the engine answers it in a moment
                self.engine.cancel()
        elif self.task is not None:
            self.task.cancel()

    def answer_now(self) -> None:
        """Passes on that the thought of the reply be closed, now or once the engine has begun with it."""
        self.wants_answer = True
        if self.engine is not None:
            self.engine.answer_now()

    def end_without_engine(self) -> Event:
        """Returns the last event of a job that was stopped before the engine said one."""
        if self.turn is not None:
            return Finished(self.turn, StopReason.STOPPED, Usage())
        if self.is_question:
            return Failed(None, "the screen has asked for something else since")
        return IdlePrefillFinished(0)


class AttachedScreen:
    """Carries out the requests of one screen until it leaves.

    Args:
        queue: The queue before the engine.
        admit: Answers a load.
        requests: Where the frames of requests come from.
        events: Where the frames of events go.
        notice_seconds: How long a reply waits for its turn before its user is told.
    """

    def __init__(
        self,
        queue: EngineQueue,
        admit: Admit,
        requests: asyncio.StreamReader,
        events: asyncio.StreamWriter,
        notice_seconds: float = NOTICE_SECONDS,
    ) -> None:
        self._queue = queue
        self._admit = admit
        self._requests = requests
        self._events = events
        self._notice_seconds = notice_seconds
        self._load: LoadRequest | None = None
        self._pending: deque[_Job] = deque()
        self._current: _Job | None = None
        self._has_come = asyncio.Event()
        self._chat_ids: set[str] = set()

    async def serve(self) -> None:
        """Serves until the screen has gone or the server shuts down; what is under way for the screen then ends.

        Raises:
            FrameError: the screen sent something that is no request.
        """
        tasks = (
            asyncio.create_task(self._read(), name="attached screen: requests"),
            asyncio.create_task(self._work(), name="attached screen: work"),
        )
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        errors = [task.exception() for task in tasks if not task.cancelled()]
        for error in filter(None, errors):
            raise error

    def tell(self, notice: Notice) -> None:
        """Sends a notice about a chat, if it is one that this screen has asked about."""
        if notice.chat_id in self._chat_ids:
            self._write(notice)

    async def _read(self) -> None:
        try:
            while (body := await receive_frame(self._requests)) is not None:
                request = decode_request(body)
                if isinstance(request, ShutdownRequest):
                    return
                self._take(request)
        except ConnectionError:
            return  # the screen was killed

    def _take(self, request: AnsweredRequest | CancelRequest | StopIdlePrefill | AnswerNow) -> None:
        if isinstance(request, AnswerNow):
            for job in (self._current, *self._pending):
                if job is not None and job.turn == request.turn:
                    job.answer_now()
            return
        for job in (self._current, *self._pending):
            if job is not None and job.is_ended_by(request):
                job.stop()
        if isinstance(request, CancelRequest | StopIdlePrefill):
            return
        pending = sum(not job.is_stopped for job in self._pending)
        if pending >= _MOST_PENDING or len(self._pending) >= _MOST_UNANSWERED:
            raise FrameError("a screen asks for too much at once")
        self._pending.append(_Job(request, asyncio.get_running_loop().time()))
        self._has_come.set()

    async def _work(self) -> None:
        try:
            while True:
                while not self._pending:
                    self._has_come.clear()
                    await self._has_come.wait()
                self._current = self._pending.popleft()
                await self._carry_out(self._current)
                self._current = None
        except QueueClosed:
            return  # the end of the connection says that the server ends

    async def _carry_out(self, job: _Job) -> None:
        if not job.is_stopped:
            # A task of its own, so that a job can be stopped while it waits.
            task = job.task = asyncio.create_task(self._answer(job), name="attached screen: job")
            try:
                await asyncio.wait((task,))
            finally:
                if not task.done():
                    task.cancel()
                    await asyncio.wait((task,))
            if not task.cancelled():
                task.result()
        if not job.has_ended:
            self._send(job, job.end_without_engine())

    async def _answer(self, job: _Job) -> None:
        try:
            await self._ask(job)
        except QueueClosed:
            raise
        except QueueFull as full:
            words = "too many programs wait for the model of `tui-llama serve`"
            failed = Failed(job.turn, words, f"Try again in {full.retry_after_seconds} seconds.")
        except UserError as error:
            failed = Failed(job.turn, str(error), error.hint)
        except Exception as error:  # our own mistakes: the screen gets a message, the log the traceback
            note_traceback(error, paths.log_file())
            failed = Failed(job.turn, failure_words(error), LOG_HINT)
        else:
            return
        self._send(job, failed)

    async def _ask(self, job: _Job) -> None:
        match self._allowed(job.request):
            case LoadRequest() as request:
                self._load = None
                async with aclosing(self._admit(request)) as answers:
                    async for answer in answers:
                        self._load = request if isinstance(answer, ModelLoaded) else None
                        self._send(job, answer)
            case _ if self._load is None:
                raise EngineError("no model is loaded", "Load a model first.")
            case IdlePrefillRequest() as request:
                await self._pass_on(job, self._queue.idle_prefill(request))
            case EstimateRequest() as request:
                async with self._turn(job) as engine:
                    self._send(job, await engine.estimate(request))
            case TokenizeRequest() as request:
                async with self._turn(job) as engine:
                    self._send(job, await engine.tokenize(request))
            case ReplyRequest() | CompleteRequest() as request:
                async with self._turn(job) as engine:
                    if request.chat_id is not None:
                        self._chat_ids.add(request.chat_id)
                    await self._pass_on(job, engine.reply(request))
                if not job.has_ended:
                    raise EngineError("the engine ended without an answer")

    def _allowed(self, request: AnsweredRequest) -> AnsweredRequest:
        """Returns the request, without the owner of stored prompts if the screen's user wants none to be stored."""
        if isinstance(request, LoadRequest | TokenizeRequest) or self._load is None or self._load.prompt_cache_folder:
            return request
        return msgspec.structs.replace(request, chat_id=None)

    @asynccontextmanager
    async def _turn(self, job: _Job) -> AsyncIterator[Engine]:
        """Gives the engine when it is this screen's turn; a reply that has waited long since it came says so."""
        async with AsyncExitStack() as stack:
            loop, notice_at = asyncio.get_running_loop(), job.came_at + self._notice_seconds
            notice = loop.call_at(notice_at, self._tell_of_wait, job) if job.turn is not None else None
            try:
                job.engine = await stack.enter_async_context(self._queue.turn(self))
            finally:
                if notice is not None:
                    notice.cancel()
            try:
                yield job.engine
            finally:
                job.engine = None

    def _tell_of_wait(self, job: _Job) -> None:
        before = self._queue.length  # this one is among those that wait, and the one that has the engine is not
        if before > 1:
            self._send(job, Notice(f"Waiting for other programs: at most {before} requests before this one."))
        elif before == 1:
            self._send(job, Notice("Waiting for another program: 1 request before this one."))
        else:
            self._send(job, Notice("`tui-llama serve` loads its model again."))

    async def _pass_on(self, job: _Job, events: AsyncIterator[Event]) -> None:
        async with aclosing(events) if isinstance(events, AsyncGenerator) else nullcontext():
            async for event in events:
                if job.wants_answer:  # perhaps since before the engine had the request
                    job.answer_now()
                if isinstance(event, Notice) and event.chat_id is not None:
                    self._queue.on_late_notice(event)
                else:
                    self._send(job, event)

    def _send(self, job: _Job, event: Event) -> None:
        self._write(event)
        job.has_ended = job.has_ended or isinstance(event, LAST_EVENTS)

    def _write(self, event: Event) -> None:
        """Sends an event, and does not wait until it is taken; a screen that takes far too little is sent away."""
        frame = encode_frame(event)
        if self._events.is_closing():
            return
        self._events.write(frame)
        if self._events.transport.get_write_buffer_size() > _MOST_UNSENT_BYTES:
            self._events.transport.abort()
