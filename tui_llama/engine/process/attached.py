"""The engine of a running `tui-llama serve`, used by a screen of the same user, so that a model is loaded only once.

The same frames go over a Unix socket as over the pipes to a process of one's own, so nothing is missing: exact tokens,
estimates, idle prefill. Whoever closes such an engine only leaves: the server goes on.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Final

from tui_llama import paths
from tui_llama.engine.events import Failed, LoadProgress, ModelLoaded, Notice, PromptEstimate, Tokenized
from tui_llama.engine.process.asking import AskingEngine
from tui_llama.engine.process.engine_log import note_traceback
from tui_llama.engine.process.framing import FrameError
from tui_llama.engine.process.line import Line
from tui_llama.engine.process.sockets import (
    UserOf,
    address,
    check_folder,
    check_user,
    is_socket,
    peer_user,
    socket_path,
)
from tui_llama.engine.process.worker import EngineWorker
from tui_llama.engine.protocol import AnsweredRequest, Engine, IdlePrefillEvent, LoadEvent, ReplyEvent
from tui_llama.engine.requests import (
    CompleteRequest,
    EstimateRequest,
    IdlePrefillRequest,
    LoadRequest,
    ReplyRequest,
    TokenizeRequest,
)
from tui_llama.errors import EngineError, EngineLostError

ATTACHED: Final = "This chat uses the model that `tui-llama serve` has loaded."
PATIENCE_SECONDS: Final = 3.0
"""How long a server may say nothing to a screen that attaches: it only looks at the file, and tells of its load."""

_HINT: Final = "Try again: the model is loaded again."


class AttachedEngine(AskingEngine):
    """An `Engine` whose work is done by a running server. A load connects to it if there is no connection.

    Args:
        path: The server's socket.
        log_file: File for tracebacks of unexpected exceptions; None is `paths.log_file()`.
        user_of: Tells whose process is at the other end.
    """

    def __init__(self, path: Path, log_file: Path | None = None, user_of: UserOf = peer_user) -> None:
        super().__init__(log_file)
        self._path = path
        self._user_of = user_of
        self._line: _ServerLine | None = None
        # Connecting and leaving take turns, so that leaving while connecting leaves no connection behind.
        self._changing = asyncio.Lock()

    @property
    def is_alive(self) -> bool:
        """True while the server is there."""
        return self._line is not None and self._line.lost is None

    async def close(self) -> None:
        """Leaves the server, which ends what it was doing for this engine. May be called twice."""
        async with self._changing:
            if self._line is not None:
                await self._line.leave()

    async def _line_for(self, request: AnsweredRequest) -> Line:
        async with self._changing:
            if isinstance(request, LoadRequest) and not self.is_alive:
                self._line = await self._connected()
            if self._line is None:
                raise EngineLostError("no server is connected", "Load a model first.")
            if self._line.lost is not None:
                raise self._line.lost
            return self._line

    async def _connected(self) -> "_ServerLine":
        """Connects to the server, and makes sure that it is one of this user before anything is said.

        Raises:
            EngineError: it is another user's, or may be.
            EngineLostError: nobody listens.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            check_folder(self._path.parent)
            with address(self._path) as place:
                await asyncio.get_running_loop().sock_connect(connection, place)
            check_user(connection, self._user_of)
            events, requests = await asyncio.open_unix_connection(sock=connection)
        except OSError as error:
            connection.close()
            raise EngineLostError(f"no server answers at {self._path}: {error}", _HINT) from error
        except BaseException:
            connection.close()
            raise
        return _ServerLine(requests, events, self._log_file)


class _ServerLine(Line):
    """The connection to a server."""

    def __init__(self, requests: asyncio.StreamWriter, events: asyncio.StreamReader, log_file: Path | None) -> None:
        super().__init__(requests, events)
        self._log_file = log_file
        self._is_left = False

    async def leave(self) -> None:
        """Ends the connection."""
        self._is_left = True
        self._requests.transport.abort()
        await asyncio.wait((self.listener,))

    async def _see_out(self, fault: Exception | None) -> EngineLostError:
        self._requests.transport.abort()
        with suppress(OSError):
            await self._requests.wait_closed()
        if self._is_left:
            return EngineLostError("the engine was closed")
        if isinstance(fault, FrameError):
            return EngineLostError(f"`tui-llama serve` sent an invalid message: {fault}", _HINT)
        if fault is not None and not isinstance(fault, OSError):
            note_traceback(fault, self._log_file or paths.log_file())
        return EngineLostError("`tui-llama serve`, which had loaded the model, has ended", _HINT)


