"""A process that compiles kernels; `compile_processes` is its other end. It alone has the compiler in its memory.

It reads a kernel from each line of standard input and answers each with one line: that its code is kept, or the code
itself where it cannot be kept, or why it cannot be compiled.
"""

import base64
import os
import queue
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from typing import TextIO

from tui_llama.engine.toolchain.compile_processes import DONE, UNKEPT
from tui_llama.engine.toolchain.numba_codegen import machine_code
from tui_llama.engine.toolchain.object_store import Kernel, keep


def main(_arguments: Sequence[str]) -> None:
    """Compiles each kernel that is asked for on standard input; ends when that ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed is no answer
    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read_jobs, args=(jobs,), daemon=True).start()
    while True:
        kernel = Kernel.from_line(jobs.get())
        try:
            function = getattr(import_module(f"tui_llama.engine.kernels.{kernel.module}"), kernel.name)
            answer = _kept(kernel, machine_code(function, kernel.arguments, returns=kernel.returns))
        except Exception as error:  # the program that asked tells the user
            _say(answers, f"{type(error).__name__}: {error}")
            raise
        _say(answers, answer)


def _kept(kernel: Kernel, code: bytes) -> str:
    """Keeps code and returns the answer, which has the code in it where it cannot be kept."""
    try:
        keep(kernel, code)
    except OSError as error:
        return f"{UNKEPT} {base64.b64encode(code).decode()} {error.strerror or type(error).__name__}"
    return DONE


def _say(answers: TextIO, answer: str) -> None:
    """Answers in one line; ends the process where the program that asked has ended."""
    try:
        print(" ".join(answer.split()), file=answers, flush=True)
    except BrokenPipeError:
        os._exit(0)


def _read_jobs(jobs: "queue.SimpleQueue[str]") -> None:
    for line in sys.stdin:
        jobs.put(line)
    os._exit(0)
