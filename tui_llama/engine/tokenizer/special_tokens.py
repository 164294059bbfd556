"""Splits text at special tokens, before the encoder of the vocabulary gets the rest.

User-defined tokens always split the text. Control and unknown tokens split it only where the caller says that the text
may hold them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tui_llama.engine.tokenizer.plain_spans import PlainSpans, Span
from tui_llama.engine.tokenizer.vocabulary import TokenKind, Vocabulary, text_bytes

Fragment: TypeAlias = str | int  # text that is still to be split, or the id of a special token

_Piece: TypeAlias = tuple[int, int, int | None]  # a span, and the id of its special token, if it is one

_C_WHITE_SPACE = " \t\n\v\f\r"
SPLITTING_KINDS = (TokenKind.CONTROL, TokenKind.USER_DEFINED, TokenKind.UNKNOWN)


@dataclass(frozen=True, slots=True)
class StripRules:
    """Special tokens that swallow white space beside them, by the token's text."""

    left: frozenset[str] = frozenset()
    right: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _SpecialToken:
    token_id: int
    text: str
    always: bool
    strip_left: bool
    strip_right: bool


def special_ids(vocabulary: Vocabulary) -> list[int]:
    """Returns the tokens that text is split at, in the order of their ids."""
    ids: list[int] = np.flatnonzero(np.isin(vocabulary.kinds, SPLITTING_KINDS)).tolist()
    return ids


class SpecialTokenSplitter:
    """Splits text into special tokens and the text between them.

    The longest token is searched for first in the whole text, then the next one in the rest, as in llama.cpp. A search
    from left to right would find other tokens where two overlap. Equally long tokens are taken in the order of their
    ids.
    """

    def __init__(self, vocabulary: Vocabulary, strip: StripRules) -> None:
        tokens = [
            _SpecialToken(
                token_id,
                text := vocabulary.texts[token_id],
                vocabulary.kind(token_id) is TokenKind.USER_DEFINED,
                text in strip.left,
                text in strip.right,
            )
            for token_id in special_ids(vocabulary)
        ]
        self._all = sorted(tokens, key=lambda token: -len(text_bytes(token.text)))
        self._always = [token for token in self._all if token.always]
        self._stripping_right = {token.token_id for token in tokens if token.strip_right}

    def split(self, text: str, parse_special: bool, plain_spans: Sequence[Span] = ()) -> list[Fragment]:
        """Returns fragments in the order of the text; none of them is empty.

        Args:
            text: Valid Unicode, without lone surrogates.
            parse_special: True to look for control and unknown tokens too.
            plain_spans: Parts of the text that no control or unknown token may touch.
        """
        pieces = self._pieces(text, parse_special, plain_spans)
        return [text[start:end] if token_id is None else token_id for start, end, token_id in pieces]

    def special_spans(self, text: str, plain_spans: Sequence[Span] = ()) -> list[Span]:
        """Returns where all special tokens of any kind are in `text`; the arguments are those of `split`."""
        pieces = self._pieces(text, True, plain_spans)
        return [(start, end) for start, end, token_id in pieces if token_id is not None]

    def swallows_after(self, token_id: int) -> bool:
        """Tells whether this token swallows white space after it."""
        return token_id in self._stripping_right

    def _pieces(self, text: str, parse_special: bool, plain_spans: Sequence[Span]) -> list[_Piece]:
        pieces: list[_Piece] = [(0, len(text), None)] if text else []
        plain, nothing = PlainSpans(plain_spans), PlainSpans(())
        for token in self._all if parse_special else self._always:
            if token.text in text:
                spans = nothing if token.always else plain
                pieces = [part for piece in pieces for part in _split_piece(text, piece, token, spans)]
        return pieces


def _split_piece(text: str, piece: _Piece, token: _SpecialToken, plain: PlainSpans) -> Iterable[_Piece]:
    start, end, token_id = piece
    if token_id is not None:
        yield piece
        return
    for found in _places(text, (start, end), token.text, plain):
        if found < start:
            continue  # swallowed together with the white space after the last one
        before = start + len(text[start:found].rstrip(_C_WHITE_SPACE)) if token.strip_left else found
        if before > start:
            yield start, before, None
        start = found + len(token.text)
        yield found, start, token.token_id
        if token.strip_right:
            start = end - len(text[start:end].lstrip(_C_WHITE_SPACE))
    if start < end:
        yield start, end, None


def _places(text: str, span: Span, token_text: str, plain: PlainSpans) -> Iterable[int]:
    """Yields the places of the token, without overlap, except those that touch a plain span."""
    place, end = text.find(token_text, *span), span[1]
    while place >= 0:
        behind = place + len(token_text)
        touches = plain.touches(place, behind)
        if not touches:
            yield place
        place = text.find(token_text, place + 1 if touches else behind, end)
