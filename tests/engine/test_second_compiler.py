"""The process that compiles beside the first."""

import time
from pathlib import Path

import pytest

from tui_llama.engine import second_compiler
from tui_llama.engine.compilation import cache_folder
from tui_llama.engine.second_compiler import SecondCompiler

DONE = "compiled-ahead"


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(second_compiler, "cache_folder", lambda: tmp_path)
    return tmp_path


def run_instead(monkeypatch: pytest.MonkeyPatch, program: str, processors: int = 2) -> None:
    monkeypatch.setattr(second_compiler, "_START", program)
    monkeypatch.setattr(second_compiler, "usable_processors", lambda: frozenset(range(processors)))


def test_it_finds_its_work_done_where_all_was_compiled_before() -> None:
    second_compiler.compile_ahead()
    assert (cache_folder() / DONE).exists()
    with SecondCompiler() as compiler:
        assert compiler._process is None


def test_the_process_compiles_into_the_cache_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    second_compiler.compile_ahead()
    (cache_folder() / DONE).unlink()
    run_instead(monkeypatch, second_compiler._START)
    with SecondCompiler() as compiler:
        compiler.finish(lambda: None)
        assert compiler._process is not None and compiler._process.returncode == 0
    assert (cache_folder() / DONE).exists()


def test_it_is_waited_for_with_reports(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_instead(monkeypatch, "import time; time.sleep(0.3)")
    reports: list[float] = []
    with SecondCompiler() as compiler:
        compiler.finish(lambda: reports.append(time.monotonic()))
        assert compiler._process is not None and compiler._process.returncode == 0
    assert len(reports) > 1


def test_it_ends_with_a_load_that_is_stopped(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop() -> None:
        raise StopAsyncIteration

    run_instead(monkeypatch, "import time; time.sleep(600)")
    compiler = SecondCompiler()
    with pytest.raises(StopAsyncIteration), compiler:
        compiler.finish(stop)
    assert compiler._process is not None and compiler._process.returncode == -9


def test_it_ends_when_the_first_process_is_gone(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_instead(
        monkeypatch,
        "import sys, time; sys.path.insert(0, sys.argv[1]); from tui_llama.engine import second_compiler\n"
        "second_compiler.compile_ahead = lambda: time.sleep(600)\nsecond_compiler.main()",
    )
    with SecondCompiler() as compiler:
        assert compiler._process is not None and compiler._process.stdin is not None
        compiler._process.stdin.close()
        assert compiler._process.wait(60) == 1
        compiler._process.stdin = None


def test_there_is_none_on_a_single_processor(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_instead(monkeypatch, "raise SystemExit", processors=1)
    with SecondCompiler() as compiler:
        assert compiler._process is None
