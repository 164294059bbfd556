"""How long opening a model file takes: its header read and checked, its arrays of strings found and then decoded.

    python -m benchmarks.gguf_header MODEL.gguf [--times 15]

Target: 0.3 s for a vocabulary of 128 thousand tokens.
"""

import argparse
import statistics
from pathlib import Path
from time import perf_counter

from tui_llama.engine.gguf_file import StringArray, open_gguf

_TARGET_SECONDS = 0.3


def main() -> None:
    """Opens the file again and again and prints how long it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a GGUF file")
    parser.add_argument("--times", type=int, default=15, help="how often to open it")
    options = parser.parse_args()
    seconds = [_open_seconds(options.model) for _ in range(options.times)]
    print(
        f"open: median {1000 * statistics.median(seconds):.0f} ms, worst {1000 * max(seconds):.0f} ms "
        f"(target {1000 * _TARGET_SECONDS:.0f} ms)"
    )
    count, decode_seconds = _decode(options.model)
    print(f"decode {count} strings: {1000 * decode_seconds:.0f} ms")


def _open_seconds(model: Path) -> float:
    start = perf_counter()
    with open_gguf(model):
        return perf_counter() - start


def _decode(model: Path) -> tuple[int, float]:
    """How many strings the metadata's arrays have, and how long decoding all of them takes."""
    with open_gguf(model) as file:
        start = perf_counter()
        strings = [list(value) for value in file.metadata.values() if isinstance(value, StringArray)]
        return sum(map(len, strings)), perf_counter() - start


if __name__ == "__main__":
    main()
