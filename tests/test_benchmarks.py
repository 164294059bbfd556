"""The benchmarks start, and their eyes see; what they measure is not for tests to judge."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.terminal import Terminal

ROOT = Path(__file__).parents[1]
PROGRAMS = sorted(
    path.stem for path in (ROOT / "benchmarks").glob("*.py") if "def main(" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_benchmark_tells_how_it_is_used(name: str) -> None:
    command = [sys.executable, "-m", f"benchmarks.{name}", "--help"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "usage:" in result.stdout


def test_the_terminal_sees_what_a_program_draws_between_its_escape_sequences() -> None:
    command = ["sh", "-c", r"printf '\033[1mre\033[0mady'; read line; printf 'heard %s' $line; cat"]
    with Terminal(command, dict(os.environ)) as terminal:
        assert terminal.wait_for("ready", 30) is not None
        assert not terminal.has_drawn("heard")
        terminal.forget()
        terminal.type("you\n")
        assert terminal.wait_for("heard you", 30) is not None


def test_the_terminal_notices_that_a_program_has_ended() -> None:
    with Terminal(["true"], dict(os.environ)) as terminal:
        assert terminal.wait_for("never", 30) is None
        assert not terminal.has_drawn_anything()
