"""The log of the engine's processes: appended to, begun anew where it is ours, and never anything but a file."""

import os
import stat
from pathlib import Path

import pytest

from tui_llama.engine.process.engine_log import open_log

LARGE = 2 << 20


def write(path: Path, text: str) -> bool:
    descriptor, is_kept = open_log(path)
    os.write(descriptor, text.encode())
    os.close(descriptor)
    return is_kept


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "engine.log"


def test_what_is_said_is_appended(log: Path) -> None:
    assert write(log, "one\n") and write(log, "two\n")
    assert log.read_text().splitlines()[1:] == ["one", "two"]
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_one_that_has_grown_large_starts_anew(log: Path) -> None:
    write(log, "x" * LARGE)
    write(log, "new\n")
    assert log.read_text().splitlines()[1:] == ["new"]


def test_a_large_file_without_our_header_is_kept_under_another_name_and_the_log_begins_anew(log: Path) -> None:
    log.parent.mkdir()
    log.write_bytes(b"x" * LARGE)
    assert write(log, "one\n") and write(log, "two\n")
    assert log.read_text().splitlines()[1:] == ["one", "two"]
    assert log.with_name("engine.log.old").read_bytes() == b"x" * LARGE
    assert len(list(log.parent.iterdir())) == 2


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_where_the_other_name_is_taken_nothing_is_replaced(log: Path, kind: str) -> None:
    log.parent.mkdir()
    log.write_bytes(b"x" * LARGE)
    taken = log.with_name("engine.log.old")
    if kind == "file":
        taken.write_text("mine")
    elif kind == "folder":
        taken.mkdir()
    else:
        taken.symlink_to("nowhere")
    before = taken.lstat()
    assert write(log, "new\n")
    assert log.read_bytes() == b"x" * LARGE + b"new\n"
    assert (taken.lstat().st_ino, taken.lstat().st_size) == (before.st_ino, before.st_size)


@pytest.mark.parametrize("obstacle", ["link", "pipe", "folder", "file for a folder"])
def test_where_there_can_be_none_nothing_is_kept(log: Path, obstacle: str) -> None:
    target = log.parent.with_name("target")
    if obstacle == "file for a folder":
        log.parent.write_text("mine")
    else:
        log.parent.mkdir()
    if obstacle == "link":
        log.symlink_to(target)
    elif obstacle == "pipe":
        os.mkfifo(log)
    elif obstacle == "folder":
        log.mkdir()
    assert not write(log, "lost\n")
    assert not target.exists()
