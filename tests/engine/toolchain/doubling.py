"""A kernel that doubles numbers, for tests of how kernels are compiled, kept and loaded."""

import sys

import pytest

from tui_llama.engine.ops import Operation
from tui_llama.engine.toolchain import compile_processes

DOUBLED = Operation("tests", "doubled", "i", returns=True)


def doubled(number: int) -> int:
    """Doubles a number: the function of the kernel."""
    return 2 * number


def compile_with(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Has another program run where kernels are compiled."""
    monkeypatch.setattr(compile_processes, "child_command", lambda module: (sys.executable, "-c", program))
