"""Files that the user has named: only new ones, or such of the same kind, and never half of one."""

import errno
import fcntl
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tui_llama.errors import ResultFileError
from tui_llama.files.new_files import FileKind, new_file, require_place, write_all

KIND = FileKind("a log of whales", b"WHALES")
OLD, NEW = b"WHALES: one", b"WHALES: two"


def write(path: Path, *, may_replace: bool = False, inputs: Sequence[Path] = ()) -> None:
    with new_file(path, KIND, may_replace=may_replace, inputs=inputs) as descriptor:
        write_all(descriptor, NEW)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder" / "whales"


@pytest.mark.parametrize("may_replace", [False, True])
def test_a_new_file_is_the_users_alone_and_has_nothing_beside_it(path: Path, may_replace: bool) -> None:
    write(path, may_replace=may_replace)
    assert path.read_bytes() == NEW
    assert (path.stat().st_mode & 0o777, path.stat().st_nlink) == (0o600, 1)
    assert names(path.parent) == ["whales"]


@pytest.mark.parametrize("content", [OLD, b""])
def test_one_of_the_kind_is_replaced_where_that_is_wanted(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ResultFileError, match="it is there already"):
        write(path)
    assert path.read_bytes() == content
    write(path, may_replace=True)
    assert path.read_bytes() == NEW


def make_link(path: Path) -> None:
    path.symlink_to(path.parent / "target")
    (path.parent / "target").write_bytes(OLD)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


OBSTACLES: dict[str, tuple[Callable[[Path], object], str]] = {
    "folder": (Path.mkdir, "not a regular file"),
    "link": (make_link, "a link is in its place"),
    "dangling link": (lambda path: path.symlink_to("nothing"), "a link is in its place"),
    "pipe": (os.mkfifo, "not a regular file"),
    "socket": (make_socket, "not a regular file"),
    "another file": (lambda path: path.write_bytes(b"GGUF and so on"), "is not a log of whales"),
    "half a beginning": (lambda path: path.write_bytes(OLD[:3]), "is not a log of whales"),
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
@pytest.mark.parametrize("checked", [False, True])
def test_nothing_else_is_replaced(path: Path, obstacle: str, checked: bool) -> None:
    make, cause = OBSTACLES[obstacle]
    make(path)
    before = {each.name: each.lstat() for each in path.parent.iterdir()}
    with pytest.raises(ResultFileError, match=cause):
        if checked:
            require_place(path, KIND, may_replace=True)
        else:
            write(path, may_replace=True)
    assert {each.name: each.lstat().st_ino for each in path.parent.iterdir()} == {
        name: status.st_ino for name, status in before.items()
    }


def test_what_the_result_is_made_from_is_never_replaced(path: Path) -> None:
    path.write_bytes(OLD)
    other_name = path.with_name("other")
    other_name.hardlink_to(path)
    link = path.with_name("link")
    link.symlink_to(path)
    for given in (path, other_name, link):
        with pytest.raises(ResultFileError, match="the result is made from it"):
            write(path, may_replace=True, inputs=[path.with_name("missing"), given])
    assert path.read_bytes() == OLD


@pytest.mark.parametrize("name", [".", "..", "/", "", "missing/whales", "whales/whales", "x" * 300])
def test_what_can_be_no_file_is_refused_in_one_line(path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(OLD)
    monkeypatch.chdir(path.parent)
    with pytest.raises(ResultFileError, match="is not written: "):
        write(Path(name), may_replace=True)
    assert names(path.parent) == ["whales"]


def test_a_failure_leaves_what_was_there(path: Path) -> None:
    path.write_bytes(OLD)
    with pytest.raises(ZeroDivisionError), new_file(path, KIND, may_replace=True) as descriptor:
        write_all(descriptor, NEW)
        raise ZeroDivisionError
    assert path.read_bytes() == OLD
    assert names(path.parent) == ["whales"]


def test_a_full_disk_is_told_and_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, content: memoryview) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(ResultFileError, match="not written: the disk is full"):
        write(path)
    assert names(path.parent) == []


@pytest.mark.parametrize("may_replace", [False, True])
@pytest.mark.parametrize("has_links", [True, False])
def test_who_is_there_first_keeps_the_name(
    path: Path, may_replace: bool, has_links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_links:
        monkeypatch.setattr(os, "link", no_links)
    with (
        pytest.raises(ResultFileError, match="is not written"),
        new_file(path, KIND, may_replace=may_replace) as descriptor,
    ):
        write_all(descriptor, NEW)
        path.write_bytes(b"somebody else's")
    assert path.read_bytes() == b"somebody else's"
    assert names(path.parent) == ["whales"]


def no_links(*_: object, **__: object) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def test_who_comes_at_the_last_moment_keeps_the_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def late(part: str, name: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        path.write_bytes(b"somebody else's")
        link(part, name, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(ResultFileError, match="another program has made this file meanwhile"):
        write(path)
    assert path.read_bytes() == b"somebody else's"


def test_a_disk_without_second_names_takes_files_all_the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", no_links)
    write(path)
    assert path.read_bytes() == NEW
    assert names(path.parent) == ["whales"]


def test_what_a_killed_program_left_goes_and_what_only_looks_so_stays(path: Path, tmp_path: Path) -> None:
    digits = "0123456789abcdef"
    left, held = path.with_name(f".whales.{digits}.part"), path.with_name(f".whales.{digits[::-1]}.part")
    others = {
        f".whales.{'a' * 16}.part": b"of another kind",
        f".whales.{'b' * 16}.part": b"",
        ".whales.backup.part": OLD,
        f".whales.{digits}.part.txt": OLD,
        f".walrus.{digits}.part": OLD,
    }
    for name, content in others.items():
        path.with_name(name).write_bytes(content)
    (tmp_path / "target").write_bytes(OLD)
    path.with_name(f".whales.{'c' * 16}.part").symlink_to(tmp_path / "target")
    os.mkfifo(path.with_name(f".whales.{'d' * 16}.part"))
    left.write_bytes(OLD)
    held.write_bytes(OLD)
    before = names(path.parent)
    with held.open("rb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        write(path)
    assert names(path.parent) == sorted({*before, "whales"} - {left.name})
    assert (tmp_path / "target").read_bytes() == OLD


def test_of_a_kind_without_a_mark_nothing_is_replaced_or_removed(tmp_path: Path) -> None:
    kind = FileKind("notes")
    path, part = tmp_path / "notes.md", tmp_path / f".notes.md.{'0' * 16}.part"
    part.write_bytes(b"mine")
    with new_file(path, kind, may_replace=False) as descriptor:
        write_all(descriptor, b"one")
    for may_replace in (False, True):
        with pytest.raises(ResultFileError) as refusal, new_file(path, kind, may_replace=may_replace):
            pass
        assert "--force" not in refusal.value.hint
    assert path.read_bytes() == b"one" and part.read_bytes() == b"mine"
