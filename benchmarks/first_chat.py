"""Measures the time from `git clone` to the first token on a machine that has nothing yet, stage by stage.

    python -m benchmarks.first_chat [--repository PATH_OR_ADDRESS]

Everything happens in a temporary folder with an empty home: the clone, the README's command with its set-up, and the
program in a pseudo-terminal of 100 × 30 cells. There a question is sent as soon as the model's name is shown. Targets,
with a fast connection to the package index: 90 s in all, and 3 s for the program itself.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from benchmarks.terminal import Terminal

TARGET_SECONDS = 90.0
TARGET_PROGRAM_SECONDS = 3.0
QUESTION = "What is the capital of France?"
_MODEL_NAME = "SmolLM2"
_FIRST_TOKEN = " generated"
_LONGEST_SECONDS = 600.0
_HIDDEN = ("TUI_LLAMA_", "XDG_", "HF_", "OLLAMA_")  # variables that point to files outside the empty home


def main() -> None:
    """Measures and prints the figures."""
    options = _parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        stages = _measure(options.repository, Path(folder))
    for name, seconds in stages:
        print(f"{seconds:7.1f} s  {name}")
    total = sum(seconds for _, seconds in stages)
    program = sum(seconds for name, seconds in stages if name.startswith("program"))
    print(f"{total:7.1f} s  in all (target {TARGET_SECONDS:.0f} s: {_verdict(total, TARGET_SECONDS)})")
    verdict = _verdict(program, TARGET_PROGRAM_SECONDS)
    print(f"{program:7.1f} s  of it the program (target {TARGET_PROGRAM_SECONDS:.0f} s: {verdict})")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = str(Path(__file__).resolve().parents[1])
    parser.add_argument("--repository", default=here, help="what is cloned; by default this checkout")
    return parser.parse_args()


def _measure(repository: str, folder: Path) -> list[tuple[str, float]]:
    home, clone = folder / "home", folder / "tui_llama"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_HIDDEN)}
    environment |= {"HOME": str(home)}
    stages = [
        ("git clone", _run(["git", "clone", "--quiet", repository, str(clone)], folder, environment)),
        ("install the packages", _run(["make", "--silent", ".venv/installed"], clone, environment)),
        ("compile kernels, fetch the starter", _run([".venv/bin/tui-llama", "set-up"], clone, environment)),
    ]
    return [*stages, *_chat(clone, environment)]


def _run(command: Sequence[str], folder: Path, environment: dict[str, str]) -> float:
    started_at = perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, stdout=sys.stderr, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {done.returncode}")
    return perf_counter() - started_at


def _chat(clone: Path, environment: dict[str, str]) -> list[tuple[str, float]]:
    """Runs the program from its start to the first token of an answer, and returns the time of each stage."""
    with Terminal([str(clone / ".venv/bin/tui-llama")], environment, columns=100, rows=30) as terminal:
        started_at = terminal.started_at
        _wait(terminal, _MODEL_NAME)
        is_ready_at = perf_counter()
        terminal.type(f"{QUESTION}\r")
        terminal.forget()
        _wait(terminal, _FIRST_TOKEN)
        return [
            ("program: start to the model's name", is_ready_at - started_at),
            ("program: question to the first token", perf_counter() - is_ready_at),
        ]


def _wait(terminal: Terminal, text: str) -> None:
    if terminal.wait_for(text, _LONGEST_SECONDS) is None:
        raise SystemExit(f"{text!r} was never drawn")


def _verdict(seconds: float, target: float) -> str:
    return "met" if seconds <= target else "missed"


if __name__ == "__main__":
    main()
