"""`tui-llama serve` as its user sees it: what is refused, what is printed, and how it ends."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.fakes.headless_program import start
from tests.patience import HANG_SECONDS, has_ended, needs_descriptors_of_processes
from tui_llama.cli.commands import serve as command
from tui_llama.cli.main import command_line
from tui_llama.serve.http.keys import KEY_VARIABLE

PROGRAM = """
from tui_llama.cli.commands import serve
from tui_llama.engine.process.worker import EngineWorker

serve._make_engine = lambda: EngineWorker("tests.fakes.child_engines:ObedientEngine")
from tui_llama.start import main
main()
"""
ARGUMENTS = ("serve", "-m", "/models/obedient.gguf", "--port", "0", "--any-model")
READY = re.compile(rb"Serving .+ at http://127\.0\.0\.1:(\d+)/v1 \xe2\x80\x93 Ctrl\+C ends it\.\n")


def run(*arguments: str, key: str = "") -> Result:
    return CliRunner().invoke(command_line, ["serve", "-m", "/models/none.gguf", *arguments], env={KEY_VARIABLE: key})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--api-key", "my-secret"], "A key is not taken from the command line"),
        (["--api-key=my-secret"], "A key is not taken from the command line"),
        (["--api-key"], "There is no key."),
        (["--host", "0.0.0.0", "--port", "0"], "so it needs a key"),
        (["--host", "", "--port", "0"], "so it needs a key"),
        (["--cors", "*"], "needs a key"),
        (["--cors", "localhost"], "is no origin"),
        (["--port", "65536"], "65536 is not allowed"),
        (["--api-key-file", "/nowhere/keys"], "the keys cannot be read"),
    ],
)
def test_what_would_not_be_safe_or_cannot_be_meant_is_refused(arguments: list[str], words: str) -> None:
    result = run(*arguments)

    assert result.exit_code in (1, 2)
    assert words in " ".join(result.stderr.split())
    assert "my-secret" not in result.output + result.stderr


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "uvicorn" else object())

    result = run()

    assert result.exit_code == 1
    assert result.stderr == "error: the server needs uvicorn\nhint: pip install 'tui-llama[serve]'\n"


def test_what_is_given_becomes_who_may_ask(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("one\n")
    file.chmod(0o600)
    options = {
        "host": "LLAMA.lan",
        "allowed_hosts": ("Other.lan", "[fe80::1]"),
        "origins": ("http://localhost:3000/", "*"),
        "api_key_file": file,
    }

    access = command._access(options)

    assert access.keys == ("one",)
    assert access.hosts == {"llama.lan", "other.lan", "fe80::1"}
    assert access.origins == {"http://localhost:3000", "*"}


class Program:
    """The command in a process of its own."""

    def __init__(self) -> None:
        self.process = start(*ARGUMENTS, program=PROGRAM)
        assert self.process.stderr is not None
        ready = READY.fullmatch(self.process.stderr.readline())
        assert ready is not None
        self.port = int(ready[1])

    def engine(self) -> int:
        """Returns the id of the engine's process."""
        listed = subprocess.run(["ps", "-A", "-o", "ppid=,pid="], capture_output=True, text=True, check=True).stdout
        pairs = (line.split() for line in listed.splitlines())
        (engine,) = [int(pid) for parent, pid in pairs if int(parent) == self.process.pid]
        return engine

    def ask(self, text: str, *, is_streamed: bool = False) -> tuple[HTTPConnection, HTTPResponse]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=HANG_SECONDS)
        message = {"model": "any", "messages": [{"role": "user", "content": text}], "stream": is_streamed}
        connection.request("POST", "/v1/chat/completions", json.dumps(message))
        return connection, connection.getresponse()

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(HANG_SECONDS)


@pytest.fixture
def program(home_folder: Path) -> Iterator[Program]:
    program = Program()
    yield program
    program.process.kill()
    for pipe in (program.process.stdout, program.process.stderr):
        assert pipe is not None
        pipe.close()
    program.process.wait()


@needs_descriptors_of_processes
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_ends_with_an_open_answer_and_leaves_no_process(
    program: Program, number: signal.Signals, status: int
) -> None:
    engine = program.engine()
    connection, answer = program.ask("write hello", is_streamed=True)
    while b"hello" not in answer.readline():
        pass

    assert program.end(number) == status
    assert b"shutting_down" in answer.read()
    connection.close()
    assert has_ended(engine)


def test_a_second_interrupt_does_not_wait_for_what_is_saved(program: Program) -> None:
    engine = program.engine()
    connection, answer = program.ask("save forever")
    assert answer.read()
    connection.close()

    program.process.send_signal(signal.SIGINT)
    while _is_listening(program.port):
        pass
    assert program.end(signal.SIGINT) == 130
    os.kill(engine, signal.SIGKILL)


def _is_listening(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=HANG_SECONDS)
    try:
        connection.connect()
    except ConnectionError:
        return False
    connection.close()
    return True


def test_an_engine_that_is_killed_fails_its_request_and_the_next_has_another(program: Program) -> None:
    first = program.engine()
    connection, answer = program.ask("write hello", is_streamed=True)
    while b"hello" not in answer.readline():
        pass

    os.kill(first, signal.SIGKILL)
    lost = answer.read()
    connection.close()
    connection, answer = program.ask("say hello")
    answered = json.loads(answer.read())
    connection.close()

    assert b"SIGKILL" in lost
    assert answer.status == 200
    assert answered["choices"][0]["message"]["content"] == "hello"
    assert program.engine() != first
    assert program.end(signal.SIGINT) == 130


def test_the_engine_ends_when_the_server_is_killed(program: Program) -> None:
    engine = program.engine()

    program.end(signal.SIGKILL)

    assert has_ended(engine)
