"""A machine is made ready: kernels beside the starter model, which is fetched where there is no usable model."""

import io
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.fakes.no_models import hide_models
from tests.fakes.text_terminal import FakeTerminal
from tests.fakes.tiny_model import make_tiny_model
from tests.patience import HANG_SECONDS
from tui_llama import paths
from tui_llama.cli import set_up
from tui_llama.cli.set_up import has_usable_model, how_to_give_a_model
from tui_llama.engine.model.common_kernels import STARTER_FORMATS, kernels_for
from tui_llama.engine.toolchain.loader import load_kernels
from tui_llama.engine.toolchain.object_store import Kernel
from tui_llama.errors import EngineError, UserError
from tui_llama.models import machine
from tui_llama.models.catalogue import STARTER
from tui_llama.models.downloads import Downloaded, DownloadError, DownloadStoppedError, Progress, ReportProgress
from tui_llama.output import Output

PATH = "/models/starter.gguf"
Fetch = Callable[[ReportProgress], Downloaded]


@dataclass
class Work:
    """What is done instead of the real work, and what was asked for.

    Attributes:
        fetch: What a download does.
        compile: What compiling does; it is given what to call with progress.
        asked: "compile", "measure" and the names of models, in order.
    """

    fetch: Fetch = lambda report: Downloaded(PATH)
    compile: Callable[[Callable[[int, int], None]], None] = lambda report: None
    asked: list[str] = field(default_factory=list)


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    """An empty machine on which nothing is fetched, compiled or measured."""
    work = Work()

    def pull(name: str, report: ReportProgress) -> Downloaded:
        work.asked.append(name)
        return work.fetch(report)

    def load_or_compile(kernels: Iterable[Kernel], report: Callable[[int, int], None] | None = None) -> None:
        if report is None:  # a kernel that was compiled before is needed to look into files
            load_kernels(kernels)
            return
        assert set(kernels) == set(kernels_for(STARTER_FORMATS))
        work.asked.append("compile")
        work.compile(report)

    monkeypatch.setattr(set_up, "pull", pull)
    monkeypatch.setattr("tui_llama.engine.toolchain.loader.load_kernels", load_or_compile)
    monkeypatch.setattr(machine, "measured_machine", lambda: work.asked.append("measure"))
    hide_models(monkeypatch, tmp_path)
    return work


def run(messages: io.StringIO | None = None) -> tuple[bool, list[str]]:
    """Whether there is a model afterwards, and the lines that were printed."""
    messages = messages or io.StringIO()
    results = io.StringIO()
    is_ready = set_up.set_up(Output(results, messages))
    assert results.getvalue() == ""
    return is_ready, messages.getvalue().splitlines()


def give_a_model(name: str = "tiny.gguf") -> None:
    make_tiny_model(paths.make_private_folder(paths.models_folder()) / name)


# --- what is done


def test_an_empty_machine_gets_kernels_and_the_starter_and_is_measured_last(work: Work) -> None:
    is_ready, lines = run()
    assert is_ready
    assert set(work.asked) == {STARTER, "compile", "measure"}
    assert work.asked[-1] == "measure"
    assert lines == [f"note: the starter model is here: {PATH}"]


def test_a_machine_with_a_usable_model_gets_no_starter(work: Work) -> None:
    give_a_model()
    assert run() == (True, [])
    assert work.asked == ["compile", "measure"]


def test_a_machine_whose_only_model_cannot_run_gets_the_starter(work: Work) -> None:
    (paths.make_private_folder(paths.models_folder()) / "broken.gguf").write_bytes(b"GGUF and nothing else")
    assert not has_usable_model()
    assert run()[0]
    assert STARTER in work.asked


def test_kernels_are_compiled_while_the_starter_comes(work: Work) -> None:
    is_compiled = threading.Event()

    def fetch(_report: ReportProgress) -> Downloaded:
        assert is_compiled.wait(HANG_SECONDS)  # it would come to nothing, were one done after the other
        return Downloaded(PATH)

    work.fetch, work.compile = fetch, lambda report: is_compiled.set()
    assert run()[0]


