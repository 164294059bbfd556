"""Turns a rendered conversation into tokens, and keeps tokens that were generated or tokenized before.

The ledger holds every token that this branch of the chat has fed to the model. The prefix of the ledger that agrees
with the rendered text is kept; only the rest of the text is tokenized. So a generated answer keeps its tokens, though
tokenizing its text might give others, and the keys and values computed for them stay valid. The prefix is also kept
where the template writes a blank before an answer that the model did not generate.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tui_llama.engine.templates.rendered_prompt import RenderedPrompt
from tui_llama.engine.tokenizer.plain_spans import PlainSpans
from tui_llama.engine.tokenizer.tokenizer import Span, Tokenizer, valid_unicode

_WHITE_SPACE = b" \t\n\v\f\r"


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """The prompt: the first `kept_tokens` of the ledger, then `token_ids`; a template of `source` has written it."""

    kept_tokens: int
    token_ids: list[int]
    source: str = field(default="", compare=False)


def encode_prompt(
    tokenizer: Tokenizer, rendered: str, ledger: Sequence[int], user_texts: Sequence[str] = ()
) -> EncodedPrompt:
    """Encodes a rendered conversation as tokens.

    Args:
        tokenizer: The model's.
        rendered: The text, without the beginning of sequence that the tokenizer adds; best a `RenderedPrompt`.
        ledger: The tokens fed to the model before, in order; may be empty or of another branch.
        user_texts: Texts that the user wrote, in order. Anything in them that looks like a control token is text. They
            are searched for only if `rendered` does not know where they are.
    """
    known = rendered if isinstance(rendered, RenderedPrompt) else RenderedPrompt(rendered)
    spans = known.user_spans
    if spans is None:
        spans = _find_texts(rendered, user_texts)
    valid = valid_unicode(str(rendered))
    text = _PromptText(valid, spans, tokenizer.special_spans(valid, spans), known.answer_blanks)
    matcher = _LedgerMatcher(tokenizer, text, ledger)
    kept, covered = matcher.match()
    rest, rest_spans = text.after(covered)
    ids = [tokenizer.bos_id] if not kept and tokenizer.add_bos and tokenizer.bos_id is not None else []
    continues = kept > 0 and not tokenizer.is_special(ledger[kept - 1])
    ids += tokenizer.tokenize(rest, parse_special=True, continues=continues, plain_spans=rest_spans)
    return EncodedPrompt(kept, ids, known.source)


class _PromptText:
    """Rendered text as bytes, with the places of the user's texts, of special tokens and of blanks before answers."""

    def __init__(
        self, text: str, user_spans: Sequence[Span], special_spans: Sequence[Span], answer_blanks: Sequence[Span]
    ) -> None:
        self.data = text.encode()
        self._text = text
        self._spans = user_spans
        self._user_bytes = PlainSpans(self._to_bytes(user_spans))
        self._special_bytes = self._to_bytes(special_spans)
        self._blank_bytes = frozenset(byte for span in self._to_bytes(answer_blanks) for byte in range(*span))

    def start_of(self, piece: bytes, place: int) -> int | None:
        """Returns where the next token's bytes begin: at `place`, or after an answer's blank there; else None."""
        while not self.data.startswith(piece, place):
            if place not in self._blank_bytes:
                return None
            place += 1
        return place

    def is_by_user(self, start: int, end: int) -> bool:
        """Tells whether the user wrote any of the bytes from `start` to before `end`."""
        return self._user_bytes.touches(start, end)

    def can_be_cut(self, place: int) -> bool:
        """Tells whether the text can be cut at byte `place`: between characters, not inside a special token."""
        inside_character = place < len(self.data) and self.data[place] & 0xC0 == 0x80
        return not inside_character and not any(start < place < end for start, end in self._special_bytes)

    def after(self, place: int) -> tuple[str, list[Span]]:
        """Returns the text from byte `place` on, and the user's parts of it."""
        start = len(self.data[:place].decode())
        spans = [(max(first, start) - start, last - start) for first, last in self._spans if last > start]
        return self._text[start:], spans

    def _to_bytes(self, spans: Sequence[Span]) -> list[Span]:
        """Converts spans from characters to bytes; they must be in order."""
        byte_spans, byte_place, place = [], 0, 0
        for start, end in spans:
            first = byte_place + len(self._text[place:start].encode())
            byte_place, place = first + len(self._text[start:end].encode()), end
            byte_spans.append((first, byte_place))
        return byte_spans


