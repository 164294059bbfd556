"""Lets the full-screen chats of the same user use the engine of this server, over a Unix socket.

A socket is named by the file of the model, so several servers with several models can be used. The socket of a server
that has died is taken over; that of a living one is not. Screens may come while the model is still loaded: they see the
progress, and nobody loads it a second time. What a screen may do, and how it is served, is in `attached_screen`.
"""

import asyncio
import fcntl
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, cast

import msgspec

from tui_llama import paths
from tui_llama.engine.descriptions import ModelInfo
from tui_llama.engine.events import Failed, LoadProgress, ModelLoaded, Notice
from tui_llama.engine.process.engine_log import note_traceback
from tui_llama.engine.process.sockets import (
    UserOf,
    address,
    check_folder,
    check_user,
    peer_user,
    real_path,
    socket_path,
)
from tui_llama.engine.requests import LoadRequest
from tui_llama.errors import EngineError
from tui_llama.files.model_parts import all_parts
from tui_llama.serve.attached_screen import NOTICE_SECONDS, AttachedScreen
from tui_llama.serve.queue import EngineQueue

_MOST_SCREENS: Final = 32
_DEFAULTS: Final = LoadRequest("")
_STORES_NOTHING: Final = (
    "`tui-llama serve` stores no prompts on the disk: a long chat is read again when it is continued."
)


async def _is_loaded() -> AsyncIterator[LoadProgress]:
    """Yields nothing: the model is loaded already."""
    nothing: tuple[LoadProgress, ...] = ()
    for progress in nothing:
        yield progress


@asynccontextmanager
async def attached_screens(
    queue: EngineQueue,
    model: Callable[[], ModelInfo],
    load_request: LoadRequest,
    runtime_folder: Path | None = None,
    *,
    loading: Callable[[], AsyncIterator[LoadProgress]] = _is_loaded,
    user_of: UserOf = peer_user,
    notice_seconds: float = NOTICE_SECONDS,
) -> AsyncIterator["AttachedScreens"]:
    """Lets screens use the engine while the block runs. At its end they are sent away, and the socket is removed.

    Raises nothing if there can be no socket: `AttachedScreens.refusal` then says why.

    Args:
        queue: The queue before the engine.
        model: Returns the model once it is loaded.
        load_request: How it is loaded.
        runtime_folder: The folder of the sockets; None is `paths.runtime_folder()`.
        loading: Yields progress, often enough that screens do not lose patience, until the model is loaded.
        user_of: Tells whose process is at the other end of a connection.
        notice_seconds: How long a reply waits for its turn before its user is told.
    """
    path = socket_path(runtime_folder or paths.runtime_folder(), load_request.model_path)
    screens = AttachedScreens(queue, _ServedModel(model, loading, load_request), path, user_of, notice_seconds)
    try:
        await screens.open()
        yield screens
    finally:
        await screens.close()


class AttachedScreens:
    """The screens that use the engine of this server, and the socket at which they come.

    Args:
        queue: The queue before the engine.
        served: The model that screens may use.
        path: Where the socket is to be.
        user_of: Tells whose process is at the other end of a connection.
        notice_seconds: How long a reply waits for its turn before its user is told.

    Attributes:
        path: Where the socket is.
        refusal: Why no screen can come, as a sentence; empty if they can.
    """

    def __init__(
        self, queue: EngineQueue, served: "_ServedModel", path: Path, user_of: UserOf, notice_seconds: float
    ) -> None:
        self.path = path
        self.refusal = ""
        self._queue = queue
        self._served = served
        self._user_of = user_of
        self._notice_seconds = notice_seconds
        self._lock: int | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._screens: set[AttachedScreen] = set()
        queue.on_late_notice = self._tell

    @property
    def count(self) -> int:
        """The number of screens that are connected."""
        return len(self._tasks)

    async def open(self) -> None:
        """Makes the socket and listens to it; notes in `refusal` why that is impossible."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._bind(listener)
            self._server = await asyncio.start_unix_server(self._accept, sock=listener)
        except (EngineError, OSError) as error:
            listener.close()
            self.refusal = f"No full-screen chat can use this server's model: {error}."

    async def close(self) -> None:
        """Sends all screens away and removes the socket."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._lock is not None:
            with suppress(OSError):
                self.path.unlink()
            os.close(self._lock)
            self._lock = None

    def _bind(self, listener: socket.socket) -> None:
        """Gives the socket its place.

        Raises:
            EngineError: another server has it, or it would not be this user's alone.
            OSError: the system refuses.
        """
        check_folder(paths.make_private_folder(self.path.parent))
        self._lock = _locked(self.path.with_suffix(".lock"))
        self.path.unlink(missing_ok=True)  # whoever made it is dead, for it had the lock
        with address(self.path) as place:
            listener.bind(place)
        self.path.chmod(0o600)
        listener.setblocking(False)

    def _accept(self, requests: asyncio.StreamReader, events: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(requests, events), name="attached screen")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, requests: asyncio.StreamReader, events: asyncio.StreamWriter) -> None:
        """Serves one screen; whatever it does or sends ends at most its own connection."""
        try:
            check_user(cast(socket.socket, events.get_extra_info("socket")), self._user_of)
            if self.count <= _MOST_SCREENS:
                screen = AttachedScreen(self._queue, self._admit, requests, events, self._notice_seconds)
                self._screens.add(screen)
                try:
                    await screen.serve()
                finally:
                    self._screens.discard(screen)
        except Exception as error:
            note_traceback(error, paths.log_file())
        finally:
            events.transport.abort()
            with suppress(OSError):
                await events.wait_closed()

    def _tell(self, notice: Notice) -> None:
        """Hands a notice that came after the end of a reply to the screen whose chat it is about."""
        for screen in self._screens:
            screen.tell(notice)

    async def _admit(self, request: LoadRequest) -> AsyncGenerator[LoadProgress | ModelLoaded | Failed, None]:
        # A file on a slow disk must not hold up everybody.
        if reason := await asyncio.to_thread(self._served.file_reason_against, request):
            yield Failed(None, reason)
            return
        async for progress in self._served.loading():
            yield progress
        reason = self._served.reason_against(request)
        yield Failed(None, reason) if reason else self._served.loaded_for(request)


