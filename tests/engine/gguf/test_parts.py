"""Models that are split into several files: opened as one, and refused where the parts do not fit together."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.gguf_bytes import gguf_bytes, scalar, tensor
from tui_llama.engine.gguf.file import ValueType, open_gguf
from tui_llama.engine.gguf.model_bytes import WatchedFile
from tui_llama.errors import ModelFileError

Parts = dict[int, bytes]
Write = Callable[[Parts], Path]


def part(number: int, count: int, tensors: Sequence[str], total: int = 3, alignment: int = 32) -> bytes:
    """Part `number` from 0, with tensors of eight F32 elements; each is all its own number in the alphabet."""
    entries = [
        scalar("general.alignment", ValueType.UINT32, alignment),
        scalar("split.no", ValueType.UINT16, number),
        scalar("split.count", ValueType.UINT16, count),
        scalar("split.tensors.count", ValueType.INT32, total),
    ]
    if number == 0:
        entries.insert(0, scalar("general.name", ValueType.STRING, "Split"))
    room = max(32, alignment)
    rows = [tensor(name, (8,), offset=place * room) for place, name in enumerate(tensors)]
    data = b"".join(np.full(8, ord(name), "<f4").tobytes().ljust(room, b"\0") for name in tensors)
    return gguf_bytes(entries, rows, data, alignment=alignment)


def sound_parts() -> Parts:
    return {1: part(0, 3, []), 2: part(1, 3, ["a", "b"], alignment=64), 3: part(2, 3, ["c"])}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes parts by their numbers, of three by their names; gives the path of the first."""

    def write_parts(parts: Parts) -> Path:
        for number, content in parts.items():
            tmp_path.joinpath(f"model-{number:05}-of-00003.gguf").write_bytes(content)
        return tmp_path / "model-00001-of-00003.gguf"

    return write_parts


@pytest.mark.parametrize("number", [1, 2, 3])
def test_any_part_opens_the_whole_model(write: Write, number: int) -> None:
    first = write(sound_parts())

    with open_gguf(first.with_name(f"model-{number:05}-of-00003.gguf")) as file:
        assert file.path == first
        assert file.get_str("general.name") == "Split"
        assert list(file.tensors) == ["a", "b", "c"]
        assert [file.tensor_bytes(name).view("<f4")[7] for name in "abc"] == [97, 98, 99]
        assert file.size_bytes == sum(len(content) for content in sound_parts().values())
        assert b"".join(file.header_chunks()).count(b"GGUF") == 3


