"""Runs the server from the first byte of the model to the last byte of an answer, and ends it in order.

At the end the request under way is cancelled, those that wait are refused, answers end, and the engine saves and ends.
That takes less than two seconds; a second Ctrl+C does not wait for it.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import uvicorn

from tui_llama.engine.events import LoadProgress
from tui_llama.engine.process.border import GuardedEngine
from tui_llama.engine.protocol import Engine
from tui_llama.engine.requests import LoadRequest
from tui_llama.output import Output, percent
from tui_llama.serve.app import make_app
from tui_llama.serve.attach import attached_screens
from tui_llama.serve.http.access import Access
from tui_llama.serve.http.limits import Limits
from tui_llama.serve.http.listening import MOST_PENDING
from tui_llama.serve.http.protocol import protocol_class
from tui_llama.serve.metrics import MeasuredEngine, Metrics
from tui_llama.serve.model_name import served_name
from tui_llama.serve.queue import EngineQueue
from tui_llama.serve.served_model import ServedModel
from tui_llama.settings import Settings
from tui_llama.system.endings import endings

_ANSWERS_END_SECONDS: Final = 1


@dataclass(frozen=True, slots=True)
class Service:
    """What is served, and to whom.

    Attributes:
        load: What loads the model.
        settings: The user's settings.
        access: Who may ask.
        sockets: Where to listen; closed at the end.
        make_engine: Opens the engine.
        limits: What a request may cost.
        any_model: Whether requests may name any model.
        log_file: File for tracebacks of the engine; None is `paths.log_file()`.
    """

    load: LoadRequest
    settings: Settings
    access: Access
    sockets: list[socket.socket]
    make_engine: Callable[[], Engine]
    limits: Limits = field(default_factory=Limits)
    any_model: bool = False
    log_file: Path | None = None


async def serve(service: Service, output: Output, on_ready: Callable[[str], None]) -> int:
    """Loads the model and answers requests until a signal ends it.

    Args:
        service: What is served.
        output: Where progress and notices go.
        on_ready: Called with the model's name when requests can come.

    Returns:
        The exit status that belongs to the signal.

    Raises:
        EngineError: the model cannot be loaded.
    """
    metrics = Metrics()
    engine = MeasuredEngine(GuardedEngine(service.make_engine, service.log_file), metrics)
    model = ServedModel(engine, service.load, _shower(output), output.notice)
    queue = EngineQueue(engine, make_ready=model.make_ready, is_ready=lambda: model.is_ready)
    with _ending_signals() as ending:
        try:
            # Before the load: a screen that starts now waits for it instead of loading the model a second time.
            async with attached_screens(queue, model.info, service.load, loading=model.progress) as screens:
                if screens.refusal:
                    output.notice(screens.refusal)
                if await _done_before(ending, model.make_ready()):
                    server = HttpServer(
                        *(_app(service, queue, model, metrics), service.limits, queue),
                        on_listening=lambda: on_ready(served_name(model.info())),
                    )
                    answering = asyncio.create_task(server.answer(service.sockets), name="answering")
                    await _either(answering, ending)
                    queue.close()
                    server.should_exit = True
                    await answering
            return await ending
        finally:
            for each in service.sockets:
                each.close()
            await model.close()
            await engine.close()


def _app(service: Service, queue: EngineQueue, model: ServedModel, metrics: Metrics) -> Any:
    return make_app(
        *(queue, model.info, service.settings, service.access, service.limits, metrics),
        any_model=service.any_model,
        load_if_lost=model.load_if_lost,
    )


class HttpServer(uvicorn.Server):
    """uvicorn's server with our limits, without its signals and its messages.

    Args:
        app: The application.
        limits: Those of connections.
        queue: The queue before the engine, whose length refusals tell.
        on_listening: Called once clients can connect.
    """

    def __init__(
        self,
        app: Any,
        limits: Limits,
        queue: EngineQueue | None = None,
        on_listening: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_listening = on_listening
        # Every failure becomes an answer or a line in the engine's log; uvicorn's words would be in between.
        for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
            logging.getLogger(name).addHandler(logging.NullHandler())
            logging.getLogger(name).propagate = False
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol_class(limits, queue),
                loop="none",
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,  # anybody could claim another address
                server_header=False,
                timeout_keep_alive=limits.keep_alive_seconds,  # type: ignore[arg-type] # passed on to `call_later`
                timeout_graceful_shutdown=_ANSWERS_END_SECONDS,
                backlog=MOST_PENDING,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves the signals alone: `serve` knows what has to end before the answers do."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to listen."""
        await super().startup(sockets)
        self._on_listening()

    async def answer(self, sockets: list[socket.socket]) -> None:
        """Answers requests until `should_exit` is set; then ends the connections, open answers after a second."""
        await self.serve(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.gather(*self.server_state.tasks, return_exceptions=True)


def _shower(output: Output) -> Callable[[LoadProgress], None]:
    def show(progress: LoadProgress) -> None:
        output.progress(f"loading the model: {progress.stage} {percent(progress.done, progress.total)}")

    return show


async def _done_before(ending: "asyncio.Future[int]", work: Any) -> bool:
    """Does the work; returns whether it was done before the end came, which cancels it.

    Raises whatever the work raises.
    """
    task = asyncio.ensure_future(work)
    await _either(task, ending)
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
        return False
    task.result()
    return True


async def _either(one: "asyncio.Future[Any]", other: "asyncio.Future[Any]") -> None:
    """Returns when one of both is done."""
    await asyncio.wait({one, other}, return_when=asyncio.FIRST_COMPLETED)


@contextmanager
def _ending_signals() -> Iterator["asyncio.Future[int]"]:
    """Yields the exit status that is to be, once a signal has come. A second interrupt ends the process at once."""
    loop = asyncio.get_running_loop()
    ending: asyncio.Future[int] = loop.create_future()

    def end(status: int) -> None:
        if ending.done():
            os._exit(status)  # the engine's process sees that its input ends, and ends as well
        ending.set_result(status)

    numbers = []
    for number, status in endings():
        loop.add_signal_handler(number, end, status)
        numbers.append(number)
    try:
        yield ending
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
        ending.cancel()
