"""Small files of ours: replaced in full or not at all, and nothing else in their place ever is."""

import os
from pathlib import Path

import pytest

from tui_llama.files.own_files import replace_own_file


def test_a_file_is_made_with_its_folder_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file.json"
    for content in (b"one", b"two"):
        replace_own_file(path, content)
        assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("obstacle", ["link", "dangling link", "folder", "pipe"])
def test_what_is_no_regular_file_stays(tmp_path: Path, obstacle: str) -> None:
    path, target = tmp_path / "file.json", tmp_path / "target"
    if obstacle == "link":
        target.write_bytes(b"mine")
    if "link" in obstacle:
        path.symlink_to(target)
    elif obstacle == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    before = [(each.name, each.lstat().st_mode) for each in sorted(tmp_path.iterdir())]
    with pytest.raises(OSError, match="not a regular file"):
        replace_own_file(path, b"ours")
    assert [(each.name, each.lstat().st_mode) for each in sorted(tmp_path.iterdir())] == before
    assert not target.exists() or target.read_bytes() == b"mine"


def test_a_failure_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.json"
    replace_own_file(path, b"one")

    def refuse(path: Path, target: Path) -> Path:
        raise OSError("no")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="no"):
        replace_own_file(path, b"two")
    assert path.read_bytes() == b"one" and list(tmp_path.iterdir()) == [path]


def test_the_content_is_on_the_disk_before_it_gets_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, synced = tmp_path / "file.json", list[bytes]()

    def note(descriptor: int) -> None:
        assert not path.exists()
        (part,) = tmp_path.iterdir()
        synced.append(part.read_bytes())

    monkeypatch.setattr(os, "fsync", note)
    replace_own_file(path, b"one")
    assert synced == [b"one"]
