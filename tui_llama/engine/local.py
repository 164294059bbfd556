"""Our own model as an engine: the generate loop, told as the story of a reply.

A reply is encoded, laid beside what the cache holds, read, and then sampled, decoded and yielded token by
token. All of it is synchronous: the worker's process runs it for the screen, the command line runs it
directly.

One sequence is kept alive from reply to reply, so that a conversation is read only once; a chat's state file
does the same across programs. Knows nothing of where chats are kept or of who reads the answer.
"""

import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

from tui_llama.chat import Role, StopReason, Usage
from tui_llama.engine.language_model import LanguageModel, Logits, ModelOpener, ReportProgress, TokenSequence
from tui_llama.engine.placement import Placement
from tui_llama.engine.prompt import encode_prompt
from tui_llama.engine.protocol import (
    CompleteRequest,
    Failed,
    Finished,
    LoadEvent,
    LoadProgress,
    LoadRequest,
    LoadStage,
    ModelLoaded,
    Notice,
    PromptEncoded,
    PromptProgress,
    ReplyEvent,
    ReplyRequest,
    TextPiece,
)
from tui_llama.engine.sampling import SamplerChain, compile_sampling_kernels
from tui_llama.engine.state_file import read_state_tokens
from tui_llama.engine.stop_text import StopTextFinder
from tui_llama.errors import EngineError, StateFileError, UserError
from tui_llama.paths import make_private_folder

if TYPE_CHECKING:
    from tui_llama.engine.model import Model

ShouldStop: TypeAlias = Callable[[], bool]


class LocalEngine:
    """A loaded model and the sequence that it last worked on.

    Args:
        open_model: Opens a model; None opens our own, with `model.open_model`.
    """

    def __init__(self, open_model: ModelOpener | None = None) -> None:
        self._open_model = open_model or _open_our_model
        self._model: LanguageModel | None = None
        self._sequence: TokenSequence | None = None
        self._unsaved: Path | None = None

    def load(self, request: LoadRequest, should_stop: ShouldStop) -> Iterator[LoadEvent]:
        """Yields progress, then exactly one of `ModelLoaded` and `Failed`; a model loaded before is closed.

        Args:
            request: What to load.
            should_stop: Asked at every step of progress; a load so stopped ends with `Failed`.
        """
        self.close()
        opening = _Opening(self._open_model, request, should_stop)
        try:
            yield from opening.progress()
            self._model = opening.model()
            self._sequence = self._model.new_sequence()
        except _LoadStoppedError:
            yield Failed(None, "loading was stopped")
        except MemoryError:
            self.close()
            yield Failed(None, "the model does not fit into memory", "Try a smaller model or context.")
        except UserError as error:
            self.close()
            yield Failed(None, str(error), error.hint)
        else:
            yield ModelLoaded(self._model.info, self._model.notices)
        finally:
            opening.abandon()

    def reply(self, request: ReplyRequest | CompleteRequest, should_stop: ShouldStop) -> Iterator[ReplyEvent]:
        """Yields what happens, then exactly one of `Finished` and `Failed`.

        Args:
            request: What to answer or to continue.
            should_stop: Asked before every token and every chunk of the prompt.
        """
        try:
            if self._model is None or self._sequence is None:
                raise EngineError("no model is loaded", "Load a model first.")
            yield from _Reply(self._model, self._sequence, request, should_stop).events(self._note_unsaved)
        except UserError as error:
            self._forget()
            yield Failed(request.turn, str(error), error.hint)
        except Exception:
            self._forget()
            raise

    def save_pending(self) -> Notice | None:
        """Saves the state that the last reply left; returns a notice where that failed."""
        path, self._unsaved = self._unsaved, None
        if path is None or self._sequence is None:
            return None
        try:
            make_private_folder(path.parent)
            self._sequence.save(path)
        except StateFileError as error:
            return _not_saved(str(error))
        except OSError as error:
            return _not_saved(f"not written ({error.strerror})")
        return None

    def close(self) -> None:
        """Gives back the model's memory. May be called twice."""
        self._unsaved = None
        if self._sequence is not None:
            self._sequence.close()
            self._sequence = None
        if self._model is not None:
            self._model.close()
            self._model = None

    def _note_unsaved(self, path: str | None) -> None:
        self._unsaved = None if path is None else Path(path)

    def _forget(self) -> None:
        """After a failure nothing that is in memory is believed."""
        self._unsaved = None
        if self._sequence is not None:
            self._sequence.rewind(0)


