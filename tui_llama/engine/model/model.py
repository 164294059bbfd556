"""A model ready to run, and sequences of tokens on it.

    with open_model("model.gguf") as model, model.new_sequence() as sequence:
        logits = sequence.extend(model.tokenize("Once upon a time"))

One caller at a time: a model and its sequences share work buffers and a team of threads. The same tokens give the same
bits, whatever the batches they came in, the number of threads, or whether a prefix was restored from a file.
"""

from collections.abc import Sequence as Tokens
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from tui_llama.engine.events import LoadStage
from tui_llama.engine.gguf.compiled_strings import compiled_find_strings
from tui_llama.engine.gguf.file import GgufFile, open_gguf
from tui_llama.engine.machine.topology import physical_core_count
from tui_llama.engine.model.common_kernels import KERNELS_OF_EVERY_MODEL
from tui_llama.engine.model.facts import loaded_model_info
from tui_llama.engine.model.fingerprint import state_fingerprint
from tui_llama.engine.model.interface import ReportProgress
from tui_llama.engine.model.kv_moves import PositionMoves
from tui_llama.engine.model.preparation import check_memory, prepare_model
from tui_llama.engine.model.sequence import Sequence
from tui_llama.engine.plan.plan import Plan, PlanStep
from tui_llama.engine.plan.runner import PlanRunner
from tui_llama.engine.requests import WHEREVER_THEY_FIT, LoadRequest
from tui_llama.engine.templates.chat_template import ChatTemplate
from tui_llama.engine.templates.model_template import template_from_gguf
from tui_llama.engine.tensors.kv_cache import KeyValueCache
from tui_llama.engine.tensors.weights import Weights
from tui_llama.engine.threads.placement import Placement, chosen_processors, find_seats
from tui_llama.engine.threads.team import ThreadTeam
from tui_llama.engine.token_sequence import LogitsRows
from tui_llama.engine.tokenizer.tokenizer import Tokenizer, tokenizer_from_gguf, tokenizer_kernels
from tui_llama.engine.toolchain.loader import load_kernels, take_notices
from tui_llama.errors import ModelFileError
from tui_llama.settings import check_fields

_ANYWHERE = Placement()


def open_model(
    path: str | Path,
    *,
    context_size: int = 0,
    threads: int = 0,
    batch_threads: int = 0,
    batch_tokens: int = 512,
    cache_type: str = "f16",
    experts: str = WHEREVER_THEY_FIT,
    placement: Placement = _ANYWHERE,
    on_progress: ReportProgress | None = None,
) -> "Model":
    """Opens a GGUF model and makes it ready to run.

    Args:
        path: The file.
        context_size: Tokens that a sequence may hold; 0 for the smaller of the model's own and 8192.
        threads: Threads that compute; 0 for one for each physical core.
        batch_threads: Threads that read prompts; 0 for as many as `threads`.
        batch_tokens: Most tokens that one pass over the weights reads; changes speed and memory, never a result.
        cache_type: How keys and values are kept.
        experts: Where the weights of experts are, one of `EXPERT_PLACES`; changes speed and memory, never a result.
        placement: Where the threads run.
        on_progress: Called with the stage, how much of it is done and how much there is.

    Raises:
        ModelFileError: the file cannot be used.
        SettingsError: a size or a placement makes no sense.
    """
    given = LoadRequest("", context_size, threads, batch_tokens, batch_threads, cache_type, experts)
    check_fields(given, "context_size", "threads", "batch_threads", "batch_tokens", "cache_type", "experts")
    check_fields(placement, "priority", "poll", "numa")
    threads = threads or physical_core_count(chosen_processors(placement))
    report = on_progress or (lambda stage, done, total: None)
    with ExitStack() as stack:
        file = stack.enter_context(open_gguf(path, compiled_find_strings()))
        try:
            model = Model(
                file, context_size, threads, batch_threads, batch_tokens, cache_type, experts, placement, report
            )
        except ModelFileError:
            file.check_unchanged()  # a file that is being written needs no other reason
            raise
        if model.reads_file:
            stack.pop_all()  # the model closes it
        return model


