"""Where things lie, and who may enter."""

import os
import stat
import warnings
from pathlib import Path

import platformdirs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_llama import paths
from tui_llama.chats.store import Store
from tui_llama.cli.model_choice import last_model, starter_model
from tui_llama.doctor.chats import look_at_chats
from tui_llama.doctor.machine import kept_kernels
from tui_llama.engine.toolchain import object_store
from tui_llama.errors import StoreError
from tui_llama.files.storage import DiskStorage
from tui_llama.models.downloads import DownloadError
from tui_llama.models.library import find_models
from tui_llama.models.record import was_pulled
from tui_llama.models.starter.fetch import fetch_starter, has_starter, starter_path


def test_everything_is_below_the_home_that_the_environment_names(home_folder: Path) -> None:
    places = (
        paths.database_file(),
        paths.prompt_cache_folder(),
        paths.models_folder(),
        paths.settings_file(),
        paths.log_file(),
        paths.runtime_folder(),
    )

    assert all(place.is_relative_to(home_folder) for place in places)


def test_without_a_home_the_platforms_own_places_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(paths.HOME_VARIABLE)

    assert paths.data_folder() == Path(platformdirs.user_data_dir("tui_llama", appauthor=False))


def test_the_folder_of_running_programs_is_the_platforms_own_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(paths.HOME_VARIABLE)
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))

    assert paths.runtime_folder() == Path(platformdirs.user_runtime_dir("tui_llama", appauthor=False))


@pytest.mark.filterwarnings("error")
def test_a_runtime_folder_of_somebody_else_is_none_and_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_name: str, *, appauthor: bool) -> str:
        warnings.warn("XDG_RUNTIME_DIR is not set", UserWarning, stacklevel=2)
        raise PermissionError("/tmp/runtime-1000 is owned by uid 0")

    monkeypatch.delenv(paths.HOME_VARIABLE)
    monkeypatch.setattr(platformdirs, "user_runtime_dir", refuse)

    assert not paths.is_there(paths.runtime_folder())


def test_compiled_kernels_can_lie_outside_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(paths.KERNEL_CACHE_VARIABLE, str(tmp_path))

    assert paths.kernel_cache_folder() == tmp_path


def test_compiled_kernels_are_below_the_home_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, home_folder: Path
) -> None:
    monkeypatch.delenv(paths.KERNEL_CACHE_VARIABLE)

    assert paths.kernel_cache_folder() == home_folder / "cache" / "kernels"


@given(st.just(None))
def test_property_tests_have_a_home_of_their_own_too(_: None) -> None:
    assert not paths.database_file().exists()


def test_style_sheets_are_found() -> None:
    assert paths.style_folder().name == "styles"


def test_every_folder_that_is_made_is_the_users_alone(tmp_path: Path) -> None:
    made = paths.make_private_folder(tmp_path / "outer" / "middle" / "inner")

    modes = [stat.S_IMODE(folder.stat().st_mode) for folder in (made, made.parent, made.parent.parent)]
    assert modes == [0o700] * 3


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)

    paths.make_private_folder(tmp_path)

    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o750


@pytest.mark.parametrize("says_so", [True, False])
def test_without_a_home_there_is_no_folder_and_none_is_made(
    says_so: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(name: str, appauthor: bool) -> str:
        if says_so:
            raise RuntimeError("could not determine the home directory")
        return f"~/.cache/{name}"

    monkeypatch.delenv(paths.HOME_VARIABLE)
    for kind in ("data", "cache", "config"):
        monkeypatch.setattr(f"platformdirs.user_{kind}_dir", find)
    monkeypatch.chdir(tmp_path)
    for folder in (paths.cache_folder(), paths.data_folder(), paths.config_folder()):
        with pytest.raises(NotADirectoryError):
            paths.make_private_folder(folder)
    assert not list(tmp_path.iterdir())


def test_a_file_in_place_of_a_folder_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(NotADirectoryError):
            paths.make_private_folder(path)


def test_a_relative_path_leads_nowhere_from_a_folder_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert paths.typed_path("model.gguf") is None and paths.typed_file("model.gguf") is None
    assert paths.typed_path("/model.gguf") == Path("/model.gguf")


def test_what_no_system_can_have_or_lets_nobody_see_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    too_long = tmp_path / ("x" * 300) / "chats.sqlite3"
    (tmp_path / "file").touch()

    assert not paths.is_there(too_long) and not paths.is_file(too_long)
    assert paths.is_there(tmp_path) and not paths.is_file(tmp_path)
    assert paths.is_file(tmp_path / "file")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refuse)
    assert not paths.is_there(tmp_path / "file") and not paths.is_file(tmp_path / "file")
    assert not paths.is_folder(tmp_path) and not paths.is_link(tmp_path)
    assert paths.file_bytes(tmp_path / "file") is None
    assert paths.typed_path(str(tmp_path / "file")) is None


@pytest.mark.parametrize("name", ["x" * 300, "zero\0byte", "half a \ud800 character", "file/below"])
def test_a_path_that_no_system_could_have_is_absent(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / name
    assert not any(ask(path) for ask in (paths.is_there, paths.is_file, paths.is_folder, paths.is_link))
    assert paths.file_bytes(path) is None
    assert paths.typed_file(str(path)) is None


def test_what_a_path_leads_to_is_told_apart(tmp_path: Path) -> None:
    file, folder, link, lost, pipe = (tmp_path / name for name in ("file", "folder", "link", "lost", "pipe"))
    file.write_bytes(b"abc")
    folder.mkdir()
    link.symlink_to(file)
    lost.symlink_to(tmp_path / "missing")
    os.mkfifo(pipe)
    assert [paths.file_bytes(path) for path in (file, folder, link, lost, pipe)] == [3, None, 3, None, None]
    assert [paths.is_folder(path) for path in (file, folder, link, lost, pipe)] == [False, True, False, False, False]
    assert [paths.is_link(path) for path in (file, folder, link, lost, pipe)] == [False, False, True, True, False]


@pytest.mark.parametrize("text", ["zero\0byte.gguf", "x" * 300, "half a \ud800 character"])
def test_a_typed_path_that_no_system_could_have_is_none(text: str) -> None:
    assert paths.typed_path(text) is None


def test_nothing_that_cannot_be_reached_ends_in_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything lies below a name that is too long."""
    monkeypatch.setenv(paths.HOME_VARIABLE, "/" + "x" * 300)
    monkeypatch.setenv(paths.KERNEL_CACHE_VARIABLE, "/" + "y" * 300)
    assert not has_starter()
    assert (last_model(), starter_model(), find_models()) == (None, None, [])
    assert DiskStorage(paths.prompt_cache_folder()).free_bytes()[1] > 0
    assert kept_kernels(paths.kernel_cache_folder(), "none").kernel_count == 0
    assert look_at_chats(paths.database_file()).problems
    object_store.code_folder.cache_clear()
    try:
        assert not object_store.Kernel("no module", "no kernel", "").is_kept
    finally:
        object_store.code_folder.cache_clear()
    assert not was_pulled(starter_path())
    with pytest.raises(StoreError):
        Store(paths.database_file())
    with pytest.raises(DownloadError):
        fetch_starter(lambda *_: None)
