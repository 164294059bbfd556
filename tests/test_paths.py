"""Where things lie, and who may enter."""

import stat
from pathlib import Path

import platformdirs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_llama import paths


def test_everything_is_below_the_home_that_the_environment_names(home_folder: Path) -> None:
    places = (
        paths.database_file(),
        paths.prompt_cache_folder(),
        paths.models_folder(),
        paths.settings_file(),
        paths.log_file(),
    )

    assert all(place.is_relative_to(home_folder) for place in places)


def test_without_a_home_the_platforms_own_places_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(paths.HOME_VARIABLE)

    assert paths.data_folder() == Path(platformdirs.user_data_dir("tui_llama", appauthor=False))


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
