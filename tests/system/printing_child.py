"""A child process for tests: prints its arguments, and where the package lies that it runs."""

from collections.abc import Sequence
from pathlib import Path

import tui_llama


def main(arguments: Sequence[str]) -> None:
    """Prints one line for each argument, and the folder."""
    assert tui_llama.__file__ is not None
    print(*arguments, Path(tui_llama.__file__).resolve().parents[1], sep="\n")