def test_parts_that_are_links_to_files_of_other_names_are_found_beside_the_links(tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "snapshots" / "0123abc" / "Q4_K_M", tmp_path / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, content in sound_parts().items():
        blob = blobs / (f"{number}" * 64)
        blob.write_bytes(content)
        snapshot.joinpath(f"model-{number:05}-of-00003.gguf").symlink_to(os.path.relpath(blob, snapshot))

    with open_gguf(snapshot / "model-00001-of-00003.gguf") as file:
        assert file.tensor_bytes("c").view("<f4")[0] == 99


def test_no_tensor_and_no_part_is_read_to_open_a_model(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    first, read = write(sound_parts()), 0
    whole_bytes = sum(len(content) for content in sound_parts().values())
    preadv, pread = os.preadv, os.pread

    def counted(descriptor: int, count: int, offset: int) -> bytes:
        nonlocal read
        content = pread(descriptor, count, offset)
        read += len(content)
        return content

    monkeypatch.setattr(os, "pread", counted)
    monkeypatch.setattr(os, "preadv", lambda *arguments: pytest.fail("weights were read"))
    open_gguf(first).close()
    monkeypatch.setattr(os, "preadv", preadv)

    assert read <= whole_bytes  # small files are read in one piece with their headers, and each once


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({2: None}, "part 2 of 3 is missing: model-00002-of-00003.gguf"),
        ({2: None, 3: None}, "2 of 3 parts are missing: model-00002-of-00003.gguf, model-00003-of-00003.gguf"),
        ({3: part(1, 3, ["c"])}, "its header says part 2 of 3, but its name says part 3 of 3"),
        ({3: part(2, 4, ["c"])}, "its header says part 3 of 4, but its name says part 3 of 3"),
        ({1: part(1, 3, [])}, "its header says part 2 of 3, but its name says part 1 of 3"),
        ({1: part(0, 2, [])}, "first must be named NAME-00001-of-00002.gguf"),
        ({1: part(0, 60000, [])}, "split into 60000 files, more than the 512 supported"),
        ({3: part(2, 3, ["b"])}, "tensor 'b' is in an earlier part too"),
        ({3: part(2, 3, [])}, "the 3 parts have 2 tensors together, but should have 3"),
        ({1: part(0, 3, [], total=-1)}, "but should have -1"),
        ({3: gguf_bytes(tensors=[tensor("c", (8,))], data=bytes(32))}, "metadata key 'split.no' is missing"),
        ({3: b"GGUF"}, "model-00003-of-00003.gguf: version needs 4 bytes"),
        ({2: part(1, 3, ["a", "b"], alignment=64)[:-40]}, "model-00002-of-00003.gguf: the file has"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(
    write: Write, changes: dict[int, bytes | None], message: str
) -> None:
    parts = {**sound_parts(), **changes}
    first = write({number: content for number, content in parts.items() if content is not None})

    with pytest.raises(ModelFileError) as raised:
        open_gguf(first)

    assert message in str(raised.value)
    assert raised.value.hint


def test_a_missing_first_part_is_named_where_another_is_opened(write: Write) -> None:
    first = write({2: sound_parts()[2]})

    with pytest.raises(ModelFileError, match=r"part 1 of 3 is missing: model-00001-of-00003\.gguf"):
        open_gguf(first.with_name("model-00002-of-00003.gguf"))


def test_a_part_with_another_name_says_what_it_must_be_called(tmp_path: Path) -> None:
    tmp_path.joinpath("renamed.gguf").write_bytes(sound_parts()[1])

    with pytest.raises(ModelFileError, match=r"must be named NAME-00001-of-00003\.gguf"):
        open_gguf(tmp_path / "renamed.gguf")


def test_a_model_in_one_file_may_be_called_like_a_part_but_has_no_others(tmp_path: Path) -> None:
    path = tmp_path / "model-00001-of-00002.gguf"
    path.write_bytes(gguf_bytes())
    other = tmp_path / "model-00002-of-00002.gguf"
    other.write_bytes(gguf_bytes())

    open_gguf(path).close()
    with pytest.raises(ModelFileError, match="not a part of a split model"):
        open_gguf(other)


def test_a_part_that_was_written_to_meanwhile_is_noticed(write: Write) -> None:
    first = write(sound_parts())
    with open_gguf(first) as file:
        file.check_unchanged()
        os.utime(first.with_name("model-00003-of-00003.gguf"), ns=(1, 1))
        with pytest.raises(ModelFileError, match=r"model-00003-of-00003\.gguf was written to"):
            file.check_unchanged()


def test_a_watched_model_tells_of_each_of_its_parts(write: Write) -> None:
    first = write(sound_parts())
    watched = WatchedFile(first.with_name("model-00002-of-00003.gguf"))

    assert watched.change() == ""
    os.utime(first, ns=(1, 1))
    assert watched.change().startswith("model-00001-of-00003.gguf has changed")
    assert watched.change() == ""
    first.with_name("model-00003-of-00003.gguf").unlink()
    assert watched.change().startswith("model-00003-of-00003.gguf no longer exists")


def test_all_files_are_closed_where_one_is_refused(write: Write) -> None:
    first = write({**sound_parts(), 3: part(1, 3, ["c"])})
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 0

    with pytest.raises(ModelFileError):
        open_gguf(first)

    assert before == (len(list(Path("/proc/self/fd").iterdir())) if before else 0)
