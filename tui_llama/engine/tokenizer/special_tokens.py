"""Cuts text at special tokens, before the rest is handed to the model of the vocabulary.

User-defined tokens always split; control and unknown tokens only where the caller says that the text may
hold them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tui_llama.engine.tokenizer.vocabulary import TokenKind, Vocabulary

Fragment: TypeAlias = str | int  # text that is still to be cut, or the id of a special token

_C_WHITE_SPACE = " \t\n\v\f\r"
_SPLITTING_KINDS = (TokenKind.CONTROL, TokenKind.USER_DEFINED, TokenKind.UNKNOWN)


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
    """The tokens that text is cut at, in the order of their ids."""
    ids: list[int] = np.flatnonzero(np.isin(vocabulary.kinds, _SPLITTING_KINDS)).tolist()
    return ids


class SpecialTokenSplitter:
    """Splits text into special tokens and what lies between them.

    The longest token goes first over the whole text, then the next one over what is left, as in llama.cpp;
    a search from left to right would find other tokens where two overlap. Equally long ones go in the order
    of their ids.
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
        self._all = sorted(tokens, key=lambda token: -len(token.text.encode()))
        self._always = [token for token in self._all if token.always]

    def split(self, text: str, parse_special: bool) -> list[Fragment]:
        """Fragments in the order of the text; none of them is empty.

        Args:
            text: Valid Unicode, without lone surrogates.
            parse_special: Whether control and unknown tokens are looked for too.
        """
        fragments: list[Fragment] = [text] if text else []
        for token in self._all if parse_special else self._always:
            if token.text in text:
                fragments = list(_split_at(fragments, token))
        return fragments


def _split_at(fragments: Iterable[Fragment], token: _SpecialToken) -> Iterable[Fragment]:
    for fragment in fragments:
        if isinstance(fragment, int) or token.text not in fragment:
            yield fragment
        else:
            yield from _split_text(fragment, token)


def _split_text(text: str, token: _SpecialToken) -> Iterable[Fragment]:
    before, found, rest = text.partition(token.text)
    while found:
        if token.strip_left:
            before = before.rstrip(_C_WHITE_SPACE)
        if before:
            yield before
        yield token.token_id
        if token.strip_right:
            rest = rest.lstrip(_C_WHITE_SPACE)
        before, found, rest = rest.partition(token.text)
    if before:
        yield before
