"""Runs the command line in a process of its own, with a fake model that writes without end or never loads."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

PROGRAM = """
import sys, threading
from tests.fakes.fake_model import FakeModel
from tui_llama.engine import local

def open_model(request, on_progress):
    if request.model_path.endswith("endless.gguf"):
        print("loading", file=sys.stderr, flush=True)
        threading.Event().wait()
    return FakeModel(context_size=10**9)

local._open_our_model = open_model
from tui_llama.start import main
main()
"""
"""The model `endless.gguf` never loads, and says so on standard error. Every other model writes without end."""


def start(*arguments: str, program: str = PROGRAM) -> "subprocess.Popen[bytes]":
    """Starts the program with these arguments and without input. Pipes hold its output and its errors."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        bufsize=0,  # what is read of the output by hand and then by `communicate` is all of it
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
