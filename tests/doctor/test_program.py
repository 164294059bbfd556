"""The program itself, and the packages that it stands on."""

import platform
import re
import tomllib
from pathlib import Path

from tui_llama import __version__
from tui_llama.doctor.program import NEEDED_PACKAGES, look_at_program, program_section

ROOT = Path(__file__).parents[2]


def test_versions_are_told() -> None:
    section = look_at_program()
    rows = {row.name: row.text for row in section.rows}

    assert rows["version"].startswith(__version__)
    assert platform.python_version() in rows["Python"]
    assert platform.release() in rows["kernel"]
    assert "textual 8." in rows["packages"]
    assert section.problems == ()


def test_every_package_that_the_program_needs_is_looked_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[<>=]", each)[0] for each in project["dependencies"]}

    assert set(NEEDED_PACKAGES) == needed


def test_a_missing_package_is_wrong_and_a_missing_extra_is_not() -> None:
    section = program_section("/x", "", {"numba": None, "numpy": "2.1", "huggingface_hub": None})

    assert [problem.text for problem in section.problems] == ["Packages are missing: numba."]
    assert section.rows[-1].text == "numpy 2.1"


def test_a_commit_is_told_where_there_is_one() -> None:
    assert program_section("/x", "abc-dirty", {}).rows[0].text == f"{__version__} (commit abc-dirty)"
    assert program_section("/x", "", {}).rows[0].text == __version__
