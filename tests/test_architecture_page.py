"""The page of the architecture keeps its word: every path that it names is there."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs" / "architecture.md"
SUFFIXES = ("py", "md", "toml", "tcss")
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\((?!http)([^)#]*)[^)]*\)")
QUESTION = re.compile(r"^\| (?!Question)[^|]+ \| (`[^|]+) \|$", re.MULTILINE)


def page_text() -> str:
    """What people read: drawings in code blocks are left out."""
    return re.sub(r"```.*?```", "", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def paths_in(text: str) -> set[str]:
    """What looks like a path of the repository: names in code with a folder before them or a known suffix."""
    name = rf"[\w.-]+(?:/[\w.-]+)*(?:/|\.(?:{'|'.join(SUFFIXES)}))"
    return {code for code in CODE.findall(text) if re.fullmatch(name, code)}


def is_there(path: str) -> bool:
    return any((folder / path).exists() for folder in (REPOSITORY, REPOSITORY / "tui_llama"))


def test_every_path_that_it_names_is_there() -> None:
    paths = paths_in(page_text())

    assert len(paths) >= 20
    assert [path for path in sorted(paths) if not is_there(path)] == []


def test_every_page_that_it_leads_to_is_there() -> None:
    pages = {page for page in LINK.findall(page_text()) if page}

    assert pages
    assert [page for page in sorted(pages) if not (PAGE.parent / page).is_file()] == []


def test_every_answer_of_where_to_is_a_path() -> None:
    answers = QUESTION.findall(page_text().partition("## Where to …")[2].partition("\n## ")[0])

    assert len(answers) >= 24
    assert [answer for answer in answers if not paths_in(answer)] == []


def test_every_room_of_the_program_has_its_line() -> None:
    package = REPOSITORY / "tui_llama"
    inits = [*package.glob("*/__init__.py"), *package.glob("engine/*/__init__.py")]
    rooms = [init.parent.relative_to(package).as_posix() for init in inits]

    assert rooms
    assert [room for room in sorted(rooms) if f"`{room}/`" not in page_text()] == []
