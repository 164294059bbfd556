"""`tui-llama inspect` as a shell and its user see it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.fakes.gguf_bytes import gguf_bytes, scalar
from tests.fakes.no_models import hide_models
from tests.fakes.tiny_model import make_tiny_model
from tui_llama.cli.main import command_line
from tui_llama.engine.gguf.file import ValueType


@pytest.fixture(autouse=True)
def no_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide_models(monkeypatch, tmp_path)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path / "Tiny.gguf", quantization="Q8_0", tensors_per_part=9)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command_line, ["inspect", *map(str, arguments)])


def section(page: str, title: str) -> list[list[str]]:
    """The rows below a title, in cells, which two blanks or more keep apart."""
    lines = page.partition(f"\n{title}\n")[2].partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]


def test_a_page_tells_all_about_a_model(tiny: Path) -> None:
    result = run(max(tiny.parent.glob("Tiny-*.gguf")), "--plan", "--ctx", "1024")

    assert result.exit_code == 0, result.output
    assert f"path          {tiny}\n" in result.stdout
    assert "files, GGUF version 3" in result.stdout
    assert ["block_count", "2"] in section(result.stdout, "Sizes")
    assert section(result.stdout, "Weights by type")[1][:2] == ["Q8_0", "16 tensors"]
    assert ["tensors", "none"] in section(result.stdout, "Not used")
    contexts = section(result.stdout, "Memory")
    assert [row[0] for row in contexts] == ["context", "512", "1,024"]
    assert any(row[0] == "attention" for row in section(result.stdout, "Plan"))


def test_the_page_of_a_mixture_tells_what_it_needs_with_its_experts_in_the_file(tmp_path: Path) -> None:
    path = make_tiny_model(tmp_path / "Mixture.gguf", "qwen3moe", "Q8_0")

    result = run(path, "--plan", "--experts", "file")

    assert result.exit_code == 0, result.output
    assert "in all  with experts in the file" in result.stdout
    assert "stay in the model file, as chosen; answers are slower" in result.stdout
    assert any(row[0] == "multiply_file_experts" for row in section(result.stdout, "Plan"))
    data = json.loads(run(path, "--json").stdout)
    of_experts = data["memory"][0]["all_f16"] - data["memory"][0]["without_experts"]
    assert of_experts == data["facts"]["expert_bytes"] > 0


def test_programs_get_one_json_object_with_the_time_of_every_step(tiny: Path) -> None:
    result = run(tiny, "--json", "--profile", "--threads", "1")

    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["facts"]["architecture"] == "llama"
    assert data["memory"][0]["context_size"] == 512
    assert data["memory"][0]["keys_and_values_f16"] == 512 * data["facts"]["key_value_bytes_per_token"]
    operations = [step["operation"] for step in data["step_times"]]
    assert operations.count("attention") == 2
    assert all(step["writing_seconds"] >= 0 for step in data["step_times"])
    assert sum(step["reading_seconds"] for step in data["step_times"]) > 0


def test_a_model_that_cannot_run_is_shown_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "mamba.gguf"
    path.write_bytes(gguf_bytes([scalar("general.architecture", ValueType.STRING, "mam\x1b[31mba")]))

    result = run(path, "--plan", "--profile")

    assert result.exit_code == 0
    assert "cannot run" in result.stdout
    assert "\x1b" not in result.stdout
    assert "neither a plan nor a profile" in result.stderr


def test_what_is_no_model_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "page.gguf"
    path.write_bytes(b"<!DOCTYPE html>")
    assert run(path).exit_code == 1
