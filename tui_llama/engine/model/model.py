"""A model ready to run, and sequences of tokens on it.

    with open_model("model.gguf") as model, model.new_sequence() as sequence:
        logits = sequence.extend(model.tokenize("Once upon a time"))

One caller at a time: a model and its sequences share work buffers and a team of threads. The same tokens give the same
bits, whatever the batches they came in, the number of threads, or whether a prefix was restored from a file.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Tokens
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from tui_llama.engine.gguf.compiled_strings import quickest_find_strings
from tui_llama.engine.gguf.file import GgufFile, open_gguf
from tui_llama.engine.machine.instruction_sets import INSTRUCTION_SET
from tui_llama.engine.machine.topology import physical_core_count
from tui_llama.engine.model.common_kernels import KERNELS_OF_EVERY_MODEL
from tui_llama.engine.model.coverage import check_coverage
from tui_llama.engine.model.facts import common_type, recommended_sampling
from tui_llama.engine.model.kv_moves import PositionMoves
from tui_llama.engine.plan.architectures import Architecture, architecture_named
from tui_llama.engine.plan.architectures.decoder import emit_forward_pass
from tui_llama.engine.plan.plan import Plan, PlanBuilder, Step
from tui_llama.engine.plan.runner import PlanRunner
from tui_llama.engine.prompt_cache.single_file import restore_session, save_session
from tui_llama.engine.protocol import DEFAULT_CONTEXT_SIZE, LoadRequest, LoadStage, ModelInfo
from tui_llama.engine.state_file import Rows, StateFingerprint, StateShape
from tui_llama.engine.templates.chat_template import ChatTemplate, template_from_gguf
from tui_llama.engine.tensors.hyperparameters import Hyperparameters, read_hyperparameters
from tui_llama.engine.tensors.kv_cache import CacheShape, KeyValueCache
from tui_llama.engine.tensors.rotary import FREQUENCY_FACTORS, RotaryTable
from tui_llama.engine.tensors.weights import Weights
from tui_llama.engine.threads.placement import Placement, chosen_processors, find_seats
from tui_llama.engine.threads.team import ThreadTeam
from tui_llama.engine.tokenizer.tokenizer import Tokenizer, tokenizer_from_gguf, tokenizer_kernels
from tui_llama.engine.toolchain.loader import load_kernels, take_notices
from tui_llama.errors import CallerError, EngineError, ModelFileError
from tui_llama.settings import check_fields

FloatArray = npt.NDArray[np.float32]
OnProgress = Callable[[LoadStage, int, int], None]

ENGINE_ABI = 2
"""Goes up whenever kernels give other bits than before, or keys and values mean something else."""

_FINGERPRINT_EDGE_BYTES = 64 << 10
_LEAST_CHUNK_TOKENS = 8
_ANYWHERE = Placement()


def open_model(
    path: str | Path,
    *,
    context_size: int = 0,
    threads: int = 0,
    batch_threads: int = 0,
    batch_tokens: int = 512,
    cache_type: str = "f16",
    placement: Placement = _ANYWHERE,
    on_progress: OnProgress | None = None,
) -> "Model":
    """Opens a GGUF model and makes it ready to run.

    Args:
        path: The file.
        context_size: Tokens that a sequence may hold; 0 for the smaller of the model's own and 8192.
        threads: Threads that compute; 0 for one for each physical core.
        batch_threads: Threads that read prompts; 0 for as many as `threads`.
        batch_tokens: Most tokens that one pass over the weights reads; changes speed and memory, never a result.
        cache_type: How keys and values are kept.
        placement: Where the threads run.
        on_progress: Called with the stage, how much of it is done and how much there is.

    Raises:
        ModelFileError: the file cannot be used.
        SettingsError: a size or a placement makes no sense.
    """
    given = LoadRequest("", context_size, threads, batch_tokens, batch_threads, cache_type)
    check_fields(given, "context_size", "threads", "batch_threads", "batch_tokens", "cache_type")
    check_fields(placement, "priority", "poll", "numa")
    threads = threads or physical_core_count(chosen_processors(placement))
    report = on_progress or (lambda stage, done, total: None)
    with open_gguf(path, quickest_find_strings()) as file:
        try:
            return Model(file, context_size, threads, batch_threads, batch_tokens, cache_type, placement, report)
        except ModelFileError:
            file.check_unchanged()  # a file that is being written needs no other reason
            raise


class Model:
    """A model in memory. Made by `open_model`; a context manager.

    `info` is what the screen says of it, `notices` what the user should know; `moves` takes tokens in its caches to
    other positions.
    """

    def __init__(
        self,
        file: GgufFile,
        context_size: int,
        threads: int,
        batch_threads: int,
        batch_tokens: int,
        cache_type: str,
        placement: Placement,
        report: OnProgress,
    ) -> None:
        report(LoadStage.READ, 0, 1)
        architecture = architecture_named(file.get_str("general.architecture", ""))
        self._sizes = read_hyperparameters(file)
        coverage_notices = check_coverage(file, self._sizes, architecture)
        self.context_size = context_size or min(self._sizes.context_length, DEFAULT_CONTEXT_SIZE)
        self.vocab_size = self._sizes.vocab_size
        self._cache_shape = CacheShape(
            self._sizes.layer_count, self._sizes.kv_head_count, self._sizes.head_dim, self.context_size, cache_type
        )
        self.state_shape = StateShape(
            self._sizes.layer_count, self._sizes.kv_head_count, self._sizes.head_dim, cache_type
        )
        self.batch_tokens = min(batch_tokens, self.context_size)
        weights = Weights(file)
        self._plan = self._build_plan(weights, architecture)
        report(LoadStage.READ, 1, 1)
        kernels = [*self._plan.kernels, *weights.kernels(), *tokenizer_kernels(file), *KERNELS_OF_EVERY_MODEL]
        load_kernels(kernels, lambda done, total: report(LoadStage.COMPILE, done, total))
        self._plan.set_kernels()
        seating = find_seats(placement)
        # Tiles are filled meanwhile: of all the rest, nearly everything is Python, which keeps one processor busy.
        with weights.repacking(threads, seating.sit_down if placement.numa and seating.seats else None) as repacking:
            self.tokenizer: Tokenizer = tokenizer_from_gguf(file)
            self.chat_template: ChatTemplate = template_from_gguf(file, self.tokenizer)
            configuration = _configuration_hash(self._sizes, cache_type)
            self.fingerprint = StateFingerprint(_model_hash(file), configuration, ENGINE_ABI)
            repacking.finish(lambda done, total: report(LoadStage.REPACK, done, total))
        file.check_unchanged()
        self.info = _describe(file, self, weights)
        self._team = ThreadTeam(threads, batch_threads, placement)
        try:
            self._runner = PlanRunner(self._plan, self._team)
            self.moves = PositionMoves(self._plan)
            self._warm_up(report)
        except BaseException:
            self._team.close()  # a stop comes out of `report`, and nobody has the model yet who could close it
            raise
        self.notices: tuple[str, ...] = (
            *self._sizes.notices, *coverage_notices, *weights.notices,
            *self.tokenizer.notices, *self.chat_template.notices, *self._team.notices, *take_notices(),
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the threads. May be repeated."""
        self._team.close()

    @property
    def plan(self) -> Plan:
        """What is run for every batch; printable."""
        return self._plan

    def tokenize(self, text: str, add_special: bool = False, parse_special: bool = False) -> list[int]:
        """Text → token ids; see `Tokenizer.tokenize`."""
        return self.tokenizer.tokenize(text, add_special=add_special, parse_special=parse_special)

    def detokenize(self, ids: Tokens[int]) -> str:
        """Token ids → text; see `Tokenizer.detokenize`."""
        return self.tokenizer.detokenize(ids)

    def new_sequence(self) -> "Sequence":
        """An empty sequence with a cache of its own."""
        return Sequence(self)

    def logits(self, ids: Tokens[int]) -> FloatArray:
        """The logits after every token of a fresh sequence.

        Args:
            ids: At least one token id, at most `context_size`.

        Returns:
            (tokens, vocab) float32.

        Raises:
            EngineError: an id is not in the vocabulary, or there are none or too many.
        """
        with self.new_sequence() as sequence:
            return np.concatenate(
                [self.run(sequence.cache, batch, every_token=True).copy() for batch in sequence.batches(ids)]
            )

    def run(
        self,
        cache: KeyValueCache,
        token_ids: npt.NDArray[np.int32],
        *,
        every_token: bool,
        rotation_offset: int = 0,
    ) -> FloatArray:
        """Feeds one batch to a cache; for `Sequence`, which checks the ids.

        Args:
            cache: Grows by the batch.
            token_ids: (tokens,) int32, at most `batch_tokens`, each below `vocab_size`.
            every_token: Whether the logits of every token are wanted, or only those of the last.
            rotation_offset: What is added to positions in the cache before queries and keys are rotated; at most 0.

        Returns:
            (tokens or 1, vocab) float32, a view that the next run overwrites.
        """
        count = len(token_ids)
        first = 0 if every_token else count - 1
        self._plan.rotary.prepare(cache.length + count)
        self._runner.run(
            token_ids=int(token_ids.ctypes.data), keys=cache.keys_address, values=cache.values_address,
            token_count=count, first_position=cache.length, rotation_offset=rotation_offset, first_output_token=first,
            context_size=cache.shape.padded_context,
        )  # fmt: skip
        cache.append(count)
        return np.asarray(self._plan.logits.data[first:count, : self.vocab_size], np.float32)

    def profile(self) -> AbstractContextManager[list[tuple[Step, float]]]:
        """Measures what is run inside of a `with` block, step by step; see `PlanRunner.profile`."""
        return self._runner.profile()

    def new_cache(self) -> KeyValueCache:
        """An empty cache of the model's shape."""
        return KeyValueCache(self._cache_shape)

    def _build_plan(self, weights: Weights, architecture: Architecture) -> Plan:
        factors = None
        if architecture.frequency_factors and weights.has(FREQUENCY_FACTORS):
            pairs = self._sizes.rope_dim // 2
            factors = weights.vector(FREQUENCY_FACTORS, pairs)[:pairs]
        rotary = RotaryTable(self._sizes, factors, self._cache_shape.padded_context)
        builder = PlanBuilder(self._sizes, weights, rotary, self._cache_shape, self.batch_tokens)
        emit_forward_pass(builder, architecture)
        return builder.build()

    def _warm_up(self, report: OnProgress) -> None:
        """Runs one token, so that the first answer finds threads, kernels and weights awake."""
        report(LoadStage.WARM_UP, 0, 1)
        self.run(self.new_cache(), np.zeros(1, np.int32), every_token=False)
        report(LoadStage.WARM_UP, 1, 1)


