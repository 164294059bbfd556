"""What a shell gives the program, in every state: closed, full, silent or shared streams, and Ctrl+C at any moment."""

import io
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fakes.tiny_model import make_tiny_model
from tests.patience import HANG_SECONDS
from tui_llama import __version__
from tui_llama.errors import UserError
from tui_llama.system import standard_streams

ROOT = Path(__file__).parents[2]
FULL = "error: the result cannot be written: No space left on device\n"

# Answers without a real model, so that what is seen is the streams alone.
PROGRAM = """
import sys
from tests.fakes.fake_model import FakeModel
from tui_llama.engine import local
local._open_our_model = lambda request, on_progress: FakeModel()
from tui_llama.start import main
main()
"""
REAL = ("-m", "tui_llama")
FAKE = ("-c", PROGRAM)
ANSWER = ("-m", "model.gguf", "--temp", "0", "-n", "4")


def shell(redirection: str, *arguments: str, program: Sequence[str] = FAKE) -> "subprocess.CompletedProcess[str]":
    """Runs the program with streams as a shell redirects them; `$0` and what follows are its command line."""
    command = ["sh", "-c", f'exec "$0" "$@" {redirection}', sys.executable, *program, *arguments]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=ROOT, timeout=HANG_SECONDS, check=False
    )


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_tiny_model(tmp_path_factory.mktemp("models") / "tiny.gguf"))


# --- missing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_with_closed_streams_an_answer_is_given_as_far_as_it_can_be(closed: str) -> None:
    usual = shell("", "ask", "hi", *ANSWER)
    result = shell(closed, "ask", "hi", *ANSWER)
    assert (usual.returncode, result.returncode) == (0, 0)
    assert usual.stdout and result.stdout == ("" if ">&-" in closed.split() else usual.stdout)
    assert result.stderr == ""


def test_closed_standard_input_is_an_empty_one() -> None:
    text, question = shell("<&-", "complete", "-", *ANSWER), shell("<&-", "ask", "Sum up:", "-", *ANSWER)
    assert (text.returncode, text.stderr) == (1, "error: the prompt is empty\nhint: Write something first.\n")
    assert (question.returncode, question.stderr) == (0, "")


def test_without_a_question_closed_standard_input_is_wrong_usage() -> None:
    result = shell("<&-", "ask", *ANSWER)
    assert result.returncode == 2
    assert result.stderr.endswith("Error: There is no question: give one, or pipe one in.\n")


def test_no_file_gets_the_descriptor_of_a_closed_stream(tmp_path: Path) -> None:
    script = f"""
import os, sys
from tui_llama.system import standard_streams
standard_streams.prepare()
found = [os.readlink(f"/proc/self/fd/{{number}}") for number in range(3)]
open({str(tmp_path / "found")!r}, "w").write(" ".join(found))
"""
    shell("<&- >&- 2>&-", program=("-c", script))
    assert (tmp_path / "found").read_text() == "/dev/null /dev/null /dev/null"


def test_standard_input_that_is_not_for_reading_is_one_line(tmp_path: Path) -> None:
    result = shell(f"0>{tmp_path / 'output'}", "ask", *ANSWER)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "error: standard input cannot be read: Bad file descriptor\n"


# --- full -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--version",),
        ("ask", "--help"),
        ("settings",),
        ("doctor", "--help"),
        ("models", "list", "--all"),
        ("cache", "show"),
        ("ask", "hi", *ANSWER),
        ("complete", "hi", *ANSWER),
    ],
    ids=" ".join,
)
def test_a_result_that_cannot_be_written_is_one_line_and_status_1(arguments: tuple[str, ...]) -> None:
    result = shell(">/dev/full", *arguments)
    assert (result.returncode, result.stderr) == (1, FULL)


def test_a_list_of_tokens_that_cannot_be_written_is_one_line_too(tiny_model: str) -> None:
    result = shell(">/dev/full", "tokenize", "hi", "-m", tiny_model, program=REAL)
    assert (result.returncode, result.stderr) == (1, FULL)


def test_messages_that_cannot_be_written_change_nothing() -> None:
    result = shell("2>/dev/full", "ask", "hi", *ANSWER)
    assert result.returncode == 0 and result.stdout
    assert shell("2>/dev/full", "ask", "hi", "-m", "missing", program=REAL).returncode == 1
    assert shell("2>/dev/full", "nonsense").returncode == 2


def test_everything_full_is_status_1() -> None:
    assert shell(">/dev/full 2>&1", "ask", "hi", *ANSWER).returncode == 1


