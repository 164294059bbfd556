"""Tokens found by their bytes, against a look at each of them."""

from hypothesis import given
from hypothesis import strategies as st

from tui_llama.engine.tokenizer.token_pieces import TokenPieces

BYTES = st.lists(st.sampled_from([b"a", b"b", b"\xff"]), max_size=4).map(b"".join)


@given(pieces=st.lists(BYTES, max_size=12), wanted=BYTES.filter(bool))
def test_tokens_that_hold_bytes_are_found_and_none_across_two_of_them(pieces: list[bytes], wanted: bytes) -> None:
    expected = [token_id for token_id, piece in enumerate(pieces) if wanted in piece]
    assert TokenPieces(pieces).holding(wanted).tolist() == expected


@given(pieces=st.lists(BYTES, max_size=12), wanted=BYTES)
def test_tokens_that_end_with_bytes_are_found(pieces: list[bytes], wanted: bytes) -> None:
    expected = [token_id for token_id, piece in enumerate(pieces) if piece.endswith(wanted)]
    assert TokenPieces(pieces).ending_with(wanted).tolist() == expected