class _ServedModel:
    """The model that is served, and whether it is what a screen asks for."""

    def __init__(
        self,
        model: Callable[[], ModelInfo],
        loading: Callable[[], AsyncIterator[LoadProgress]],
        load_request: LoadRequest,
    ) -> None:
        self._model = model
        self.loading = loading
        self._request = load_request
        self._file = _file_mark(load_request.model_path)

    def file_reason_against(self, request: LoadRequest) -> str:
        """Returns why the file is not the one that a screen asks for, as the end of a sentence; empty if it is."""
        own = self._request
        if real_path(request.model_path) != real_path(own.model_path):
            return "it has loaded another file"
        if self._file is None or _file_mark(request.model_path) != self._file:
            return "the file has changed since it was loaded"
        return ""

    def reason_against(self, request: LoadRequest) -> str:
        """Returns why a screen cannot use the model as it is loaded, as the end of a sentence; empty if it can."""
        return next((reason for differs, reason in self._differences(request) if differs), "")

    def _differences(self, request: LoadRequest) -> Iterator[tuple[bool, str]]:
        """Yields what matters to a chat: whether it differs, and the reason that this is. Threads do not matter."""
        own, context_size = self._request, self._model().context_size
        yield (
            request.context_size not in (0, context_size),
            f"its context has {context_size} tokens, not {request.context_size}",
        )
        yield (
            request.cache_type != own.cache_type,
            f"its keys and values are {own.cache_type}, not {request.cache_type}",
        )
        yield (
            request.batch_tokens not in (_DEFAULTS.batch_tokens, own.batch_tokens),
            f"it reads {own.batch_tokens} tokens at once, not {request.batch_tokens}",
        )
        folders = (request.prompt_cache_folder, own.prompt_cache_folder)
        yield all(folders) and real_path(folders[0]) != real_path(folders[1]), "it stores prompts in another folder"

    def loaded_for(self, request: LoadRequest) -> ModelLoaded:
        """Returns the answer to a screen that can use the model, with the path by which it asked."""
        stores_less = request.prompt_cache_folder and not self._request.prompt_cache_folder
        model = msgspec.structs.replace(self._model(), path=request.model_path)
        return ModelLoaded(model, (_STORES_NOTHING,) if stores_less else ())


def _file_mark(path: str) -> tuple[tuple[int, int], ...] | None:
    """Returns the size and the time of change of a model's file, or of all its parts; None if one cannot be reached."""
    try:
        states = [part.stat() for part in all_parts(Path(path))]
    except (OSError, ValueError):
        return None
    return tuple((status.st_size, status.st_mtime_ns) for status in states)


def _locked(path: Path) -> int:
    """Returns a descriptor that holds the lock of a server; the lock goes with the process, however it ends.

    Raises:
        EngineError: another process holds it.
        OSError: the file system has no locks.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise EngineError("another server has loaded the same file, and chats use that one") from error
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
