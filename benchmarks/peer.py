"""llama.cpp for `benchmarks.compare`: its own program llama-bench, or the library llama-cpp-python.

Both return the seconds of the repetitions of a test. The library keeps the model loaded between two requests, so that
the two programs can take turns after each repetition. llama-bench loads the model for each request.
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from tui_llama import paths
from tui_llama.bench.measure import SpeedTest

BATCH_TOKENS = 512
"""The number of tokens read at once, which is llama.cpp's default."""

_PROGRAM = Path(__file__).with_name("llama_cpp_process.py")
_END_OF_ERRORS_BYTES = 2000

# GCC 12 assumes that this instruction reads only eight bytes, and leaves out the stores of the other 56. llama.cpp then
# crashes on processors with AMX. This header, included before every file, tells GCC that it reads 64 bytes.
_TILE_FIX = """#pragma once
#if defined(__AMX_TILE__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>
static inline void load_tile_configuration(const void * configuration) {
    __asm__ volatile("ldtilecfg %0" : : "m"(*(const char (*)[64]) configuration));
}
#undef _tile_loadconfig
#define _tile_loadconfig load_tile_configuration
#endif
"""


class LlamaCpp(Protocol):
    """llama.cpp with one model."""

    name: str
    """The program and its version."""
    takes_turns: bool
    """True if single repetitions can take turns, because they need no loading of their own."""

    def seconds(self, test: SpeedTest, repetitions: int, flash: bool) -> list[float]:
        """Returns the seconds of each repetition."""
        ...

    def close(self) -> None:
        """Ends the program."""
        ...


class LlamaBench:
    """The program llama-bench.

    Args:
        program: The path of the program.
        model: The model file.
        threads: The number of threads.
    """

    takes_turns = False

    def __init__(self, program: Path, model: Path, threads: int) -> None:
        self._command = [str(program), "-m", str(model), "-t", str(threads), "-o", "json", "-ngl", "0"]
        self.name = "llama-bench"

    def seconds(self, test: SpeedTest, repetitions: int, flash: bool) -> list[float]:
        """Returns the seconds of each repetition. The program first loads the model, warms up and fills the cache."""
        counts = ["-p", str(test.token_count), "-n", "0"] if test.reads else ["-p", "0", "-n", str(test.token_count)]
        options = [*counts, "-d", str(test.depth), "-r", str(repetitions), "-fa", str(int(flash))]
        options += ["-b", str(BATCH_TOKENS), "-ub", str(BATCH_TOKENS)]
        done = subprocess.run([*self._command, *options], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"llama-bench failed:\n{done.stderr[-_END_OF_ERRORS_BYTES:]}")
        [result] = json.loads(done.stdout)
        self.name = f"llama-bench {result['build_commit']} ({result['build_number']})"
        return [nanoseconds / 1e9 for nanoseconds in result["samples_ns"]]

    def close(self) -> None:
        """Does nothing, because no process runs between two requests."""


class LlamaCppPython:
    """The library, which `llama_cpp_process` runs in a process of its own.

    Args:
        python: An interpreter that has the library.
        model: The model file.
        threads: The number of threads.
        context_size: The number of tokens that a context holds.
    """

    takes_turns = True

    def __init__(self, python: Path, model: Path, threads: int, context_size: int) -> None:
        self._command = _process_command(python, model, threads, context_size)
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        about = self._answer()
        self.name = f"llama-cpp-python {about['version']}"
        self.system = about["system"]

    def seconds(self, test: SpeedTest, repetitions: int, flash: bool) -> list[float]:
        """Returns the seconds of each repetition."""
        kind = "pp" if test.reads else "tg"
        request = {"kind": kind, "tokens": test.token_count, "depth": test.depth, "flash": flash}
        return [self._ask(request)["seconds"] for _ in range(repetitions)]

    def close(self) -> None:
        """Ends the process."""
        with self._process:  # closes its input, which ends it, and waits
            pass

    def _ask(self, request: dict[str, object]) -> Any:
        assert self._process.stdin is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        by_hand = shlex.join([*self._command, "--once"])
        raise SystemExit(f"llama.cpp ended with status {self._process.wait()}; what it says: {by_hand}")


def seconds_to_first_token(python: Path, model: Path, threads: int, context_size: int) -> float:
    """Returns the seconds in which the library loads a model and reads one token, without its interpreter's start."""
    command = [*_process_command(python, model, threads, context_size), "--once"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    return float(json.loads(done.stdout)["seconds"])


def build_llama_cpp_python() -> Path:
    """Builds the library for this processor in a virtual environment below the user's cache, unless it exists.

    Returns:
        The interpreter that has the library.
    """
    folder = paths.cache_folder() / "llama-cpp-python"
    python = folder / "bin" / "python"
    finished = folder / "finished"
    if finished.exists():
        return python
    print("building llama-cpp-python, which takes some minutes", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    fix = folder / "tile_fix.h"
    fix.write_text(_TILE_FIX)
    arguments = f"-DGGML_NATIVE=ON -DCMAKE_CXX_FLAGS=-include{fix} {os.environ.get('CMAKE_ARGS', '')}"
    command = [str(python), "-m", "pip", "install", "--no-cache-dir", "--no-binary", "llama-cpp-python"]
    subprocess.run([*command, "llama-cpp-python"], env=os.environ | {"CMAKE_ARGS": arguments}, check=True)
    finished.touch()
    return python


def _process_command(python: Path, model: Path, threads: int, context_size: int) -> Sequence[str]:
    options = {"--context": context_size, "--threads": threads, "--batch-threads": threads, "--batch": BATCH_TOKENS}
    return [str(python), str(_PROGRAM), str(model), *(str(part) for pair in options.items() for part in pair)]
