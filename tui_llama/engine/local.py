"""Our own model as an engine: opens it, lets it answer, saves what an answer leaves behind.

The engine is synchronous: the worker's process runs it for the screen, the command line runs it directly. The steps of
a reply are in `generation/reply.py`.

The engine keeps one sequence from reply to reply, so that the model reads a conversation only once; the prompt cache
does the same for all chats and across programs. Knows nothing of where chats are kept or of who reads the answer.
"""

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import msgspec

from tui_llama.engine.descriptions import ModelInfo
from tui_llama.engine.events import (
    TOKENISED_AGAIN,
    Failed,
    Finished,
    LoadProgress,
    LoadStage,
    ModelLoaded,
    Notice,
    PromptEncoded,
    PromptEstimate,
    Tokenized,
)
from tui_llama.engine.generation.grammar.compiled import CompiledGrammars
from tui_llama.engine.generation.idle_prefill import IdlePrefill
from tui_llama.engine.generation.refusal import check_request
from tui_llama.engine.generation.reply import Reply, ShouldStop, never
from tui_llama.engine.generation.restore_points import save_for
from tui_llama.engine.generation.speculation import BatchCosts
from tui_llama.engine.gguf.model_bytes import WatchedFile
from tui_llama.engine.model.interface import LanguageModel, ModelOpener, ReportProgress
from tui_llama.engine.prompt_cache.cache import PromptCache
from tui_llama.engine.prompt_cache.eviction import default_budget_bytes
from tui_llama.engine.prompt_cache.owner import is_served_owner
from tui_llama.engine.prompting.conversation_prompt import without_foreign_tokens
from tui_llama.engine.prompting.prompt_cost import ReadingSpeed, estimate_prompt
from tui_llama.engine.protocol import IdlePrefillEvent, ReplyEvent
from tui_llama.engine.requests import (
    CompleteRequest,
    EstimateRequest,
    IdlePrefillRequest,
    LoadRequest,
    ReplyRequest,
    TokenizeRequest,
)
from tui_llama.engine.threads.placement import Placement
from tui_llama.engine.token_sequence import TokenSequence
from tui_llama.errors import EngineError, PromptTooLongError, UserError
from tui_llama.files.storage import DiskStorage

if TYPE_CHECKING:
    from tui_llama.engine.llama_cpp.transfer import SessionTransfer
    from tui_llama.engine.model.model import Model


