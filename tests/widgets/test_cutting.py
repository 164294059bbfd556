"""Texts that are cut for want of room: between what people see as characters, and never wider than there is room."""

import pytest
from rich.cells import cell_len
from textual.content import Content

from tui_llama.widgets.cutting import cut, rows

CHARACTERS = {
    "letters": "ab",
    "flag": "\U0001f1e9\U0001f1ea",
    "family": "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "accent": "e\u0301",
    "conjunct": "\u0938\u094d\u0924\u0947",
    "syllable": "\u1112\u1161\u11ab",
    "wide": "\u6f22",
}
ANY = pytest.mark.parametrize("character", CHARACTERS.values(), ids=CHARACTERS)


@ANY
def test_a_text_is_cut_between_characters_and_fits(character: str) -> None:
    content = Content(character * 10)
    for cells in range(content.cell_length):
        text = cut(content, cells).plain
        assert cell_len(text) <= cells
        assert text.endswith("…") or cells == 0
        whole = text.removesuffix("…")
        assert whole == (character * 10)[: len(whole)]
        assert len(whole) % len(character) == 0 or character == "ab"


@ANY
def test_a_text_that_fits_is_not_cut(character: str) -> None:
    content = Content(character * 10)
    assert cut(content, content.cell_length) is content
    assert cut(content, 100) is content


def test_what_is_left_keeps_its_style() -> None:
    left = cut(Content.assemble(("ab", "bold"), ("cdef", "italic"), ("gh", "dim")), 5)
    assert left.plain == "abcd…"
    assert [(span.start, span.end, span.style) for span in left.spans] == [(0, 2, "bold"), (2, 5, "italic")]


@ANY
def test_rows_are_broken_between_characters(character: str) -> None:
    line = character * 10
    for cells in range(2, 9):
        broken = list(rows(line, cells))
        assert "".join(broken) == line
        assert all(cell_len(row) <= cells for row in broken)
        assert all(len(row) % len(character) == 0 for row in broken) or character == "ab"


def test_an_empty_line_is_one_row() -> None:
    assert list(rows("", 7)) == [""]


def test_a_character_that_is_wider_than_all_room_has_a_row() -> None:
    assert list(rows("\u6f22a\u6f22", 1)) == ["\u6f22", "a", "\u6f22"]
