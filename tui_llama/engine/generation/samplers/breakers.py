"""Sequence breakers of DRY in tokens: a repetition does not go on across these.

A breaker is a text, and tokens are other pieces of text. So a breaker may lie within one token, or begin at the end of
a token, the head, and go on in the tokens after it, the tail. The rule is llama.cpp's (src/llama-sampler.cpp).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol, TypeAlias
from weakref import WeakKeyDictionary

from tui_llama.engine.tokenizer.token_pieces import TokenPieces

_MOST_BYTES: Final = 40
_MOST_TAIL_TOKENS: Final = 20

Tail: TypeAlias = tuple[int, ...]
Breakers: TypeAlias = Mapping[int, tuple[Tail, ...]]
"""The tails after each head; an empty one means that the token alone breaks a sequence."""


class Words(Protocol):
    """What the samplers need of a tokenizer; `tokenizer.Tokenizer` says more of each."""

    @property
    def add_space_prefix(self) -> bool:
        """True if tokenizing adds a space in front of text."""
        ...

    def pieces(self, *, special: bool = False) -> list[bytes]:
        """Returns the bytes of every token."""
        ...

    def tokenize(self, text: str) -> list[int]:
        """Returns the tokens of a text."""
        ...


class _Known:
    """What was found in a vocabulary.

    Attributes:
        pieces: The texts of its tokens alone, without the space that tokenizing adds in front.
        by_texts: The breakers by the texts that were asked for.
    """

    def __init__(self, words: Words) -> None:
        pieces = words.pieces(special=True)
        self.pieces = TokenPieces([each.removeprefix(b" ") for each in pieces] if words.add_space_prefix else pieces)
        self.by_texts: dict[tuple[str, ...], Breakers] = {}


_known: WeakKeyDictionary[Words, _Known] = WeakKeyDictionary()


def breakers_in(words: Words, texts: Sequence[str]) -> Breakers:
    """Returns the breakers by their heads. The first time this looks at all tokens of the vocabulary."""
    known = _known.get(words)
    if known is None:
        known = _known[words] = _Known(words)
    key = tuple(texts)
    if key not in known.by_texts:
        known.by_texts[key] = _breakers(words, known.pieces, key)
    return known.by_texts[key]


def _breakers(words: Words, pieces: TokenPieces, texts: Iterable[str]) -> Breakers:
    found: defaultdict[int, dict[Tail, None]] = defaultdict(dict)  # a set that keeps its order
    for text in texts:
        breaker = text.encode("utf-8", "replace")[:_MOST_BYTES]
        whole = set(pieces.holding(breaker).tolist())
        for token_id in whole:
            found[token_id][()] = None
        for end in range(1, len(breaker)):
            heads = [token_id for token_id in pieces.ending_with(breaker[:end]).tolist() if token_id not in whole]
            tail = _tail(words, breaker[end:]) if heads else ()
            for token_id in heads:
                found[token_id][tail] = None
    return {token_id: tuple(each) for token_id, each in found.items()}


def _tail(words: Words, rest: bytes) -> Tail:
    return tuple(words.tokenize(rest.decode("utf-8", "replace"))[:_MOST_TAIL_TOKENS])
