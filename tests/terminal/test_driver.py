"""What a terminal sends, as Textual is told of it: whatever it is, the program lives and pastes stay text."""

from random import Random

import pytest
from textual import events
from textual.message import Message

from tests.terminal.byte_streams import PASTED_MARK, random_stream
from tui_llama.terminal.driver import TerminalInput

STREAMS = 100_000


def told(*pieces: bytes) -> list[Message]:
    terminal_input = TerminalInput()
    messages = [message for piece in pieces for message in terminal_input.feed(piece)]
    return messages + terminal_input.rest(10.0)


def keys(*pieces: bytes) -> list[str]:
    return [message.key for message in told(*pieces) if isinstance(message, events.Key)]


@pytest.mark.parametrize("seed", range(4))
def test_no_stream_is_an_error_and_every_paste_is_one_text(seed: int) -> None:
    random, terminal_input = Random(seed), TerminalInput()
    for _ in range(STREAMS // 4):
        stream = random_stream(random)
        messages: list[Message] = []
        for piece in stream.cut(random):
            messages += terminal_input.feed(piece)
        messages += terminal_input.rest(10.0)
        pastes = tuple(paste.replace("\r\n", "\n").replace("\r", "\n") for paste in stream.pastes)
        assert tuple(message.text for message in messages if isinstance(message, events.Paste)) == pastes, stream
        typed = (message.character for message in messages if isinstance(message, events.Key))
        assert PASTED_MARK.decode() not in typed, stream


def test_what_is_typed_arrives_as_it_did_with_textuals_parser() -> None:
    assert keys(b"aB\xc3\xbc\r\t\x7f\x03") == ["a", "B", "ü", "enter", "tab", "backspace", "ctrl+c"]
    assert keys(b"\x1b[A\x1bOP\x1b[1;5C\x1b[[A\x1b[3~") == ["up", "f1", "ctrl+right", "f1", "delete"]
    assert keys(b"\x1bx", b"\x1b") == ["alt+x", "escape"]
    assert keys(b"\x1b[97;5u\x1b[13;2u") == ["ctrl+a", "shift+enter"]
    assert keys(b"\x1b[13;5u") == keys(b"\x1b[27;5;13~") == ["ctrl+enter"]


def test_lines_of_a_paste_end_as_lines_do_in_a_text() -> None:
    (paste,) = told(b"\x1b[200~one\rtwo\r\nthree\n\r\x1b[201~")
    assert isinstance(paste, events.Paste) and paste.text == "one\ntwo\nthree\n\n"


def test_a_mouse_and_a_window_are_told_of() -> None:
    mouse, size, focus, position = told(b"\x1b[<0;5;7M\x1b[48;24;80;480;640t\x1b[I\x1b[5;7R")
    assert isinstance(mouse, events.MouseDown) and (mouse.x, mouse.y) == (4, 6)
    assert isinstance(size, events.Resize) and size.size == (80, 24)
    assert isinstance(focus, events.AppFocus)
    assert isinstance(position, events.CursorPosition)


def test_a_mouse_still_works_where_the_window_does_not_know_its_pixels() -> None:
    _, mouse = told(b"\x1b[48;24;80;0;0t\x1b[<0;5;7M")
    assert isinstance(mouse, events.MouseDown) and (mouse.x, mouse.y) == (4, 6)


@pytest.mark.parametrize(
    "sequence",
    [
        b"\x1b[99x", b"\x1b[1114112u", b"\x1b[55296u", b"\x1b[97;1:3u", b"\x1b[99999999999999999999u",
        b"\x1b[<0;99999999999999999999;1M", b"\x1b[48;0;80;0;0t", b"\x1b[48;9999;9999;1;1t", b"\x1b[M !!",
        b"\x1b]11;rgb:0/0/0\x07", b"\x1bP1+r4d73\x1b\\", b"\x1b_Gi=31;OK\x1b\\", b"\x1b[" + b"1;" * 2000 + b"m",
    ],
)  # fmt: skip
def test_a_sequence_that_makes_no_sense_is_no_key(sequence: bytes) -> None:
    assert keys(sequence + b"z") == ["z"]


def test_a_sentence_of_an_input_method_is_whole() -> None:
    characters = [message.character for message in told(b"\x1b[0;;" + b":".join([b"26085"] * 30) + b"u")
                  if isinstance(message, events.Key)]  # fmt: skip
    assert characters == ["日"] * 30


def test_keys_go_on_after_bytes_that_are_no_text() -> None:
    characters = [message.character for message in told(b"a\xe1", b"b") if isinstance(message, events.Key)]
    assert characters == ["a", "\ufffd", "b"]