# --- what goes wrong


def test_a_download_that_fails_is_told_in_two_lines_with_how_to_give_a_model(work: Work) -> None:
    def fetch(_report: ReportProgress) -> Downloaded:
        raise DownloadError("the package index cannot be reached", "Check the network.")

    work.fetch = fetch
    is_ready, lines = run()
    assert not is_ready
    assert lines == [
        "note: the package index cannot be reached. Check the network.",
        f"note: {how_to_give_a_model()}",
    ]
    assert work.asked[-1] == "measure"


def test_the_way_to_give_a_model_names_the_folder_and_the_option() -> None:
    assert str(paths.models_folder()) in how_to_give_a_model()
    assert "-m FILE" in how_to_give_a_model()


def test_a_record_that_cannot_be_written_is_told_like_any_other_failure(work: Work) -> None:
    def fetch(_report: ReportProgress) -> Downloaded:
        raise UserError("the record cannot be written", "Check the folder.")

    work.fetch = fetch
    is_ready, lines = run()
    assert not is_ready
    assert lines[0] == "note: the record cannot be written. Check the folder."


def test_a_mistake_of_ours_in_a_download_is_told_too(work: Work) -> None:
    def fetch(_report: ReportProgress) -> Downloaded:
        raise ZeroDivisionError("oh")

    work.fetch = fetch
    is_ready, lines = run()
    assert not is_ready
    assert lines[0] == "note: the starter model cannot be fetched: oh."
    assert len(lines) == 2


@pytest.mark.parametrize("error", [EngineError("no compiler"), KeyboardInterrupt()])
def test_a_stop_or_a_failure_while_compiling_ends_the_download(error: BaseException, work: Work) -> None:
    has_begun, ends = threading.Event(), []

    def fetch(report: ReportProgress) -> Downloaded:
        has_begun.set()
        try:
            while True:
                report(Progress("downloading", 1, 2))
        except DownloadStoppedError:
            ends.append("stopped")
            raise

    def compile_kernels(_report: Callable[[int, int], None]) -> None:
        assert has_begun.wait(HANG_SECONDS)
        raise error

    work.fetch, work.compile = fetch, compile_kernels
    with pytest.raises(type(error)):
        run()
    assert ends == ["stopped"]
    assert "measure" not in work.asked
    assert not [thread for thread in threading.enumerate() if thread.name == "fetch the starter"]


# --- progress


def test_progress_tells_of_both_in_one_line(work: Work) -> None:
    has_reported, may_end = threading.Event(), threading.Event()

    def fetch(report: ReportProgress) -> Downloaded:
        report(Progress("downloading", 25, 100))
        has_reported.set()
        assert may_end.wait(HANG_SECONDS)
        return Downloaded(PATH)

    def compile_kernels(report: Callable[[int, int], None]) -> None:
        assert has_reported.wait(HANG_SECONDS)
        report(3, 40)
        report(40, 40)
        may_end.set()

    work.fetch, work.compile = fetch, compile_kernels
    terminal = FakeTerminal()
    run(terminal)
    shown = terminal.getvalue().split("\r\x1b[K")
    assert "kernels: 3 of 40 compiled · starter: downloading 25 %" in shown
    assert "starter: downloading 25 %" in shown
    assert "measuring how fast this machine reads memory" in shown


def test_progress_of_an_unknown_size_has_no_empty_place(work: Work) -> None:
    has_reported, may_end = threading.Event(), threading.Event()

    def fetch(report: ReportProgress) -> Downloaded:
        report(Progress("looking for"))
        has_reported.set()
        assert may_end.wait(HANG_SECONDS)
        return Downloaded(PATH)

    def compile_kernels(report: Callable[[int, int], None]) -> None:
        assert has_reported.wait(HANG_SECONDS)
        report(1, 2)
        may_end.set()

    work.fetch, work.compile = fetch, compile_kernels
    terminal = FakeTerminal()
    run(terminal)
    assert "kernels: 1 of 2 compiled · starter: looking for" in terminal.getvalue().split("\r\x1b[K")
