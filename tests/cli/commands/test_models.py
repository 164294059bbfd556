"""`pull`, `models list|show|remove` and `set-up` as a shell and its user see them."""

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from tests.fakes.gguf_bytes import gguf_bytes, scalar
from tests.fakes.models import MACHINE
from tests.fakes.no_models import hide_models
from tests.fakes.text_terminal import FakeTerminal
from tests.fakes.tiny_model import make_tiny_model
from tui_llama import paths
from tui_llama.cli import model_listing
from tui_llama.cli.main import command_line
from tui_llama.engine.gguf.file import ValueType
from tui_llama.models.catalogue import load_catalogue
from tui_llama.models.downloads import Downloaded, DownloadError, Progress, ReportProgress
from tui_llama.models.machine import Machine
from tui_llama.models.record import note_pulled, was_pulled
from tui_llama.output import Output

Use = Callable[[Machine], None]


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(
        tmp_path_factory.mktemp("model") / "tiny.gguf", quantization="Q8_0", name="",
        metadata={"general.license": "mit", "general.sampling.temp": 0.5},
    )  # fmt: skip


@pytest.fixture(autouse=True)
def use_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Use:
    """A machine without any model; a test may take another one."""

    def use(machine: Machine) -> None:
        monkeypatch.setattr(model_listing, "measured_machine", lambda: machine)
        monkeypatch.setattr("tui_llama.models.machine.measured_machine", lambda: machine)

    hide_models(monkeypatch, tmp_path)
    use(MACHINE)
    return use


@pytest.fixture
def put(tiny_model: Path) -> Callable[[str], Path]:
    """Puts the tiny model into the models folder under a name."""

    def copy(name: str) -> Path:
        path = paths.make_private_folder(paths.models_folder()) / name
        shutil.copy(tiny_model, path)
        return path

    return copy


Put = Callable[[str], Path]