class LocalEngine:
    """A loaded model and the sequence that it last worked on.

    Args:
        open_model: Opens a model; None opens our own, with `model.open_model`.
        clock: Returns the seconds of a monotonic clock, by which speculation chooses the length of drafts.
    """

    def __init__(self, open_model: ModelOpener | None = None, clock: Callable[[], float] = perf_counter) -> None:
        self._open_model = open_model or _open_our_model
        self._clock = clock
        self._costs = BatchCosts(clock)
        self._speed = ReadingSpeed()
        self._model: LanguageModel | None = None
        self._model_file: WatchedFile | None = None
        self._sequence: TokenSequence | None = None
        self._prompt_cache: PromptCache | None = None
        self._grammars: CompiledGrammars | None = None
        self._last_chat_id: str | None = None
        self._holds_chat = False

    @property
    def info(self) -> ModelInfo:
        """The facts about the loaded model that the screen shows.

        Raises:
            EngineError: none is loaded.
        """
        return self._loaded()[0].info

    @property
    def template_notices(self) -> tuple[str, ...]:
        """Those notices of the loaded model that come from its chat template.

        Raises:
            EngineError: none is loaded.
        """
        return self._loaded()[0].chat_template.notices

    def load(
        self,
        request: LoadRequest,
        should_stop: ShouldStop,
        on_progress: Callable[[LoadProgress], None] = lambda progress: None,
    ) -> ModelLoaded | Failed:
        """Closes the model that is loaded, and opens the requested one.

        Args:
            request: What to load.
            should_stop: Asked at every step of progress; a load so stopped ends with `Failed`.
            on_progress: Called at every step of progress, in the caller's thread.
        """

        def report(stage: LoadStage, done: int, total: int) -> None:
            if should_stop():
                raise _LoadStoppedError
            on_progress(LoadProgress(stage, done, total))

        self.close()
        self._costs, self._speed = BatchCosts(self._clock), ReadingSpeed()
        model_file = WatchedFile(request.model_path)
        # Hardly anything that is made here becomes garbage, and to look for some takes a tenth of the time.
        gc.disable()
        try:
            self._model = self._open_model(request, report)
            self._model_file = model_file
            self._sequence = self._model.new_sequence()
            self._grammars = CompiledGrammars(self._model.tokenizer)
            self._prompt_cache, cache_notices = _prompt_cache(request, self._model)
        except _LoadStoppedError:
            return Failed(None, "loading was stopped")
        except MemoryError:
            self.close()
            return Failed(None, "the model does not fit into memory", "Try a smaller model or context.")
        except UserError as error:
            self.close()
            return Failed(None, str(error), error.hint)
        finally:
            gc.enable()
        folder = _folder_of(self._prompt_cache, request)
        info = msgspec.structs.replace(self._model.info, prompt_cache_folder=folder)
        return ModelLoaded(info, (*self._model.notices, *cache_notices))

    def reply(
        self, request: ReplyRequest | CompleteRequest, should_stop: ShouldStop, should_answer: ShouldStop = never
    ) -> Iterator[ReplyEvent]:
        """Yields the events of a reply up to `Finished` or `Failed`, and then saves what the reply leaves.

        A caller has the end of the answer before saving begins. If saving fails, a `Notice` follows `Finished`.
        A reply that is left before its generator is exhausted saves nothing; the next one of the chat saves it.

        Args:
            request: What to answer or to continue.
            should_stop: Asked before every token and every chunk of the prompt.
            should_answer: Asked before every token of a thought; true: close it, so that the text begins.
        """
        try:
            check_request(request)
        except UserError as error:
            yield Failed(request.turn, str(error), error.hint)
            return
        is_encoded = False
        try:
            model, sequence = self._loaded()
            model.check_file()
            if self._model_file is not None and (change := self._model_file.change()):
                yield Notice(change)
            self._keep_usable_for(request.chat_id)
            own = without_foreign_tokens(model, request)
            if len(own.ledger) < len(request.ledger):
                yield Notice(TOKENISED_AGAIN)
            reply = Reply(
                model, sequence, own, should_stop, self._costs, self._prompt_cache, should_answer, self._grammars
            )
            for event in reply.events():
                is_encoded = is_encoded or isinstance(event, PromptEncoded)
                if isinstance(event, Finished):
                    self._speed.note(event.usage.read_tokens, event.usage.read_seconds)
                yield event
        except UserError as error:
            if is_encoded:  # before, nothing was computed
                self._forget()
            prompt_tokens = error.prompt_tokens if isinstance(error, PromptTooLongError) else 0
            yield Failed(request.turn, str(error), error.hint, prompt_tokens=prompt_tokens)
        except Exception:
            self._forget()
            raise
        else:
            yield from self._save(request.chat_id)

    def idle_prefill(self, request: IdlePrefillRequest, should_stop: ShouldStop) -> Iterator[IdlePrefillEvent]:
        """Yields the progress of idle prefill, then exactly one of `IdlePrefillFinished` and `Failed`.

        Args:
            request: The conversation so far, and the draft of the next message.
            should_stop: Asked before every chunk, which takes at most about `idle_prefill.CHUNK_SECONDS`.
        """
        try:
            model, sequence = self._loaded()
            self._keep_usable_for(request.chat_id)
            own = without_foreign_tokens(model, request)
            if len(own.ledger) < len(request.ledger):
                yield Notice(TOKENISED_AGAIN)
            ahead = IdlePrefill(model, sequence, own, should_stop, self._prompt_cache)
            yield from ahead.events(self._speed.note, self._clock)
        except UserError as error:
            self._forget()
            yield Failed(None, str(error), error.hint)
        except Exception:
            self._forget()
            raise

    def estimate(self, request: EstimateRequest) -> PromptEstimate | Failed:
        """Returns what a reply to this would have to read; `Failed` where there can be no such prompt."""
        try:
            model, sequence = self._loaded()
            own = without_foreign_tokens(model, request)
            return estimate_prompt(model, sequence, own, self._speed, self._prompt_cache)
        except UserError as error:
            return Failed(None, str(error), error.hint)

    def tokenize(self, request: TokenizeRequest) -> Tokenized | Failed:
        """Returns the tokens of a text, or the text of tokens; `Failed` where there is no such token."""
        try:
            model, _ = self._loaded()
            tokenizer, ids = model.tokenizer, request.token_ids
            if request.text is not None:
                ids = tuple(
                    tokenizer.tokenize(
                        request.text, add_special=request.add_special, parse_special=request.parse_special
                    )
                )
            unknown = [token_id for token_id in ids if not 0 <= token_id < tokenizer.vocab_size]
            if unknown:
                return Failed(None, f"token {unknown[0]} is not in the vocabulary of {tokenizer.vocab_size} tokens")
            pieces = tuple(tokenizer.piece(each, special=True) for each in ids) if request.with_pieces else ()
            return Tokenized(ids, tokenizer.detokenize(ids), pieces)
        except UserError as error:
            return Failed(None, str(error), error.hint)

    def session_transfer(self) -> "SessionTransfer":
        """Returns what takes in and writes sessions of llama.cpp, in the sequence of the replies.

        Raises:
            EngineError: no model is loaded.
        """
        if self._model is None or self._sequence is None:
            raise EngineError("no model is loaded", "Load a model first.")
        from tui_llama.engine.llama_cpp.transfer import SessionTransfer  # only commands need it

        self._last_chat_id, self._holds_chat = None, True
        return SessionTransfer(self._model, self._sequence, self._prompt_cache)

    def close(self) -> None:
        """Frees the model's memory. May be called twice."""
        self._model_file = None
        self._prompt_cache = None
        self._grammars = None
        if self._sequence is not None:
            self._sequence.close()
            self._sequence = None
        if self._model is not None:
            self._model.close()
            self._model = None

    def _loaded(self) -> tuple[LanguageModel, TokenSequence]:
        if self._model is None or self._sequence is None:
            raise EngineError("no model is loaded", "Load a model first.")
        return self._model, self._sequence

    def _save(self, chat_id: str | None) -> Iterator[Notice]:
        """Stores the keys and values of a reply for its chat; yields a notice if that failed."""
        if chat_id is not None and self._sequence is not None and self._prompt_cache is not None:
            yield from save_for(self._prompt_cache, chat_id, self._sequence)

    def _keep_usable_for(self, chat_id: str | None) -> None:
        """Drops from the sequence what this chat, or served program, may not use.

        That is foreign keys and values of another chat, and for a served program all that chats have left there; see
        `prompt_cache.owner`.
        """
        is_chat = chat_id is None or not is_served_owner(chat_id)
        if self._sequence is not None:
            if chat_id is None or chat_id != self._last_chat_id:
                self._sequence.rewind(self._sequence.rewindable(self._sequence.own_tokens))
            if self._holds_chat and not is_chat:
                self._sequence.rewind(0)
        self._last_chat_id, self._holds_chat = chat_id, is_chat

    def _forget(self) -> None:
        """Empties the sequence: after a failure its keys and values may be wrong."""
        if self._sequence is not None:
            self._sequence.rewind(0)