@pytest.mark.parametrize("arguments", [("--help",), ("settings",), ("models", "list", "--all")], ids=" ".join)
def test_a_reader_that_is_gone_ends_every_command_quietly(arguments: tuple[str, ...]) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    command = [sys.executable, *REAL, *arguments]
    result = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, cwd=ROOT, check=False)
    os.close(theirs)
    assert (result.returncode, result.stderr) == (141, b"")


def test_a_full_pipe_that_lets_nobody_wait_is_waited_for_all_the_same() -> None:
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    stream = io.BufferedWriter(standard_streams._ResultFile(theirs, "wb"))
    content, received = b"line\n" * 100_000, bytearray()

    def read() -> None:
        while piece := os.read(ours, 1 << 16):
            received.extend(piece)

    reader = threading.Thread(target=read)
    reader.start()
    stream.write(content)
    stream.close()
    reader.join()
    os.close(ours)
    assert received == content


def test_after_a_failure_nothing_more_is_tried() -> None:
    stream = io.BufferedWriter(standard_streams._ResultFile(os.open("/dev/full", os.O_WRONLY), "wb"))
    stream.write(b"result")
    with pytest.raises(UserError, match="No space left"):
        stream.flush()
    stream.close()  # as the interpreter does at the end


# --- standard input ---------------------------------------------------------------------------------------------------


def reader(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, *FAKE, *arguments, *ANSWER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


@pytest.mark.parametrize("arguments", [("ask",), ("ask", "Sum up:", "-"), ("complete", "-")], ids=" ".join)
def test_who_waits_for_standard_input_says_so(arguments: tuple[str, ...]) -> None:
    with reader(*arguments) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "note: waiting for the end of standard input\n"
        answer, errors = process.communicate("a text")
    assert (process.returncode, errors) == (0, "")
    assert answer


def test_on_a_terminal_it_says_how_to_end() -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, *FAKE, "complete", "-", *ANSWER]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        os.close(theirs)
        assert process.stderr is not None
        assert process.stderr.readline() == b"note: waiting for the end of standard input; Ctrl+D ends it\n"
        os.write(ours, b"a text\n\x04")
        process.communicate()
    os.close(ours)
    assert process.returncode == 0


def test_a_question_leaves_the_lines_of_a_loop_alone(tmp_path: Path) -> None:
    lines = tmp_path / "lines"
    lines.write_text("one\ntwo\nthree\n")
    loop = f'while read line; do echo "$line"; "$0" "$@" >/dev/null || exit 9; done <{lines}'
    command = ["sh", "-c", loop, sys.executable, *FAKE, "ask", "What is this?", *ANSWER]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (result.returncode, result.stdout) == (0, "one\ntwo\nthree\n")


def test_a_question_does_not_wait_for_an_open_pipe() -> None:
    with reader("ask", "What is this?") as process:
        process.wait()
        assert process.stderr is not None and process.stderr.read() == ""
    assert process.returncode == 0


def test_what_is_left_alone_is_told_of_with_the_way_to_use_it(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("a text")
    result = shell(f"<{tmp_path / 'notes'}", "ask", "Sum up:", *ANSWER)
    assert result.stderr == 'note: standard input was not read; add "-" after the question to append it\n'
    assert shell(f"<{tmp_path / 'notes'}", "ask", "Sum up:", "-", *ANSWER).stderr == ""


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\xef\xbb\xbfhello", "hello"),
        (b"\xef\xbb\xbf", ""),
        (b"hello\xef\xbb\xbf", "hello\ufeff"),  # elsewhere it is a character
        (b"\xef\xbb\xbf\xef\xbb\xbfhello", "\ufeffhello"),
    ],
)
def test_a_byte_order_mark_is_no_character(content: bytes, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert standard_streams.read_text() == text


def test_what_is_no_text_is_refused_with_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbfabc\xff")))
    with pytest.raises(UserError, match="byte 6 is wrong"):
        standard_streams.read_text()


# --- the screen -------------------------------------------------------------------------------------------------------

BEGINS, ENDS = b"\x1b[?1049h", b"\x1b[?1049l"
"""What a terminal is told before the screen is drawn, and once it is the user's again."""


def screen(redirection: str, end: Callable[["subprocess.Popen[bytes]", int], object]) -> tuple[int, bytes]:
    """Opens the screen on a terminal, ends it once it is there; returns the status, and what was drawn."""
    ours, theirs = pty.openpty()
    command = ["sh", "-c", f'exec "$0" "$@" {redirection}', sys.executable, *REAL]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT) as process:
        os.close(theirs)
        drawn, has_ended = b"", False
        with suppress(OSError):  # that nobody has the terminal open any more
            while piece := os.read(ours, 1 << 16):
                drawn += piece
                if b"Ctrl" in drawn and not has_ended:
                    end(process, ours)
                    has_ended = True
    os.close(ours)
    return process.returncode, drawn


