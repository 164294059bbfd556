"""Asks the terminal itself what it can, since no variable tells.

    question                            sequence            answer
    kitty's keyboard protocol           CSI ? u             CSI ? FLAGS u; none where it is unknown
    mode 2026, synchronized output      CSI ? 2026 $ p      CSI ? 2026 ; STATE $ y; 0 and 4: it cannot be had
    capability Ms, the clipboard        DCS + q 4D73 ST     DCS 1 + r 4D73 = VALUE ST; DCS 0 + r … where it is unknown
    device attributes                   CSI c               CSI ? NUMBER ; … c; 52 among them is the clipboard

Terminals answer in order, and nearly all know the last question, so its answer ends the waiting. One that is slow may
answer when nobody waits any more: until the page is printed, what comes is neither shown nor left to the shell.

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
    """What a terminal said; None where it said nothing.

    Args:
        attributes: Its device attributes; without them it has not come to the end of the questions.
        keyboard_flags: Of kitty's keyboard protocol.
        synchronized_state: Of mode 2026: 1 and 2 on and off, 3 always on; 0 unknown, 4 never.
        has_clipboard_capability: Whether its capabilities have one that sets the clipboard.
    """

    attributes: tuple[int, ...] | None = None
    keyboard_flags: int | None = None
    synchronized_state: int | None = None
    has_clipboard_capability: bool | None = None


def parse_answers(content: bytes) -> Answers:
    """Finds the answers among what else may have been typed."""
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
    """What may be asked of the terminal that the environment names: no question that it would print instead."""
    is_screen = "STY" in environment or (
        environment.get("TERM", "").startswith("screen") and "TMUX" not in environment
    )  # screen hands such strings on to the terminal around it, as they are inside
    is_printed = is_screen or environment.get("TERM") == "linux" or environment.get("TERM_PROGRAM") == "Apple_Terminal"
    clipboard = b"" if is_printed else _CLIPBOARD
    return _KEYBOARD + _SYNCHRONIZED + clipboard + _ATTRIBUTES + _CLEAR_LINE


def why_not_to_ask(input_descriptor: int, output_descriptor: int, environment: Mapping[str, str]) -> str:
    """Why questions make no sense, in words; empty where they do."""
    if not (os.isatty(input_descriptor) and os.isatty(output_descriptor)):
        return "no terminal on both sides"
    if os.fstat(input_descriptor).st_rdev != os.fstat(output_descriptor).st_rdev:
        return "two terminals"
    if is_plain(environment):
        return "TERM names a terminal that understands nothing"
    with suppress(OSError):  # it is not the one that this process is run from
        if os.tcgetpgrp(input_descriptor) != os.getpgrp():
            return "run in the background"
    return ""


@contextmanager
def asked_terminal(
    input_descriptor: int, output_descriptor: int, questions: bytes, seconds: float = ANSWER_SECONDS
) -> Iterator[Answers]:
    """Asks, and gives the terminal back as it was: at once where it answered to the end, else after the block.

    Args:
        input_descriptor: Of a terminal; answers come from there.
        output_descriptor: Of the same terminal.
        questions: What to send.
        seconds: How long to wait for answers.

    Raises:
        OSError: it is no terminal, or it is gone.
        termios.error: the same.
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
            # Not the rawest mode: Ctrl+C still ends the program. Nothing waits until all output is sent, which a
            # terminal that is held (Ctrl+S) would never come to.
            tty.setcbreak(input_descriptor, termios.TCSANOW)
            answers = parse_answers(_converse(input_descriptor, output_descriptor, questions, seconds))
            if answers.attributes is not None:
                give_back()
            yield answers
        finally:
            with suppress(termios.error):  # it has gone away meanwhile
                if is_quiet:
                    termios.tcflush(input_descriptor, termios.TCIFLUSH)
                give_back()


def _converse(input_descriptor: int, output_descriptor: int, questions: bytes, seconds: float) -> bytes:
    """Sends the questions and returns what comes, until the last answer or for so many seconds."""
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
