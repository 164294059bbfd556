"""How long it takes until something can be done: `--help`, a model file's header, its tokenizer.

    python -m benchmarks.start VOCABULARY_OR_MODEL.gguf [--runs 10]

Prints medians and extremes. A vocabulary of 128k tokens is the interesting case.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tui_llama.engine.gguf_file import open_gguf
from tui_llama.engine.tokenizer import tokenizer_from_gguf


def timed(what: str, run: Callable[[], None], runs: int) -> None:
    """Prints how long `run` takes, in milliseconds, after one run that is not counted."""
    run()
    samples = []
    for _ in range(runs):
        started = time.perf_counter()
        run()
        samples.append((time.perf_counter() - started) * 1000)
    print(f"{what:<28}{statistics.median(samples):9.1f} ms   ({min(samples):.1f} … {max(samples):.1f})")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--runs", type=int, default=10)
    arguments = parser.parse_args()

    def show_help() -> None:
        subprocess.run([sys.executable, "-m", "tui_llama", "--help"], stdout=subprocess.DEVNULL, check=True)

    def read_header() -> None:
        open_gguf(arguments.file).close()

    def open_tokenizer() -> None:
        with open_gguf(arguments.file) as file:
            tokenizer_from_gguf(file)

    timed("tui-llama --help", show_help, arguments.runs)
    timed("header", read_header, arguments.runs)
    timed("header and tokenizer", open_tokenizer, arguments.runs)


if __name__ == "__main__":
    main()
