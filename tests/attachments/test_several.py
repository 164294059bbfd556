"""One path, several paths or a pattern, typed after a command."""

from pathlib import Path

import pytest

from tui_llama.attachments import several
from tui_llama.attachments.several import read_typed
from tui_llama.errors import AttachmentError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a repository with some files."""
    monkeypatch.chdir(tmp_path)
    for name in (".git", "src/deep"):
        Path(name).mkdir(parents=True)
    for name in ("a.txt", "b c.txt", "src/one.py", "src/deep/two.py", ".hidden.txt", "x.log", "odd[1].txt"):
        Path(name).write_text(f"{name}\n")
    Path(".gitignore").write_text("*.log\n")
    Path("binary.txt").write_bytes(bytes(range(256)))
    return tmp_path


def names(typed: str) -> list[str]:
    return [attachment.name for attachment in read_typed(typed).attachments]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("a.txt", ["a.txt"]),
        ("b c.txt", ["b c.txt"]),
        ("odd[1].txt", ["odd[1].txt"]),
        ("a.txt 'b c.txt'", ["a.txt", "b c.txt"]),
        ("a.txt b\\ c.txt src/*.py", ["a.txt", "b c.txt", "src/one.py"]),
        ("src/*", ["src/one.py"]),
        ("**/*.py", ["src/deep/two.py", "src/one.py"]),
        ("'b *.txt'", ["b c.txt"]),
        ("[ab]*.txt a.txt", ["a.txt", "b c.txt"]),
    ],
)
def test_what_is_typed_means_one_file_or_several(typed: str, found: list[str]) -> None:
    assert names(typed) == found


def test_a_pattern_may_be_absolute(folder: Path) -> None:
    assert names(f"{folder}/src/*.py") == ["src/one.py"]


def test_hidden_and_ignored_files_fit_no_pattern_but_can_be_named() -> None:
    assert not {".hidden.txt", "x.log"} & {*names("*.txt"), *names("*")}
    assert names("x.log") == ["x.log"]


def test_what_is_no_text_is_left_out_and_told() -> None:
    files = read_typed("*.txt")
    assert [attachment.name for attachment in files.attachments] == ["a.txt", "b c.txt", "odd[1].txt"]
    assert [str(refusal) for refusal in files.refusals] == ["binary.txt is not a text."]


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("nothing.txt", "There is no file nothing.txt."),
        ("a.txt nothing.txt", "There is no file a.txt nothing.txt."),
        ("file:///nothing", "There is no file nothing."),
        ("*.md", "No file fits *.md."),
        ("src", "src is a folder."),
    ],
)
def test_what_means_nothing_is_refused(typed: str, words: str) -> None:
    with pytest.raises(AttachmentError) as caught:
        read_typed(typed)
    assert str(caught.value) == words


def test_more_than_can_be_attached_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(several, "MOST_FILES", 1)
    with pytest.raises(AttachmentError, match="More than 1 files fit"):
        read_typed("*.txt")
