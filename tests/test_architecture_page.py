"""The pages for developers keep their word: every path that they name is there."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs" / "architecture.md"
SUFFIXES = ("py", "md", "toml", "tcss")
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\((?!http)([^)#]*)[^)]*\)")
QUESTION = re.compile(r"^\| (?!Question)[^|]+ \| (`[^|]+) \|$", re.MULTILINE)


PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=[page.relative_to(REPOSITORY).as_posix() for page in PAGES])


def text_of(page: Path) -> str:
    """What people read: drawings in code blocks are left out."""
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def paths_in(text: str) -> set[str]:
    """What looks like a path of the repository: names in code with a folder before them or a known suffix."""
    name = rf"[\w.-]+(?:/[\w.-]+)*(?:/|\.(?:{'|'.join(SUFFIXES)}))"
    return {code for code in CODE.findall(text) if re.fullmatch(name, code)}


def is_there(path: str) -> bool:
    return any((folder / path).exists() for folder in (REPOSITORY, REPOSITORY / "tui_llama"))


@EVERY_PAGE
def test_every_path_that_a_page_names_is_there(page: Path) -> None:
    assert [path for path in sorted(paths_in(text_of(page))) if not is_there(path)] == []


@EVERY_PAGE
def test_every_page_that_a_page_leads_to_is_there(page: Path) -> None:
    assert [path for path in LINK.findall(text_of(page)) if path and not (page.parent / path).is_file()] == []


def test_the_architecture_names_paths_and_leads_to_other_pages() -> None:
    assert len(paths_in(text_of(PAGE))) >= 20
    assert any(LINK.findall(text_of(PAGE)))


def test_every_answer_of_where_to_is_a_path() -> None:
    answers = QUESTION.findall(text_of(PAGE).partition("## Where to …")[2].partition("\n## ")[0])

    assert len(answers) >= 24
    assert [answer for answer in answers if not paths_in(answer)] == []


def test_every_room_of_the_program_has_its_line() -> None:
    package = REPOSITORY / "tui_llama"
    inits = [*package.glob("*/__init__.py"), *package.glob("engine/*/__init__.py")]
    rooms = [init.parent.relative_to(package).as_posix() for init in inits]

    assert rooms
    assert [room for room in sorted(rooms) if f"`{room}/`" not in text_of(PAGE)] == []
