"""The engine in a process of its own, for asyncio: requests go in, events come out.

The screen's event loop never blocks and never dies with the engine: a lost process is an `EngineLostError`, and the
next `load` starts another. Knows processes and messages; nothing of models, chats or widgets.
"""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

from tui_llama import paths
from tui_llama.engine.process.asking import AskingEngine
from tui_llama.engine.process.engine_log import note_traceback, open_log
from tui_llama.engine.process.framing import FrameError
from tui_llama.engine.process.line import Line
from tui_llama.engine.protocol import AnsweredRequest
from tui_llama.engine.requests import LoadRequest, ShutdownRequest
from tui_llama.errors import EngineLostError
from tui_llama.system.child_process import child_command

DEFAULT_ENGINE = "tui_llama.engine.local:LocalEngine"

# A little more than the process allows itself for saving when it is told to end.
_CLOSING_SECONDS = 12.0
# How long a process that has closed its pipe may take to end by itself.
_DYING_SECONDS = 2.0


class EngineWorker(AskingEngine):
    """An `Engine` whose work is done by a child process. A load starts the process if there is none.

    Args:
        engine: `module:callable` that the child calls to make its engine.
        log_file: Where the child's standard error goes; None is `paths.log_file()`.
    """

    def __init__(self, engine: str = DEFAULT_ENGINE, log_file: Path | None = None) -> None:
        super().__init__(log_file)
        self._engine = engine
        self._child: _Child | None = None
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

    async def close(self) -> None:
        """Ends the process, after what it is saving is saved, at most some seconds later.

        May be called twice.
        """
        async with self._changing:
            if self._child is not None:
                await self._child.end()

    async def _line_for(self, request: AnsweredRequest) -> Line:
        return await self._started_child() if isinstance(request, LoadRequest) else self._living_child()

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


class _Child(Line):
    """A running engine process, and the line to it."""

    def __init__(self, process: asyncio.subprocess.Process, log_file: Path | None) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        super().__init__(process.stdin, process.stdout)
        self.process = process
        self._log_file = log_file
        self._ending = False

    async def end(self) -> None:
        """Asks the process to end, waits, and kills it if it has not ended by then."""
        self._ending = True
        try:
            if self.lost is None:
                self.send(ShutdownRequest())
                self._requests.close()
                await asyncio.wait((self.listener,), timeout=_CLOSING_SECONDS)
        except Exception as error:  # a process that cannot be asked is killed all the same
            note_traceback(error, self._log_file)
        finally:
            self._kill()
            await asyncio.wait((self.listener,))

    async def _see_out(self, fault: Exception | None) -> EngineLostError:
        if fault is not None:
            self._kill()
        try:
            await self._wait_for_end()
        except Exception as error:
            fault = fault or error
        if fault is not None and not isinstance(fault, FrameError):
            note_traceback(fault, self._log_file)
        return self._loss_error(fault)

    async def _wait_for_end(self) -> None:
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
