"""The one interface of all that works on a sequence of tokens: replies, speculation, prompt cache, session files."""

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from tui_llama.engine.state_file import KvOf
from tui_llama.engine.state_shape import KvArray

Logits: TypeAlias = npt.NDArray[np.float32]
"""(vocab,) float32."""

LogitsRows: TypeAlias = npt.NDArray[np.float32]
"""(tokens, vocab) float32."""


class TokenSequence(Protocol):
    """Tokens that a model has read, with their keys and values: the one interface of all that works on sequences."""

    @property
    def token_ids(self) -> Sequence[int]:
        """The tokens in the cache."""
        ...

    def __len__(self) -> int:
        """Returns how many tokens are in the cache."""
        ...

    def extend(self, ids: Sequence[int]) -> Logits:
        """Reads `ids` and returns the logits after the last."""
        ...

    def verify(self, ids: Sequence[int]) -> LogitsRows:
        """Reads `ids` and returns the logits after each of them, valid until the model reads on."""
        ...

    def extend_in_chunks(
        self, ids: Sequence[int], chunk_seconds: float = 0.25, first_tokens: int = 16
    ) -> Iterator[tuple[int, Logits | None]]:
        """Yields how many of `ids` are read so far, and at the end the logits; may be left at any yield.

        One chunk takes about `chunk_seconds`, if that is enough for a few tokens; the first has `first_tokens`.
        """
        ...

    def rewind(self, length: int) -> None:
        """Forgets all but the first `length` tokens; an error where it cannot go back that far, see `rewindable`."""
        ...

    def rewindable(self, length: int) -> int:
        """Returns where `rewind` can go instead of `length`: there, or, where a layer with a window cannot, to 0."""
        ...

    @property
    def positions(self) -> Sequence[int]:
        """The positions that the tokens count as, never descending; the next token follows the last."""
        ...

    @property
    def exact_tokens(self) -> int:
        """The number of first tokens with the keys and values that reading them gives: all, unless some moved."""
        ...

    def shift(self, first: int, count: int) -> None:
        """Forgets `count` tokens from the `first` on; the tokens after them move down."""
        ...

    def set_positions(self, positions: Sequence[int]) -> None:
        """Gives the tokens other positions, never descending, of which several tokens may share one."""
        ...

    def kv(self, group: int, first: int, last: int) -> KvArray:
        """Returns a copy of the keys and values of a group of layers at positions `first` … `last` - 1."""
        ...

    def kept_from(self, group: int) -> int:
        """Returns the first position whose keys and values a group of layers still has."""
        ...

    def expect(self, length: int, firsts: Sequence[int]) -> None:
        """Announces that keys and values up to a position will be filled in, for each group from a first one on."""
        ...

    def fill(self, group: int, first: int, kv: KvArray) -> None:
        """Writes keys and values of a group after those of the tokens; `adopt` makes them readable. In any thread."""
        ...

    def adopt(self, token_ids: Sequence[int], *, is_foreign: bool = False) -> None:
        """Appends tokens whose keys and values were filled in; `is_foreign` where another program computed them."""
        ...

    @property
    def can_share_positions(self) -> bool:
        """Whether `set_positions` works: not where layers have windows, or keys that cannot be turned."""
        ...

    @property
    def own_tokens(self) -> int:
        """The number of first tokens with keys and values of this program: all, unless it adopted foreign ones."""
        ...

    def close(self) -> None:
        """Frees the cache's memory."""
        ...


def stored_kv(sequence: TokenSequence) -> KvOf:
    """Returns what gives the keys and values of a sequence to a file; see `KvOf`."""

    def kv_of(group: int, first: int, last: int) -> KvArray | None:
        return sequence.kv(group, first, last) if sequence.kept_from(group) <= first else None

    return kv_of