class AttachingEngine:
    """An `Engine` that uses the model of a running server of the same user, and loads it itself where there is none.

    Each load looks for a server anew.

    Args:
        make_own: Makes the engine for models that nobody serves; called once.
        folder: The folder of the sockets; None is `paths.runtime_folder()`.
        patience_seconds: How long a server may take to answer.
        user_of: Tells whose process is at the other end.
    """

    def __init__(
        self,
        make_own: Callable[[], Engine] = EngineWorker,
        folder: Path | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
        user_of: UserOf = peer_user,
    ) -> None:
        self._own = make_own()
        self._folder = folder
        self._patience_seconds = patience_seconds
        self._user_of = user_of
        self._attached: AttachedEngine | None = None
        self._attaching: asyncio.Task[ModelLoaded | str] | None = None

    @property
    def is_attached(self) -> bool:
        """True if the model is a server's."""
        return self._attached is not None

    @property
    def is_alive(self) -> bool:
        """See `Engine.is_alive`."""
        return self._engine.is_alive

    async def load(self, request: LoadRequest) -> AsyncGenerator[LoadEvent, None]:
        """See `Engine.load`. Attaches to a server that has the model, or loads it.

        Raises:
            EngineLostError: the engine's own process ended.
        """
        await self._leave()
        path = socket_path(self._folder or paths.runtime_folder(), request.model_path)
        if is_socket(path):
            async with aclosing(self._load_of_server(path, request)) as events:
                async for event in events:
                    yield event
                    if isinstance(event, ModelLoaded | Failed):
                        return
        async for event in self._own.load(request):
            yield event

    def reply(self, request: ReplyRequest | CompleteRequest) -> AsyncIterator[ReplyEvent]:
        """See `Engine.reply`; a server that ends is a lost engine."""
        return self._engine.reply(request)

    def idle_prefill(self, request: IdlePrefillRequest) -> AsyncIterator[IdlePrefillEvent]:
        """See `Engine.idle_prefill`."""
        return self._engine.idle_prefill(request)

    async def estimate(self, request: EstimateRequest) -> PromptEstimate:
        """See `Engine.estimate`."""
        return await self._engine.estimate(request)

    async def tokenize(self, request: TokenizeRequest) -> Tokenized:
        """See `Engine.tokenize`."""
        return await self._engine.tokenize(request)

    def cancel(self) -> None:
        """See `Engine.cancel`."""
        if self._attaching is not None:
            self._attaching.cancel()
        else:
            self._engine.cancel()

    def answer_now(self) -> None:
        """See `Engine.answer_now`."""
        self._engine.answer_now()

    async def close(self) -> None:
        """Leaves the server, or ends the engine's own process. May be called twice."""
        if self._attaching is not None:
            self._attaching.cancel()
        await self._leave()
        await self._own.close()

    @property
    def _engine(self) -> Engine:
        return self._own if self._attached is None else self._attached

    async def _leave(self) -> None:
        attached, self._attached = self._attached, None
        if attached is not None:
            await attached.close()

    async def _load_of_server(self, path: Path, request: LoadRequest) -> AsyncGenerator[LoadEvent, None]:
        """Yields the progress of the server's load, and then its model, or why it is not used.

        If this is stopped, it fails. A server that has ended is no news.
        """
        progress: asyncio.Queue[LoadProgress | None] = asyncio.Queue()
        task = self._attaching = asyncio.create_task(self._attach(path, request, progress.put_nowait), name="attach")
        task.add_done_callback(lambda _: progress.put_nowait(None))
        try:
            while (event := await progress.get()) is not None:
                yield event
        finally:
            self._attaching = None
            if not task.done():
                task.cancel()
                await asyncio.wait((task,))
        if task.cancelled():
            yield Failed(None, "loading was stopped")
            return
        answer = task.result()
        if isinstance(answer, ModelLoaded):
            await self._own.close()  # the model that it may have loaded before is not used any more
            yield Notice(ATTACHED)
            yield answer
        elif answer:
            yield Notice(answer)

    async def _attach(
        self, path: Path, request: LoadRequest, on_progress: Callable[[LoadProgress], None]
    ) -> ModelLoaded | str:
        """Returns the server's model; or else the reason for a notice, which may be empty."""
        engine = AttachedEngine(path, user_of=self._user_of)
        answer: ModelLoaded | str = ""
        try:
            async with asyncio.timeout(self._patience_seconds) as patience:
                async with aclosing(engine.load(request)) as events:
                    async for event in events:
                        patience.reschedule(asyncio.get_running_loop().time() + self._patience_seconds)
                        match event:
                            case LoadProgress():
                                on_progress(event)
                            case ModelLoaded():
                                answer = event
                            case Failed(message=message, hint=hint):
                                raise EngineError(message, hint)
        except TimeoutError:
            answer = _not_used("it does not answer")
        except EngineLostError:
            pass  # it has ended: what it leaves of its socket is no news
        except EngineError as error:
            answer = _not_used(str(error))
        finally:
            if isinstance(answer, ModelLoaded):
                self._attached = engine
            else:
                await engine.close()
        return answer


def _not_used(reason: str) -> str:
    return f"`tui-llama serve` has this model too, but this chat cannot use it: {reason}. It is loaded once more."
