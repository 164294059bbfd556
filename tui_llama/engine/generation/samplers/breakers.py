"""Sequence breakers of DRY in tokens: a repetition does not go on across these.

A breaker is a text, and tokens are other pieces of text. So a breaker may lie within one token, or begin at the end of
a token, the head, and go on in the tokens after it, the tail. The rule is llama.cpp's (src/llama-sampler.cpp).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol, TypeAlias
from weakref import WeakKeyDictionary

_MOST_BYTES: Final = 40
_MOST_TAIL_TOKENS: Final = 20

Tail: TypeAlias = tuple[int, ...]
Breakers: TypeAlias = Mapping[int, tuple[Tail, ...]]
"""The tails after each head; an empty one means that the token alone breaks a sequence."""


class Words(Protocol):
    """What the samplers need of a tokenizer; `tokenizer.Tokenizer` says more of each."""

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        ...

    @property
    def add_space_prefix(self) -> bool:
        """True if tokenizing adds a space in front of text."""
        ...

    def piece(self, token_id: int, special: bool = False) -> bytes:
        """Returns the bytes of a token."""
        ...

    def tokenize(self, text: str) -> list[int]:
        """Returns the tokens of a text."""
        ...


_found: WeakKeyDictionary[Words, dict[tuple[str, ...], Breakers]] = WeakKeyDictionary()


def breakers_in(words: Words, texts: Sequence[str]) -> Breakers:
    """Returns the breakers by their heads. The first time this looks at all tokens of the vocabulary."""
    known = _found.setdefault(words, {})
    key = tuple(texts)
    if key not in known:
        known[key] = _breakers(words, key)
    return known[key]


def _breakers(words: Words, texts: Iterable[str]) -> Breakers:
    pieces = [_word(words, token_id) for token_id in range(words.vocab_size)]
    found: defaultdict[int, dict[Tail, None]] = defaultdict(dict)  # a set that keeps its order
    for text in texts:
        breaker = text.encode("utf-8", "replace")[:_MOST_BYTES]
        tails = [
            (breaker[:end], _tail(words, breaker[end:]))
            for end in range(1, len(breaker))
            if any(piece.endswith(breaker[:end]) for piece in pieces)
        ]
        for token_id, piece in enumerate(pieces):
            if breaker in piece:
                found[token_id][()] = None
            elif tails and (begun := {tail: None for begin, tail in tails if piece.endswith(begin)}):
                found[token_id] |= begun
    return {token_id: tuple(each) for token_id, each in found.items()}


def _word(words: Words, token_id: int) -> bytes:
    """Returns the text of a token alone, without the space that tokenizing adds in front."""
    piece = words.piece(token_id, special=True)
    return piece.removeprefix(b" ") if words.add_space_prefix else piece


def _tail(words: Words, rest: bytes) -> Tail:
    return tuple(words.tokenize(rest.decode("utf-8", "replace"))[:_MOST_TAIL_TOKENS])
