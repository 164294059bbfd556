"""A model file that somebody changes while it is loaded, or after it was."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.tiny_model import CHATML_TEMPLATE, make_tiny_model
from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.events import Failed, Finished, LoadStage, ModelLoaded, Notice, TextPiece
from tui_llama.engine.gguf.header import read_header
from tui_llama.engine.gguf.model_bytes import WatchedFile, file_identity
from tui_llama.engine.local import LocalEngine
from tui_llama.engine.model.facts import read_model_facts
from tui_llama.engine.model.model import open_model
from tui_llama.engine.requests import LoadRequest, ReplyRequest
from tui_llama.errors import ModelFileError
from tui_llama.sampling.settings import SamplingSettings

Change = Callable[[Path], object]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path / "tiny.gguf", quantization="Q8_0", chat_template=CHATML_TEMPLATE)


def overwrite(path: Path) -> None:
    """Other weights in the same file: what a download to the same name does."""
    other = make_tiny_model(path.with_name("other.gguf"), quantization="Q8_0", seed=1, chat_template=CHATML_TEMPLATE)
    content = other.read_bytes()
    assert len(content) == path.stat().st_size
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(1, 1))  # as if it had been long ago, on a clock that is as coarse as it likes


def zero(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.write(bytes(size))
    os.utime(path, ns=(1, 1))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def grow(path: Path) -> None:
    os.truncate(path, path.stat().st_size + 4096)


def replace(path: Path) -> None:
    other = make_tiny_model(path.with_name("other.gguf"), quantization="Q8_0", seed=1, chat_template=CHATML_TEMPLATE)
    other.rename(path)


def replace_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


CHANGES = [overwrite, zero, cut, empty, grow, replace, Path.unlink, replace_by_a_folder]
SAID_OF_A_LOST_FILE = "tiny.gguf no longer exists; the loaded model is still in use."
SAID_OF_ANOTHER_FILE = "tiny.gguf has changed since it was loaded; the loaded model is still in use."


def change_at(stage: LoadStage, path: Path, change: Change) -> Callable[[LoadStage, int, int], None]:
    """Progress of a load, in the course of which a file is changed once a stage is reached."""
    has_changed = False

    def report(reached: LoadStage, done: int, total: int) -> None:
        nonlocal has_changed
        if reached is stage and not has_changed:
            has_changed = True
            change(path)

    return report


# --- while it is loaded


@pytest.mark.parametrize("stage", [LoadStage.READ, LoadStage.COMPILE])
@pytest.mark.parametrize("change", [overwrite, zero, cut, empty, grow])
def test_a_file_that_is_written_to_while_it_is_loaded_is_an_error(tiny: Path, stage: LoadStage, change: Change) -> None:
    with pytest.raises(ModelFileError, match="while it was read") as raised:
        open_model(tiny, threads=1, on_progress=change_at(stage, tiny, change))
    assert raised.value.hint


@pytest.mark.parametrize("stage", [LoadStage.READ, LoadStage.COMPILE, LoadStage.WARM_UP])
@pytest.mark.parametrize("change", [replace, Path.unlink, replace_by_a_folder])
def test_a_file_that_is_replaced_while_it_is_loaded_is_loaded_whole(
    tiny: Path, stage: LoadStage, change: Change
) -> None:
    with open_model(tiny, threads=1) as model:
        expected = model.logits([1, 2, 3])
    with open_model(tiny, threads=1, on_progress=change_at(stage, tiny, change)) as model:
        np.testing.assert_array_equal(model.logits([1, 2, 3]), expected)


def test_a_file_that_is_just_being_written_needs_no_other_reason(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.write_bytes(tiny.read_bytes()[:5000])

    def grow_and_read(name: str, source: object, find: object) -> object:
        grow(tiny)
        return read_header(name, source, find)  # type: ignore[arg-type]

    monkeypatch.setattr("tui_llama.engine.gguf.parts.read_header", grow_and_read)
    with pytest.raises(ModelFileError, match="was written to while it was read"):
        open_model(tiny, threads=1)
    assert "was written to while it was read" in read_model_facts(tiny).refusal


def test_a_failure_to_load_is_an_event_and_the_next_load_works(tiny: Path) -> None:
    whole = tiny.with_name("whole.gguf")
    shutil.copyfile(tiny, whole)
    cut(tiny)
    engine = LocalEngine()
    failed = engine.load(LoadRequest(str(tiny), threads=1), lambda: False)
    assert isinstance(failed, Failed)
    whole.rename(tiny)
    assert isinstance(engine.load(LoadRequest(str(tiny), threads=1), lambda: False), ModelLoaded)
    engine.close()


# --- after it was loaded


def reply(engine: LocalEngine) -> tuple[str, list[str]]:
    """An answer, and what is told beside it."""
    messages = (ChatMessage(Role.USER, "hello there"),)
    request = ReplyRequest(turn=1, messages=messages, sampling=SamplingSettings(temperature=0.0), max_tokens=12)
    events = list(engine.reply(request, lambda: False))
    assert isinstance(events[-1], Finished), events[-1]
    text = "".join(event.text for event in events if isinstance(event, TextPiece))
    return text, [event.text for event in events if isinstance(event, Notice)]


@pytest.mark.parametrize("change", CHANGES)
def test_answers_go_on_from_what_was_loaded_and_the_change_is_told_once(tiny: Path, change: Change) -> None:
    engine = LocalEngine()
    assert isinstance(engine.load(LoadRequest(str(tiny), threads=1), lambda: False), ModelLoaded)
    text, notices = reply(engine)
    assert notices == []
    change(tiny)
    changed_text, notices = reply(engine)
    assert changed_text == text
    said = SAID_OF_A_LOST_FILE if change is Path.unlink else SAID_OF_ANOTHER_FILE
    assert [notice.removesuffix(" Load a model again to change that.") for notice in notices] == [said]
    assert reply(engine) == (text, [])
    engine.close()


def test_loading_again_takes_the_file_as_it_is_now(tiny: Path) -> None:
    engine = LocalEngine()
    request = LoadRequest(str(tiny), threads=1)
    engine.load(request, lambda: False)
    text, _ = reply(engine)
    overwrite(tiny)
    assert isinstance(engine.load(request, lambda: False), ModelLoaded)
    other_text, notices = reply(engine)
    assert notices == []
    assert other_text != text
    engine.close()


def test_what_is_only_looked_at_has_not_changed(tiny: Path) -> None:
    watched = WatchedFile(tiny)
    tiny.read_bytes()
    tiny.chmod(0o400)
    assert watched.change() == ""


def test_a_file_that_never_was_there_cannot_change(tmp_path: Path) -> None:
    watched = WatchedFile(tmp_path / "none.gguf")
    (tmp_path / "none.gguf").touch()
    assert watched.change() == ""
    assert file_identity("a\0b") is None