class Model:
    """A model in memory. `open_model` makes it; a context manager.

    `info` is what the screen shows of the model, `notices` what the user should know; `moves` takes tokens in the
    model's caches to other positions.
    """

    def __init__(
        self,
        file: GgufFile,
        context_size: int,
        threads: int,
        batch_threads: int,
        batch_tokens: int,
        cache_type: str,
        experts: str,
        placement: Placement,
        report: ReportProgress,
    ) -> None:
        report(LoadStage.READ, 0, 1)
        prepared = prepare_model(file, context_size, batch_tokens, cache_type, experts)
        self._sizes, self._cache_shape, self._plan = prepared.sizes, prepared.cache_shape, prepared.plan
        self.context_size = prepared.cache_shape.context_size
        self.batch_tokens = prepared.batch_tokens
        self.vocab_size = prepared.sizes.vocab_size
        self.state_shape = prepared.cache_shape.state
        weights, self._file_experts = prepared.weights, prepared.weights.file_experts
        check_memory(file, weights)
        report(LoadStage.READ, 1, 1)
        self._load_kernels(file, weights, report)
        self._repack_and_read_texts(file, weights, threads, placement, report)
        file.check_unchanged()
        self.info = loaded_model_info(
            file, self._sizes, self._cache_shape, weights.matrix_bytes, self.chat_template, self.tokenizer.fingerprint
        )
        self._start_threads(threads, batch_threads, placement, report)
        self.notices: tuple[str, ...] = (
            *prepared.notices,
            *self.tokenizer.notices, *self.chat_template.notices, *self._team.notices, *take_notices(),
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the threads, and closes the file if experts are read from it. May be repeated."""
        self._team.close()
        self._file_experts.close()

    @property
    def reads_file(self) -> bool:
        """True if weights of experts are read from the file until `close`, which then closes it."""
        return bool(self._file_experts)

    def check_file(self) -> None:
        """Checks the file, if experts are read from it; does nothing otherwise.

        Raises:
            ModelFileError: somebody has written to it since it was opened, or it cannot be read.
        """
        self._file_experts.check()

    @property
    def plan(self) -> Plan:
        """The operations of a forward pass, which run for every batch; printable."""
        return self._plan

    def tokenize(self, text: str, add_special: bool = False, parse_special: bool = False) -> list[int]:
        """Returns the token ids of a text; see `Tokenizer.tokenize`."""
        return self.tokenizer.tokenize(text, add_special=add_special, parse_special=parse_special)

    def detokenize(self, ids: Tokens[int]) -> str:
        """Returns the text of token ids; see `Tokenizer.detokenize`."""
        return self.tokenizer.detokenize(ids)

    def new_sequence(self) -> Sequence:
        """Returns an empty sequence with a cache of its own."""
        return Sequence(self)

    def logits(self, ids: Tokens[int]) -> LogitsRows:
        """Returns the logits after every token of a fresh sequence.

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
    ) -> LogitsRows:
        """Feeds one batch to a cache; for `Sequence`, which checks the ids.

        Args:
            cache: Grows by the batch.
            token_ids: (tokens,) int32, at most `batch_tokens`, each below `vocab_size`.
            every_token: Whether the logits of every token are wanted, or only those of the last.
            rotation_offset: What is added to positions in the cache before queries and keys are rotated; at most 0.

        Returns:
            (tokens or 1, vocab) float32, a view that the next run overwrites.

        Raises:
            ModelFileError: as `check_file`; the cache has not grown.
        """
        count = len(token_ids)
        first = 0 if every_token else count - 1
        self._plan.rotary.prepare(cache.length + count)
        self._runner.run(
            token_ids=int(token_ids.ctypes.data), keys=cache.keys_address, values=cache.values_address,
            token_count=count, first_position=cache.length, rotation_offset=rotation_offset, first_output_token=first,
        )  # fmt: skip
        self.check_file()
        cache.append(count)
        return np.asarray(self._plan.logits.data[first:count, : self.vocab_size], np.float32)

    def profile(self) -> AbstractContextManager[list[tuple[PlanStep, float]]]:
        """Measures every plan step that runs inside of a `with` block; see `PlanRunner.profile`."""
        return self._runner.profile()

    def new_cache(self) -> KeyValueCache:
        """Returns an empty cache of the model's shape."""
        return KeyValueCache(self._cache_shape)

    def _load_kernels(self, file: GgufFile, weights: Weights, report: ReportProgress) -> None:
        """Compiles the kernels that are not compiled yet, and gives the plan the addresses of its own."""
        kernels = [*self._plan.kernels, *weights.kernels(), *tokenizer_kernels(file), *KERNELS_OF_EVERY_MODEL]
        load_kernels(kernels, lambda done, total: report(LoadStage.COMPILE, done, total))
        self._plan.set_kernels()
        weights.file_experts.connect()

    def _repack_and_read_texts(
        self, file: GgufFile, weights: Weights, threads: int, placement: Placement, report: ReportProgress
    ) -> None:
        """Fills the tiles; meanwhile reads the tokenizer and the template, and takes the fingerprint.

        Of all that is left to do nearly everything is Python, which keeps one processor busy.
        """
        seating = find_seats(placement)
        with weights.repacking(threads, seating.bind_thread if placement.numa and seating.seats else None) as repacking:
            self.tokenizer: Tokenizer = tokenizer_from_gguf(file)
            self.chat_template: ChatTemplate = template_from_gguf(file, self.tokenizer)
            self.fingerprint = state_fingerprint(file, self._sizes, self.state_shape.dtype, self.context_size)
            repacking.finish(lambda done, total: report(LoadStage.REPACK, done, total))

    def _start_threads(self, threads: int, batch_threads: int, placement: Placement, report: ReportProgress) -> None:
        self._team = ThreadTeam(threads, batch_threads, placement)
        try:
            self._runner = PlanRunner(self._plan, self._team)
            self.moves = PositionMoves(self._plan)
            self._warm_up(report)
        except BaseException:
            self._team.close()  # a stop comes out of `report`, and nobody has the model yet who could close it
            raise

    def _warm_up(self, report: ReportProgress) -> None:
        """Runs one token, so that the first answer waits neither for threads nor for pages of kernels and weights."""
        report(LoadStage.WARM_UP, 0, 1)
        self.run(self.new_cache(), np.zeros(1, np.int32), every_token=False)
        report(LoadStage.WARM_UP, 1, 1)
