"""Asks the terminal what it can do, because no environment variable tells.

    question                            sequence            answer
    kitty's keyboard protocol           CSI ? u             CSI ? FLAGS u; no answer if it is unknown
    mode 2026, synchronized output      CSI ? 2026 $ p      CSI ? 2026 ; STATE $ y; 0 and 4: not available
    capability Ms, the clipboard        DCS + q 4D73 ST     DCS 1 + r 4D73 = VALUE ST; DCS 0 + r … if it is unknown
    device attributes                   CSI c               CSI ? NUMBER ; … c; 52 among them is the clipboard

Terminals answer in order, and nearly all know the last question. So its answer ends the waiting. A slow terminal may
answer after the waiting. Until the page is printed, such answers are neither shown nor left to the shell.

Sources: https://sw.kovidgoyal.net/kitty/keyboard-protocol/ (detection); xterm, ctlseqs (DECRQM, XTGETTCAP, DA1);
https://gist.github.com/christianparpart/d8a62cc1ab659194337d73e399004036 (mode 2026).
"""

import os
import re
import select
import termios
import tty
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Final

from tui_llama.system.endings import endings_as_exits
from tui_llama.system.terminals import is_plain

ANSWER_SECONDS: Final = 0.3

_KEYBOARD: Final = b"\x1b[?u"
_SYNCHRONIZED: Final = b"\x1b[?2026$p"
_CLIPBOARD: Final = b"\x1bP+q4D73\x1b\\"
_ATTRIBUTES: Final = b"\x1b[c"
_CLEAR_LINE: Final = b"\r\x1b[K"  # a terminal that does not know a question may print a part of it

_KEYBOARD_ANSWER: Final = re.compile(rb"\x1b\[\?(\d{1,9})u")
_SYNCHRONIZED_ANSWER: Final = re.compile(rb"\x1b\[\?2026;(\d)\$y")
_CLIPBOARD_ANSWER: Final = re.compile(rb"\x1bP([01])\+r")
_ATTRIBUTES_ANSWER: Final = re.compile(rb"\x1b\[\?((?:\d{1,9};){0,64}\d{0,9})c")
_MOST_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of a terminal; None for each question that it did not answer.

    Args:
        attributes: The device attributes; None means that the terminal has not answered all questions.
        keyboard_flags: The flags of kitty's keyboard protocol.
        synchronized_state: The state of mode 2026: 1 on, 2 off, 3 always on, 0 unknown, 4 never.
        has_clipboard_capability: Whether one of its capabilities sets the clipboard.
    """

    attributes: tuple[int, ...] | None = None
    keyboard_flags: int | None = None
    synchronized_state: int | None = None
    has_clipboard_capability: bool | None = None


def parse_answers(content: bytes) -> Answers:
    """Finds the answers in the received bytes, among which may be typed keys."""
    attributes = _ATTRIBUTES_ANSWER.search(content)
    keyboard = _KEYBOARD_ANSWER.search(content)
    synchronized = _SYNCHRONIZED_ANSWER.search(content)
    clipboard = _CLIPBOARD_ANSWER.search(content)
    return Answers(
        attributes=None if attributes is None else tuple(int(part) for part in attributes[1].split(b";") if part),
        keyboard_flags=None if keyboard is None else int(keyboard[1]),
        synchronized_state=None if synchronized is None else int(synchronized[1]),
        has_clipboard_capability=None if clipboard is None else clipboard[1] == b"1",
    )


def questions_for(environment: Mapping[str, str]) -> bytes:
    """Returns the questions for the terminal that the environment names, without those that it would print."""
    is_screen = "STY" in environment or (
        environment.get("TERM", "").startswith("screen") and "TMUX" not in environment
    )  # screen passes the content of such strings on to the terminal around it
    is_printed = is_screen or environment.get("TERM") == "linux" or environment.get("TERM_PROGRAM") == "Apple_Terminal"
    clipboard = b"" if is_printed else _CLIPBOARD
    return _KEYBOARD + _SYNCHRONIZED + clipboard + _ATTRIBUTES + _CLEAR_LINE


def why_not_to_ask(input_descriptor: int, output_descriptor: int, environment: Mapping[str, str]) -> str:
    """Says why the terminal cannot be asked; empty if it can."""
    if not (os.isatty(input_descriptor) and os.isatty(output_descriptor)):
        return "standard input or output is not a terminal"
    if os.fstat(input_descriptor).st_rdev != os.fstat(output_descriptor).st_rdev:
        return "standard input and output are different terminals"
    if is_plain(environment):
        return "TERM names a terminal that understands only text"
    with suppress(OSError):  # it is not the controlling terminal of this process
        if os.tcgetpgrp(input_descriptor) != os.getpgrp():
            return "run in the background"
    return ""


@contextmanager
def asked_terminal(
    input_descriptor: int, output_descriptor: int, questions: bytes, seconds: float = ANSWER_SECONDS
) -> Iterator[Answers]:
    """Asks the terminal and yields its answers.

    Restores the terminal's mode at once if it answered all questions, else at the end of the block.

    Args:
        input_descriptor: The descriptor of a terminal, from which the answers are read.
        output_descriptor: A descriptor of the same terminal, for the questions.
        questions: The bytes to send.
        seconds: The time to wait for answers.

    Raises:
        OSError: it is not a terminal, or it is gone.
        termios.error: for the same reasons.
    """
    before = termios.tcgetattr(input_descriptor)
    is_quiet = True

    def give_back() -> None:
        nonlocal is_quiet
        if is_quiet:
            termios.tcsetattr(input_descriptor, termios.TCSANOW, before)
            is_quiet = False

    with endings_as_exits():
        try:
            # Not raw mode, so that Ctrl+C still ends the program. TCSANOW does not wait until all output is sent: a
            # terminal that is stopped (Ctrl+S) would never send it.
            tty.setcbreak(input_descriptor, termios.TCSANOW)
            answers = parse_answers(_converse(input_descriptor, output_descriptor, questions, seconds))
            if answers.attributes is not None:
                give_back()
            yield answers
        finally:
            with suppress(termios.error):  # the terminal is gone meanwhile
                if is_quiet:
                    termios.tcflush(input_descriptor, termios.TCIFLUSH)
                give_back()


def _converse(input_descriptor: int, output_descriptor: int, questions: bytes, seconds: float) -> bytes:
    """Sends the questions and returns the received bytes, until the last answer or until `seconds` have passed."""
    end, content = monotonic() + seconds, b""
    _, can_send, _ = select.select([], [output_descriptor], [], seconds)
    if not can_send:
        return b""
    os.write(output_descriptor, questions)
    while _ATTRIBUTES_ANSWER.search(content) is None and len(content) < _MOST_BYTES:
        has_come, _, _ = select.select([input_descriptor], [], [], max(0.0, end - monotonic()))
        chunk = os.read(input_descriptor, _MOST_BYTES) if has_come else b""
        if not chunk:
            break
        content += chunk
    return content