def run(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(command_line, arguments, input=stdin)


def rows(result: Result) -> list[list[str]]:
    """The cells of a table, which two blanks or more keep apart."""
    return [[cell for cell in line.split("  ") if cell.strip()] for line in result.stdout.splitlines()]


def json_lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def put_unable() -> Path:
    """A model of an architecture that the engine lacks."""
    path = paths.make_private_folder(paths.models_folder()) / "Mamba-130M.gguf"
    path.write_bytes(gguf_bytes([scalar("general.architecture", ValueType.STRING, "mamba")]))
    return path


# --- models list


def test_a_machine_without_models_is_told_how_to_get_one() -> None:
    result = run("models", "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "tui-llama pull starter" in result.stderr


def test_a_model_is_one_line_with_what_one_wants_to_know(put: Put) -> None:
    put("Tiny-Chat-1M-Q8_0.gguf")
    result = run("models", "list")
    (row,) = [[cell.strip() for cell in cells] for cells in rows(result)]
    assert row[:1] + row[2:6] == ["Tiny-Chat-1M-Q8_0", "Q8_0", "llama", "512", "our folder"]
    assert row[1].endswith(" kB")
    assert row[6].startswith("about ")
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_split_model_is_one_line_with_the_size_of_all_parts_and_is_removed_whole() -> None:
    folder = paths.make_private_folder(paths.models_folder())
    first = make_tiny_model(folder / "Split.gguf", quantization="Q8_0", tensors_per_part=9)
    parts = sorted(folder.iterdir())
    (model,) = json_lines(run("models", "list", "--json"))
    assert model["path"] == str(first)
    assert model["file_bytes"] == sum(path.stat().st_size for path in parts)
    assert run("models", "show", str(parts[-1])).stdout == run("models", "show", "Split").stdout

    note_pulled(first, *parts[1:])
    result = run("models", "remove", "--yes", str(parts[-1]))
    assert (result.exit_code, list(folder.iterdir())) == (0, [])
    assert f"Removed {first}" in result.stderr


def test_models_stand_in_columns(put: Put) -> None:
    put("A.gguf")
    put("A-much-longer-name.gguf")
    first, second = run("models", "list").stdout.splitlines()
    assert first.index("llama") == second.index("llama")


def test_a_model_that_cannot_run_says_why(put: Put) -> None:
    put("Tiny.gguf")
    put_unable()
    unable, able = run("models", "list").stdout.splitlines()
    assert unable.startswith("Mamba-130M")
    assert "'mamba' is not supported" in unable
    assert "not supported" not in able


def test_a_model_that_does_not_fit_says_what_it_needs(put: Put, use_machine: Use) -> None:
    use_machine(msgspec.structs.replace(MACHINE, free_bytes=10**6))
    put("Tiny.gguf")
    assert "needs 30" in run("models", "list").stdout


def test_the_context_of_the_command_line_counts(put: Put, use_machine: Use) -> None:
    put("Tiny.gguf")
    use_machine(msgspec.structs.replace(MACHINE, free_bytes=310 * 10**6))
    assert "needs" not in run("models", "list").stdout
    assert "needs" in run("--ctx", "1000000", "models", "list").stdout


def test_all_has_the_catalogue_too(put: Put) -> None:
    put("Tiny.gguf")
    result = run("models", "list", "--all")
    mine, _, offered = result.stdout.partition("\n\nAvailable with tui-llama pull NAME:\n")
    assert mine.startswith("Tiny")
    assert [line.split()[0] for line in offered.splitlines()] == [entry.name for entry in load_catalogue()]
    assert result.stderr == ""


def test_all_of_nothing_is_the_catalogue_alone() -> None:
    result = run("models", "list", "--all")
    assert result.stdout.startswith("Available with")
    assert "no model files were found" in result.stderr


def test_what_is_here_is_not_offered(put: Put) -> None:
    put("SmolLM2-135M-Instruct.Q4_1.gguf")
    offered = run("models", "list", "--all").stdout.partition("Available with")[2]
    assert "starter" not in offered
    assert "qwen3-4b-instruct-2507" in offered


def test_programs_get_a_line_of_json_for_each(put: Put) -> None:
    path = put("Tiny-Q8_0.gguf")
    put_unable()
    unable, able = json_lines(run("models", "list", "--json"))
    assert (able["where"], able["title"], able["path"]) == ("our folder", "Tiny", str(path))
    assert (able["architecture"], able["quantization"], able["licence"]) == ("llama", "Q8_0", "mit")
    assert (able["was_pulled"], able["refusal"]) == (False, "")
    assert able["tokens_per_second"] > 0
    assert able["sampling"] == {"temperature": 0.5}
    assert (unable["tokens_per_second"], "not supported" in unable["refusal"]) == (None, True)


def test_programs_get_the_catalogue_too(put: Put) -> None:
    put("Tiny.gguf")
    mine, *offered = json_lines(run("models", "list", "--all", "--json"))
    assert mine["title"] == "Tiny"
    assert [line["name"] for line in offered] == [entry.name for entry in load_catalogue()]
    assert {line["where"] for line in offered} == {"catalogue"}


def test_programs_get_nothing_where_there_is_nothing() -> None:
    result = run("models", "list", "--json")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_what_the_terminal_would_obey_does_not_reach_it(put: Put) -> None:
    note_pulled(put("\x1b[31mRed.gguf"))
    for arguments in (("list",), ("show", "red"), ("remove", "red"), ("remove", "-y", "red")):
        result = run("models", *arguments)
        assert "Red" in result.output
        assert "\x1b" not in result.output


def test_a_name_that_is_no_text_is_listed_and_shown(put: Put) -> None:
    try:
        path = put(os.fsdecode(b"no\xfftext.gguf"))
    except OSError:
        pytest.skip("this file system takes names of text only")
    listed, shown, data = run("models", "list"), run("models", "show", str(path)), run("models", "list", "--json")
    assert [result.exit_code for result in (listed, shown, data)] == [0, 0, 0]
    assert "text" in listed.stdout
    assert "Q8_0" in shown.stdout
    assert json_lines(data)[0]["quantization"] == "Q8_0"


def test_what_has_a_name_that_is_no_text_can_be_removed(put: Put) -> None:
    try:
        path = put(os.fsdecode(b"no\xfftext.gguf"))
    except OSError:
        pytest.skip("this file system takes names of text only")
    note_pulled(path)
    assert run("models", "remove", "-y", "text").exit_code == 0
    assert not path.exists()


# --- models show


def shown(result: Result) -> dict[str, str]:
    """The lines of `models show` by their labels, those of sampling left out."""
    assert result.exit_code == 0, result.output
    return {line[:13].strip(): line[13:] for line in result.stdout.splitlines() if line[:13].strip()}


def test_all_there_is_to_say_of_a_model_is_shown(put: Put) -> None:
    path = put("Tiny-Chat-Q8_0.gguf")
    facts = shown(run("models", "show", "tiny"))
    assert facts["name"] == "Tiny Chat"
    assert facts["path"] == str(path)
    assert (facts["from"], facts["type"], facts["architecture"]) == ("our folder", "Q8_0", "llama")
    assert (facts["context"], facts["licence"], facts["template"]) == ("512 tokens", "mit", "the model file (chatml)")
    assert facts["memory"].endswith("of 8.0 GB free")
    assert facts["speed"].startswith("about ")
    assert "cannot run" not in facts
    assert "catalogue" not in facts


def test_sampling_is_shown_with_where_it_comes_from(put: Put) -> None:
    put("SmolLM2-135M-Instruct.Q4_1.gguf")
    lines = [line[13:] for line in run("models", "show", "smollm2").stdout.splitlines()]
    assert "temperature = 0.5 (the model file)" in lines
    assert "top_p = 0.9 (the catalogue)" in lines
    assert "min_p = 0.05 (the program's default)" in lines
    assert "seed = a new one each time (the program's default)" in lines
    assert lines[-1] == "samplers at work: top_k 40 → top_p 0.9 → min_p 0.05 → temperature 0.5 → random"


def test_a_model_of_the_catalogue_says_what_it_is_good_for(put: Put) -> None:
    put("SmolLM2-135M-Instruct.Q4_1.gguf")
    assert shown(run("models", "show", "smollm2"))["catalogue"].startswith("starter: trying out")


def test_what_this_program_fetched_is_said(put: Put) -> None:
    note_pulled(put("Tiny.gguf"))
    assert shown(run("models", "show", "tiny"))["from"] == "our folder, fetched by this program"


def test_a_model_that_cannot_run_is_shown_with_the_reason() -> None:
    put_unable()
    facts = shown(run("models", "show", "mamba"))
    assert "not supported" in facts["cannot run"]
    assert "memory" not in facts


def test_a_model_that_does_not_fit_is_shown_with_the_reason(put: Put, use_machine: Use) -> None:
    use_machine(msgspec.structs.replace(MACHINE, free_bytes=10**6))
    put("Tiny.gguf")
    assert shown(run("models", "show", "tiny"))["memory"].startswith("needs ")


def test_memory_that_nobody_knows_is_not_said_to_be_none(put: Put, use_machine: Use) -> None:
    use_machine(Machine("a processor", 1))
    put("Tiny.gguf")
    facts = shown(run("models", "show", "tiny"))
    assert "free" not in facts["memory"]
    assert "speed" not in facts


def test_a_file_anywhere_is_shown_by_its_path(tiny_model: Path) -> None:
    facts = shown(run("models", "show", str(tiny_model)))
    assert facts["from"] == "a path that you gave"


def test_a_path_may_be_written_in_a_roundabout_way(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    note_pulled(put("Tiny.gguf"))
    (paths.models_folder() / "below").mkdir()
    monkeypatch.chdir(paths.models_folder() / "below")
    assert shown(run("models", "show", "../Tiny.gguf"))["from"] == "our folder, fetched by this program"


@pytest.mark.parametrize("name", ["tiny chat 1m", "TINY-CHAT-1M", "Tiny-Chat-1M-Q8_0", "chat1m"])
def test_a_model_goes_by_a_part_of_its_name_however_it_is_written(name: str, put: Put) -> None:
    put("Tiny-Chat-1M-Q8_0.gguf")
    assert shown(run("models", "show", name))["name"] == "Tiny Chat 1M"


def test_a_whole_name_goes_before_longer_ones(put: Put) -> None:
    put("Tiny.gguf")
    put("Tiny-Chat.gguf")
    assert shown(run("models", "show", "tiny"))["name"] == "Tiny"


def test_a_name_that_fits_several_models_is_refused_with_the_names(put: Put) -> None:
    put("Tiny-A.gguf")
    put("Tiny-B.gguf")
    result = run("models", "show", "tiny")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "matches several models" in result.stderr
    assert "Tiny-A, Tiny-B" in result.stderr


@pytest.mark.parametrize("name", ["nothing-like-it", "", "..."])
def test_a_name_that_fits_no_model_is_refused(name: str, put: Put) -> None:
    put("Tiny.gguf")
    result = run("models", "show", name)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "tui-llama models list" in result.stderr


# --- models remove


def test_what_was_fetched_is_removed_after_a_question(put: Put) -> None:
    path = put("Tiny.gguf")
    note_pulled(path)
    result = run("models", "remove", "tiny", stdin="y\n")
    assert (result.exit_code, result.stdout) == (0, "")
    assert str(path) in result.stderr
    assert " freed." in result.stderr
    assert not path.exists()


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_nothing_is_removed_without_a_yes(answer: str, put: Put) -> None:
    path = put("Tiny.gguf")
    note_pulled(path)
    result = run("models", "remove", "tiny", stdin=answer)
    assert result.exit_code == 1
    assert was_pulled(path)


def test_nobody_is_asked_who_said_yes_before(put: Put) -> None:
    path = put("Tiny.gguf")
    note_pulled(path)
    result = run("models", "remove", "-y", "tiny")
    assert (result.exit_code, "?" in result.stderr) == (0, False)
    assert not path.exists()


@pytest.mark.parametrize("options", [(), ("--yes",)])
def test_what_this_program_did_not_fetch_is_never_removed(options: tuple[str, ...], put: Put) -> None:
    path = put("Tiny.gguf")
    result = run("models", "remove", *options, str(path), stdin="y\n")
    assert result.exit_code == 1
    assert "not removed" in result.stderr
    assert path.exists()


def test_a_name_that_fits_several_models_removes_none(put: Put) -> None:
    files = [put("Tiny-A.gguf"), put("Tiny-B.gguf")]
    for path in files:
        note_pulled(path)
    assert run("models", "remove", "-y", "tiny").exit_code == 1
    assert all(map(was_pulled, files))


# --- pull


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that were to be fetched; each comes in two steps to /models/NAME.gguf."""
    names: list[str] = []

    def fetch(name: str, report: ReportProgress) -> Downloaded:
        names.append(name)
        for done_bytes in (0, 50_000_000, 100_000_000):
            report(Progress("downloading", done_bytes, 100_000_000))
        if name == "missing":
            raise DownloadError("there is no such model", "Try another.")
        return Downloaded(f"/models/{name}.gguf", was_there=name == "old")

    monkeypatch.setattr("tui_llama.models.pull.pull", fetch)
    return names


def test_pull_prints_the_path_alone(fetched: list[str]) -> None:
    result = run("pull", "starter")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "/models/starter.gguf\n", "")
    assert fetched == ["starter"]


@pytest.mark.usefixtures("fetched")
def test_pull_says_when_nothing_had_to_be_fetched() -> None:
    result = run("pull", "old")
    assert (result.stdout, result.stderr) == ("/models/old.gguf\n", "note: the model was already on this machine\n")


@pytest.mark.usefixtures("fetched")
def test_pull_shows_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    messages = FakeTerminal()
    results = io.StringIO()
    monkeypatch.setattr("tui_llama.cli.commands.models._output", lambda: Output(results, messages))
    run("pull", "starter")
    assert "downloading 50 % of 100 MB" in messages.getvalue()
    assert messages.getvalue().endswith("\r\x1b[K")
    assert results.getvalue() == "/models/starter.gguf\n"


@pytest.mark.usefixtures("fetched")
def test_a_pull_that_fails_is_told_with_a_hint() -> None:
    result = run("pull", "missing")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: there is no such model\nhint: Try another.\n"


def test_a_pull_that_is_interrupted_ends_with_status_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(_name: str, _report: ReportProgress) -> Downloaded:
        raise KeyboardInterrupt

    monkeypatch.setattr("tui_llama.models.pull.pull", fetch)
    result = run("pull", "starter")
    assert (result.exit_code, result.stdout) == (130, "")


def test_a_pull_without_a_name_is_wrong_usage() -> None:
    assert run("pull").exit_code == 2


# --- set-up


@pytest.mark.parametrize(("is_ready", "status"), [(True, 0), (False, 1)])
def test_set_up_ends_with_whether_there_is_a_model(
    is_ready: bool, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui_llama.cli.set_up.set_up", lambda _output: is_ready)
    assert run("set-up").exit_code == status
