"""Model files are looked into by a real process beside this one, whatever they hold and however they are called."""

import asyncio
import os
import shutil
from collections.abc import Iterable
from contextlib import aclosing
from pathlib import Path

import pytest

from tests.fakes.gguf_bytes import gguf_bytes, scalar
from tests.fakes.tiny_model import make_tiny_model
from tui_llama.engine.descriptions import ModelFacts
from tui_llama.engine.gguf.file import ValueType
from tui_llama.engine.model.facts import read_model_facts
from tui_llama.models import inspection
from tui_llama.models.inspection import inspect_beside


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model") / "tiny.gguf", name="Tiny ü")


async def inspect(paths: Iterable[Path]) -> list[ModelFacts]:
    return [facts async for facts in inspect_beside(paths)]


async def test_the_facts_of_each_file_come_in_the_order_that_was_asked_for(tiny_model: Path, tmp_path: Path) -> None:
    other = make_tiny_model(tmp_path / "other.gguf", architecture="qwen3", quantization="Q8_0")
    paths = [other, tiny_model, other]
    assert await inspect(paths) == [read_model_facts(path) for path in paths]


async def test_no_files_are_looked_into_at_once() -> None:
    assert await inspect([]) == []


async def test_a_broken_file_is_refused_and_the_next_one_is_looked_into(tiny_model: Path, tmp_path: Path) -> None:
    broken, cut, missing = tmp_path / "broken.gguf", tmp_path / "cut.gguf", tmp_path / "missing.gguf"
    broken.write_bytes(gguf_bytes(version=99))
    cut.write_bytes(tiny_model.read_bytes()[:1000])

    *refused, last = await inspect([broken, cut, missing, tmp_path, tiny_model])

    assert [Path(facts.path).name for facts in refused] == ["broken.gguf", "cut.gguf", "missing.gguf", tmp_path.name]
    assert all(facts.refusal for facts in refused)
    assert (last.name, last.refusal) == ("Tiny ü", "")


@pytest.mark.parametrize("key", ["name", "architecture", "license"])
async def test_a_file_that_says_far_too_much_is_cut_short(key: str, tiny_model: Path, tmp_path: Path) -> None:
    chatty = tmp_path / "chatty.gguf"
    chatty.write_bytes(gguf_bytes([scalar(f"general.{key}", ValueType.STRING, "\0" * 3_000_000)]))
    facts, last = await inspect([chatty, tiny_model])
    assert facts.refusal
    assert last.name == "Tiny ü"


@pytest.mark.parametrize("name", ["with spaces.gguf", "with\nnewline.gguf", "'quoted' \"twice\".gguf", "ümläut.gguf"])
async def test_a_file_may_have_any_name(name: str, tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / name
    shutil.copy(tiny_model, path)
    facts, again = await inspect([path, path])
    assert (facts.path, facts.refusal) == (str(path), "")
    assert again == facts


async def test_a_name_that_is_no_text_is_told_as_far_as_it_is_one(tiny_model: Path, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/no\xfftext.gguf"))
    try:
        shutil.copy(tiny_model, path)
    except OSError:
        pytest.skip("this file system takes names of text only")
    (facts,) = await inspect([path])
    assert (facts.name, facts.refusal) == ("Tiny ü", "")
    assert facts.path.endswith("/no?text.gguf")


async def test_a_name_that_is_no_text_of_a_file_that_is_no_model_ends_nothing(tiny_model: Path, tmp_path: Path) -> None:
    missing = Path(os.fsdecode(os.fsencode(tmp_path) + b"/no\xfftext.gguf"))
    refused, last = await inspect([missing, tiny_model])
    assert refused.refusal
    assert last.name == "Tiny ü"


async def test_whoever_stops_iterating_ends_the_process(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[asyncio.subprocess.Process] = []
    start = asyncio.create_subprocess_exec

    async def watch(*arguments: str, **options: object) -> asyncio.subprocess.Process:
        started.append(await start(*arguments, **options))  # type: ignore[arg-type]
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", watch)
    async with aclosing(inspect_beside([tiny_model] * 200)) as found:
        async for _facts in found:
            break
    assert started[0].returncode is not None


async def test_the_facts_end_early_where_the_process_cannot_start(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "child_command", lambda module: ("false",))
    assert await inspect([tiny_model]) == []
