"""What this program has fetched it may remove: the very same file, what belongs to it alone, and nothing else."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tui_llama import paths
from tui_llama.errors import UserError
from tui_llama.models.record import note_pulled, remove_pulled, was_pulled

CONTENT = b"GGUF" + bytes(96)
ROOT = Path(__file__).resolve().parents[2]


def put(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def record_file() -> Path:
    return paths.data_folder() / "pulled-models.json"


class Repository:
    """A repository in the cache of Hugging Face: snapshots of links, and the blobs that they lead to."""

    def __init__(self, hub: Path) -> None:
        self.folder = hub / "models--owner--name"

    def blob(self, name: str = "b10b", content: bytes = CONTENT) -> Path:
        return put(self.folder / "blobs" / name, content)

    def link(self, commit: str, target: Path, name: str = "model.gguf") -> Path:
        path = self.folder / "snapshots" / commit / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(os.path.relpath(target, path.parent))
        return path


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "hub")


# --- noting


def test_a_file_that_was_noted_was_pulled(tmp_path: Path) -> None:
    path = put(tmp_path / "model.gguf")
    assert not was_pulled(path)
    note_pulled(path)
    assert was_pulled(path)


def test_a_file_that_nobody_noted_was_not_pulled(tmp_path: Path) -> None:
    note_pulled(put(tmp_path / "model.gguf"))
    assert not was_pulled(put(tmp_path / "by-hand.gguf"))


def test_a_file_noted_again_is_noted_once(tmp_path: Path) -> None:
    path = put(tmp_path / "model.gguf")
    note_pulled(path)
    put(path, CONTENT * 2)
    note_pulled(path)
    assert was_pulled(path)
    assert record_file().read_text().count("model.gguf") == 1


def test_a_file_whose_name_is_no_text_is_remembered_and_removed(tmp_path: Path) -> None:
    try:
        path = put(tmp_path / os.fsdecode(b"no\xfftext.gguf"))
    except OSError:
        pytest.skip("this file system takes names of text only")
    note_pulled(path)
    assert was_pulled(path)
    assert remove_pulled(path) == len(CONTENT)


def test_several_files_are_remembered(tmp_path: Path) -> None:
    files = [put(tmp_path / f"model-{number}.gguf") for number in range(3)]
    for path in files:
        note_pulled(path)
    assert all(map(was_pulled, files))


def test_a_file_that_is_gone_was_not_pulled(tmp_path: Path) -> None:
    path = put(tmp_path / "model.gguf")
    note_pulled(path)
    path.unlink()
    assert not was_pulled(path)


def test_the_record_is_written_in_one_piece_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    note_pulled(put(tmp_path / "model.gguf"))
    assert [path.name for path in paths.data_folder().iterdir()] == [record_file().name]


@pytest.mark.parametrize("content", [b"", b"[{", b'{"a": 1}', b"[1]", b"\xff\xfe"])
def test_a_broken_record_knows_nothing_and_is_replaced(content: bytes, tmp_path: Path) -> None:
    path = put(tmp_path / "model.gguf")
    put(record_file(), content)
    assert not was_pulled(path)
    note_pulled(path)
    assert was_pulled(path)


def test_a_record_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    paths.data_folder().parent.mkdir(parents=True, exist_ok=True)
    paths.data_folder().write_bytes(b"a file in its place")
    with pytest.raises(UserError, match="cannot be written"):
        note_pulled(put(tmp_path / "model.gguf"))


def test_a_record_that_cannot_be_put_in_place_leaves_no_part_of_it(tmp_path: Path) -> None:
    record_file().mkdir(parents=True)
    with pytest.raises(UserError, match="cannot be written"):
        note_pulled(put(tmp_path / "model.gguf"))
    assert list(paths.data_folder().iterdir()) == [record_file()]


# --- removing


def test_removing_frees_the_file_and_forgets_it(tmp_path: Path) -> None:
    path, other = put(tmp_path / "model.gguf"), put(tmp_path / "other.gguf")
    note_pulled(path)
    note_pulled(other)
    assert remove_pulled(path) == len(CONTENT)
    assert not path.exists()
    assert "model.gguf" not in record_file().read_text()
    assert was_pulled(other)


def test_what_came_with_the_file_goes_with_it(tmp_path: Path) -> None:
    path, licence = put(tmp_path / "model.gguf"), put(tmp_path / "model.LICENSE", b"free")
    note_pulled(path, licence, tmp_path / "gone already")
    assert remove_pulled(path) == len(CONTENT) + len(b"free")
    assert list(tmp_path.glob("model*")) == []


def test_a_file_put_there_by_hand_is_left_alone(tmp_path: Path) -> None:
    path = put(tmp_path / "by-hand.gguf")
    with pytest.raises(UserError, match="not removed"):
        remove_pulled(path)
    assert path.exists()


def test_a_file_of_another_size_in_its_place_is_left_alone(tmp_path: Path) -> None:
    path = put(tmp_path / "model.gguf")
    note_pulled(path)
    put(path, CONTENT + b"!")
    assert not was_pulled(path)
    with pytest.raises(UserError, match="not removed"):
        remove_pulled(path)
    assert path.exists()


def test_a_file_of_the_same_size_in_its_place_is_left_alone(tmp_path: Path) -> None:
    path = put(tmp_path / "model.gguf")
    note_pulled(path)
    later = path.stat().st_mtime_ns + 1_000_000
    put(path, CONTENT[::-1])
    os.utime(path, ns=(later, later))
    with pytest.raises(UserError, match="not removed"):
        remove_pulled(path)
    assert path.exists()


def test_a_file_that_is_gone_cannot_be_removed(tmp_path: Path) -> None:
    path = put(tmp_path / "model.gguf")
    note_pulled(path)
    path.unlink()
    with pytest.raises(UserError):
        remove_pulled(path)


def test_a_file_that_cannot_be_removed_is_still_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "model.gguf")
    note_pulled(path)

    def refuse(_path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        with pytest.raises(UserError, match="cannot be removed: Permission denied"):
            remove_pulled(path)
    assert was_pulled(path)


# --- several at once

NOTER = """
import sys
from pathlib import Path
from tui_llama.models.record import note_pulled
print("ready", flush=True)
sys.stdin.read()
for number in range(20):
    path = Path(sys.argv[1]) / f"{sys.argv[2]}-{number}.gguf"
    path.write_bytes(b"GGUF")
    note_pulled(path)
