"""Questions before something is removed: no stream and no signal in place of an answer is a yes, or a traceback."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.patience import HANG_SECONDS

ROOT = Path(__file__).parents[2]
CLEAR = ("-m", "tui_llama", "cache", "clear")
QUESTION = b"Remove all stored prompts? The chats are kept. [y/N]:"


def wait_until_asleep(process_id: int) -> None:
    """Returns once a process waits for its input: a signal that comes just before is looked at only after it.

    The system tells nobody that a process has begun to wait, so its state is looked at again and again.
    """
    end = time.monotonic() + HANG_SECONDS
    while Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "S":
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("redirection", "words"),
    [
        ("0>/dev/null", b"error: standard input cannot be read: Bad file descriptor\nhint: Give --yes"),
        ("<&-", b"Aborted!\n"),
        ("</dev/null", b"Aborted!\n"),
    ],
)
def test_where_no_answer_can_be_read_nothing_is_removed(redirection: str, words: bytes) -> None:
    command = ["sh", "-c", f'exec "$0" "$@" {redirection}', sys.executable, *CLEAR]
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, cwd=ROOT, timeout=HANG_SECONDS, check=False
    )
    assert (result.returncode, result.stdout) == (1, b"")
    assert words in result.stderr and b"Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=str
)
def test_a_signal_in_place_of_an_answer_ends_the_program_as_it_would_anywhere(number: int, status: int) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, *CLEAR], cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stderr is not None
        asked = b"".join(process.stderr.read(1) for _ in QUESTION)
        wait_until_asleep(process.pid)
        process.send_signal(number)
        rest = process.stderr.read()
        assert (process.wait(), asked, rest.strip()) == (status, QUESTION, b"")
