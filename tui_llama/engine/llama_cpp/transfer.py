"""Imports llama.cpp sessions into a sequence, and exports sequences from the prompt cache as llama.cpp sessions.

A session may come from anywhere, and nothing in it says which weights its keys and values belong to. So two tokens are
computed again before anything of the session is used. This does not prove that every other token belongs to its keys
and values. An imported session is therefore used only by the chat that it was imported for. This module does not know
where chats are stored.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import dropwhile
from pathlib import Path

import numpy as np

from tui_llama.chat import ChatMessage
from tui_llama.engine.llama_cpp.recover_messages import messages_in
from tui_llama.engine.llama_cpp.session_format import Plane, SessionHead, StoredState, session_group
from tui_llama.engine.llama_cpp.session_reader import read_llama_session
from tui_llama.engine.llama_cpp.session_writer import write_llama_session
from tui_llama.engine.model.interface import LanguageModel
from tui_llama.engine.prompt_cache.cache import PromptCache
from tui_llama.engine.prompt_cache.recompute_check import is_reproduced
from tui_llama.engine.prompting.conversation_prompt import encode_continuation, without_foreign_tokens
from tui_llama.engine.requests import CompleteRequest
from tui_llama.engine.state_shape import KvArray
from tui_llama.engine.templates.dates import dates_in
from tui_llama.engine.token_sequence import Logits, TokenSequence
from tui_llama.errors import EngineError, StateFileError

_LOGITS_VERSION = 9


@dataclass(frozen=True, slots=True)
class TakenSession:
    """The content of a session that was taken over.

    Attributes:
        token_ids: All but perhaps the last have keys and values.
        text: That of the tokens.
        messages: The conversation that the model's template has written as these tokens; empty where it has not.
        has_ended: Whether the model has ended its last answer.
        begun_at: The day on which the template wrote them, in local time with its offset.
    """

    token_ids: tuple[int, ...]
    text: str
    messages: tuple[ChatMessage, ...]
    has_ended: bool
    begun_at: datetime


@dataclass(frozen=True, slots=True)
class WrittenSession:
    """Counts of a written session: tokens, those of them with keys and values, and those of these that were stored."""

    tokens: int
    cells: int
    reused_tokens: int
    problems: tuple[str, ...]


class SessionTransfer:
    """Takes sessions in and writes them, with one model.

    Args:
        model: Whose keys and values they are.
        sequence: What it holds is forgotten. After a session was taken in, it holds that.
        prompt_cache: Where keys and values are stored; None if nowhere.

    Raises (every method):
        CallerError: the model's cache is not of f16.
        EngineError: the layers are not all alike; see `session_group`.
    """

    def __init__(self, model: LanguageModel, sequence: TokenSequence, prompt_cache: PromptCache | None) -> None:
        self._model = model
        self._sequence = sequence
        self._prompt_cache = prompt_cache

    # --- in -----------------------------------------------------------------------------------------------------

    def take(self, path: str) -> TakenSession:
        """Lets the sequence hold a session, marked as computed elsewhere, once it is seen to be this model's.

        Raises:
            StateFileError: it must not be used, with the cause in a few words; the sequence is empty then.
        """
        model, sequence = self._model, self._sequence
        session_group(model.state_shape)
        sequence.rewind(0)
        session = read_llama_session(
            path, model.info.architecture, model.state_shape, model.context_size, model.vocab_size
        )
        try:
            self._hold_checked(session.state)
        except BaseException:
            sequence.rewind(0)
            raise
        token_ids = tuple(session.state.token_ids.tolist())
        if session.next_token_id is not None:
            token_ids += (session.next_token_id,)
        has_ended = token_ids[-1] in model.tokenizer.end_of_generation
        # Behind what begins a text, as if it had not been there: a space that tokenizing put in front goes away.
        text_ids = list(dropwhile(model.tokenizer.is_special, token_ids))
        text = model.tokenizer.detokenize(text_ids)
        messages, begun_at = self._messages_in(token_ids, text, path)
        return TakenSession(token_ids, text, messages, has_ended, begun_at)

    def _messages_in(
        self, token_ids: tuple[int, ...], text: str, path: str
    ) -> tuple[tuple[ChatMessage, ...], datetime]:
        """Returns the messages, and the day on which they were written: one that stands in the text, or the file's."""
        now = datetime.now().astimezone()
        for moment in (now, datetime.fromtimestamp(Path(path).stat().st_mtime).astimezone(), *dates_in(text)):
            messages = messages_in(token_ids, self._model.tokenizer, self._model.chat_template, moment)
            if messages:
                return messages, moment
        return (), now

    def store(self, owner: bytes) -> None:
        """Stores what was taken in, for its owner alone.

        Raises:
            StateFileError: it could not be stored.
        """
        if self._prompt_cache is None:
            raise StateFileError("not stored (stored prompts are switched off)")
        outcome = self._prompt_cache.save(owner, self._sequence)
        if outcome.problems:
            raise StateFileError(f"not stored ({'; '.join(outcome.problems)})")

    def _hold_checked(self, state: StoredState) -> None:
        """Takes the state over. Computes its last token and one in the middle again: they must come out the same."""
        kv, token_ids = state.kv, [int(token_id) for token_id in state.token_ids]
        last, shape = len(token_ids) - 1, self._model.state_shape
        self._hold(0, kv, token_ids)
        for position in (last, last // 2):
            if not is_reproduced(self._sequence, shape, position, must_be_equal=False):
                raise StateFileError(
                    "made with another model, or damaged (the keys and values do not match the tokens)"
                )
        self._hold(last // 2, kv, token_ids)

    def _hold(self, first: int, kv: KvArray, token_ids: list[int]) -> None:
        """Lets the sequence hold the tokens from `first` on as the session has them."""
        self._sequence.rewind(first)
        self._sequence.fill(0, first, kv[:, first:])
        self._sequence.adopt(token_ids[first:], is_foreign=True)

    def tokens_of(self, text: str) -> tuple[int, ...]:
        """Returns the tokens of a text as it stands, as a prompt that begins with it has them."""
        tokens = self._model.tokenizer.tokenize(text, add_special=True, parse_special=True)
        return tuple(tokens)

    def tokens_of_chat(self, request: CompleteRequest) -> tuple[int, ...]:
        """Returns the tokens that a continuation of a chat would begin with.

        Raises:
            EngineError: there can be no such prompt.
        """
        own = without_foreign_tokens(self._model, request)
        return tuple(encode_continuation(self._model, own).token_ids)

    # --- out ----------------------------------------------------------------------------------------------------

    def write(
        self,
        path: str,
        token_ids: tuple[int, ...],
        *,
        owner: bytes | None,
        version: int,
        flash_attention: bool,
        on_progress: Callable[[int, int], None],
        may_replace: bool = False,
        inputs: Iterable[Path] = (),
    ) -> WrittenSession:
        """Writes a session of tokens, with keys and values from the prompt cache as far as it has them.

        Args:
            path: Of the session.
            token_ids: At least one, and two for version 10, where the last has no keys and values.
            owner: Who may use what was computed elsewhere; None for nobody.
            version: 9 or 10. Version 9 gets the logits after the last token.
            flash_attention: Whether the llama.cpp that reads it uses it.
            on_progress: Called with how many tokens are there, and how many there must be.
            may_replace: Whether it may take the place of another session.
            inputs: Files that it must never replace, since it was made from them.

        Raises:
            EngineError: there are too few tokens, too many for the context, or some that the model does not know.
            ResultFileError: it could not be written, or must not be.
        """
        session_group(self._model.state_shape)
        has_logits = version == _LOGITS_VERSION
        cells = token_ids if has_logits else token_ids[:-1]
        self._require_computable(token_ids, cells, version)
        reused, problems = self._restore(cells, owner)
        logits = self._compute(cells, needs_logits=has_logits, on_progress=on_progress)
        architecture, shape = self._model.info.architecture, self._model.state_shape
        next_token_id = None if has_logits else token_ids[-1]
        cell_ids = np.array(cells, np.uint32)
        head = SessionHead(version, architecture, shape, cell_ids, next_token_id, logits, flash_attention)
        write_llama_session(path, head, self._layers(), may_replace=may_replace, inputs=inputs)
        return WrittenSession(len(token_ids), len(cells), reused, problems)

    def _require_computable(self, token_ids: tuple[int, ...], cells: tuple[int, ...], version: int) -> None:
        """Raises EngineError where the model cannot compute the keys and values of a session of these tokens."""
        if len(cells) > self._model.context_size:
            raise EngineError(
                f"there are {len(cells)} tokens to read, but the context has room for {self._model.context_size}",
                f"Set a larger --ctx; the model allows {self._model.info.trained_context_size}.",
            )
        if not cells:
            needed = 1 if version == _LOGITS_VERSION else 2
            raise EngineError(f"a session of version {version} needs at least {needed} tokens, not {len(token_ids)}")
        if max(token_ids) >= self._model.vocab_size:
            raise EngineError(
                "there are tokens that this model does not know", "Use the model that the tokens belong to."
            )

    def _restore(self, token_ids: tuple[int, ...], owner: bytes | None) -> tuple[int, tuple[str, ...]]:
        self._sequence.rewind(0)
        if self._prompt_cache is None:
            return 0, ()
        outcome = self._prompt_cache.restore(self._sequence, token_ids, owner)
        return outcome.tokens, outcome.problems

    def _compute(
        self, token_ids: tuple[int, ...], *, needs_logits: bool, on_progress: Callable[[int, int], None]
    ) -> Logits | None:
        """Reads the tokens that the sequence lacks; returns the last one's logits where they are needed."""
        if needs_logits:
            self._sequence.rewind(min(len(self._sequence), len(token_ids) - 1))
        start, logits = len(self._sequence), None
        if start < len(token_ids):
            for done, logits in self._sequence.extend_in_chunks(token_ids[start:]):  # noqa: B007 - the last is kept
                on_progress(start + done, len(token_ids))
        return logits if needs_logits else None

    def _layers(self) -> Iterator[tuple[Plane, Plane]]:
        shape = self._model.state_shape
        for keys, values in shape.layers(session_group(shape), self._sequence.kv(0, 0, len(self._sequence))):
            yield np.ascontiguousarray(keys).view(np.float16), np.ascontiguousarray(values).view(np.float16)
