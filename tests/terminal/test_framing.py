"""Cutting what a terminal sends into keys, sequences and pastes."""

from random import Random

import pytest

from tests.terminal.byte_streams import random_stream
from tui_llama.terminal import framing
from tui_llama.terminal.framing import Framing, Item, Pasted, Sequence, Typed


def framed(*pieces: bytes | float) -> list[Item]:
    """What pieces mean, between which the terminal was silent for so many seconds."""
    framer = Framing()
    items = [item for piece in pieces for item in _framed(framer, piece)]
    return items + framer.finish()


def _framed(framer: Framing, piece: bytes | float) -> list[Item]:
    return framer.push(piece) if isinstance(piece, bytes) else framer.rest(piece)


def joined(items: list[Item]) -> list[Item]:
    """The items, with what is typed in one piece."""
    result: list[Item] = []
    for item in items:
        if isinstance(item, Typed) and result and isinstance(result[-1], Typed):
            result[-1] = Typed(result[-1].text + item.text)
        else:
            result.append(item)
    return result


def test_it_does_not_matter_where_a_stream_is_cut() -> None:
    random = Random(7)
    for _ in range(5_000):
        stream = random_stream(random)
        assert joined(framed(*stream.cut(random))) == joined(framed(stream.content)), stream


def test_a_paste_is_text_whatever_is_in_it() -> None:
    body = b"\x1b[200~\x1b[A\x11\r\x00\x1b]0;x\x07\xff\xc2\x9b\x1b"
    text = "\x1b[200~\x1b[A\x11\r\x00\x1b]0;x\x07\ufffd\x9b\x1b"
    assert framed(b"\x1b[200~" + body + b"\x1b[201~q") == [Pasted(text), Typed("q")]


def test_a_pause_inside_a_paste_does_not_matter() -> None:
    assert framed(b"\x1b[200~a\x1b", 2.9, b"[A\x11\x1b[2", 2.9, b"01~q") == [Pasted("a\x1b[A\x11"), Typed("q")]


@pytest.mark.parametrize("place", range(1, 6))
def test_a_pause_inside_of_the_start_marker_does_not_matter(place: int) -> None:
    marker = b"\x1b[200~"
    items = framed(marker[:place], 1.0, marker[place:] + b"\x11\x1b[201~")
    assert items[-1] == Pasted("\x11")
    assert all(isinstance(item, Sequence) for item in items[:-1])


def test_an_end_marker_in_a_paste_does_not_end_it() -> None:
    assert framed(b"\x1b[200~a\x1b[201~\x11b\x1b[201~c") == [Pasted("a\x1b[201~\x11b"), Typed("c")]


def test_two_pastes_are_two() -> None:
    assert framed(b"\x1b[200~a\x1b[201~x\x1b[200~b\x1b[201~") == [Pasted("a"), Typed("x"), Pasted("b")]


def test_a_paste_without_an_end_is_over_after_a_silence() -> None:
    assert framed(b"\x1b[200~abc\x1b[2", framing.PASTE_SECONDS, b"x") == [Pasted("abc\x1b[2"), Typed("x")]


@pytest.mark.parametrize("key", [b"\x03", b"\x11", b"\x1b[99;5u"])
def test_a_key_with_which_people_leave_ends_a_paste_without_an_end(key: bytes) -> None:
    pasted, left = framed(b"\x1b[200~abc", framing.LEAVING_SECONDS, key)
    assert pasted == Pasted("abc")
    assert left.text == key.decode()


def test_such_a_key_within_a_paste_is_text() -> None:
    assert framed(b"\x1b[200~abc", 0.5, b"\x03", b"\x1b[201~") == [Pasted("abc\x03")]


def test_a_paste_without_an_end_is_handed_on_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "PASTE_LIMIT", 10)
    assert framed(b"\x1b[200~", b"0123456789", b"ab\x1b[201~") == [Pasted("0123456789"), Pasted("ab")]


def test_an_escape_is_a_key_when_nothing_follows() -> None:
    assert framed(b"\x1b", framing.ESCAPE_SECONDS, b"[A") == [Sequence("\x1b"), Typed("[A")]
    assert framed(b"\x1b", 0.01, b"[A") == [Sequence("\x1b[A")]
    assert framed(b"\x1bP", framing.ESCAPE_SECONDS, b"a") == [Sequence("\x1bP"), Typed("a")]


def test_a_string_without_an_end_keeps_nothing_and_ends_after_a_silence() -> None:
    framer = Framing()
    for _ in range(1_000):
        assert framer.push(b"\x1b]52;c;" + b"A" * 1_000) == []
    assert framer.rest(framing.SEQUENCE_SECONDS) == []
    assert framer.push(b"x") == [Typed("x")]


def test_a_sequence_without_an_end_keeps_no_more_than_its_limit() -> None:
    framer = Framing()
    for _ in range(1_000):
        assert framer.push(b"1;" * 500 if framer.is_waiting else b"\x1b[1;") == []
        assert len(framer._kept) <= framing.SEQUENCE_LIMIT
    assert framer.push(b"mx") == [Typed("x")]