class _LoadStoppedError(Exception):
    """Ends `open_model` from within, when the user has stopped the loading."""


def _prompt_cache(request: LoadRequest, model: LanguageModel) -> tuple[PromptCache | None, tuple[str, ...]]:
    """Returns the prompt cache, or None if nothing may be stored, and notices to the user."""
    if not request.prompt_cache_folder:
        return None, ()
    storage = DiskStorage(Path(request.prompt_cache_folder))
    try:
        budget_bytes = request.prompt_cache_bytes or default_budget_bytes(storage)
    except OSError as error:
        cause = error.strerror or type(error).__name__
        return None, (f"Prompts cannot be stored in {storage.root} ({cause}).",)
    return PromptCache(storage, model.fingerprint, model.state_shape, budget_bytes), ()


def _folder_of(prompt_cache: PromptCache | None, request: LoadRequest) -> str:
    """Returns the folder of what is stored for the loaded model; empty if nothing is."""
    return "" if prompt_cache is None else str(Path(request.prompt_cache_folder) / prompt_cache.folder)


def _open_our_model(request: LoadRequest, on_progress: ReportProgress) -> LanguageModel:
    return open_requested(request, on_progress)


def open_requested(request: LoadRequest, on_progress: ReportProgress) -> "Model":
    """Opens our own model as the request says; raises as `model.open_model`."""
    from tui_llama.engine.model.model import open_model

    return open_model(
        request.model_path,
        context_size=request.context_size,
        threads=request.threads,
        batch_threads=request.batch_threads,
        batch_tokens=request.batch_tokens,
        cache_type=request.cache_type,
        experts=request.experts,
        placement=Placement(request.cpu_mask, request.cpu_range, request.priority, request.poll, request.numa),
        on_progress=on_progress,
    )
