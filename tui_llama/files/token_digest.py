"""A digest of all tokens up to a position. It does not depend on the pieces in which the tokens arrived.

    digest of 64 · n tokens     h(n) = BLAKE2b-128(h(n - 1) ‖ the last 64 token ids, uint32 little-endian)
    digest with r more tokens   BLAKE2b-128(h(n) ‖ the r remaining token ids), 0 < r < 64

h(0) stands for the meaning of the tokens: a digest of the model, the configuration and the engine's version.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

DIGEST_BYTES: Final = 16
BLOCK_TOKENS: Final = 64


@dataclass(frozen=True, slots=True)
class TokenChain:
    """The digest of a number of tokens, with the state from which it can be extended."""

    block_digest: bytes
    length: int = 0
    rest: NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))

    @classmethod
    def beginning(cls, meaning: bytes) -> "TokenChain":
        """Returns the chain of no tokens. `meaning` may have any number of bytes."""
        return cls(_digest(meaning))

    @property
    def digest(self) -> bytes:
        """The digest of all tokens so far, 16 bytes."""
        return _digest(self.block_digest, self.rest) if len(self.rest) else self.block_digest

    def extended(self, token_ids: NDArray[np.uint32]) -> "TokenChain":
        """Returns the chain after more tokens, (tokens,) uint32."""
        pending = np.concatenate([self.rest, token_ids]).astype("<u4")
        digest, whole = self.block_digest, len(pending) // BLOCK_TOKENS * BLOCK_TOKENS
        for start in range(0, whole, BLOCK_TOKENS):
            digest = _digest(digest, pending[start : start + BLOCK_TOKENS])
        return TokenChain(digest, self.length + len(token_ids), pending[whole:])


def _digest(before: bytes, token_ids: NDArray[np.uint32] | None = None) -> bytes:
    content = before if token_ids is None else before + token_ids.tobytes()
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()
