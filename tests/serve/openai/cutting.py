"""Texts that are cut into pieces in any places."""

from hypothesis import strategies as st


@st.composite
def cut_anywhere(draw: st.DrawFn, text: str) -> list[str]:
    """Draws the pieces of a text, of which some may be empty."""
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]