@pytest.mark.parametrize("redirection", ["", "2>/dev/null", "2>/dev/full", "2>&-"])
def test_the_screen_is_drawn_on_the_terminal_wherever_messages_go(redirection: str) -> None:
    status, drawn = screen(redirection, lambda process, terminal: os.write(terminal, b"\x11"))
    assert status == 0
    assert drawn.index(BEGINS) < drawn.index(ENDS)


def test_an_interrupt_from_elsewhere_gives_the_terminal_back() -> None:
    status, drawn = screen("", lambda process, terminal: process.send_signal(signal.SIGINT))
    assert status == 130
    assert drawn.index(BEGINS) < drawn.index(ENDS)
    assert b"Traceback" not in drawn


# --- Ctrl+C -----------------------------------------------------------------------------------------------------------

# Interrupts itself at the Nth event of those that the interpreter audits: imports, opened files, started processes …
INTERRUPTED = """
import os, signal, sys
wanted, seen = int(sys.argv.pop(1)), 0
def count(event, arguments):
    global seen
    if event in ("import", "open", "os.listdir", "subprocess.Popen", "mmap.__new__", "ctypes.dlopen", "exec"):
        seen += 1
        if seen == wanted:
            os.kill(os.getpid(), signal.SIGINT)
leave = os._exit
os._exit = lambda status: leave(status if seen >= wanted else 99)
from tui_llama import start
signal.signal(signal.SIGINT, lambda *_: leave(130))
sys.addaudithook(count)
try:
    start.main()
finally:
    if seen < wanted:
        leave(99)  # it was over before
"""


@pytest.mark.parametrize("command", ["complete", "tokenize", "settings"])
def test_ctrl_c_at_any_moment_is_quiet_and_status_130(command: str, tiny_model: str) -> None:
    arguments = {"complete": ("hi", "-m", tiny_model, "-n", "4", "-t", "1"), "tokenize": ("hi", "-m", tiny_model)}
    place, statuses = 1, list[int]()
    while not statuses or statuses[-1] != 99:
        result = subprocess.run(
            [sys.executable, "-c", INTERRUPTED, str(place), command, *arguments.get(command, ())],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=ROOT,
            check=False,
        )
        statuses.append(result.returncode)
        assert result.returncode == 99 or (result.returncode, result.stderr) == (130, b""), place
        place += 1 + place // 3  # closer together at the beginning, where there is less to tidy up with
    assert statuses.count(130) > 10


def test_once_all_is_written_ctrl_c_changes_nothing() -> None:
    script = """
import atexit, os, signal, sys
from tui_llama.start import main
atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))
main()
"""
    command = [sys.executable, "-c", script, "--version"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"tui-llama, version {__version__}\n", "")


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupt_that_somebody_swallows_still_ends_the_command(times: int) -> None:
    script = f"""
import os, signal, sys
from tui_llama.system import standard_streams
try:
    with standard_streams.interruptible():
        try:
            for _ in range({times}):
                os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("half a module")
except KeyboardInterrupt:
    print("interrupted")
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (result.stdout, result.stderr, result.returncode) == ("interrupted\n", "", 0)


def test_an_interrupt_where_none_can_be_raised_ends_the_program() -> None:
    script = """
import os, signal
from tui_llama.system import standard_streams
class Ending:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        while True:
            pass
with standard_streams.interruptible():
    Ending()
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, cwd=ROOT, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (130, b"", b"")


def test_the_third_interrupt_waits_for_nobody() -> None:
    script = """
import os, signal
from tui_llama.system import standard_streams
with standard_streams.interruptible():
    while True:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            pass
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, cwd=ROOT, check=False)
    assert (result.returncode, result.stderr) == (130, b"")


def test_ctrl_c_while_kernels_are_compiled_ends_the_compilers_too(tiny_model: str, tmp_path: Path) -> None:
    environment = {**os.environ, "TUI_LLAMA_KERNEL_CACHE": str(tmp_path)}
    arguments = ("complete", "hi", "-m", tiny_model, "-n", "4", "-t", "1")
    ours, theirs = os.pipe()  # every process that lives on holds it open
    process = subprocess.Popen(
        [sys.executable, *REAL, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env=environment,
        cwd=ROOT,
        start_new_session=True,
    )
    os.close(theirs)
    while not list(tmp_path.glob("*/*.o")):
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    with os.fdopen(ours, "rb") as errors:
        assert errors.read() == b""
    assert process.wait() == 130