"""


def test_programs_that_note_at_once_lose_nothing(tmp_path: Path) -> None:
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", NOTER, tmp_path, str(which)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for which in range(2)
    ]  # fmt: skip
    for program in programs:
        assert program.stdout is not None
        program.stdout.readline()
        program.stdout.close()
    for program in programs:
        assert program.stdin is not None
        program.stdin.close()
    assert [program.wait() for program in programs] == [0, 0]
    assert sum(map(was_pulled, tmp_path.glob("*.gguf"))) == 40


# --- the cache of Hugging Face


def refusing(name: str) -> Callable[..., None]:
    """An `unlink` that refuses a file of this name."""
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.name == name:
            raise PermissionError(13, "Permission denied")
        unlink(path, missing_ok)

    return refuse


@pytest.mark.parametrize("hindered", ["b10b", "model.gguf", "LICENSE"])
def test_a_removal_that_was_hindered_half_way_can_be_ended(
    hindered: str, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob, licence = repository.blob(), put(tmp_path / "LICENSE", b"free")
    link = repository.link("c1", blob)
    note_pulled(link, licence)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refusing(hindered))
        with pytest.raises(UserError, match="cannot be removed"):
            remove_pulled(link)
    assert link.is_symlink()
    remove_pulled(link)
    assert not any(map(os.path.lexists, (blob, link, licence)))
    assert "model.gguf" not in record_file().read_text()


def test_the_bytes_of_a_link_go_with_it(repository: Repository) -> None:
    blob = repository.blob()
    link = repository.link("c1", blob)
    note_pulled(link)
    assert remove_pulled(link) == len(CONTENT)
    assert not link.is_symlink()
    assert not blob.exists()


def test_other_bytes_of_the_repository_stay(repository: Repository) -> None:
    link, other = repository.link("c1", repository.blob()), repository.link("c1", repository.blob("0ther"), "b.gguf")
    note_pulled(link)
    remove_pulled(link)
    assert other.read_bytes() == CONTENT


def test_bytes_that_another_snapshot_leads_to_stay(repository: Repository) -> None:
    blob = repository.blob()
    link, other = repository.link("c1", blob), repository.link("c2", blob)
    note_pulled(link)
    assert remove_pulled(link) == 0
    assert not link.is_symlink()
    assert other.read_bytes() == CONTENT


def test_bytes_that_another_name_in_a_folder_leads_to_stay(repository: Repository) -> None:
    blob = repository.blob()
    link, other = repository.link("c1", blob), repository.link("c1", blob, "folder/again.gguf")
    note_pulled(link)
    remove_pulled(link)
    assert other.read_bytes() == CONTENT


def test_a_link_in_a_folder_of_the_repository_frees_its_bytes_too(repository: Repository) -> None:
    blob = repository.blob()
    link = repository.link("c1", blob, "Q4_K_M/model-00001-of-00002.gguf")
    note_pulled(link)
    assert remove_pulled(link) == len(CONTENT)
    assert not blob.exists()


def test_what_came_with_a_link_goes_with_its_bytes(repository: Repository) -> None:
    parts = [repository.link("c1", repository.blob(f"b{part}"), f"model-{part}.gguf") for part in (1, 2)]
    note_pulled(*parts)
    assert remove_pulled(parts[0]) == 2 * len(CONTENT)
    assert not [path for path in repository.folder.rglob("*") if not path.is_dir()]


def test_a_cache_that_is_reached_through_a_link_frees_its_bytes_too(repository: Repository, tmp_path: Path) -> None:
    blob = repository.blob()
    link = repository.link("c1", blob)
    (tmp_path / "elsewhere").symlink_to(tmp_path / "hub", target_is_directory=True)
    path = tmp_path / "elsewhere" / link.relative_to(tmp_path / "hub")
    note_pulled(path)
    assert remove_pulled(path) == len(CONTENT)
    assert not blob.exists()


@pytest.mark.parametrize("outside", ["elsewhere/model.gguf", "hub/models--other--one/blobs/b10b"])
def test_what_a_link_leads_to_outside_of_the_repository_stays(
    repository: Repository, tmp_path: Path, outside: str
) -> None:
    repository.blob("another")
    target = put(tmp_path / outside)
    link = repository.link("c1", target)
    note_pulled(link)
    assert remove_pulled(link) == 0
    assert not link.is_symlink()
    assert target.exists()


def test_a_link_in_a_folder_of_ours_goes_alone(tmp_path: Path) -> None:
    target = put(tmp_path / "elsewhere" / "model.gguf")
    link = tmp_path / "model.gguf"
    link.symlink_to(target)
    note_pulled(link)
    remove_pulled(link)
    assert not link.is_symlink()
    assert target.exists()


def test_a_model_without_links_in_the_cache_is_the_file_itself(repository: Repository) -> None:
    path = put(repository.folder / "snapshots" / "c1" / "model.gguf")
    note_pulled(path)
    assert remove_pulled(path) == len(CONTENT)
    assert not path.exists()


# --- what came with it


def test_what_came_with_a_model_goes_with_it(tmp_path: Path) -> None:
    model, licence = put(tmp_path / "model.gguf"), put(tmp_path / "LICENCE", b"Do as you like.")
    note_pulled(model, licence)
    assert remove_pulled(model) == len(CONTENT) + len(b"Do as you like.")
    assert not model.exists() and not licence.exists()


@pytest.mark.parametrize("change", ["written", "link", "gone", "folder"])
def test_what_somebody_has_put_in_its_place_stays(tmp_path: Path, change: str) -> None:
    model, licence = put(tmp_path / "model.gguf"), put(tmp_path / "LICENCE", b"Do as you like.")
    note_pulled(model, licence)
    status = licence.stat()
    licence.unlink()
    if change == "written":
        put(licence, b"my own words")
    elif change == "link":
        put(tmp_path / "mine", b"Do as you like.")
        os.utime(tmp_path / "mine", ns=(status.st_mtime_ns, status.st_mtime_ns))
        licence.symlink_to(tmp_path / "mine")
    elif change == "folder":
        licence.mkdir()
    before = sorted(tmp_path.iterdir())
    assert remove_pulled(model) == len(CONTENT)
    assert sorted(tmp_path.iterdir()) == [path for path in before if path != model]


@pytest.mark.parametrize("is_newer", [False, True])
def test_of_what_an_older_version_noted_only_what_is_older_than_the_model_goes(tmp_path: Path, is_newer: bool) -> None:
    model, licence = put(tmp_path / "model.gguf"), put(tmp_path / "LICENCE", b"Do as you like.")
    elsewhere = put(tmp_path / "folder" / "LICENCE", b"Do as you like.")
    status = model.stat()
    time_ns = status.st_mtime_ns + (1 if is_newer else -1)
    for path in (licence, elsewhere):
        os.utime(path, ns=(time_ns, time_ns))
    note = {"path": str(model), "size_bytes": status.st_size, "modified_ns": status.st_mtime_ns}
    put(record_file(), json.dumps([{**note, "companions": [str(licence), str(elsewhere)]}]).encode())
    remove_pulled(model)
    assert (licence.exists(), elsewhere.exists()) == (is_newer, True)
