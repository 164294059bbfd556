"""Cuts the Markdown of an answer into pieces that can be parsed and laid out by themselves.

A long answer is one widget for each piece. So the cost of the next word depends on the last piece, not on the answer.
Blocks of Markdown that have ended are never changed by later text. So a cut at the start of the last block is final.
A block that is itself long is cut inside: a list between its items, a quotation between its blocks, a table between its
rows, a code block between its lines, a paragraph at a line break or after a sentence. What the second half needs to be
read in the same way, such as the first line of the code block, is kept beside it and is no part of the answer.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

import msgspec
from markdown_it.token import Token

from tui_llama.widgets.markdown.rules import markdown_parser

LONG_CHARACTERS: Final = 1_200  # from here on a piece is cut
_SHORTEST: Final = 500  # characters of the first half
_LONG_PARAGRAPH: Final = 4_000  # characters of a paragraph that is cut between its sentences
_PLACES_AND_MARKS: Final = re.compile(r"(?P<place>\n(?=.)|[.!?。！？] (?=\S))|(?P<mark>[*_`~$]+|[\[\]])")
_CLOSING: Final = {"]": "["}
_TEXT_MARKS: Final = re.compile(r'"""|\'\'\'|/\*|\*/|`')


class Piece(msgspec.Struct, frozen=True):
    """A part of an answer.

    Attributes:
        source: The part as it stands in the answer.
        before: What the parser must read before it; no part of the answer.
        is_joined: Whether the next piece goes on with the block that this one ends with.
    """

    source: str
    before: str = ""
    is_joined: bool = False

    @property
    def text(self) -> str:
        """What the parser reads."""
        return self.before + self.source


class _Cut(msgspec.Struct, frozen=True):
    """A place for a cut.

    Attributes:
        offset: Where it is in `Piece.text`.
        before: What the second half needs.
        is_joined: Whether a block goes on there.
        is_sure: Whether later text cannot change it, even if it stands in the last line.
    """

    offset: int
    before: str = ""
    is_joined: bool = True
    is_sure: bool = False


def cut_off(piece: Piece) -> tuple[Piece, Piece] | None:
    """Cuts the last block off, or the end of it. Returns None if there is no good place for a cut."""
    text = piece.text
    first = len(piece.before) + _SHORTEST
    last = text.rfind("\n", 0, len(text) - 1)  # the last line may still become something else
    cuts = [cut for cut in _cuts(text) if first <= cut.offset and (cut.is_sure or cut.offset <= last)]
    if not cuts:
        return None
    cut = max(cuts, key=lambda each: each.offset)
    place = cut.offset - len(piece.before)
    finished = Piece(piece.source[:place], piece.before, cut.is_joined)
    return finished, Piece(piece.source[place:], cut.before, piece.is_joined)


def pieces(source: str, before: str = "") -> Iterator[Piece]:
    """Yields the pieces of a text, to be read after `before`. Joined together, their sources are `source`."""
    rest, length = Piece(source, before), LONG_CHARACTERS
    while len(rest.source) > length:
        halves = cut_off(Piece(rest.source[:length], rest.before))
        if halves is None:
            length *= 2
            continue
        finished, begun = halves
        yield finished
        rest, length = Piece(begun.source + rest.source[length:], begun.before), LONG_CHARACTERS
    yield rest


def _cuts(text: str) -> Iterator[_Cut]:
    """Yields the places where `text` may be cut."""
    parser, tokens = markdown_parser(), list[Token]()
    parser.block.parse(text, parser, {}, tokens)
    offsets = [0]
    for line in text.split("\n"):
        offsets.append(offsets[-1] + len(line) + 1)
    opened = [token for token in tokens if token.level == 0 and token.map and token.nesting >= 0]
    for token in opened:
        assert token.map is not None
        yield _Cut(offsets[token.map[0]], is_joined=False)
    if not opened:
        return
    last = opened[-1]
    inner = tokens[tokens.index(last) :]
    yield from _cuts_inside(text, last, inner, offsets)


def _cuts_inside(text: str, block: Token, tokens: list[Token], offsets: list[int]) -> Iterable[_Cut]:
    """Returns the places inside the last block. `tokens` are its own, `offsets` those of the lines."""
    assert block.map is not None
    start, end = block.map
    match block.type:
        case "bullet_list_open" | "ordered_list_open":
            return _between_items(tokens, offsets)
        case "blockquote_open":
            return _between_quoted(text, tokens, offsets)
        case "table_open":
            return _between_rows(text, tokens, offsets)
        case "fence":
            return _between_code_lines(text, block, offsets)
        case "paragraph_open":
            return _between_sentences(text, offsets[start], offsets[end])
    return ()


def _starts(tokens: Iterable[Token], level: int, kind: str = "") -> list[Token]:
    return [
        token
        for token in tokens
        if token.level == level and token.map and token.nesting >= 0 and token.type.startswith(kind)
    ]


def _between_items(tokens: list[Token], offsets: list[int]) -> Iterator[_Cut]:
    items = _starts(tokens, 1, "list_item_open")
    numbers = [int(item.info) for item in items if item.info]
    if all(number < next_number for number, next_number in pairwise(numbers)):
        for item in items[1:]:
            assert item.map is not None
            yield _Cut(offsets[item.map[0]])


def _between_quoted(text: str, tokens: list[Token], offsets: list[int]) -> Iterator[_Cut]:
    for block in _starts(tokens, 1)[1:]:
        assert block.map is not None
        offset = offsets[block.map[0]]
        if text.startswith(">", offset):
            yield _Cut(offset)


def _between_rows(text: str, tokens: list[Token], offsets: list[int]) -> Iterator[_Cut]:
    table = tokens[0].map
    assert table is not None
    head = text[offsets[table[0]] : offsets[table[0] + 2]]
    for row in _starts(tokens, 2, "tr_open")[1:]:
        assert row.map is not None
        yield _Cut(offsets[row.map[0]], before=head)


def _between_code_lines(text: str, block: Token, offsets: list[int]) -> Iterator[_Cut]:
    """Yields the lines after an empty one that no longer text or comment spans, as far as its marks tell."""
    assert block.map is not None
    start, end = block.map
    opener = text[offsets[start] : offsets[start + 1]]
    if opener.startswith(" "):
        return
    open_marks = 0
    for line in range(start + 1, min(end, len(offsets) - 2)):
        content = text[offsets[line] : offsets[line + 1]]
        if line > start + 1 and open_marks % 2 == 0 and not content.strip() and not content.startswith(block.markup):
            yield _Cut(offsets[line], before=opener)
        open_marks += len(_TEXT_MARKS.findall(content))


def _between_sentences(text: str, start: int, end: int) -> Iterator[_Cut]:
    """Yields the line breaks and ends of sentences of a very long paragraph that stand outside of all marks."""
    if end - start < _LONG_PARAGRAPH:
        return
    open_marks: set[str] = set()
    for match in _PLACES_AND_MARKS.finditer(text, start, end):
        if match["place"]:
            if not open_marks:
                yield _Cut(match.end(), is_sure=True)
        else:
            open_marks ^= {_CLOSING.get(match["mark"], match["mark"])}
