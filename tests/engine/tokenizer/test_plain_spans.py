"""Whether a place in a text touches a part that somebody else wrote."""

from hypothesis import given
from hypothesis import strategies as st

from tui_llama.engine.tokenizer.plain_spans import PlainSpans

SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 8)).map(lambda each: (each[0], each[0] + each[1])))


@given(spans=SPANS, start=st.integers(0, 40), length=st.integers(1, 8))
def test_a_place_touches_a_part_where_any_part_says_so(spans: list[tuple[int, int]], start: int, length: int) -> None:
    end = start + length
    expected = any(span_start < end and start < span_end for span_start, span_end in spans)
    assert PlainSpans(spans).touches(start, end) is expected


def test_the_parts_are_not_walked_through_for_every_question() -> None:
    looked_at = 0

    class Place(int):
        def __lt__(self, other: int) -> bool:
            nonlocal looked_at
            looked_at += 1
            return int(self) < other

        def __gt__(self, other: int) -> bool:
            nonlocal looked_at
            looked_at += 1
            return int(self) > other

    plain = PlainSpans((Place(10 * turn), Place(10 * turn + 5)) for turn in range(4096))
    looked_at = 0
    assert plain.touches(40_951, 40_953)
    assert not plain.touches(40_955, 40_960)
    assert looked_at <= 40
