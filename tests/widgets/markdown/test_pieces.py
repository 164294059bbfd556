"""How an answer is cut into pieces."""

from random import Random

import pytest

from tests.widgets.markdown.odd_markdown import OddMarkdown
from tui_llama.widgets.markdown.pieces import LONG_CHARACTERS, Piece, cut_off, pieces

CODE = "```python\n" + "def f():\n    return 1\n\n" * 400 + "```\n"
ITEMS = "".join(f"{number}. an item\n   of two lines\n" for number in range(1, 400))
ROWS = "| a | b |\n|---|---|\n" + "| one | two |\n" * 500
QUOTED = "> said\n>\n" * 900
LINES = "a line of a poem\n" * 900
SENTENCES = "This is a sentence. " * 900
PARAGRAPHS = "One *paragraph*.\n\n" * 900
KINDS = {
    "code": CODE,
    "items": ITEMS,
    "rows": ROWS,
    "quoted": QUOTED,
    "lines": LINES,
    "sentences": SENTENCES,
    "paragraphs": PARAGRAPHS,
}


@pytest.mark.parametrize("source", KINDS.values(), ids=KINDS)
def test_every_kind_of_long_block_is_cut(source: str) -> None:
    cut = list(pieces(source))
    assert "".join(piece.source for piece in cut) == source
    assert len(cut) > 2
    assert all(len(piece.source) <= 4 * LONG_CHARACTERS for piece in cut)


@pytest.mark.parametrize("source", [CODE, ROWS], ids=["code", "rows"])
def test_what_a_block_begins_with_is_repeated_for_the_parser(source: str) -> None:
    first, *others = pieces(source)
    assert first.is_joined and not first.before
    assert all(piece.before and source.startswith(piece.before) for piece in others)


def test_pieces_that_begin_with_a_new_block_are_not_joined() -> None:
    assert not any(piece.is_joined for piece in pieces(PARAGRAPHS))


@pytest.mark.parametrize("seed", range(6))
def test_odd_markdown_is_cut_without_loss(seed: int) -> None:
    odd = OddMarkdown(Random(seed))
    source = "".join(odd.document() for _ in range(40))
    assert "".join(piece.source for piece in pieces(source)) == source


def test_a_list_whose_numbers_do_not_ascend_stays_whole() -> None:
    assert cut_off(Piece("1. an item\n" * 400)) is None


def test_a_code_block_is_not_cut_inside_of_a_text_of_several_lines() -> None:
    source = '```python\nx = """\n' + "a line\n\n" * 600
    assert cut_off(Piece(source)) is None


def test_a_last_line_that_may_become_something_else_is_not_cut_off() -> None:
    source = "- item\n" * 300 + "\n-"
    halves = cut_off(Piece(source))
    assert halves is not None
    assert halves[1].source == "- item\n\n-"


def test_a_short_piece_stays_whole() -> None:
    assert cut_off(Piece("one\n\ntwo\n\nthree\n")) is None
