"""Folders of ours: only what carries our mark is removed, and nothing that a link leads to."""

import os
from pathlib import Path

import pytest

from tui_llama.files.own_folders import MARK_FILE, make_marked_folder, remove_unused_folder

LATER = 2**40


def remove(folder: Path, unused_since: float = LATER) -> None:
    remove_unused_folder(
        folder, lambda name: name.endswith(".o"), lambda content: content.startswith(b"ours"), unused_since
    )


@pytest.fixture
def marked(tmp_path: Path) -> Path:
    folder = tmp_path / "above" / "marked"
    make_marked_folder(folder)
    (folder / "first.o").write_bytes(b"anything")
    return folder


def test_a_marked_folder_goes_with_our_files(marked: Path) -> None:
    assert marked.stat().st_mode & 0o777 == 0o700
    remove(marked)
    assert not marked.exists()


def test_what_is_not_ours_stays_and_so_does_the_folder(marked: Path) -> None:
    (marked / "letter.txt").write_text("mine")
    (marked / "folder.o").mkdir()
    remove(marked)
    assert sorted(path.name for path in marked.iterdir()) == [MARK_FILE, "folder.o", "letter.txt"]


def test_a_folder_that_was_changed_lately_stays(marked: Path) -> None:
    remove(marked, unused_since=marked.stat().st_mtime)
    assert (marked / "first.o").exists()


def test_links_stay_and_so_does_what_they_lead_to(marked: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious.o"
    precious.write_text("mine")
    (marked / "link.o").symlink_to(precious)
    link = tmp_path / "link"
    link.symlink_to(marked)
    remove(link)
    assert (marked / "first.o").exists()
    remove(marked)
    assert (marked / "link.o").is_symlink() and precious.read_text() == "mine"


@pytest.mark.parametrize("mark", [b"", b"Signature: 8a477f597d28d172789f06886806bc55\n# of another program\n"])
def test_another_mark_is_none(tmp_path: Path, mark: bytes) -> None:
    (tmp_path / MARK_FILE).write_bytes(mark)
    (tmp_path / "first.o").write_bytes(b"ours")
    make_marked_folder(tmp_path)  # writes over nothing
    remove(tmp_path)
    assert (tmp_path / MARK_FILE).read_bytes() == mark and (tmp_path / "first.o").exists()


def test_a_link_in_place_of_the_mark_is_none(tmp_path: Path, marked: Path) -> None:
    (tmp_path / MARK_FILE).symlink_to(marked / MARK_FILE)
    (tmp_path / "first.o").write_bytes(b"not ours")
    remove(tmp_path)
    assert (tmp_path / "first.o").exists()


def test_a_link_in_place_of_a_folder_cannot_be_marked(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "theirs")
    with pytest.raises(OSError):
        make_marked_folder(tmp_path / "link")
    assert not list((tmp_path / "theirs").iterdir())


def test_without_a_mark_a_folder_is_ours_if_all_its_files_say_so(tmp_path: Path) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "first.o").write_bytes(b"ours, too")
    (folder / "second.o").write_bytes(b"somebody's")
    remove(folder)
    assert len(list(folder.iterdir())) == 2
    (folder / "second.o").unlink()
    remove(folder)
    assert not folder.exists()


def test_an_empty_folder_without_a_mark_stays(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    remove(tmp_path / "empty")
    assert (tmp_path / "empty").is_dir()


def test_a_pipe_among_the_files_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.o")
    remove(tmp_path)
    assert (tmp_path / "pipe.o").exists()
