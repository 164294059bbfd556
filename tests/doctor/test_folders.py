"""Folders and files: how large, whose, and who else may look."""

import os
from pathlib import Path

import pytest

from tui_llama import paths
from tui_llama.doctor import folders
from tui_llama.doctor.folders import Place, Sight, folders_section, look_at, look_at_folders, our_places

CHATS = Place("chats", Path("/d/chats"), True, "chats cannot be kept")
MODELS = Place("models", Path("/d/models"), False, "models cannot be fetched")
SETTINGS = Place("settings", Path("/d/settings"), False, "")
FREE = 10**12


def found(place: Place, sight: Sight) -> list[str]:
    """Every problem, in short."""
    return [problem.text for problem in folders_section([(place, sight)]).problems]


def test_a_place_is_described() -> None:
    sight = Sight(mode=0o700, size_bytes=98_000_000, file_count=2, free_bytes=79_000_000_000)
    (row,) = folders_section([(MODELS, sight)]).rows

    assert (row.name, row.value) == ("models", 98_000_000)
    assert row.text == "/d/models, 98 MB in 2 files, mode 700, 79.0 GB free"


def test_a_place_that_is_not_there_is_nothing_wrong() -> None:
    section = folders_section([(MODELS, Sight(free_bytes=FREE))])

    assert section.rows[0].text == "/d/models, not created yet, 1000.0 GB free"
    assert section.problems == ()


def test_what_is_lost_where_nothing_can_be_written_is_told() -> None:
    assert found(CHATS, Sight(is_writable=False)) == ["/d/chats cannot be written to: chats cannot be kept."]
    assert found(SETTINGS, Sight(is_writable=False)) == []


def test_what_others_can_read_is_wrong_where_it_is_private() -> None:
    assert found(CHATS, Sight(mode=0o644, is_open_to_others=True)) == ["Other users of this machine can read /d/chats."]
    assert found(MODELS, Sight(mode=0o755, is_open_to_others=True)) == []


def test_what_cannot_be_read_is_wrong() -> None:
    assert found(MODELS, Sight(mode=0o300, is_readable=False)) == ["/d/models cannot be read."]


def test_what_is_another_users_is_told() -> None:
    section = folders_section([(CHATS, Sight(mode=0o700, is_ours=False))])

    assert "another user's" in section.rows[0].text
    assert [problem.is_advice for problem in section.problems] == [True]


def test_a_disk_that_is_nearly_full_is_told_once() -> None:
    full = [(place, Sight(free_bytes=1_000_000, device=3)) for place in (CHATS, MODELS)]
    other = (SETTINGS, Sight(free_bytes=2_000_000, device=4))
    problems = [problem.text for problem in folders_section([*full, other]).problems]

    assert problems == [
        "The disk of /d/chats is nearly full: 1 MB free.",
        "The disk of /d/settings is nearly full: 2 MB free.",
    ]
    assert found(CHATS, Sight(free_bytes=None)) == []


def test_whatever_lies_in_the_way_is_told_once(tmp_path: Path) -> None:
    obstacle = tmp_path / "file"
    obstacle.write_text("")
    sights = [(place, look_at(obstacle / place.name / "below")) for place in (CHATS, MODELS)]
    problems = [problem.text for problem in folders_section(sights).problems]

    assert set(problems) == {f"{obstacle} is not a folder, so nothing can be created in it."}


def test_a_link_that_leads_nowhere_lies_in_the_way(tmp_path: Path) -> None:
    link = tmp_path / "models"
    link.symlink_to(tmp_path / "gone")

    assert look_at(link).obstacle == str(link)


def test_a_folder_is_seen_with_all_that_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(bytes(10))
    (tmp_path / "y").write_bytes(bytes(5))
    (tmp_path / "link").symlink_to(tmp_path)
    tmp_path.chmod(0o750)
    sight = look_at(tmp_path)

    assert (sight.size_bytes, sight.file_count, sight.mode) == (15, 2, 0o750)
    assert sight.is_ours and sight.is_writable and sight.is_readable and sight.free_bytes and not sight.obstacle


def test_a_database_is_seen_with_its_journal(tmp_path: Path) -> None:
    for name in ("c.sqlite3", "c.sqlite3-wal", "other"):
        (tmp_path / name).write_bytes(bytes(7))
    sight = look_at(tmp_path / "c.sqlite3")

    assert (sight.size_bytes, sight.file_count) == (14, 2)


def test_no_search_is_endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "_MOST_ENTRIES", 3)
    for outer in "abc":
        (tmp_path / outer).mkdir()
        (tmp_path / outer / "file").write_bytes(b"x")

    assert look_at(tmp_path).file_count == 0


@pytest.mark.parametrize(
    ("folder_mode", "file_mode", "is_open"),
    [(0o755, 0o644, True), (0o700, 0o644, False), (0o755, 0o600, False), (0o711, 0o620, True), (0o750, 0o640, True)],
)
def test_others_must_come_through_the_folder_to_a_file_of_theirs(
    tmp_path: Path, folder_mode: int, file_mode: int, is_open: bool
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    file = folder / "file"
    file.write_text("x")
    file.chmod(file_mode)
    folder.chmod(folder_mode)
    tmp_path.chmod(0o755)

    assert look_at(file).is_open_to_others is is_open
    assert look_at(folder).is_open_to_others is is_open


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_closed_is_seen_as_not_writable(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert not look_at(tmp_path).is_writable
    assert not look_at(tmp_path / "a" / "b").is_writable
    tmp_path.chmod(0o700)


def test_looking_makes_nothing(home_folder: Path) -> None:
    section = look_at_folders()

    assert [row.name for row in section.rows] == [place.name for place in our_places()]
    assert all("not created yet" in row.text for row in section.rows if row.name != "kernels")
    assert list(home_folder.iterdir()) == []
    assert paths.database_file() in {place.path for place in our_places()}
