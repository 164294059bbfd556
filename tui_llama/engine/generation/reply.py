"""One reply from start to end: encode the prompt, reuse the cache, read the rest, then sample, decode and yield tokens.

This module does not know where chats are stored, who reads the answer, or how speculation saves time (`speculation`).
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TypeAlias

import numpy as np

from tui_llama.chat import StopReason, Usage
from tui_llama.engine.events import (
    Finished,
    GrammarProgress,
    Notice,
    PromptEncoded,
    PromptProgress,
    RereadCause,
    TextPiece,
    TokenProbability,
)
from tui_llama.engine.generation.answer_text import AnswerText
from tui_llama.engine.generation.grammar.answer_grammar import AnswerGrammar
from tui_llama.engine.generation.grammar.binding import bind_answer, compile_grammar
from tui_llama.engine.generation.grammar.compiled import CompiledGrammars, grammar_source
from tui_llama.engine.generation.loop_guard import LoopGuard
from tui_llama.engine.generation.probabilities import token_probability
from tui_llama.engine.generation.restore_points import RestorePoints
from tui_llama.engine.generation.samplers.chain import SamplerChain
from tui_llama.engine.generation.speculation import BatchCosts, Speculation
from tui_llama.engine.generation.thinking import Thinking
from tui_llama.engine.model.interface import LanguageModel
from tui_llama.engine.prompt_cache.cache import PromptCache
from tui_llama.engine.prompting.context_room import ContextRoom, read_in_chunks, room_in
from tui_llama.engine.prompting.conversation_prompt import (
    Prompt,
    check_that_it_fits,
    encode_continuation,
    restore_longest_prefix,
)
from tui_llama.engine.prompting.reply_start import encode_reply
from tui_llama.engine.prompting.reread_cause import why_answer_is_read_again, why_read_again
from tui_llama.engine.protocol import ReplyEvent
from tui_llama.engine.requests import CompleteRequest, ReplyRequest
from tui_llama.engine.templates.thinking.parter import Parts
from tui_llama.engine.token_sequence import Logits, TokenSequence

ShouldStop: TypeAlias = Callable[[], bool]


def never() -> bool:
    """Returns false: nobody wants anything."""
    return False


class Reply:
    """One reply: its request, the sequence it works on, and its cost so far.

    Args:
        model: The model that answers.
        sequence: What the model has read before. After the reply it holds the prompt and all of the answer but the last
            token.
        request: The messages to answer, or the text to continue.
        should_stop: Called before every token and every chunk of the prompt.
        costs: Costs of batches, learned further here.
        prompt_cache: Stores keys and values of this and other chats; None if nothing is stored.
        should_answer: Called before every token of a thought; true: close the thought, so that the text begins.
        grammars: The compiled grammars of the model; None: no other reply needs them.
    """

    def __init__(
        self,
        model: LanguageModel,
        sequence: TokenSequence,
        request: ReplyRequest | CompleteRequest,
        should_stop: ShouldStop,
        costs: BatchCosts,
        prompt_cache: PromptCache | None = None,
        should_answer: ShouldStop = never,
        grammars: CompiledGrammars | None = None,
    ) -> None:
        self._model = model
        self._sequence = sequence
        self._request = request
        self._turn = request.turn
        self._should_stop = should_stop
        self._prompt_cache = prompt_cache
        self._sampler = SamplerChain(request.sampling, model.vocab_size, model.tokenizer)
        self._batch_costs = costs
        self._cost = _Cost()
        self._loop_guard = LoopGuard(model.tokenizer.piece) if request.loop_guard else None
        self._text = AnswerText(model.tokenizer, request.stop_texts)
        self._thinking = Thinking(model.tokenizer, None, request.thinking_tokens, should_answer)
        self._grammars = grammars or CompiledGrammars(model.tokenizer)
        self._grammar_source = grammar_source(request)
        self._grammar: AnswerGrammar | None = None
        self._never_written = sorted(model.tokenizer.never_written)
        self._ends_to_ignore = sorted(model.tokenizer.end_of_generation) if request.ignore_eos else []
        self._room = ContextRoom(sequence, model.context_size)
        self._has_told_of_room = False
        self._answer_ids: tuple[int, ...] = ()
        self._restore_points = RestorePoints(prompt_cache, request.chat_id)

    def events(self) -> Iterator[ReplyEvent]:
        """Runs the reply and yields its events. With the last one, the sequence holds what is to be saved."""
        self._drop_moved_tokens()
        yield from self._compile_grammar()
        prompt = self._encode()
        check_that_it_fits(self._model, prompt.token_ids)
        self._room = self._room_for(len(prompt.token_ids))
        yield self._encoded(prompt)
        yield from map(Notice, self._model.chat_template.take_notices())
        yield from self._reuse_cache(prompt)
        self._forget_what_will_move()
        logits = yield from self._read(prompt.token_ids, self._why_read_again(prompt))
        reason = StopReason.STOPPED
        if logits is not None:
            self._sampler.accept_all(prompt.token_ids)
            draft_max, fitting = self._request.draft_max, None if self._grammar is None else self._grammar.draft
            ahead = Speculation(self._sequence, prompt.token_ids, draft_max, self._batch_costs, fitting)
            reason = yield from self._generate(logits, ahead)
        usage = self._usage()
        self._drop_moved_tokens()
        yield Finished(self._turn, reason, usage)

    # --- encode ---------------------------------------------------------------------------------------------

    def _encode(self) -> Prompt:
        request = self._request
        if isinstance(request, CompleteRequest):
            prompt = encode_continuation(self._model, request)
        else:
            prompt = encode_reply(self._model, request, request.messages)
        stop_texts, asked_ids = self._stop_texts(prompt.template_source), prompt.token_ids[: prompt.asked_tokens]
        form = self._model.chat_template.thinking.form if self._is_of_chat else None
        self._text = AnswerText(self._model.tokenizer, stop_texts, form, asked_ids)
        self._thinking.form = form
        if isinstance(request, CompleteRequest) and request.answer is not None:
            self._answer_ids = prompt.answer_ids
            self._text.go_on_after(prompt.answer_ids, request.answer, request.answer_thought)
            self._text.skip(prompt.token_ids[prompt.asked_tokens + len(prompt.answer_ids) :])
        else:
            self._text.skip(prompt.answer_ids)
        self._bind_to_grammar(prompt)
        return prompt

    def _compile_grammar(self) -> Iterator[GrammarProgress]:
        if self._grammar_source is not None:
            yield from compile_grammar(self._grammars, self._grammar_source, self._turn)

    def _bind_to_grammar(self, prompt: Prompt) -> None:
        if self._grammar_source is not None:
            asked = prompt.asked_tokens if self._is_of_chat else len(prompt.token_ids)
            before, given = prompt.token_ids[:asked], prompt.token_ids[asked:]
            self._grammar = bind_answer(
                self._grammars,
                self._grammar_source,
                self._model.tokenizer,
                self._thinking.form,
                self._request.thinking,
                before,
                given,
                self._request.free_marks,
            )

    def _encoded(self, prompt: Prompt) -> PromptEncoded:
        request = self._request
        if isinstance(request, CompleteRequest):
            is_answer_encoded = bool(request.messages) and request.answer is not None
        else:
            is_answer_encoded = bool(prompt.answer_ids)
        return PromptEncoded(
            self._turn,
            prompt.kept_tokens,
            tuple(prompt.token_ids[prompt.kept_tokens :]),
            prompt.left_out_messages,
            self._model.info.vocabulary,
            len(prompt.answer_ids) if is_answer_encoded else None,
        )

    # --- reuse cache ----------------------------------------------------------------------------------------

    def _reuse_cache(self, prompt: Prompt) -> Iterator[Notice]:
        """Restores the longest prefix of the prompt that memory or the prompt cache has.

        The last token is never part of it: it must be computed for its logits.
        """
        reusable, chat_id = prompt.token_ids[:-1], self._request.chat_id
        self._cost.reused_tokens, problems = restore_longest_prefix(
            self._sequence, self._prompt_cache, reusable, chat_id
        )
        for problem in problems:
            yield Notice(unused_state_notice(problem))

    def _why_read_again(self, prompt: Prompt) -> RereadCause | None:
        if isinstance(self._request, CompleteRequest):
            return why_answer_is_read_again(self._request, prompt, self._cost.reused_tokens)
        return why_read_again(self._model, self._request, prompt, self._cost.reused_tokens)

    # --- room in the context --------------------------------------------------------------------------------

    def _room_for(self, prompt_tokens: int) -> ContextRoom:
        model = self._model
        adds_bos = model.tokenizer.add_bos
        return room_in(self._sequence, model.context_size, self._request.overflow, prompt_tokens, adds_bos)

    def _make_room(self, ahead: Speculation) -> Iterator[Notice]:
        """Makes room for a token if there is none, and notifies the user the first time."""
        if self._room.left(len(ahead)) <= 0:
            yield from self._tell_of_room()  # first: compiling what makes room may take a moment
            ahead.make_room(self._room.make)

    def _tell_of_room(self) -> Iterator[Notice]:
        if not self._has_told_of_room:
            self._has_told_of_room = True
            yield Notice(self._room.notice)

    def _forget_what_will_move(self) -> None:
        """Drops reused tokens that would move, because reuse of a part of the prompt must not change the answer."""
        reused = self._sequence.rewindable(min(len(self._sequence), self._room.reusable_tokens))
        self._sequence.rewind(reused)
        self._cost.reused_tokens = reused

    def _drop_moved_tokens(self) -> None:
        """Drops moved tokens, which nobody may reuse: their keys are not those of a fresh reading."""
        self._sequence.rewind(self._sequence.exact_tokens)

    # --- read the prompt ------------------------------------------------------------------------------------

    def _read(
        self, token_ids: list[int], cause: RereadCause | None
    ) -> Generator[PromptProgress | Notice, None, Logits | None]:
        """Reads the tokens that the cache lacks; returns the last token's logits, or None if stopped before."""
        start, reused, total = perf_counter(), self._cost.reused_tokens, len(token_ids)
        yield PromptProgress(self._turn, reused, reused, total, cause)
        logits: Logits | None = None
        chunks = read_in_chunks(self._sequence, self._room, token_ids[reused:])
        while not self._should_stop() and (chunk := next(chunks, None)) is not None:
            self._cost.read_tokens, logits = chunk
            self._cost.read_seconds = perf_counter() - start
            yield PromptProgress(self._turn, reused, reused + self._cost.read_tokens, total, cause)
            yield from self._restore_points.pass_by(self._sequence, is_end=logits is not None)
        if self._sequence.exact_tokens < len(self._sequence):
            yield from self._tell_of_room()
        return logits

    # --- sample, decode, yield ------------------------------------------------------------------------------

    def _generate(self, logits: Logits, ahead: Speculation) -> Generator[TextPiece | Notice, None, StopReason]:
        """Yields one piece for each token; returns why the answer ended. The last token is not in the cache."""
        start = perf_counter()
        self._thinking.begin(self._text.is_thinking)
        last_piece = TextPiece(self._turn, "", ())
        reason = self._reason_not_to_begin() or self._reason_to_end(ahead)
        while reason is None:
            token_id = self._next_token(logits)
            probabilities = self._probabilities(logits, token_id)
            if token_id in self._model.tokenizer.end_of_generation:
                reason = StopReason.END_OF_GENERATION
                last_piece = TextPiece(self._turn, "", (token_id,), probabilities)
                break
            parts, found = self._text.push(token_id)
            if self._grammar is not None:
                self._grammar.accept(token_id, is_before_text=self._text.is_before_text)
            self._thinking.note(self._text.is_thinking)
            yield TextPiece(self._turn, parts.text, (token_id,), probabilities, parts.thought)
            reason = StopReason.STOP_TEXT if found else self._reason_to_end(ahead) or self._loop_reason(token_id)
            if reason is None:
                yield from self._make_room(ahead)
                logits = ahead.extend(token_id, self._readable_tokens(ahead) - 1)
        self._settle(ahead)
        self._cost.generate_seconds = perf_counter() - start
        if reason is not StopReason.STOP_TEXT:
            is_cut = reason is not StopReason.END_OF_GENERATION
            yield from self._rest(self._text.finish(is_cut=is_cut), last_piece)
        return reason

    def _stop_texts(self, template_source: str) -> tuple[str, ...]:
        """Returns the request's stop texts, and in a conversation those by which its template separates the roles."""
        if not self._is_of_chat:
            return self._request.stop_texts
        return (*self._request.stop_texts, *self._model.chat_template.stop_texts_of(template_source))

    @property
    def _is_of_chat(self) -> bool:
        """False for a text that is continued as it stands, without a chat."""
        return not isinstance(self._request, CompleteRequest) or self._request.answer is not None

    def _next_token(self, logits: Logits) -> int:
        """Returns the next token: one that closes the thought, if that is due, else a sampled one."""
        forced = self._thinking.forced_token(self._text.is_thinking)
        if forced is None:
            return self._sample(logits)
        self._sampler.accept(forced)
        self._cost.generated_tokens += 1
        return forced

    def _sample(self, logits: Logits) -> int:
        if self._grammar is not None:
            logits = self._grammar.masked(logits)
        token_id = self._sampler.sample(self._without_ruled_out(logits))
        self._sampler.accept(token_id)
        self._cost.generated_tokens += 1
        return token_id

    def _without_ruled_out(self, logits: Logits) -> Logits:
        """Returns the logits with -inf for what the model file or the request rules out; before the samplers."""
        must_end = self._grammar is not None and self._grammar.can_only_end
        ruled_out = self._never_written + ([] if must_end else self._ends_to_ignore)
        if ruled_out:
            logits = logits.copy()
            logits[ruled_out] = -np.inf
        return logits

    def _probabilities(self, logits: Logits, token_id: int) -> tuple[TokenProbability, ...]:
        """Returns the token's probability before sampling if the request asks for it; valid logits are needed."""
        alternatives = self._request.top_probabilities
        if alternatives is None:
            return ()
        return (token_probability(logits, token_id, alternatives, partial(self._model.tokenizer.piece, special=True)),)

    def _reason_not_to_begin(self) -> StopReason | None:
        """Returns a reason if a continued answer had already ended when it was cut off: its last token says so."""
        request = self._request
        if not isinstance(request, CompleteRequest) or request.answer is None or request.ignore_eos:
            return None
        is_whole = any(token_id in self._model.tokenizer.end_of_generation for token_id in self._answer_ids[-1:])
        return StopReason.END_OF_GENERATION if is_whole else None

    def _loop_reason(self, token_id: int) -> StopReason | None:
        """Returns a reason if the answer is in a loop; not where a grammar leaves the model no other way."""
        is_in_loop = self._loop_guard is not None and self._loop_guard.push(token_id)
        is_forced = is_in_loop and self._grammar is not None and self._grammar.is_forced
        return StopReason.LOOP if is_in_loop and not is_forced else None

    def _reason_to_end(self, ahead: Speculation) -> StopReason | None:
        if self._should_stop():
            return StopReason.STOPPED
        most = self._request.max_tokens
        if most is not None and self._cost.generated_tokens >= most:
            return StopReason.LENGTH
        if self._grammar is not None and self._grammar.can_only_end and not self._model.tokenizer.end_of_generation:
            return StopReason.END_OF_GENERATION
        has_room = self._room.left(len(ahead)) > 0 or self._room.can_be_made(len(ahead))
        return None if has_room else StopReason.CONTEXT_FULL

    def _readable_tokens(self, ahead: Speculation) -> int:
        """Returns how many more tokens may be read: no more than there is room for, and no more than were requested."""
        room = self._room.left(len(ahead))
        most = self._request.max_tokens
        return room if most is None else min(room, most - self._cost.generated_tokens)

    def _settle(self, ahead: Speculation) -> None:
        ahead.settle()
        self._cost.drafted_tokens, self._cost.accepted_tokens = ahead.drafted_tokens, ahead.accepted_tokens

    def _rest(self, parts: Parts, last_piece: TextPiece) -> Iterator[TextPiece]:
        """Yields the text that was held back for a whole character or stop text, and a token that has no text."""
        if parts.text or parts.thought:
            yield TextPiece(self._turn, parts.text, (), thought=parts.thought)
        if last_piece.token_ids:
            yield last_piece

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
            drafted_tokens=cost.drafted_tokens,
            accepted_tokens=cost.accepted_tokens,
            thought_tokens=self._thinking.tokens,
            thought_seconds=self._thinking.seconds,
            is_incomplete=self._grammar is not None and not self._grammar.is_complete,
        )


@dataclass(slots=True)
class _Cost:
    reused_tokens: int = 0
    read_tokens: int = 0
    generated_tokens: int = 0
    read_seconds: float = 0.0
    generate_seconds: float = 0.0
    drafted_tokens: int = 0
    accepted_tokens: int = 0


def unused_state_notice(problem: str) -> str:
    """Returns one line for the user about a stored state that could not be used."""
    return f"A stored prompt could not be used in full: {problem}. The rest is read again."
