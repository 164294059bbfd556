"""A program on the leash ends as it would alone, and with whoever asked for it."""

import os
import select
import subprocess
import sys
from pathlib import Path

from tests.patience import HANG_SECONDS
from tui_llama.system.child_process import child_command

LEASH = "tui_llama.system.leashed_process"


def test_the_program_has_nothing_to_read_and_its_status_is_told() -> None:
    program = "import sys; print(len(sys.stdin.read())); sys.exit(3)"
    with subprocess.Popen(
        child_command(LEASH, sys.executable, "-c", program), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read() == b"0\n"
        assert process.wait() == 3


def test_a_program_that_is_not_there_is_said_in_one_line() -> None:
    with subprocess.Popen(
        child_command(LEASH, "/no/such/program"), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        assert process.stderr.read().startswith(b"error: [Errno 2]")


def test_the_end_of_standard_input_ends_the_program_and_all_that_it_has_started(tmp_path: Path) -> None:
    signs = tmp_path / "signs of life"
    os.mkfifo(signs)
    program = """
import os, signal, subprocess, sys
life = os.open(sys.argv[1], os.O_WRONLY)
os.set_inheritable(life, True)
subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], close_fds=False)
os.write(life, b"!")
signal.pause()
"""
    reader = os.open(signs, os.O_RDONLY | os.O_NONBLOCK)
    command = child_command(LEASH, sys.executable, "-c", program, str(signs))
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as process:
        assert select.select([reader], [], [], HANG_SECONDS)[0]
        assert os.read(reader, 1) == b"!"
        assert process.stdin is not None
        process.stdin.close()
        assert select.select([reader], [], [], HANG_SECONDS)[0]
        assert os.read(reader, 1) == b""
    os.close(reader)