class _Reply:
    """One reply: its request, the sequence it works on, and what it has cost so far."""

    def __init__(
        self,
        model: LanguageModel,
        sequence: TokenSequence,
        request: ReplyRequest | CompleteRequest,
        should_stop: ShouldStop,
    ) -> None:
        self._model = model
        self._sequence = sequence
        self._request = request
        self._turn = request.turn
        self._should_stop = should_stop
        self._state_path = request.state_path if isinstance(request, ReplyRequest) else None
        self._sampler = SamplerChain(request.sampling, model.vocab_size)
        self._cost = _Cost()

    def events(self, note_unsaved: Callable[[str | None], None]) -> Iterator[ReplyEvent]:
        """Tells the story. `note_unsaved` learns, before the last event, what is then to be saved."""
        prompt = self._encode()
        self._check_that_it_fits(prompt.token_ids)
        yield PromptEncoded(self._turn, prompt.kept_tokens, tuple(prompt.token_ids[prompt.kept_tokens :]))
        yield from self._reuse_cache(prompt)
        logits = yield from self._read(prompt.token_ids)
        reason = StopReason.STOPPED
        if logits is not None:
            self._accept(prompt.token_ids)
            reason = yield from self._generate(logits)
        note_unsaved(self._state_path)
        yield Finished(self._turn, reason, self._usage())

    # --- encode ---------------------------------------------------------------------------------------------

    def _encode(self) -> "_Prompt":
        request, tokenizer = self._request, self._model.tokenizer
        if isinstance(request, CompleteRequest):
            return _Prompt(0, tokenizer.tokenize(request.text, add_special=True, parse_special=True))
        rendered = self._model.chat_template.render(request.messages)
        user_texts = [message.text for message in request.messages if message.role is Role.USER]
        encoded = encode_prompt(tokenizer, rendered, request.ledger, user_texts)
        return _Prompt(encoded.kept_tokens, [*request.ledger[: encoded.kept_tokens], *encoded.token_ids])

    def _check_that_it_fits(self, token_ids: list[int]) -> None:
        if not token_ids:
            raise EngineError("the prompt is empty", "Write something first.")
        context = self._model.context_size
        if len(token_ids) >= context:
            trained = self._model.info.trained_context_size
            raise EngineError(
                f"the prompt has {len(token_ids)} tokens, but the context has room for {context - 1}",
                f"Start a new chat, write less, or set a larger context; the model allows {trained}.",
            )

    # --- reuse cache ----------------------------------------------------------------------------------------

    def _reuse_cache(self, prompt: "_Prompt") -> Iterator[Notice]:
        """Leaves in the sequence the longest start of the prompt that memory or the state file has.

        The last token is never among it: it has to be computed for its logits.
        """
        try:
            self._restore_if_better(prompt)
        except StateFileError as error:
            yield Notice(f"The saved state was not used ({error}); reading the prompt again.")
        reused = min(_common_length(self._sequence.token_ids, prompt.token_ids), len(prompt.token_ids) - 1)
        self._sequence.rewind(reused)
        self._cost.reused_tokens = reused

    def _restore_if_better(self, prompt: "_Prompt") -> None:
        in_memory = _common_length(self._sequence.token_ids, prompt.token_ids)
        # A state file holds no more than the ledger tells; a new chat has neither.
        if self._state_path is None or in_memory >= prompt.kept_tokens:
            return
        model, path = self._model, Path(self._state_path)
        stored = read_state_tokens(path, model.fingerprint, model.state_shape, model.context_size, model.vocab_size)
        if _common_length(stored.tolist(), prompt.token_ids) > in_memory:
            self._sequence.restore(path)

    # --- read the prompt ------------------------------------------------------------------------------------

    def _read(self, token_ids: list[int]) -> Generator[PromptProgress, None, Logits | None]:
        """Reads what the cache lacks; returns the last token's logits, or None when stopped before."""
        start, reused, total = perf_counter(), self._cost.reused_tokens, len(token_ids)
        yield PromptProgress(self._turn, reused, reused, total)
        logits: Logits | None = None
        chunks = self._sequence.extend_in_chunks(token_ids[reused:])
        while not self._should_stop() and (chunk := next(chunks, None)) is not None:
            self._cost.read_tokens, logits = chunk
            self._cost.read_seconds = perf_counter() - start
            yield PromptProgress(self._turn, reused, reused + self._cost.read_tokens, total)
        return logits

    def _accept(self, token_ids: list[int]) -> None:
        """Shows the sampler the end of the prompt: penalties count it, as in llama.cpp."""
        for token_id in token_ids[max(0, len(token_ids) - self._request.sampling.penalty_last_n) :]:
            self._sampler.accept(token_id)

    # --- sample, decode, yield ------------------------------------------------------------------------------

    def _generate(self, logits: Logits) -> Generator[TextPiece, None, StopReason]:
        """Yields one piece for each token; returns why it ended. The last token is not in the cache."""
        start = perf_counter()
        decoder = self._model.tokenizer.stream_decoder()
        finder = StopTextFinder(self._stop_texts())
        last_token: tuple[int, ...] = ()
        reason = self._reason_to_end()
        while reason is None:
            token_id = self._sample(logits)
            if token_id in self._model.tokenizer.end_of_generation:
                reason, last_token = StopReason.END_OF_GENERATION, (token_id,)
                break
            text, found = finder.push(decoder.push(token_id))
            yield TextPiece(self._turn, text, (token_id,))
            reason = StopReason.STOP_TEXT if found else self._reason_to_end()
            if reason is None:
                logits = self._sequence.extend([token_id])
        self._cost.generate_seconds = perf_counter() - start
        if reason is not StopReason.STOP_TEXT:
            held_back, _ = finder.push(decoder.finish())
            yield from self._rest(held_back + finder.finish(), last_token)
        return reason

    def _stop_texts(self) -> tuple[str, ...]:
        """What the request names, and in a conversation what its template uses to tell the roles apart."""
        if isinstance(self._request, CompleteRequest):
            return self._request.stop_texts
        return (*self._request.stop_texts, *self._model.chat_template.stop_texts)

    def _sample(self, logits: Logits) -> int:
        token_id = self._sampler.sample(logits)
        self._sampler.accept(token_id)
        self._cost.generated_tokens += 1
        return token_id

    def _reason_to_end(self) -> StopReason | None:
        if self._should_stop():
            return StopReason.STOPPED
        most = self._request.max_tokens
        if most is not None and self._cost.generated_tokens >= most:
            return StopReason.LENGTH
        return StopReason.CONTEXT_FULL if len(self._sequence) >= self._model.context_size else None

    def _rest(self, text: str, token_ids: tuple[int, ...]) -> Iterator[TextPiece]:
        """The text that waited for a character or a stop text to be whole, and a token that has no text."""
        if text:
            yield TextPiece(self._turn, text, ())
        if token_ids:
            yield TextPiece(self._turn, "", token_ids)

    def _usage(self) -> Usage:
        cost = self._cost
        return Usage(
            reused_tokens=cost.reused_tokens,
            read_tokens=cost.read_tokens,
            generated_tokens=cost.generated_tokens,
            read_seconds=cost.read_seconds,
            generate_seconds=cost.generate_seconds,
            context_used=len(self._sequence),
            context_size=self._model.context_size,
        )


