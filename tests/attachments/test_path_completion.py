"""The paths that "@" offers."""

import itertools
import os
from pathlib import Path

import pytest

from tui_llama.attachments import path_completion
from tui_llama.attachments.path_completion import find_paths


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with ignored and hidden files."""
    for path, content in {
        ".git/info/exclude": "private.txt\n",
        ".gitignore": "*.log\n/build/\n!keep.log\n",
        "README.md": "",
        "app.py": "",
        "private.txt": "",
        "all.log": "",
        "keep.log": "",
        "build/app.js": "",
        "docs/.gitignore": "draft*\n!*.log\n",
        "docs/draft.md": "",
        "docs/some.log": "",
        "docs/build/api.md": "",
        "src/app/main.py": "",
        "src/Capital.py": "",
        ".hidden/secret": "",
        ".env": "",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    return tmp_path


def found(tree: Path, typed: str, limit: int = 99) -> list[str]:
    return [each.text for each in find_paths(typed, limit=limit, current_folder=str(tree))]


def test_the_nearest_come_first_without_what_is_ignored_or_hidden(tree: Path) -> None:
    assert found(tree, "") == [
        *("app.py", "docs/", "keep.log", "README.md", "src/"),
        *("docs/build/", "docs/some.log", "src/app/", "src/Capital.py", "docs/build/api.md", "src/app/main.py"),
    ]
    assert found(tree, "", limit=2) == ["app.py", "docs/"]


def test_hidden_files_are_offered_to_those_who_type_a_dot(tree: Path) -> None:
    assert found(tree, ".e")[0] == ".env"
    assert found(tree, ".hidden/") == [".hidden/secret"]
    assert not any(path.startswith(".git/") for path in found(tree, ".g"))


def test_names_that_begin_so_come_before_those_that_have_it_inside(tree: Path) -> None:
    assert found(tree, "app")[:2] == ["app.py", "src/app/"]
    assert found(tree, "pp")[:2] == ["app.py", "src/app/"]
    assert "src/app/main.py" in found(tree, "samain")


def test_capitals_count_only_for_those_who_type_them(tree: Path) -> None:
    assert found(tree, "capital") == ["src/Capital.py"]
    assert found(tree, "Capital") == ["src/Capital.py"]
    assert found(tree, "CAPITAL") == []


def test_the_part_before_the_last_slash_names_the_folder(tree: Path) -> None:
    assert found(tree, "src/app/") == ["src/app/main.py"]
    assert found(tree, "./src/ma") == ["./src/app/main.py"]
    assert found(tree, f"{tree}/READ") == [f"{tree}/README.md"]
    assert found(tree, "src/../READ") == ["src/../README.md"]
    assert found(tree, "nowhere/a") == []


def test_a_folder_that_is_ignored_is_offered_to_those_who_name_it(tree: Path) -> None:
    assert found(tree, "build/") == ["build/app.js"]


def test_the_home_folder_may_be_written_as_a_tilde(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tree))
    assert found(Path("/"), "~/READ") == ["~/README.md"]


def test_a_folder_outside_a_repository_has_its_own_rules(tree: Path) -> None:
    (tree / ".git/info/exclude").unlink()
    (tree / ".git/info").rmdir()
    (tree / ".git").rmdir()
    assert "all.log" not in found(tree, "")


def test_links_are_offered_and_not_followed(tree: Path) -> None:
    (tree / "src/app/up").symlink_to(tree)
    (tree / "src/app/self").symlink_to(tree / "src/app/self")
    (tree / "linked.py").symlink_to(tree / "app.py")
    os.mkfifo(tree / "pipe")

    paths = found(tree, "src/app/")
    assert paths == ["src/app/main.py", "src/app/up/"]
    assert "linked.py" in found(tree, "")
    assert "pipe" not in found(tree, "")


def test_damaged_rules_count_for_nothing(tree: Path) -> None:
    (tree / ".gitignore").write_text("*.log\n!\n[")
    assert "app.py" in found(tree, "")


def test_what_the_system_makes_up_is_not_walked() -> None:
    assert found(Path("/"), "/proc/") == []
    assert not any(path.startswith("/proc") for path in found(Path("/"), "/"))


def test_a_walk_ends_when_nobody_waits_for_it(tree: Path) -> None:
    answers = itertools.chain([False], itertools.repeat(True))
    asked: list[bool] = []

    def is_cancelled() -> bool:
        asked.append(next(answers))
        return asked[-1]

    find_paths("e", limit=9, is_cancelled=is_cancelled, current_folder=str(tree))

    assert asked == [False, True]


def test_a_walk_has_a_limit_of_entries(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path_completion, "MOST_ENTRIES", 5)
    assert found(tree, "main") == []


def test_a_walk_has_a_limit_of_time(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path_completion, "monotonic", itertools.count(0.0, 0.4).__next__)
    assert len(found(tree, "")) <= 3
