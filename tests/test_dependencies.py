"""What the package imports is what pyproject.toml declares: nothing comes along by chance, and nothing is left over."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "tui_llama"


def imported() -> set[str]:
    """The distributions whose modules the package imports, wherever in a file."""
    homes = packages_distributions()
    return {_normalised(name) for module in _foreign_modules() for name in homes.get(module, [module])}


def _foreign_modules() -> Iterator[str]:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            for name in names:
                top = name.partition(".")[0]
                if top not in sys.stdlib_module_names and top != PACKAGE.name:
                    yield top


def declared() -> set[str]:
    """The distributions that the program and its extras ask for; those of `dev` are for its tests."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [lines for name, lines in project["optional-dependencies"].items() if name != "dev"]
    lines = [*project["dependencies"], *chain.from_iterable(extras)]
    return {_normalised(match.group()) for line in lines if (match := re.match(r"[\w.-]+", line))}


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    assert imported() == declared()
