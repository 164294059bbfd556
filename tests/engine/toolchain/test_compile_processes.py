"""Kernels that other processes compile: what goes wrong there is an error here, and nobody is left behind."""

import subprocess
from pathlib import Path

import pytest

from tests.engine.toolchain.doubling import compile_with
from tests.patience import HANG_SECONDS
from tui_llama.engine import ops
from tui_llama.engine.toolchain import compile_processes
from tui_llama.engine.toolchain.loader import load_kernels
from tui_llama.engine.toolchain.object_store import Kernel
from tui_llama.errors import EngineError


def test_a_function_that_cannot_be_compiled_is_an_error_with_its_cause() -> None:
    with pytest.raises(EngineError, match=r"top_logits\.nothing could not be compiled: AttributeError"):
        load_kernels([Kernel("top_logits", "nothing", "i")])


def test_a_compiler_that_ends_is_an_error(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_with(monkeypatch, "import sys; sys.stdin.readline()")
    with pytest.raises(EngineError, match="the compiler ended"):
        load_kernels(ops.SAMPLING)


def test_a_compiler_that_cannot_keep_its_code_is_an_error(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_with(monkeypatch, "import sys\nfor line in sys.stdin: print('done', flush=True)")
    with pytest.raises(EngineError, match="could not be saved"):
        load_kernels([ops.SUMMARISE_LOGITS])


def test_compilers_end_with_a_load_that_is_stopped(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[str]] = []
    start = compile_processes._start

    def noted() -> subprocess.Popen[str]:
        started.append(start())
        return started[-1]

    def stop(done: int, total: int) -> None:
        if started:
            raise StopAsyncIteration

    compile_with(monkeypatch, "import signal; signal.pause()")
    monkeypatch.setattr(compile_processes, "_start", noted)
    with pytest.raises(StopAsyncIteration):
        load_kernels([ops.SUMMARISE_LOGITS], stop)
    assert [process.returncode for process in started] == [-9]


def test_a_compiler_ends_when_the_program_is_gone(empty_folder: Path) -> None:
    process = compile_processes._start()
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(HANG_SECONDS) == 0
    process.stdin = None
    process.communicate()