class Sequence:
    """Tokens fed to a model, and their keys and values. Made by `Model.new_sequence`; a context manager.

    Tokens can be forgotten from the middle, and positions be shared. From there on keys and values are not those that
    reading the tokens gives, since they were computed beside other tokens or positions: the sequence says so, and is
    not saved.
    """

    def __init__(self, model: Model) -> None:
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
        """Forgets all tokens and gives their memory back. May be repeated."""
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
        """How many tokens at the start have the keys and values that reading them gives: all, unless some moved."""
        return len(self) if self._exact_tokens is None else self._exact_tokens

    @property
    def own_tokens(self) -> int:
        """How many tokens at the start have keys and values of this program, computed beside such: all, unless told."""
        return len(self) if self._own_tokens is None else self._own_tokens

    def extend(self, ids: Tokens[int]) -> FloatArray:
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

    def verify(self, ids: Tokens[int]) -> FloatArray:
        """Feeds tokens and returns the logits of each; those that turn out to be wrong are dropped by `rewind`.

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
    ) -> Iterator[tuple[int, FloatArray | None]]:
        """Feeds tokens in chunks that each take about `chunk_seconds`, to show progress and to be stopped between.

        The first chunk has `first_tokens`, as nobody knows yet how long they take. None but the last has fewer than
        8 of them: so many are hardly slower than one, as the weights are read once for all.

        Yields:
            How many tokens of `ids` are in so far, and after the last chunk the logits of the last token, else None.
            Whoever stops iterating leaves a sequence that holds the chunks yielded so far.

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

    def rewind(self, length: int) -> None:
        """Forgets all tokens from position `length` on.

        Raises:
            CallerError: there are fewer.
        """
        self.cache.rewind(length)
        del self._token_ids[length:]
        del self._positions[length:]
        if self._exact_tokens is not None and self._exact_tokens >= length:
            self._exact_tokens = None
        if self._own_tokens is not None and self._own_tokens >= length:
            self._own_tokens = None

    def shift(self, first: int, count: int) -> None:
        """Forgets `count` tokens from the `first` on; those behind move down, their keys rotated for where they are.

        Raises:
            CallerError: there are not so many, or positions are shared.
        """
        if self._positions != list(range(len(self))):
            raise CallerError("tokens that share positions cannot be shifted")
        self._model.moves.remove(self.cache, first, count)
        del self._token_ids[first : first + count]
        del self._positions[len(self._token_ids) :]
        if count > 0 and first < len(self):
            self._exact_tokens = min(self.exact_tokens, first)
        if self._own_tokens is not None:
            own_tokens = min(self._own_tokens, first)
            self._own_tokens = own_tokens if own_tokens < len(self) else None

    def set_positions(self, positions: Tokens[int]) -> None:
        """Rotates the keys for other positions, of which several tokens may share one; the next token follows the last.

        Args:
            positions: One for each token, not below 0, never descending, none further on than its token.

        Raises:
            CallerError: they are not of that kind; nothing was changed.
        """
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
        """Writes tokens, keys and values to a file; an older session that was saved there is replaced.

        Raises:
            ResultFileError: it cannot be written, or something else is there; what was there still is.
            StateFileError: there are no tokens, or some were moved.
        """
        save_session(Path(path), self._model.fingerprint, self._model.state_shape, self)

    def restore(self, path: str | Path) -> None:
        """Takes tokens, keys and values from a file instead of what the sequence holds.

        Raises:
            StateFileError: the file must not be used.
        """
        model = self._model
        restore_session(Path(path), model.fingerprint, model.state_shape, model.context_size, self)

    def rows(self, first: int, last: int) -> Rows:
        """A copy of the keys and values at positions `first` … `last` - 1: (layers, 2, tokens, kv_heads, head).

        Raises:
            CallerError: there are fewer tokens.
        """
        return self.cache.rows(first, last)

    def expect(self, length: int) -> None:
        """Says that rows up to a position will be filled in soon."""
        self.cache.expect(length)

    def fill(self, first: int, rows: Rows) -> None:
        """Writes keys and values behind the tokens; nobody reads them before `adopt`. Any thread may call it.

        Raises:
            ShapeMismatchError: they are not rows of this model, or more than fit.
        """
        self.cache.fill(first, rows)

    def adopt(self, token_ids: Tokens[int], *, is_foreign: bool = False) -> None:
        """Appends tokens whose keys and values were filled in.

        Args:
            token_ids: As many as are now read from what was filled in.
            is_foreign: Whether another program computed them, or they were computed beside such.

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

    def _feed(self, batch: npt.NDArray[np.int32], every_token: bool = False) -> FloatArray:
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


def _model_hash(file: GgufFile) -> bytes:
    """SHA-256 of the header and the edges of every tensor: other weights give another hash, in milliseconds."""
    digest = hashlib.sha256()
    for chunk in file.header_chunks():
        digest.update(chunk)
    for name, tensor in file.tensors.items():
        edge = np.empty(min(tensor.size_bytes, _FINGERPRINT_EDGE_BYTES), np.uint8)
        for first_byte in (0, tensor.size_bytes - len(edge)):
            file.read_tensor(name, first_byte, edge)
            digest.update(edge.data)
    return digest.digest()


def _configuration_hash(sizes: Hyperparameters, cache_type: str) -> bytes:
    """What else decides which bits keys and values have: rotation, the cache's type and the instruction set."""
    text = f"{sizes.rope_dim} {sizes.rope_base!r} {sizes.rope_scaling!r} {cache_type} {INSTRUCTION_SET}"
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _describe(file: GgufFile, model: Model, weights: Weights) -> ModelInfo:
    sizes = [tensor.shape for tensor in file.tensors.values()]
    name = file.metadata.get("general.name")
    return ModelInfo(
        name=name if isinstance(name, str) else file.path.stem,
        path=str(file.path),
        architecture=file.get_str("general.architecture"),
        quantization=common_type(file),
        parameter_count=sum(int(np.prod(shape)) for shape in sizes),
        weight_bytes=weights.matrix_bytes,
        vocab_size=model.vocab_size,
        context_size=model.context_size,
        trained_context_size=model._sizes.context_length,
        key_value_bytes_per_token=model._cache_shape.bytes_per_token,
        template_source=model.chat_template.source,
        sampling=recommended_sampling(file),
        vocabulary=model.tokenizer.fingerprint,
    )
