"""Measures the times of a start: `--help`, a model file's header, its tokenizer, its first token.

    python -m benchmarks.start VOCABULARY_OR_MODEL.gguf [--runs 10] [--first]

It prints medians and extremes. The important case is a vocabulary of 128k tokens. Targets: 1 s for header and tokenizer
together, 1.5 s to the first token of a model of 0.8 GB, and 20 s with `--first`, when no kernel is compiled yet.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tui_llama.engine.gguf.compiled_strings import find_strings
from tui_llama.engine.gguf.file import open_gguf
from tui_llama.engine.tokenizer.tokenizer import tokenizer_from_gguf
from tui_llama.paths import KERNEL_CACHE_VARIABLE


def timed(what: str, run: Callable[[], None], runs: int) -> None:
    """Prints how long `run` takes, in milliseconds, after one run that does not count."""
    run()
    samples = []
    for _ in range(runs):
        started = time.perf_counter()
        run()
        samples.append((time.perf_counter() - started) * 1000)
    print(f"{what:<28}{statistics.median(samples):9.1f} ms   ({min(samples):.1f} … {max(samples):.1f})")


def run_program(*arguments: str) -> None:
    """Runs the command line to its end."""
    subprocess.run(
        [sys.executable, "-m", "tui_llama", *arguments],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True,
    )  # fmt: skip


def main() -> None:
    """Measures and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--first", action="store_true", help="also run once without compiled kernels")
    arguments = parser.parse_args()

    def show_help() -> None:
        run_program("--help")

    def read_header() -> None:
        open_gguf(arguments.file, find_strings).close()

    def open_tokenizer() -> None:
        with open_gguf(arguments.file, find_strings) as file:
            tokenizer_from_gguf(file)

    def write_a_token() -> None:
        run_program("complete", "-n", "1", "-m", str(arguments.file.absolute()), "Hello")

    timed("tui-llama --help", show_help, arguments.runs)
    timed("header", read_header, arguments.runs)
    timed("header and tokenizer", open_tokenizer, arguments.runs)
    with open_gguf(arguments.file) as file:
        has_weights = bool(file.tensors)
    if has_weights:
        timed("tui-llama complete -n 1", write_a_token, arguments.runs)
    if has_weights and arguments.first:
        with tempfile.TemporaryDirectory() as folder:
            os.environ[KERNEL_CACHE_VARIABLE] = folder
            started = time.perf_counter()
            write_a_token()
            print(f"{'the same, for the first time':<28}{(time.perf_counter() - started) * 1000:9.1f} ms")


if __name__ == "__main__":
    main()
