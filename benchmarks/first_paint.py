"""Measures the time from the start of the program until it draws the first frame.

    python -m benchmarks.first_paint [-m MODEL.gguf] [--runs 9]

The program runs in a pseudo-terminal of 120 × 40 cells with an empty home. The clock starts just before the program and
stops when the first letter is drawn. Target: a median of 0.5 s on an idle machine.
"""

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from benchmarks.terminal import Terminal

TARGET_SECONDS = 0.5
_LONGEST_SECONDS = 30.0


def main() -> None:
    """Measures and prints the figures."""
    options = _parse_arguments()
    seconds = [_first_paint(options.model) for _ in range(options.runs + 1)][1:]
    print(" ".join(f"{value:.3f}" for value in seconds))
    median = statistics.median(seconds)
    verdict = "met" if median <= TARGET_SECONDS else "missed"
    print(f"first paint: median {median:.3f} s of {len(seconds)} runs (target {TARGET_SECONDS} s: {verdict})")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", type=Path, help="model file to load behind the screen")
    parser.add_argument("--runs", type=int, default=9, help="runs that count; one more goes before them")
    return parser.parse_args()


def _first_paint(model: Path | None) -> float:
    arguments = ["-m", str(model.absolute())] if model else []
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "TUI_LLAMA_HOME": home}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program has its compiled modules
        with Terminal([sys.executable, "-m", "tui_llama", *arguments], environment) as terminal:
            while not terminal.has_drawn_anything():
                waited = perf_counter() - terminal.started_at
                if waited > _LONGEST_SECONDS or not terminal.watch(_LONGEST_SECONDS - waited):
                    raise SystemExit("the program has drawn nothing")
            return perf_counter() - terminal.started_at


if __name__ == "__main__":
    main()
