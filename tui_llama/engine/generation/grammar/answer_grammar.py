"""The grammar of one answer while its tokens come: which of them may be next, and whether the answer is complete.

A grammar binds the text of an answer and not the thought before it: a thought is not part of what is used later, and a
model that may think freely answers better. So at the beginning the mark of a thought is allowed beside what the grammar
allows. A thought is free, but the answer cannot end in it. Behind it, the white space of the model's template may come
first, which is no part of the text either.

A text that begins with a mark of the request's, such as that of a tool call, is free as a whole: the model writes calls
in a form of its own. While nothing of the text is there, the first token of such a mark is allowed, too, unless the
grammar could go on with it; the rest of the mark must follow.
"""

import re
from collections import deque
from collections.abc import Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tui_llama.engine.generation.grammar.compiled import grammar_failure, is_mismatch
from tui_llama.engine.templates.thinking.forms import HARMONY_CHANNEL, ThoughtForm
from tui_llama.engine.token_sequence import Logits
from tui_llama.engine.tokenizer.tokenizer import Tokenizer
from tui_llama.errors import EngineError

if TYPE_CHECKING:
    from llguidance import LLMatcher


class _Part(Enum):
    BEGINNING = auto()
    OPENING = auto()
    THOUGHT = auto()
    GAP = auto()
    TEXT = auto()
    MARK = auto()
    FREE = auto()


