"""A second process that compiles where nothing was compiled before.

Numba compiles one kernel after the other, whatever the number of threads. So the kernels that any model needs, half of
all the work, are compiled beside those of the model that is opened, and left in the cache, where the first process
then finds them. Whatever goes wrong here, that process compiles what it does not find.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from tui_llama.engine.compilation import cache_folder, compile_now
from tui_llama.engine.topology import usable_processors

PLAN_KERNELS = ("attention",)
"""The kernels of plans that are compiled there."""

_DONE = "compiled-ahead"  # a file of the cache's folder: all that is compiled here is in there
_POLL_SECONDS = 0.1

# Runs the package that this process runs, and ends when its input does: with the process that started it.
_START = """
import sys
root = sys.argv[1]
if root not in sys.path:
    sys.path.insert(0, root)
from tui_llama.engine.second_compiler import main
main()
"""


class SecondCompiler:
    """The process, from `with` to its end; there is none where its work was done before, or on a single processor."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if not (cache_folder() / _DONE).exists() and len(usable_processors()) > 1:
            root = Path(__file__).resolve().parents[2]
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, str(root)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def finish(self, report: Callable[[], None]) -> None:
        """Waits until it is done; calls `report`, which may raise to stop, from time to time."""
        while self._process is not None and self._process.poll() is None:
            report()
            try:
                self._process.wait(_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                continue


def compile_ahead() -> None:
    """Compiles what any model needs into the cache."""
    from tui_llama.engine import merge_kernels, ops, plan_loop, sampling
    from tui_llama.engine.matrix_kernels import compiled_kernel

    merge_kernels.compile_merging()
    for name in PLAN_KERNELS:
        compiled_kernel(ops.PLAIN_KERNELS[name])
    compile_now(plan_loop.take_part, plan_loop.TAKE_PART)
    sampling.compile_sampling_kernels()
    (cache_folder() / _DONE).touch()


def main() -> None:
    """The process."""

    def end_with_the_first() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=end_with_the_first, daemon=True).start()
    compile_ahead()
