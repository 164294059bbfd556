"""Which vocabulary token ids belong to: a hash of all that decides what an id means and how text becomes ids.

That is the texts and kinds of the tokens, and what text is cut and merged by: scores, or merges and the splitting rule.
Which of the tokens begin and end a sequence is not part of it: models that differ in that alone share their ids.
Families of models pad their vocabularies to different sizes with tokens that nothing is ever cut into; those at the end
do not count, so that a chat goes on with a larger model of its family.
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
    """32 hexadecimal digits; two files have the same only where their token ids mean the same."""
    digest = hashlib.sha256()  # which processors have instructions for
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
    """(tokens,) int32; what the file does not say is a normal token."""
    kinds = np.full(count, TokenKind.NORMAL, "<i4")
    stored = file.metadata.get(_PREFIX + "token_type")
    if isinstance(stored, np.ndarray):
        known = stored[:count]
        kinds[: len(known)] = known
    return kinds


def _counting_tokens(kinds: NDArray[np.int32]) -> int:
    """How many tokens there are without those at the end that are not used."""
    used = np.flatnonzero(kinds != TokenKind.UNUSED)
    return int(used[-1]) + 1 if len(used) else 0


def _bytes_of(strings: StringArray, count: int) -> NDArray[np.uint8]:
    """The first strings as they stand in the file, each behind its length."""
    data, _, ends = strings.bounds()
    return data[: int(ends[count - 1])] if count else data[:0]
