"""Files that are attached, and what is refused."""

import os
import socket
from hashlib import sha256
from pathlib import Path

import pytest

from tui_llama.attachments import reading
from tui_llama.attachments.reading import FileState, file_state, read_attachment
from tui_llama.chat import Attachment
from tui_llama.errors import AttachmentError


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def refusal(path: str | Path) -> str:
    with pytest.raises(AttachmentError) as caught:
        read_attachment(Path(path))
    return str(caught.value)


def test_a_file_is_attached_with_its_text_its_place_and_its_digest(tmp_path: Path) -> None:
    Path("notes").mkdir()
    content = "caf\u00e9\r\n".encode("latin-1")
    Path("notes/one.txt").write_bytes(content)

    assert read_attachment(Path("notes/one.txt")) == Attachment(
        "notes/one.txt", "caf\u00e9\n", str(tmp_path / "here/notes/one.txt"), sha256(content).hexdigest()
    )


def test_a_file_elsewhere_is_called_by_its_name_alone(tmp_path: Path) -> None:
    (tmp_path / "secret project").mkdir()
    (tmp_path / "secret project/plan.md").write_text("plan")

    assert read_attachment(tmp_path / "secret project/plan.md").name == "plan.md"


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo("pipe")
    server = socket.socket(socket.AF_UNIX)
    server.bind("socket")
    Path("folder").mkdir()
    Path("loop").symlink_to("loop")
    Path("to the system").symlink_to("/proc/self/status")
    Path("binary").write_bytes(bytes(range(256)))

    assert refusal("pipe") == "pipe is a pipe."
    assert refusal("socket") == "socket is a socket."
    assert refusal("folder") == "folder is a folder."
    assert refusal("/dev/null") == "null is a device."
    assert refusal("/dev/../dev/zero") == "zero is a device."
    assert refusal("loop").startswith("loop cannot be read: ")
    assert refusal("binary") == "binary is not a text."
    assert refusal("missing") == "There is no file missing."
    assert refusal("binary/below") == "There is no file binary/below."
    assert refusal("zero\0byte").startswith("zero\0byte cannot be read: ")
    assert refusal("x" * 5_000).startswith("xxx")
    server.close()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system has no /proc")
def test_what_the_system_makes_up_is_no_file() -> None:
    Path("link").symlink_to("/proc/self/status")

    assert refusal("/proc/self/status") == "status is made up by the system."
    assert refusal("link") == "link is made up by the system."


def test_a_file_that_may_not_be_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    Path("secret").write_text("x")
    monkeypatch.setattr(os, "open", refuse)

    assert refusal("secret") == "secret cannot be read: Permission denied."


def test_a_file_that_is_too_long_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("long").open("wb") as file:
        file.truncate(73_000_000)

    assert refusal("long") == "long has 73 MB; at most 8 MB can be attached."


def test_a_file_that_becomes_a_pipe_or_grows_meanwhile_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").write_text("x")
    os.mkfifo("pipe")
    Path("long").write_bytes(b"x" * 9_000_000)
    status_of_a_file = Path("file").stat()

    with monkeypatch.context() as patches:
        patches.setattr(Path, "stat", lambda _path: status_of_a_file)
        assert refusal("pipe") == "pipe is a pipe."
        patches.setattr(os, "fstat", lambda _descriptor: status_of_a_file)
        assert refusal("long") == "long has more than 8 MB; at most 8 MB can be attached."


def test_a_file_says_when_it_is_another_one_now() -> None:
    path = Path("notes.txt")
    path.write_text("one")
    attachment = read_attachment(path)

    assert file_state(attachment) is FileState.SAME
    path.write_text("two")
    assert file_state(attachment) is FileState.CHANGED
    path.write_text("one")
    assert file_state(attachment) is FileState.SAME
    path.unlink()
    assert file_state(attachment) is FileState.GONE
    path.mkdir()
    assert file_state(attachment) is FileState.UNREADABLE
    assert file_state(Attachment("pasted text", "one")) is FileState.SAME


def test_a_file_of_another_encoding_that_is_no_text_any_more_has_changed() -> None:
    path = Path("notes.txt")
    path.write_text("one")
    attachment = read_attachment(path)
    path.write_bytes(b"\0")

    assert file_state(attachment) is FileState.CHANGED


def test_names_of_the_system_that_are_no_characters_do_no_harm() -> None:
    path = os.fsdecode(b"caf\xe9.txt")
    try:
        Path(path).write_text("x")
    except OSError:
        pytest.skip("this file system takes no such name")

    assert read_attachment(Path(path)).text == "x"


def test_the_longest_file_is_longer_than_any_context() -> None:
    assert reading.LONGEST_BYTES >= 4 << 20