class AnswerGrammar:
    """Binds one answer.

    Args:
        matcher: The compiled grammar at its start.
        token_count: The number of tokens that a mask covers.
        tokenizer: The model's.
        form: How the model writes thoughts; None: it writes none.
        may_think: Whether it may begin a thought.
        free_marks: The texts with one of which the answer may begin and is then free.
    """

    def __init__(
        self,
        matcher: "LLMatcher",
        token_count: int,
        tokenizer: Tokenizer,
        form: ThoughtForm | None,
        *,
        may_think: bool,
        free_marks: Sequence[str] = (),
    ) -> None:
        self._matcher = matcher
        self._tokenizer = tokenizer
        self._ends = sorted(tokenizer.end_of_generation)
        self._bits = np.zeros((token_count + 31) // 32, np.uint32)
        self._has_channels = form is not None and form.has_channels
        self._opening = self._opening_tokens(form, may_think=may_think)
        self._gap = self._gap_tokens(form)
        self._not_in_thoughts = sorted(tokenizer.end_of_generation | self._closing_with_text(form))
        self._marks = [tokens for mark in free_marks if (tokens := self._mark_tokens(mark))]
        self._part = _Part.TEXT

    def begin(self, *, is_thinking: bool, is_before_text: bool) -> None:
        """Notes where the answer begins: within a thought that the prompt has opened, before the text, or with it."""
        if is_before_text:
            self._part = _Part.THOUGHT if is_thinking else _Part.BEGINNING

    @property
    def is_complete(self) -> bool:
        """True if the grammar accepts the text so far."""
        if self._part in (_Part.OPENING, _Part.THOUGHT, _Part.MARK):
            return False
        return self._part is _Part.FREE or self._matcher.is_accepting()

    @property
    def can_only_end(self) -> bool:
        """True if the text is complete and nothing may follow it."""
        return self._is_bound and self._matcher.is_accepting() and self._matcher.is_stopped()

    @property
    def is_forced(self) -> bool:
        """True if the grammar allows a single continuation, or only the end, so that the model has no choice."""
        return self.can_only_end or (self._is_bound and bool(self._matcher.compute_ff_bytes()))

    def masked(self, logits: Logits) -> Logits:
        """Returns the logits with -inf for every token that may not be next.

        Args:
            logits: (vocab,) float32, not changed.

        Raises:
            EngineError: no token may be next, or it takes too much to find out.
        """
        if self._part is _Part.FREE:
            return logits
        if self._part is _Part.MARK:
            return _only(logits, *(mark[0] for mark in self._marks))
        if self._part is _Part.OPENING:
            return _only(logits, self._opening[0])
        if self._part is _Part.THOUGHT:
            free = logits.copy()
            free[self._not_in_thoughts] = -np.inf
            return free
        if self._part is _Part.BEGINNING and self._opening:
            if self._has_channels:
                return _only(logits, self._opening[0])
            allowed = self._allowed(len(logits))
            allowed[self._opening[0]] = True
        else:
            allowed = self._allowed(len(logits))
        if self._part is _Part.GAP and self._gap:
            allowed[self._gap[0]] = True
        allowed[[mark[0] for mark in self._marks]] = True
        masked = np.full_like(logits, -np.inf)
        np.copyto(masked, logits, where=allowed)
        return masked

    def accept(self, token_id: int, *, is_before_text: bool) -> None:
        """Takes the next token of the answer.

        Args:
            token_id: The token; not one that ends the answer.
            is_before_text: Whether the answer is in a thought behind it, or may be.

        Raises:
            EngineError: the grammar does not allow the token, or it takes too much to go on.
        """
        if self._part is _Part.BEGINNING and self._opening and token_id == self._opening[0]:
            self._part = _Part.OPENING
        if self._part is _Part.OPENING:
            self._opening.popleft()
            self._part = _Part.OPENING if self._opening else _Part.THOUGHT
        elif self._part is _Part.THOUGHT:
            self._part = _Part.THOUGHT if is_before_text else _Part.GAP
        elif self._part is not _Part.FREE and any(mark[0] == token_id for mark in self._marks):
            self._marks = [mark[1:] for mark in self._marks if mark[0] == token_id]
            self._part = _Part.MARK if all(self._marks) else _Part.FREE
        elif self._part is _Part.FREE:
            return
        elif self._part is not _Part.GAP or not self._is_gap(token_id):
            self._part, self._marks = _Part.TEXT, []
            self._consume(token_id)

    def draft(self, guesses: list[int], most: int) -> list[int]:
        """Returns what to compute ahead: the only continuation that is allowed, else the guesses that are.

        Args:
            guesses: Tokens that may come next; they are kept up to the first that the grammar forbids.
            most: The most tokens to return.
        """
        if not self._is_bound:
            return guesses
        return self._matcher.compute_ff_tokens()[:most] or guesses[: self._matcher.validate_tokens(guesses)]

    @property
    def _is_bound(self) -> bool:
        """True if the next token must be one of the text."""
        if self._marks:
            return False
        match self._part:
            case _Part.BEGINNING:
                return not self._opening
            case _Part.GAP:
                return not self._gap
        return self._part is _Part.TEXT

    def _allowed(self, logit_count: int) -> NDArray[np.bool_]:
        self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        if self._matcher.is_error():
            raise grammar_failure(self._matcher)
        if not self._bits.any():
            raise EngineError("no token of this model goes on as the grammar wants", "Use another grammar or model.")
        bits = np.unpackbits(self._bits.view(np.uint8), count=logit_count, bitorder="little")
        allowed: NDArray[np.bool_] = bits.view(np.bool_)
        return allowed

    def _is_gap(self, token_id: int) -> bool:
        """Tells whether a token behind a thought is still the white space of the template."""
        if self._gap and token_id == self._gap[0]:
            self._gap.popleft()
            return True
        return self._tokenizer.piece(token_id).isspace() and not self._matcher.validate_tokens([token_id])

    def _consume(self, token_id: int) -> None:
        if not self._matcher.consume_token(token_id):
            if not is_mismatch(self._matcher):
                raise grammar_failure(self._matcher)
            shown = self._tokenizer.piece(token_id, special=True).decode(errors="replace")
            raise EngineError(
                f"the answer so far does not fit its grammar, at “{shown}”",
                "Ask for a new answer, or without a grammar.",
            )

    def _opening_tokens(self, form: ThoughtForm | None, *, may_think: bool) -> deque[int]:
        """Returns the tokens that begin a thought, or the header of the text where an answer has channels."""
        if form is None or not (may_think or form.has_channels):
            return deque()
        opening = self._tokens(HARMONY_CHANNEL if form.has_channels else form.opening)
        is_text = self._matcher.validate_tokens(opening[:1]) > 0
        return deque() if is_text else deque(opening)

    def _mark_tokens(self, mark: str) -> list[int]:
        """Returns the tokens of a mark; none if the text that the grammar wants may begin with its first one."""
        tokens = self._tokens(mark)
        return [] if self._matcher.validate_tokens(tokens[:1]) else tokens

    def _gap_tokens(self, form: ThoughtForm | None) -> deque[int]:
        """Returns the white space that the template writes between a thought and the text."""
        between = "" if form is None or form.has_channels else form.between.partition(form.closing)[2]
        return deque(self._tokens(between if between.isspace() else ""))

    def _closing_with_text(self, form: ThoughtForm | None) -> frozenset[int]:
        """Returns tokens that could end a thought and begin the text at once, so that nobody had looked at the text.

        There are none where the mark that ends a thought is a token of its own.
        """
        if form is None or form.has_channels or self._tokenizer.special_spans(form.closing):
            return frozenset()
        both = re.compile(re.escape(form.closing[-1:].encode()) + rb"\s*\S")
        return frozenset(token_id for token_id, piece in enumerate(self._tokenizer.pieces()) if both.search(piece))

    def _tokens(self, text: str) -> list[int]:
        return self._tokenizer.tokenize(text, parse_special=True, continues=True) if text else []


def _only(logits: Logits, *token_ids: int) -> Logits:
    masked = np.full_like(logits, -np.inf)
    masked[[*token_ids]] = logits[[*token_ids]]
    return masked