@dataclass(frozen=True, slots=True)
class _Prompt:
    """All tokens of the prompt; the first `kept_tokens` are the ledger's."""

    kept_tokens: int
    token_ids: list[int]


@dataclass(slots=True)
class _Cost:
    reused_tokens: int = 0
    read_tokens: int = 0
    generated_tokens: int = 0
    read_seconds: float = 0.0
    generate_seconds: float = 0.0


class _LoadStoppedError(Exception):
    """Carries a wish to stop out of the depths of `open_model`."""


class _Opening:
    """Opens a model in a thread of its own, so that its progress can be yielded meanwhile.

    A daemon: a compiler cannot be interrupted, and the program's end must not wait for it.
    """

    def __init__(self, open_model: ModelOpener, request: LoadRequest, should_stop: ShouldStop) -> None:
        self._open_model = open_model
        self._request = request
        self._should_stop = should_stop
        self._abandoned = False
        self._progress: queue.SimpleQueue[LoadProgress | None] = queue.SimpleQueue()
        self._outcome: LanguageModel | BaseException | None = None

    def progress(self) -> Iterator[LoadProgress]:
        threading.Thread(target=self._run, name="open model", daemon=True).start()
        while (progress := self._progress.get()) is not None:
            yield progress

    def model(self) -> LanguageModel:
        """Returns the opened model, or raises what opening it raised.

        To be called after `progress` has ended.
        """
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        assert self._outcome is not None
        return self._outcome

    def abandon(self) -> None:
        """Nobody waits for the model any more; opening stops at the next step."""
        self._abandoned = True

    def _run(self) -> None:
        try:
            self._outcome = self._open_model(self._request, self._report)
        except BaseException as error:  # raised again where the model is asked for
            self._outcome = error
        finally:
            self._progress.put(None)

    def _report(self, stage: LoadStage, done: int, total: int) -> None:
        if self._abandoned or self._should_stop():
            raise _LoadStoppedError
        self._progress.put(LoadProgress(stage, done, total))


def _not_saved(cause: str) -> Notice:
    return Notice(f"The chat's state was {cause}; its prompt will be read again.")


def _common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens the two have in common at their start."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((index for index, (one, other) in pairs if one != other), min(len(first), len(second)))


def _open_our_model(request: LoadRequest, on_progress: ReportProgress) -> LanguageModel:
    model = open_requested(request, on_progress)
    compile_sampling_kernels()
    return model


def open_requested(request: LoadRequest, on_progress: ReportProgress) -> "Model":
    """Our own model, opened as it is asked for; raises as `model.open_model`."""
    from tui_llama.engine.model import open_model

    return open_model(
        request.model_path,
        context_size=request.context_size,
        threads=request.threads,
        batch_threads=request.batch_threads,
        batch_tokens=request.batch_tokens,
        cache_type=request.cache_type,
        placement=Placement(request.cpu_mask, request.cpu_range, request.priority, request.poll, request.numa),
        on_progress=on_progress,
    )