class _LedgerMatcher:
    """Finds how many tokens of the ledger agree with the beginning of the text."""

    def __init__(self, tokenizer: Tokenizer, text: _PromptText, ledger: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._text = text
        self._ledger = ledger
        self._ends: list[int] = []  # where each kept token ends in the text

    def match(self) -> tuple[int, int]:
        """Returns the number of tokens to keep, and the bytes of the text that they cover."""
        begins_with_bos = self._tokenizer.add_bos
        if begins_with_bos and (not self._ledger or self._ledger[0] != self._tokenizer.bos_id):
            return 0, 0
        if begins_with_bos:
            self._ends.append(0)
        while self._match_special() or self._match_run():
            pass
        while self._ends and not self._text.can_be_cut(self._ends[-1]):
            self._ends.pop()
        return len(self._ends), self._ends[-1] if self._ends else 0

    def _place(self) -> int:
        return self._ends[-1] if self._ends else 0

    def _match_special(self) -> bool:
        """Keeps the next token if it is a special one and the template wrote its text here."""
        kept, place = len(self._ends), self._place()
        if kept >= len(self._ledger) or not self._tokenizer.is_special(self._ledger[kept]):
            return False
        token_id = self._ledger[kept]
        piece = self._tokenizer.piece(token_id, special=True)
        end = place + len(piece)
        if not piece or not self._text.data.startswith(piece, place) or self._is_forged(token_id, place, end):
            return False
        if self._tokenizer.swallows_after(token_id):
            end = len(self._text.data) - len(self._text.data[end:].lstrip(_WHITE_SPACE))
        self._ends.append(end)
        return True

    def _is_forged(self, token_id: int, start: int, end: int) -> bool:
        """Tells whether a control token stands at a place where the user only wrote its text."""
        is_control = not self._tokenizer.piece(token_id)
        return is_control and self._text.is_by_user(start, end)

    def _match_run(self) -> bool:
        """Keeps tokens up to the next special one, as far as they agree with the text."""
        run = self._run_ends(skips_space=False)
        if self._tokenizer.add_space_prefix and self._follows_special():
            without_space = self._run_ends(skips_space=True)
            run = max(without_space, run, key=len)
        self._ends += run
        return bool(run)

    def _follows_special(self) -> bool:
        kept = len(self._ends)
        return kept == 0 or self._tokenizer.is_special(self._ledger[kept - 1])

    def _run_ends(self, skips_space: bool) -> list[int]:
        """Returns where the tokens of a run end; `skips_space` if tokenizing added the run's first space."""
        place = self._place()
        ends: list[int] = []
        for token_id in self._ledger[len(self._ends) :]:
            if self._tokenizer.is_special(token_id):
                break
            piece = self._tokenizer.piece(token_id)
            if skips_space and not ends:
                if not piece.startswith(b" "):
                    break
                piece = piece[1:]
            start = self._text.start_of(piece, place)
            if start is None:
                break
            place = start + len(piece)
            ends.append(place)
        return ends


def _find_texts(rendered: str, texts: Sequence[str]) -> tuple[Span, ...]:
    """Finds the texts in `rendered`, in order; templates may have removed white space from their ends."""
    spans, start = [], 0
    for text in texts:
        place = rendered.find(text.strip(), start)
        if place >= 0 and text.strip():
            start = place + len(text.strip())
            spans.append((place, start))
    return tuple(spans)
