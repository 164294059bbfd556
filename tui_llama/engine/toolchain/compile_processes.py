"""Compiles kernels in processes of their own, side by side: the program has no compiler in its memory.

Each process (`compiler_process`) is given one kernel after the other. It leaves the code where `object_store` finds it,
or hands it over where it cannot be left. Numba compiles one function at a time in a process, whatever the number of
threads. A compiler cannot be interrupted, but a process can.
"""

import base64
import queue
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Final

from tui_llama.engine.machine.topology import usable_processors
from tui_llama.engine.toolchain.object_store import Kernel
from tui_llama.errors import EngineError
from tui_llama.system.child_process import child_command

_MOST_PROCESSES: Final = 4  # each has a compiler of its own, which takes memory
_POLL_SECONDS: Final = 0.1
_SLOW: Final = ("attention", "merge_words", "take_part", "matrix_", "collect")
"""The kernels that take longest to compile. They come first, so that no process is left with one at the end."""

_COMPILER: Final = "tui_llama.engine.toolchain.compiler_process"
"""The module that such a process runs, by its name: to import it would load the compiler into the program."""

DONE: Final = "done"
"""A process's answer when the code is kept."""
UNKEPT: Final = "unkept"
"""The first word of its answer when the code cannot be kept; the code in base 64 and the cause follow."""


@dataclass(slots=True)
class UnkeptCode:
    """Code that could not be kept, by its kernel, and why, in a few words."""

    code: dict[Kernel, bytes] = field(default_factory=dict)
    cause: str = ""


def compile_in_processes(kernels: Sequence[Kernel], on_done: Callable[[int], None]) -> UnkeptCode:
    """Compiles kernels and keeps their code.

    Args:
        kernels: At least one.
        on_done: Called from time to time with how many are done; may raise to stop.

    Returns:
        What could not be kept.

    Raises:
        EngineError: one cannot be compiled.
    """
    jobs, unkept = deque(sorted(kernels, key=_place_in_line)), UnkeptCode()
    answers: queue.SimpleQueue[tuple[Kernel, str]] = queue.SimpleQueue()
    count = min(len(usable_processors()), len(kernels), _MOST_PROCESSES)
    with ExitStack() as ending:
        for _ in range(count):
            process = _start()
            thread = threading.Thread(target=_give_jobs, args=(process, jobs, answers), daemon=True)
            thread.start()
            ending.callback(_end, process, thread)
        done = 0
        while done < len(kernels):
            on_done(done)
            with suppress(queue.Empty):
                kernel, answer = answers.get(timeout=_POLL_SECONDS)
                if answer.startswith(UNKEPT):
                    _, code, unkept.cause = answer.split(maxsplit=2)
                    unkept.code[kernel] = base64.b64decode(code)
                elif answer != DONE:
                    cause = answer or "the compiler ended"
                    raise EngineError(f"{kernel.module}.{kernel.name} could not be compiled: {cause}")
                done += 1
    return unkept


def _place_in_line(kernel: Kernel) -> int:
    places = (place for place, beginning in enumerate(_SLOW) if kernel.name.startswith(beginning))
    return next(places, len(_SLOW))


def _start() -> "subprocess.Popen[str]":
    return subprocess.Popen(
        child_command(_COMPILER),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl+C is for the program, whose end ends this
    )


def _end(process: "subprocess.Popen[str]", thread: threading.Thread) -> None:
    process.kill()
    thread.join()
    process.communicate()


def _give_jobs(
    process: "subprocess.Popen[str]", jobs: deque[Kernel], answers: "queue.SimpleQueue[tuple[Kernel, str]]"
) -> None:
    """Hands a process one job after the other, until there are none or it has ended."""
    assert process.stdin is not None and process.stdout is not None
    while True:
        try:
            kernel = jobs.popleft()
        except IndexError:
            return
        answer = ""
        with suppress(OSError, ValueError):  # it has ended
            print(kernel.line, file=process.stdin, flush=True)
            answer = process.stdout.readline().strip()
        answers.put((kernel, answer))
        if not answer.startswith((DONE, UNKEPT)):
            return
