"""Text that arrives in pieces of bytes."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tui_llama.engine.tokenizer.tokenizer import StreamDecoder


def decode(pieces: list[bytes]) -> str:
    decoder = StreamDecoder(pieces.__getitem__)
    return "".join(decoder.push(index) for index in range(len(pieces))) + decoder.finish()


@given(st.binary(max_size=30), st.lists(st.integers(0, 30)))
def test_every_way_of_cutting_gives_the_same_text(data: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(places)]
    assert decode(pieces) == data.decode("utf-8", "replace")


@given(st.text(max_size=20))
def test_valid_text_byte_by_byte_never_shows_a_replacement(text: str) -> None:
    data = text.encode()
    decoder = StreamDecoder(lambda index: data[index : index + 1])
    shown = ""
    for index in range(len(data)):
        shown += decoder.push(index)
        assert text.startswith(shown)
    assert shown == text
    assert decoder.finish() == ""


def test_half_a_character_is_held_back_until_it_is_whole() -> None:
    pieces = ["€".encode()[:2], "€".encode()[2:]]
    decoder = StreamDecoder(pieces.__getitem__)
    assert decoder.push(0) == ""
    assert decoder.push(1) == "€"


def test_a_byte_that_can_never_be_a_character_is_replaced_at_once() -> None:
    decoder = StreamDecoder([b"\xff"].__getitem__)
    assert decoder.push(0) == "\ufffd"


def test_what_is_left_at_the_end_is_replaced() -> None:
    assert decode([b"a\xe2\x82"]) == "a\ufffd"


def test_a_finished_decoder_begins_anew() -> None:
    decoder = StreamDecoder([b"\xe2", b"a"].__getitem__)
    decoder.push(0)
    decoder.finish()
    assert decoder.push(1) == "a"
