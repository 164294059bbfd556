"""What paths a text may mean."""

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_llama.attachments.typed_paths import dropped_paths, typed_paths

NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20).filter(
    lambda name: "/" not in name and name.strip(". ") == name and bool(name.strip()) and not name[-1].isspace()
)


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("notes.txt", "notes.txt"),
        ("  a b.txt ", "a b.txt"),
        ("~/notes.txt", str(Path.home() / "notes.txt")),
        ("file:///tmp/a%20b.txt", "/tmp/a b.txt"),
    ],
)
def test_a_typed_path_is_read_as_it_is_first(typed: str, first: str) -> None:
    assert typed_paths(typed)[0] == Path(first)


@pytest.mark.parametrize("typed", ["'a b.txt'", '"a b.txt"', "a\\ b.txt"])
def test_quotes_and_backslashes_may_be_those_of_a_shell(typed: str) -> None:
    assert Path("a b.txt") in typed_paths(typed)


def test_nothing_is_no_path() -> None:
    assert typed_paths("  ") == ()


@pytest.mark.parametrize(
    "pasted",
    [
        "/tmp/a b.txt",
        "'/tmp/a b.txt' ",
        '"/tmp/a b.txt"',
        "/tmp/a\\ b.txt",
        "file:///tmp/a%20b.txt\r\n",
        "file://localhost/tmp/a%20b.txt",
    ],
)
def test_a_dropped_file_arrives_as_its_path(pasted: str) -> None:
    assert (Path("/tmp/a b.txt"),) in dropped_paths(pasted)


@pytest.mark.parametrize(
    "pasted",
    ["/a/b /c/d", "'/a/b' '/c/d'", "/a/b\n/c/d\n", "file:///a/b\nfile:///c/d", "file:///a/b\r\nfile:///c/d\r\n"],
)
def test_several_files_arrive_beside_or_below_each_other(pasted: str) -> None:
    assert (Path("/a/b"), Path("/c/d")) in dropped_paths(pasted)


@pytest.mark.parametrize(
    "pasted",
    ["", "text", "a/b", "What is in /etc/hosts?", "'quoted' text", "file://server/share/a", "x" * 99, "/a" * 20_000],
)
def test_other_texts_are_no_files(pasted: str) -> None:
    assert dropped_paths(pasted) == ()


@given(NAMES)
def test_what_a_shell_or_a_desktop_writes_of_a_path_is_that_path(name: str) -> None:
    path = Path("/folder", name)

    assert (path,) in dropped_paths(shlex.quote(str(path)))
    assert (path,) in dropped_paths(path.as_uri())


@given(st.text())
def test_any_text_can_be_asked_about(text: str) -> None:
    assert all(path.is_absolute() for row in dropped_paths(text) for path in row)
    typed_paths(text)


@pytest.mark.parametrize("text", ["~a\0b", "~\ud800", "/a ~b\0"])
def test_what_no_user_can_be_called_is_a_path_as_it_is_written(text: str) -> None:
    assert typed_paths(text)[0] == Path(text)
    assert all(path.is_absolute() for row in dropped_paths(text) for path in row)
