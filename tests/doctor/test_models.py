"""The models on this machine, and whether they can run."""

import os
import time
from pathlib import Path

import pytest

from tests.fakes.tiny_model import make_tiny_model
from tui_llama import paths
from tui_llama.doctor import models
from tui_llama.doctor.models import GET_ONE, look_at_models, models_section, unfinished_downloads
from tui_llama.doctor.report import advice, what_is_wrong
from tui_llama.engine.descriptions import ModelFacts
from tui_llama.models.library import FoundModel, UnfinishedDownload
from tui_llama.models.machine import Machine
from tui_llama.settings import Settings

ROOMY = Machine("x", 4, 64_000_000_000, 32_000_000_000, 10e9)
FULL = Machine("x", 4, 64_000_000_000, 500_000_000, 10e9)
MODEL = FoundModel(Path("/m/llama.gguf"), "llama", 700_000_000, "our folder")
FACTS = ModelFacts(
    "/m/llama.gguf", architecture="llama", quantization="Q4_K", weight_bytes=700_000_000,
    bytes_read_per_token=700_000_000, trained_context_size=4096, key_value_bytes_per_token=1000,
)  # fmt: skip
REFUSED = ModelFacts("/m/llama.gguf", architecture="mystery", refusal="/m/llama.gguf: mystery is not supported")


def test_a_model_is_described() -> None:
    section = models_section([MODEL], [FACTS], ROOMY, Settings())

    assert section.rows[0].name == "llama"
    assert section.rows[0].text == "our folder, llama, Q4_K, 700 MB, can run, about 13 tok/s"
    assert section.problems == ()


def test_without_a_model_the_starter_is_offered() -> None:
    section = models_section([], [], ROOMY, Settings())

    assert [(problem.text, problem.remedy) for problem in section.problems] == [
        ("There is no model on this machine.", GET_ONE)
    ]


def test_models_that_cannot_run_are_told_with_the_reason() -> None:
    section = models_section([MODEL], [REFUSED], ROOMY, Settings())

    assert section.rows[0].text.endswith("700 MB, cannot run: the file: mystery is not supported")
    assert [problem.text for problem in section.problems] == ["None of the models on this machine can run."]


def test_one_model_that_can_run_is_enough() -> None:
    assert models_section([MODEL, MODEL], [REFUSED, FACTS], ROOMY, Settings()).problems == ()


def test_models_that_do_not_fit_are_told_with_the_reason() -> None:
    section = models_section([MODEL], [FACTS], FULL, Settings())

    assert section.rows[0].text.endswith("does not fit: needs 1.0 GB, 500 MB free")
    assert [problem.text for problem in section.problems] == [
        "None of the models that can run fits into the free memory."
    ]


def test_memory_that_is_full_is_no_fault_since_a_chat_may_hold_a_model() -> None:
    section = models_section([MODEL], [FACTS], FULL, Settings())

    assert what_is_wrong([section]) == []
    assert len(advice([section])) == 1


def test_the_context_that_is_set_counts() -> None:
    machine = Machine("x", 4, 64_000_000_000, 1_100_000_000)

    assert models_section([MODEL], [FACTS], machine, Settings()).problems == ()
    assert models_section([MODEL], [FACTS], machine, Settings(context_size=1_000_000)).problems


def test_files_are_looked_into(home_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home_folder))
    paths.make_private_folder(paths.models_folder())
    make_tiny_model(paths.models_folder() / "tiny.gguf")
    (paths.models_folder() / "damaged.gguf").write_bytes(b"GGUF" + b"\xff" * 40)
    rows = {row.name: row.text for row in look_at_models(Settings()).rows}

    assert "our folder, llama, " in rows["tiny"] and "can run" in rows["tiny"]
    assert "cannot run: " in rows["damaged"]


def test_unfinished_downloads_are_told_with_the_way_on_and_the_way_out(
    home_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(home_folder))
    monkeypatch.setenv("HF_HUB_CACHE", str(home_folder / "hub"))
    path = home_folder / "hub" / "models--owner--a--b" / "blobs" / "0123.incomplete"
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(2_000_000))
    three_days_ago = time.time() - 3 * 86_400
    os.utime(path, (three_days_ago, three_days_ago))

    section = look_at_models(Settings())

    (told,) = advice([section])
    assert told.text == "A download was not finished: 2 MB of owner/a--b, 3 days old."
    assert "hf:owner/a--b" in told.remedy and str(path) in told.remedy
    assert section.rows[-1].text == f"2 MB of owner/a--b, 3 days old, {path}"
    assert section.rows[-1].value == 2_000_000


def test_a_download_that_may_be_under_way_is_no_advice() -> None:
    unfinished = UnfinishedDownload(Path("/hub/0123.incomplete"), "owner/name", 5000, 1000.0)

    rows, problems = unfinished_downloads([unfinished], 1005.0)

    assert [row.text for row in rows] == ["5 kB of owner/name, 5 s old, /hub/0123.incomplete"]
    assert problems == []


def test_no_more_than_some_are_looked_into(home_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home_folder))
    monkeypatch.setattr(models, "_MOST_LOOKED_INTO", 1)
    paths.make_private_folder(paths.models_folder())
    for name in ("a", "b", "c"):
        (paths.models_folder() / f"{name}.gguf").write_bytes(b"GGUF")

    assert [row.text for row in look_at_models(Settings()).rows][-1] == "2 that were not examined"


def test_a_file_that_nobody_foresaw_spoils_no_page(home_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> ModelFacts:
        raise ZeroDivisionError("no such number")

    monkeypatch.setenv("HOME", str(home_folder))
    monkeypatch.setattr("tui_llama.engine.model.facts.read_model_facts", fail)
    paths.make_private_folder(paths.models_folder())
    (paths.models_folder() / "odd.gguf").write_bytes(b"GGUF")

    assert "cannot run: ZeroDivisionError: no such number" in look_at_models(Settings()).rows[0].text


def test_a_damaged_file_in_our_folder_is_wrong_and_one_of_another_architecture_is_not() -> None:
    damaged = ModelFacts("/m/llama.gguf", refusal="llama.gguf: the file ends too early")

    section = models_section([MODEL, MODEL, MODEL], [FACTS, damaged, REFUSED], ROOMY, Settings())

    (problem,) = section.problems
    assert problem.text == "llama in the models folder cannot be read as a model."
