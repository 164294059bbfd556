"""Files that cannot be opened, and files that others write while they are read."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.gguf.small_files import FLOATS_32, one_tensor
from tests.fakes.gguf_bytes import gguf_bytes
from tui_llama.engine.gguf.file import GgufFile, open_gguf
from tui_llama.errors import ModelFileError


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="there is no file"):
        open_gguf(tmp_path / "none.gguf")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="is a folder"):
        open_gguf(tmp_path)


def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(ModelFileError, match="not a regular file"):
        open_gguf(tmp_path / "pipe.gguf")


def test_a_path_that_no_system_takes_is_refused() -> None:
    with pytest.raises(ModelFileError):
        open_gguf("a\0b")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(write: Callable[[bytes], Path]) -> None:
    path = write(gguf_bytes())
    path.chmod(0)
    with pytest.raises(ModelFileError, match="no permission to read"):
        open_gguf(path)


def test_a_tensor_of_a_file_that_was_cut_meanwhile_is_an_error(opened: Callable[[bytes], GgufFile]) -> None:
    with opened(one_tensor()) as file:
        os.truncate(file.path, file.path.stat().st_size - 1)
        with pytest.raises(ModelFileError, match="cut short while it was read"):
            file.tensor_bytes("t")


@pytest.mark.parametrize("change", ["written to", "cut", "grown"])
def test_a_file_that_was_changed_since_it_was_opened_is_noticed(
    opened: Callable[[bytes], GgufFile], change: str
) -> None:
    with opened(one_tensor()) as file:
        file.check_unchanged()
        if change == "written to":
            os.utime(file.path, ns=(1, 1))
        else:
            os.truncate(file.path, file.path.stat().st_size + (1 if change == "grown" else -1))
        with pytest.raises(ModelFileError, match="was written to while it was read"):
            file.check_unchanged()


def test_a_file_that_was_replaced_is_the_old_one_still(opened: Callable[[bytes], GgufFile]) -> None:
    with opened(one_tensor()) as file:
        other = file.path.with_name("other")
        other.write_bytes(b"something else")
        other.rename(file.path)
        assert file.tensor_bytes("t").tobytes() == FLOATS_32
        file.check_unchanged()


def test_a_disk_that_cannot_be_read_is_an_error(
    opened: Callable[[bytes], GgufFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with opened(one_tensor()) as file:
        monkeypatch.setattr(os, "preadv", fail)
        with pytest.raises(ModelFileError, match=r"^model\.gguf cannot be read: Input/output error"):
            file.tensor_bytes("t")
