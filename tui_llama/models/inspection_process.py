"""The child process that looks into model files; `inspection` is its other end.

It reads paths from standard input, with a zero byte behind each, and prints a line of JSON for every file.
"""

import os
import sys
from collections.abc import Sequence

import msgspec

from tui_llama.engine.model.facts import read_model_facts


def main(_arguments: Sequence[str]) -> None:
    """Prints the facts of each file that is asked for."""
    for name in sys.stdin.buffer.read().split(b"\0"):
        if name:
            sys.stdout.buffer.write(msgspec.json.encode(read_model_facts(os.fsdecode(name))) + b"\n")
            sys.stdout.buffer.flush()
