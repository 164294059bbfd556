"""Which model file a command means."""

from pathlib import Path

import click
import pytest

from tests.fakes.no_models import hide_models
from tui_llama import paths
from tui_llama.chats.find_chat import StoredChat
from tui_llama.chats.ledger import Ledger
from tui_llama.chats.store import Store
from tui_llama.cli.model_choice import answering_model, last_model, model_called, model_file, named_model, starter_model
from tui_llama.errors import UserError
from tui_llama.models.starter.file import STARTER_FILE
from tui_llama.settings import Settings


@pytest.fixture
def models_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Our folder with three models, and no other folder with any."""
    hide_models(monkeypatch, tmp_path)
    folder = paths.make_private_folder(paths.models_folder())
    for name in ("Qwen3-4B-Q8_0.gguf", "Qwen3-4B-Instruct-2507-Q4_K_M.gguf", STARTER_FILE):
        (folder / name).write_bytes(b"GGUF" + bytes(20))
    return folder


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("qwen3-4b", "Qwen3-4B-Q8_0.gguf"),
        ("Qwen3:4b", "Qwen3-4B-Q8_0.gguf"),
        ("Qwen3-4B-Q8_0", "Qwen3-4B-Q8_0.gguf"),
        ("2507", "Qwen3-4B-Instruct-2507-Q4_K_M.gguf"),
        ("starter", STARTER_FILE),
        ("smollm2", STARTER_FILE),
    ],
)
def test_a_model_is_named_as_in_the_catalogue_or_by_a_part_of_its_name(
    name: str, file: str, models_folder: Path
) -> None:
    assert named_model(name) == str(models_folder / file)


def test_a_file_comes_before_a_name(models_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "starter").write_bytes(b"")
    assert named_model("starter") == str(tmp_path / "starter")
    assert named_model("~/starter") == str(tmp_path / "starter")


@pytest.mark.parametrize("name", ["Split", "Split-00001-of-00002.gguf", "Split-00002-of-00002.gguf", "{folder}/{name}"])
def test_a_part_of_a_split_model_means_its_first(name: str, models_folder: Path) -> None:
    for number in (1, 2):
        (models_folder / f"Split-0000{number}-of-00002.gguf").write_bytes(b"GGUF" + bytes(20))

    named = name.format(folder=models_folder, name="Split-00002-of-00002.gguf")
    assert named_model(named) == str(models_folder / "Split-00001-of-00002.gguf")


@pytest.mark.parametrize("name", ["missing.gguf", "folder/model", "~/model"])
def test_what_is_written_as_a_path_stays_one(
    name: str, models_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert named_model(name) == str(tmp_path / name.removeprefix("~/"))


def test_a_folder_is_called_one_where_a_model_is_wanted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "snapshots").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("snapshots", "./snapshots", str(tmp_path / "snapshots")):
        with pytest.raises(UserError, match="is a folder"):
            model_called(name)


def test_a_folder_is_no_model(models_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "starter").mkdir()
    assert named_model("starter") == str(models_folder / STARTER_FILE)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nobody", "no model 'nobody' on this machine"),
        ("~nobody-has-this-name", "no model '~nobody-has-this-name'"),
        ("x" * 300, "no model"),
        ("qwen", "matches several models"),
    ],
)
def test_a_name_that_fits_no_model_or_several_is_refused(name: str, message: str, models_folder: Path) -> None:
    with pytest.raises(UserError, match=message):
        named_model(name)


def test_the_model_last_used_counts_only_while_it_is_there(tmp_path: Path) -> None:
    assert last_model() is None
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF")
    with Store(paths.database_file()) as store:
        store.set_preference("last_model", str(model))
    assert last_model() == str(model)
    model.unlink()
    assert last_model() is None


ADDRESS = "http://10.0.0.2:8080/v1#qwen3"


def use_last(model: str) -> None:
    with Store(paths.database_file()) as store:
        store.set_preference("last_model", model)


def test_an_address_of_a_server_is_a_path() -> None:
    assert named_model("http://10.0.0.2:8080/#qwen3") == ADDRESS


def test_the_model_last_used_may_be_one_of_a_server() -> None:
    use_last(ADDRESS)
    assert last_model() == ADDRESS
    assert answering_model({}, Settings()) == ADDRESS


def test_a_command_that_needs_a_file_takes_the_starter_where_a_server_was_used_last(models_folder: Path) -> None:
    use_last(ADDRESS)
    assert model_file({}) == str(models_folder / STARTER_FILE)
    (models_folder / STARTER_FILE).unlink()
    with pytest.raises(click.UsageError, match="The model last used is one of a server"):
        model_file({})


def test_a_command_that_needs_a_file_refuses_a_server_in_plain_words() -> None:
    with pytest.raises(UserError, match="this is a model of a server, and not a file") as refused:
        model_file({"model": ADDRESS})
    assert "-m" in refused.value.hint
    with pytest.raises(click.UsageError, match="needs the file of a model"):
        model_file({"server": "home"})
    with pytest.raises(UserError, match="is a model of a server, and not a file") as refused:
        model_called(ADDRESS)
    assert "servers check" in refused.value.hint


def test_a_command_that_needs_a_file_refuses_a_chat_with_a_server_unless_a_file_is_named(tmp_path: Path) -> None:
    chat = StoredChat("0" * 32, ADDRESS, Ledger())
    with pytest.raises(UserError, match="the chat was last held with") as refused:
        model_file({}, chat)
    assert "-m" in refused.value.hint
    file = tmp_path / "model.gguf"
    file.touch()
    assert model_file({"model": str(file)}, chat) == str(file)


def test_the_starter_is_taken_where_it_is(models_folder: Path) -> None:
    assert starter_model() == str(models_folder / STARTER_FILE)
    (models_folder / STARTER_FILE).unlink()
    assert starter_model() is None
