"""Asking a terminal: one that answers, one that is silent, one that is late. Each is given back as it was."""

import os
import pty
import select
import signal
import termios
import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest

from tests.patience import HANG_SECONDS
from tui_llama.doctor.terminal_answers import (
    Answers,
    asked_terminal,
    parse_answers,
    questions_for,
    why_not_to_ask,
)

ATTRIBUTES = b"\x1b[?62;52c"
XTERM = {"TERM": "xterm-256color"}


class FakeTerminal:
    """The far side of a terminal: `screen` is where programs are, `keyboard` where the user is."""

    def __init__(self) -> None:
        self.keyboard, self.screen = pty.openpty()

    def answer_once_asked(self, answer: bytes) -> threading.Thread:
        def serve() -> None:
            asked = b""
            while b"\x1b[c" not in asked:
                asked += os.read(self.keyboard, 4096)
            os.write(self.keyboard, answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        return thread

    def shown(self) -> bytes:
        """What the programs have sent, and what was echoed."""
        content = b""
        while select.select([self.keyboard], [], [], 0)[0]:
            content += os.read(self.keyboard, 4096)
        return content

    def has_input(self) -> bool:
        """Whether a program that reads now would get something, be it without the end of a line."""
        before = termios.tcgetattr(self.screen)
        mode = termios.tcgetattr(self.screen)
        mode[3] &= ~termios.ICANON
        termios.tcsetattr(self.screen, termios.TCSANOW, mode)
        try:
            return bool(select.select([self.screen], [], [], 0)[0])
        finally:
            termios.tcsetattr(self.screen, termios.TCSANOW, before)

    def modes(self) -> list[Any]:
        return termios.tcgetattr(self.screen)

    def echoes(self) -> bool:
        return bool(self.modes()[3] & termios.ECHO)


@pytest.fixture
def terminal() -> Iterator[FakeTerminal]:
    fake = FakeTerminal()
    yield fake
    os.close(fake.keyboard)
    os.close(fake.screen)


def test_a_terminal_that_answers_is_understood_and_given_back_at_once(terminal: FakeTerminal) -> None:
    before = terminal.modes()
    answer = b"\x1b[?5u" + b"\x1b[?2026;2$y" + b"\x1bP1+r4D73=1b5d\x1b\\" + ATTRIBUTES
    thread = terminal.answer_once_asked(answer)

    with asked_terminal(terminal.screen, terminal.screen, questions_for(XTERM), seconds=HANG_SECONDS) as answers:
        assert terminal.modes() == before
    thread.join()

    assert answers == Answers((62, 52), 5, 2, True)
    assert terminal.modes() == before
    assert not terminal.has_input() and terminal.shown() == b""


def test_a_silent_terminal_is_not_waited_for_long_and_given_back(terminal: FakeTerminal) -> None:
    before, start = terminal.modes(), monotonic()

    with asked_terminal(terminal.screen, terminal.screen, questions_for(XTERM), seconds=0.05) as answers:
        assert monotonic() - start >= 0.05
        assert not terminal.echoes()

    assert answers == Answers()
    assert terminal.modes() == before


def test_what_a_slow_terminal_says_late_is_neither_shown_nor_left_to_the_shell(terminal: FakeTerminal) -> None:
    questions = questions_for(XTERM)

    with asked_terminal(terminal.screen, terminal.screen, questions, seconds=0.01) as answers:
        os.write(terminal.keyboard, ATTRIBUTES)

    assert answers.attributes is None
    assert not terminal.has_input()
    assert terminal.shown() == questions


def test_a_terminal_that_is_held_is_not_waited_for(terminal: FakeTerminal) -> None:
    termios.tcflow(terminal.screen, termios.TCOOFF)

    with asked_terminal(terminal.screen, terminal.screen, questions_for(XTERM), seconds=0.05) as answers:
        assert answers == Answers()
    termios.tcflow(terminal.screen, termios.TCOON)

    assert terminal.echoes()


def test_whatever_happens_meanwhile_the_terminal_is_given_back(terminal: FakeTerminal) -> None:
    before = terminal.modes()

    with pytest.raises(ZeroDivisionError), asked_terminal(terminal.screen, terminal.screen, b"\x1b[c", seconds=0.01):
        raise ZeroDivisionError

    assert terminal.modes() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_program_that_is_ended_gives_the_terminal_back(terminal: FakeTerminal, number: signal.Signals) -> None:
    before, handler = terminal.modes(), signal.getsignal(number)

    with (
        pytest.raises(SystemExit) as caught,
        asked_terminal(terminal.screen, terminal.screen, b"\x1b[c", seconds=0.01),
    ):
        os.kill(os.getpid(), number)

    assert caught.value.code == 128 + number
    assert terminal.modes() == before and signal.getsignal(number) == handler


def test_a_signal_that_is_ignored_stays_so(terminal: FakeTerminal) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with asked_terminal(terminal.screen, terminal.screen, b"\x1b[c", seconds=0.01):
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_a_terminal_that_goes_away_is_an_error_and_nothing_worse() -> None:
    keyboard, screen = pty.openpty()
    with asked_terminal(screen, screen, b"\x1b[c", seconds=0.01) as answers:
        os.close(keyboard)
    assert answers == Answers()
    with pytest.raises((OSError, termios.error)), asked_terminal(screen, screen, b"\x1b[c", seconds=HANG_SECONDS):
        pass
    os.close(screen)


def test_it_can_be_asked_from_a_thread(terminal: FakeTerminal) -> None:
    found: list[Answers] = []

    def ask() -> None:
        with asked_terminal(terminal.screen, terminal.screen, questions_for(XTERM), seconds=HANG_SECONDS) as answers:
            found.append(answers)

    asking = threading.Thread(target=ask)
    answering = terminal.answer_once_asked(ATTRIBUTES)
    asking.start()
    asking.join()
    answering.join()

    assert found == [Answers((62, 52))]


@pytest.mark.parametrize(
    ("content", "answers"),
    [
        (b"", Answers()),
        (b"typed\x1b[?1;2ctext", Answers((1, 2))),
        (b"\x1b[?c", Answers(())),
        (b"\x1b[?0u\x1b[?6c", Answers((6,), 0)),
        (b"\x1b[?2026;0$y\x1b[?6c", Answers((6,), None, 0)),
        (b"\x1bP0+r4D73\x1b\\\x1b[?6c", Answers((6,), None, None, False)),
        (b"\x1bP1+r4d73=1B5D35323B\x1b\\", Answers(None, None, None, True)),
        (b"\x1b[?" + b"9" * 5000 + b"c", Answers()),
        (b"\x1b[?" + b"9" * 5000, Answers()),
        (b"\x1b[?" + b"1;" * 5000, Answers()),
    ],
    ids=lambda value: repr(value[:20]) if isinstance(value, bytes) else "",
)
def test_answers_are_found_among_what_else_comes(content: bytes, answers: Answers) -> None:
    assert parse_answers(content) == answers


@pytest.mark.parametrize(
    "environment",
    [
        {"TERM": "screen.xterm-256color"},
        {"TERM": "xterm", "STY": "1.tty"},
        {"TERM": "linux"},
        {"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"},
    ],
)
def test_no_question_is_asked_that_the_terminal_would_print(environment: dict[str, str]) -> None:
    assert b"\x1bP" not in questions_for(environment)


def test_the_last_question_is_the_one_that_every_terminal_answers() -> None:
    for environment in (XTERM, {"TERM": "screen", "TMUX": "x"}):
        questions = questions_for(environment)
        assert b"\x1bP+q" in questions
        assert questions.endswith(b"\x1b[c\r\x1b[K")


def test_only_a_terminal_on_both_sides_is_asked(terminal: FakeTerminal) -> None:
    reading, writing = os.pipe()
    other = FakeTerminal()

    assert why_not_to_ask(terminal.screen, terminal.screen, XTERM) == ""
    assert why_not_to_ask(reading, terminal.screen, XTERM) == "standard input or output is not a terminal"
    assert why_not_to_ask(terminal.screen, writing, XTERM) == "standard input or output is not a terminal"
    assert why_not_to_ask(terminal.screen, other.screen, XTERM) == "standard input and output are different terminals"
    assert "understands only text" in why_not_to_ask(terminal.screen, terminal.screen, {"TERM": "dumb"})
    for descriptor in (reading, writing, other.keyboard, other.screen):
        os.close(descriptor)
