"""Fingerprint of a vocabulary: a hash of everything that decides what a token id means and how text becomes ids.

The hash covers the texts and kinds of the tokens, and what splits and merges text: scores, or merges and the splitting
rule. It does not cover which tokens begin and end a sequence: models that differ only in this share their ids. Families
of models pad their vocabularies to different sizes with unused tokens. Those at the end do not count, so that a chat
can continue with a larger model of its family.
"""

import hashlib
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tui_llama.engine.gguf.file import GgufFile
from tui_llama.engine.gguf.types import StringArray
from tui_llama.engine.tokenizer.vocabulary import TokenKind

_PREFIX: Final = "tokenizer.ggml."
_DIGEST_BYTES: Final = 16


def vocabulary_fingerprint(file: GgufFile) -> str:
    """Returns 32 hexadecimal digits; two files have the same digits only if their token ids mean the same."""
    digest = hashlib.sha256()  # SHA-256, because processors have instructions for it
    for part in _parts(file):
        digest.update(part.nbytes.to_bytes(8, "little"))
        digest.update(part.data)
    return digest.hexdigest()[: 2 * _DIGEST_BYTES]


def _parts(file: GgufFile) -> Iterator[NDArray[Any]]:
    tokens = file.get_strings(_PREFIX + "tokens")
    kinds = _kinds(file, len(tokens))
    count = _counting_tokens(kinds)
    kind = file.get_str(_PREFIX + "model", "")
    yield _as_bytes(kind)
    yield _bytes_of(tokens, count)
    yield kinds[:count]
    if kind == "llama":
        scores = file.metadata.get(_PREFIX + "scores")
        with np.errstate(over="ignore"):
            yield scores[:count].astype("<f4") if isinstance(scores, np.ndarray) else _as_bytes("")
    else:
        yield _as_bytes(file.get_str(_PREFIX + "pre", ""))
        merges = file.get_strings(_PREFIX + "merges", None)
        yield _as_bytes("") if merges is None else _bytes_of(merges, len(merges))


def _as_bytes(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8)


def _kinds(file: GgufFile, count: int) -> NDArray[np.int32]:
    """Returns the tokens' kinds, (tokens,) int32; a token is normal if the file does not give its kind."""
    kinds = np.full(count, TokenKind.NORMAL, "<i4")
    stored = file.metadata.get(_PREFIX + "token_type")
    if isinstance(stored, np.ndarray):
        known = stored[:count]
        kinds[: len(known)] = known
    return kinds


def _counting_tokens(kinds: NDArray[np.int32]) -> int:
    """Counts the tokens, without unused ones at the end."""
    used = np.flatnonzero(kinds != TokenKind.UNUSED)
    return int(used[-1]) + 1 if len(used) else 0


def _bytes_of(strings: StringArray, count: int) -> NDArray[np.uint8]:
    """Returns the first `count` strings as they are in the file, each after its length."""
    data, _, ends = strings.bounds()
    return data[: int(ends[count - 1])] if count else data[:0]
