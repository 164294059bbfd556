"""Tokens fed to a model, with their keys and values: read on, rewound, moved, saved and restored."""

import time
from collections.abc import Iterator
from collections.abc import Sequence as Tokens
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from tui_llama.engine.model.kv_moves import PositionMoves
from tui_llama.engine.prompt_cache.single_file import restore_session, save_session
from tui_llama.engine.state_file import StateFingerprint
from tui_llama.engine.state_shape import KvArray, StateShape
from tui_llama.engine.tensors.kv_cache import KeyValueCache
from tui_llama.engine.token_sequence import Logits, LogitsRows
from tui_llama.errors import CallerError, EngineError

_LEAST_CHUNK_TOKENS = 8


class SequenceModel(Protocol):
    """The model, as a sequence uses it."""

    @property
    def batch_tokens(self) -> int:
        """The most tokens of one pass."""
        ...

    @property
    def context_size(self) -> int:
        """The most tokens that a sequence holds."""
        ...

    @property
    def vocab_size(self) -> int:
        """The size of the vocabulary: all token ids are below it."""
        ...

    @property
    def fingerprint(self) -> StateFingerprint:
        """The identity that the keys and values carry."""
        ...

    @property
    def state_shape(self) -> StateShape:
        """The sizes of keys and values in a file."""
        ...

    @property
    def moves(self) -> PositionMoves:
        """The operation that takes tokens in a cache to other positions."""
        ...

    def new_cache(self) -> KeyValueCache:
        """Returns an empty cache."""
        ...

    def run(
        self, cache: KeyValueCache, token_ids: npt.NDArray[np.int32], *, every_token: bool, rotation_offset: int = 0
    ) -> LogitsRows:
        """Feeds one batch to a cache; see `Model.run`."""
        ...


