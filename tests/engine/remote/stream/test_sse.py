"""Events are read from bytes in the same way, however these are written and cut."""

import random

import pytest

from tui_llama.engine.remote.stream.sse import MOST_EVENT_BYTES, EventReader, EventTooLongError


def read(*pieces: bytes) -> list[bytes]:
    reader = EventReader()
    return [data for piece in pieces for data in reader.push(piece)] + list(reader.finish())


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: one\n\ndata: two\n\n", [b"one", b"two"]),
        (b"data:one\r\n\r\ndata:two\r\n\r\n", [b"one", b"two"]),
        (b"data: one\r\rdata: two\r\r", [b"one", b"two"]),
        (b"\xef\xbb\xbfdata: one\n\n", [b"one"]),
        (b": ping\n\n:\n\ndata: one\n: ping\n\n", [b"one"]),
        (b"event: x\nid: 3\nretry: 9\ndata: one\n\n", [b"one"]),
        (b"data: one\ndata: two\n\n", [b"one\ntwo"]),
        (b"data:  two blanks\n\n", [b" two blanks"]),
        (b"data\n\ndata:\n\ndata: one\n\n", [b"one"]),
        (b"datas: no\n\n data: no\n\ndata: one\n\n", [b"one"]),
        (b"data: {a: b}\n\n", [b"{a: b}"]),
        (b"data: without an end", [b"without an end"]),
        (b"data: without an empty line\n", [b"without an empty line"]),
        (b"", []),
    ],
)
def test_an_event_is_its_data(stream: bytes, events: list[bytes]) -> None:
    assert read(stream) == events
    assert read(*(stream[place : place + 1] for place in range(len(stream)))) == events


def test_a_line_feed_may_come_after_its_carriage_return() -> None:
    assert read(b"data: one\r", b"\n\r", b"\ndata: two\r", b"", b"\n\r\n") == [b"one", b"two"]


def test_any_way_of_cutting_gives_the_same_events() -> None:
    draw = random.Random(15)
    for _ in range(500):
        stream = b"".join(
            draw.choice((b"data: x", b"data:", b": c", b"\n", b"\r", b"\r\n", b"\n\n", b"\xef\xbb\xbf", b"y"))
            for _ in range(draw.randrange(30))
        )
        places = sorted(draw.randrange(len(stream) + 1) for _ in range(draw.randrange(6)))
        pieces = [stream[start:end] for start, end in zip([0, *places], [*places, len(stream)], strict=True)]
        assert read(*pieces) == read(stream)


def test_a_line_that_does_not_end_is_given_up_before_it_fills_the_memory() -> None:
    reader = EventReader()
    piece = b"x" * (MOST_EVENT_BYTES // 4)
    for _ in range(4):
        assert not list(reader.push(piece))
    with pytest.raises(EventTooLongError, match="16 MiB"):
        list(reader.push(piece))


def test_an_event_of_very_many_lines_is_given_up() -> None:
    reader = EventReader()
    lines = (b"data: " + b"x" * 1018 + b"\n") * 1024
    with pytest.raises(EventTooLongError):
        for _ in range(17):
            list(reader.push(lines))
