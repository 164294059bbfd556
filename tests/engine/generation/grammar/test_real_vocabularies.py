"""The masks over real vocabularies, with byte tokens, parts of characters and special tokens."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from tui_llama.chat import Thinking
from tui_llama.engine.generation.grammar.binding import bind_answer, compile_grammar
from tui_llama.engine.generation.grammar.compiled import CompiledGrammars, GrammarKind, GrammarSource
from tui_llama.engine.tokenizer.tokenizer import Tokenizer, open_tokenizer

SIGNS: Final = "abcdefghijklmnopqrstuvwxyz <|>_äß€😀"
WORDS: Final = GrammarSource(GrammarKind.GBNF, f"root ::= [{SIGNS}]*")


def may_go_on(text: bytes) -> bool:
    """Tells whether a text, which may end inside a character, can become one of the signs."""
    whole = text.decode(errors="ignore")
    rest = text[len(whole.encode()) :]
    return set(whole) <= set(SIGNS) and whole.encode() + rest == text and any(_begins(sign, rest) for sign in SIGNS)


def _begins(sign: str, rest: bytes) -> bool:
    return len(rest) < len(sign.encode()) and sign.encode().startswith(rest)


def is_text(tokenizer: Tokenizer, token_id: int) -> bool:
    piece = tokenizer.piece(token_id)
    is_mark = tokenizer.is_special(token_id) and piece.startswith(b"<") and piece.endswith(b">")
    return bool(piece) and not is_mark


def expected(tokenizer: Tokenizer, pieces: Sequence[bytes], written: bytes) -> set[int]:
    """The tokens that may follow, each looked at by itself."""
    texts = {token_id for token_id, piece in enumerate(pieces) if may_go_on(written + piece)}
    ends = tokenizer.end_of_generation if set(written.decode(errors="replace")) <= set(SIGNS) else set()
    return {token_id for token_id in texts if is_text(tokenizer, token_id)} | set(ends)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["llama-spm", "llama-bpe", "phi-3"])
def test_exactly_the_tokens_whose_bytes_fit_may_come_next(shared_folder: Path, name: str) -> None:
    tokenizer = open_tokenizer(shared_folder / "data" / "vocab" / f"ggml-vocab-{name}.gguf")
    pieces = [tokenizer.piece(token_id) for token_id in range(tokenizer.vocab_size)]
    grammars = CompiledGrammars(tokenizer)
    assert len(list(compile_grammar(grammars, WORDS, 1))) == 3
    bound = bind_answer(grammars, WORDS, tokenizer, None, Thinking.DEFAULT, (), ())
    logits, written = np.zeros(tokenizer.vocab_size, np.float32), b""
    for token_id in tokenizer.tokenize("<|end|> ein paar wörter 😀"):
        if not is_text(tokenizer, token_id):
            continue
        allowed = set(np.flatnonzero(np.isfinite(bound.masked(logits))).tolist())
        if written[-1:] >= b"\x80" or not written:
            assert allowed == expected(tokenizer, pieces, written)
        if token_id in allowed:
            bound.accept(token_id, is_before_text=False)
            written += pieces[token_id]
    assert "ö".encode()[:1] not in written and "😀".encode() in written
