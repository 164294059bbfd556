"""The starter on the command line: real processes, as a shell runs them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import HANG_SECONDS
from tests.starter.real_chat import LOOPING

pytestmark = [pytest.mark.starter, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
QUESTION = "Say hello in one short sentence."


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the program to its end, with the home of this test and nothing on standard input."""
    command = [sys.executable, "-m", "tui_llama", *arguments]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )


def ask(model: Path, *arguments: str) -> str:
    """The answer, which is all that is printed."""
    done = run("ask", "-m", str(model), "-n", "16", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_ask_prints_the_answer_alone_and_the_same_one_for_the_same_seed(starter_model: Path) -> None:
    answer = ask(starter_model, "--seed", "3", QUESTION)
    assert len(answer.split()) > 2
    assert "\x1b" not in answer
    assert ask(starter_model, "--seed", "3", QUESTION) == answer


def test_ask_uses_the_sampling_that_comes_with_the_model(starter_model: Path) -> None:
    answer = ask(starter_model, "--seed", "4", QUESTION)
    assert ask(starter_model, "--seed", "4", "--temp", "0.2", "--top-p", "0.9", QUESTION) == answer


def test_ask_ends_an_answer_that_repeats_itself_and_says_why(starter_model: Path) -> None:
    done = run("ask", "-m", str(starter_model), "--temp", "0", LOOPING)
    assert done.returncode == 0
    assert done.stderr == "note: the answer was ended because it repeats itself; --no-loop-guard turns this off\n"
    words = done.stdout.split()
    assert len(words) < 200
    assert len(set(words[-24:])) <= 8


def test_complete_continues_a_text(starter_model: Path) -> None:
    done = run("complete", "-m", str(starter_model), "--temp", "0", "-n", "2", "The capital of France is")
    assert (done.returncode, done.stdout, done.stderr) == (0, " Paris.", "")


def test_models_show_says_what_the_starter_is_and_how_it_is_sampled(starter_model: Path) -> None:
    done = run("models", "show", str(starter_model))
    assert (done.returncode, done.stderr) == (0, "")
    rows = {" ".join(line.split()) for line in done.stdout.splitlines()}
    assert {
        "name SmolLM2 135M Instruct",
        f"path {starter_model}",
        "type Q4_1",
        "architecture llama",
        "context 8,192 tokens",
        "temperature = 0.2 (the catalogue)",
        "top_p = 0.9 (the catalogue)",
        "top_k = 40 (the program's default)",
    } <= rows
    assert any(row.startswith("licence apache-2.0") for row in map(str.lower, rows))
    assert any(row.startswith("template ") for row in rows)