class Sequence:
    """Tokens fed to a model, and their keys and values. `Model.new_sequence` makes it; a context manager.

    Tokens can be forgotten from the middle, and tokens can share positions. From there on the keys and values are not
    those that reading the tokens gives, since the model computed them beside other tokens or positions. `exact_tokens`
    counts the tokens before, and only those may be saved.

    Args:
        model: What feeds the tokens.
    """

    def __init__(self, model: SequenceModel) -> None:
        self._model = model
        self._token_ids: list[int] = []
        self._positions: list[int] = []
        self._exact_tokens: int | None = None  # None: all
        self._own_tokens: int | None = None  # None: all
        self.cache = model.new_cache()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forgets all tokens and frees their memory. May be repeated."""
        self._token_ids, self._positions, self._exact_tokens, self._own_tokens = [], [], None, None
        self.cache = self._model.new_cache()  # takes no memory before something is written to it

    def __len__(self) -> int:
        return len(self._token_ids)

    @property
    def token_ids(self) -> list[int]:
        """A copy of the tokens in the cache."""
        return list(self._token_ids)

    @property
    def positions(self) -> list[int]:
        """A copy of the positions that the tokens' keys are rotated for; never descending."""
        return list(self._positions)

    @property
    def exact_tokens(self) -> int:
        """The number of first tokens with the keys and values that reading them gives: all, unless some moved."""
        return len(self) if self._exact_tokens is None else self._exact_tokens

    @property
    def can_share_positions(self) -> bool:
        """Whether `set_positions` works: not with windows, unturnable keys, or scores that fall with distance."""
        return self._model.state_shape.is_trimmable and self._model.moves.can_share

    @property
    def own_tokens(self) -> int:
        """The number of first tokens with keys and values of this program: all, unless it adopted foreign ones."""
        return len(self) if self._own_tokens is None else self._own_tokens

    def extend(self, ids: Tokens[int]) -> Logits:
        """Feeds tokens and returns the logits of the last.

        Args:
            ids: At least one token id; together with those before at most the model's `context_size`.

        Returns:
            (vocab,) float32.

        Raises:
            EngineError: an id is not in the vocabulary, or there are none or too many; nothing was fed.
        """
        for batch in self.batches(ids):
            logits = self._feed(batch)
        return np.array(logits[0])

    def verify(self, ids: Tokens[int]) -> LogitsRows:
        """Feeds tokens and returns the logits of each; `rewind` drops those that turn out to be wrong.

        Args:
            ids: As for `extend`.

        Returns:
            (tokens, vocab) float32, valid until the model is run again: no copy is made of what fits into one batch.

        Raises:
            EngineError: as `extend`.
        """
        tokens = self._checked(ids)
        if len(tokens) <= self._model.batch_tokens:
            return self._feed(tokens, every_token=True)
        return np.concatenate([self._feed(batch, every_token=True).copy() for batch in self.batches(ids)])

    def extend_in_chunks(
        self, ids: Tokens[int], chunk_seconds: float = 0.25, first_tokens: int = 16
    ) -> Iterator[tuple[int, Logits | None]]:
        """Feeds tokens in chunks that each take about `chunk_seconds`, to show progress and to be stopped between.

        The first chunk has `first_tokens`, since the speed is not known yet. Only the last may have fewer than 8: a
        pass over 8 tokens is hardly slower than one over 1, because it reads the weights once for all of them.

        Yields:
            How many tokens of `ids` are fed so far, and after the last chunk the logits of the last token, else None.
            A caller that stops iterating leaves a sequence that holds the chunks yielded so far.

        Raises:
            EngineError: as `extend`; nothing was fed.
        """
        tokens = self._checked(ids)
        done, size = 0, min(first_tokens, self._model.batch_tokens)
        while done < len(tokens):
            batch = tokens[done : done + size]
            started = time.perf_counter()
            logits = np.array(self._feed(batch)[0])
            done += len(batch)
            seconds = max(time.perf_counter() - started, 1e-6)
            fitting = int(len(batch) * chunk_seconds / seconds)
            size = min(max(fitting, _LEAST_CHUNK_TOKENS), 2 * size, self._model.batch_tokens)
            yield done, logits if done == len(tokens) else None

    def rewindable(self, length: int) -> int:
        """Returns where `rewind` can go instead of `length`: there, or, where a layer with a window cannot, to 0."""
        return self.cache.rewindable(length)

    def rewind(self, length: int) -> None:
        """Forgets all tokens from position `length` on.

        Raises:
            CallerError: there are fewer, or layers with a window no longer have what comes before; see `rewindable`.
        """
        self.cache.rewind(length)
        del self._token_ids[length:]
        del self._positions[length:]
        if self._exact_tokens is not None and self._exact_tokens >= length:
            self._exact_tokens = None
        if self._own_tokens is not None and self._own_tokens >= length:
            self._own_tokens = None

    def shift(self, first: int, count: int) -> None:
        """Forgets `count` tokens from the `first` on; the tokens after them move down, their keys rotated accordingly.

        Where keys cannot be turned, or layers with a window lack tokens that they would see, what stays is read again.

        Raises:
            CallerError: there are not so many, or positions are shared.
        """
        if self._positions != list(range(len(self))):
            raise CallerError("tokens that share positions cannot be shifted")
        if not self._model.moves.can_remove(self.cache, first, count):
            kept = self._token_ids[:first] + self._token_ids[first + count :]
            self.rewind(0)
            self.extend(kept)
            return
        self._model.moves.remove(self.cache, first, count)
        del self._token_ids[first : first + count]
        del self._positions[len(self._token_ids) :]
        if count > 0 and first < len(self):
            self._exact_tokens = min(self.exact_tokens, first)
        if self._own_tokens is not None:
            own_tokens = min(self._own_tokens, first)
            self._own_tokens = own_tokens if own_tokens < len(self) else None

    def set_positions(self, positions: Tokens[int]) -> None:
        """Rotates the keys for other positions, which tokens may share; the next token follows the last position.

        Args:
            positions: One for each token, not below 0, never descending, none above its token's index.

        Raises:
            CallerError: they are not of that kind, or layers have windows; nothing was changed.
        """
        if not self.can_share_positions:
            raise CallerError("tokens of this model cannot share positions")
        new, old = np.array(positions, np.int64), np.array(self._positions, np.int64)
        fits = new.shape == old.shape and np.all(new >= 0) and np.all(np.diff(new) >= 0)
        if not (fits and np.all(new <= np.arange(len(new)))):
            raise CallerError(f"{len(positions)} positions do not fit the {len(old)} tokens")
        self._model.moves.turn(self.cache, new - old)
        changed = np.flatnonzero(new != old)
        if len(changed):
            self._exact_tokens = min(self.exact_tokens, int(changed[0]))
        self._positions = new.tolist()

    def save(self, path: str | Path) -> None:
        """Writes tokens, keys and values to a file; replaces an older saved session.

        Raises:
            ResultFileError: the file cannot be written, or something else has that name and stays as it was.
            StateFileError: there are no tokens, or some were moved.
        """
        save_session(Path(path), self._model.fingerprint, self._model.state_shape, self)

    def restore(self, path: str | Path) -> None:
        """Replaces what the sequence holds by the tokens, keys and values of a file.

        Raises:
            StateFileError: the file must not be used.
        """
        model = self._model
        restore_session(Path(path), model.fingerprint, model.state_shape, model.context_size, self)

    def kv(self, group: int, first: int, last: int) -> KvArray:
        """Returns a copy of the keys and values of a group of layers at positions `first` … `last` - 1; see `KvArray`.

        Raises:
            CallerError: there are fewer tokens, or the first are no longer kept.
        """
        return self.cache.kv(group, first, last)

    def kept_from(self, group: int) -> int:
        """Returns the first position whose keys and values a group of layers still has."""
        return self.cache.kept_from(group)

    def expect(self, length: int, firsts: Tokens[int]) -> None:
        """Announces that keys and values up to a position will be filled in, for each group from a first one on."""
        self.cache.expect(length, firsts)

    def fill(self, group: int, first: int, kv: KvArray) -> None:
        """Writes keys and values of a group of layers after those of the tokens; `adopt` makes them readable.

        Any thread may call it.

        Raises:
            ShapeMismatchError: they are not of this model, or more than fit.
        """
        self.cache.fill(group, first, kv)

    def adopt(self, token_ids: Tokens[int], *, is_foreign: bool = False) -> None:
        """Appends tokens whose keys and values were filled in.

        Args:
            token_ids: As many as were filled in.
            is_foreign: Whether another program computed their keys and values, or those of tokens before them.

        Raises:
            CallerError: they do not fit.
        """
        if is_foreign:
            self._own_tokens = self.own_tokens
        self.cache.append(len(token_ids))
        self._token_ids += token_ids
        self._positions += range(len(self._positions), len(self._token_ids))

    def batches(self, ids: Tokens[int]) -> Iterator[npt.NDArray[np.int32]]:
        """Checks token ids and cuts them into batches.

        Raises:
            EngineError: as `extend`.
        """
        tokens, size = self._checked(ids), self._model.batch_tokens
        return (tokens[first : first + size] for first in range(0, len(tokens), size))

    def _feed(self, batch: npt.NDArray[np.int32], every_token: bool = False) -> LogitsRows:
        next_position = self._positions[-1] + 1 if self._positions else 0
        offset = next_position - len(self)
        logits = self._model.run(self.cache, batch, every_token=every_token, rotation_offset=offset)
        self._token_ids.extend(batch.tolist())
        self._positions.extend(range(next_position, next_position + len(batch)))
        return logits

    def _checked(self, ids: Tokens[int]) -> npt.NDArray[np.int32]:
        if len(ids) == 0:
            raise EngineError("no tokens to feed")
        room = self._model.context_size - len(self._token_ids)
        if len(ids) > room:
            raise EngineError(
                f"{len(ids)} tokens do not fit into the context: {room} of {self._model.context_size} are free",
                "Use a larger --ctx or a shorter text.",
            )
        tokens = np.array(ids, np.int64)
        if tokens.min() < 0 or tokens.max() >= self._model.vocab_size:
            raise EngineError(f"a token id is not in the vocabulary of {self._model.vocab_size}")
        return tokens.astype(np.int32)
