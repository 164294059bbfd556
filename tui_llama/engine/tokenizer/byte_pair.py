"""Byte-pair tokenizing (BPE): merges by rank within words, on Hugging Face's `tokenizers` package.

The package drops what llama.cpp would drop only if its vocabulary is complete, so symbols that merges
mention and the vocabulary lacks get ids beyond the vocabulary's end; they are translated after encoding and
never leave this module.
"""

import re
from collections.abc import Iterable
from typing import TypeAlias

from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from tui_llama.engine.gguf_file import GgufFile
from tui_llama.engine.tokenizer.score_based import SPACE, byte_of
from tui_llama.engine.tokenizer.splitting_rules import SplittingRule, oniguruma_pattern
from tui_llama.engine.tokenizer.vocabulary import TokenKind, Vocabulary, VocabularyDefaults
from tui_llama.errors import EngineError

Merges: TypeAlias = list[tuple[str, str]]

MAX_CHARACTERS = 1 << 22  # Oniguruma gives up, and the package with it, after 10 million steps back in one match
_NEWLINE_RUNS = re.compile(r"\n+|[^\n]+")
_DEFAULT_ID = 11  # GPT-2's, in the vocabularies that the format was first made for


def byte_pair_defaults(rule: SplittingRule) -> VocabularyDefaults:
    """What a byte-pair vocabulary assumes where the metadata is silent."""
    return VocabularyDefaults(
        bos_id=_DEFAULT_ID if rule.has_bos else None,
        eos_id=_DEFAULT_ID,
        unknown_id=None,
        add_bos=rule.add_bos,
        always_bos=rule.always_bos,
        add_space_prefix=False,
    )


def _byte_alphabet() -> list[str]:
    """GPT-2's character for each byte: printable Latin-1 stands for itself, the rest is U+0100 and up."""
    itself = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in itself else next(others)) for byte in range(256)]


BYTE_ALPHABET = _byte_alphabet()
_BYTE_OF_CHARACTER = {character: byte for byte, character in enumerate(BYTE_ALPHABET)}


class BytePairEncoder:
    """Cuts text that holds no special tokens into token ids."""

    def __init__(self, file: GgufFile, vocabulary: Vocabulary, rule: SplittingRule) -> None:
        self._vocabulary = vocabulary
        self._rule = rule
        model, self._stand_ins = _open_model(file, vocabulary.ids, rule)
        self._tokenizer = Tokenizer(model)
        self._tokenizer.pre_tokenizer = _pre_tokenizer(rule)

    def encode(self, text: str) -> list[int]:
        """The tokens of `text`.

        Raises:
            EngineError: the text is longer than the splitting engine can take.
        """
        if len(text) > MAX_CHARACTERS:
            raise EngineError("The text is too long to be cut into tokens", "Give it in smaller parts.")
        if self._rule.escapes_spaces:
            text = text.replace(" ", SPACE)
        if self._rule.whole_newline_runs:
            return [token_id for run in _NEWLINE_RUNS.findall(text) for token_id in self._encode_run(run)]
        return self._encode(text)

    def piece(self, token_id: int) -> bytes:
        """The bytes that a normal or byte token stands for."""
        text = self._vocabulary.texts[token_id]
        if self._rule.has_byte_alphabet:
            return _bytes_of(text)
        if self._vocabulary.kind(token_id) is TokenKind.BYTE:
            return byte_of(text)
        return (text.replace(SPACE, " ") if self._rule.escapes_spaces else text).encode()

    def _encode_run(self, run: str) -> list[int]:
        token_id = self._vocabulary.ids.get(run) if run[0] == "\n" else None
        return self._encode(run) if token_id is None else [token_id]

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        if not self._stand_ins:
            return ids
        return [real_id for token_id in ids for real_id in self._stand_ins.get(token_id, (token_id,))]


def _open_model(
    file: GgufFile, ids: dict[str, int], rule: SplittingRule
) -> tuple[models.BPE, dict[int, tuple[int, ...]]]:
    """The package's model, and what to put for each of its ids beyond the end of the vocabulary.

    Looking for symbols that only the merges know takes time, so it is done only when the package refuses
    them.
    """
    merges = _read_merges(file)
    known_symbols = BYTE_ALPHABET if rule.has_byte_alphabet else []
    try:
        return _model_with_stand_ins(ids, merges, known_symbols, rule)
    except Exception:  # the package raises nothing narrower
        merged_symbols = {symbol for first, second in merges for symbol in (first, second, first + second)}
    try:
        return _model_with_stand_ins(ids, merges, {*known_symbols, *merged_symbols}, rule)
    except Exception as error:
        raise file.refuse(f"its merges cannot be used ({error})") from error


def _model_with_stand_ins(
    ids: dict[str, int], merges: Merges, symbols: Iterable[str], rule: SplittingRule
) -> tuple[models.BPE, dict[int, tuple[int, ...]]]:
    missing = {symbol: len(ids) + index for index, symbol in enumerate(sorted(set(symbols) - ids.keys()))}
    model = models.BPE(
        ids | missing if missing else ids,
        merges,
        ignore_merges=rule.ignore_merges,
        byte_fallback=not rule.has_byte_alphabet,
    )
    return model, {stand_in: _tokens_of_bytes(symbol, ids) for symbol, stand_in in missing.items()}


def _tokens_of_bytes(symbol: str, ids: dict[str, int]) -> tuple[int, ...]:
    """What becomes of a symbol without a token: the tokens of its single bytes, as far as there are any."""
    return tuple(ids[character] for character in symbol if character.isascii() and character in ids)


def _read_merges(file: GgufFile) -> list[tuple[str, str]]:
    """The merges by rank; a pair that is listed twice keeps the first of its ranks."""
    lines = file.get_strings("tokenizer.ggml.merges")
    joined = lines.joined(ord("\n"))
    if joined.count(b" ") == len(lines) and joined.count(b"\n") == len(lines) - 1:
        symbols = iter(joined.replace(b" ", b"\n").decode("utf-8", "replace").split("\n"))
        merges = list(zip(symbols, symbols, strict=True))
    else:
        merges = [_split_merge(file, line) for line in lines]
    return merges if len(set(merges)) == len(merges) else list(dict.fromkeys(merges))


def _split_merge(file: GgufFile, line: str) -> tuple[str, str]:
    """Cuts at the first space that is not the line's first character: the first symbol may begin with one."""
    space = line.find(" ", 1)
    if space < 0:
        raise file.refuse(f"tokenizer.ggml.merges has the line {line[:40]!r}, which is no pair")
    return line[:space], line[space + 1 :]


def _pre_tokenizer(rule: SplittingRule) -> pre_tokenizers.PreTokenizer:
    steps: list[pre_tokenizers.PreTokenizer] = [
        pre_tokenizers.Split(Regex(oniguruma_pattern(pattern)), behavior="isolated") for pattern in rule.patterns
    ]
    if rule.has_byte_alphabet:
        steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    return pre_tokenizers.Sequence(steps)


def _bytes_of(text: str) -> bytes:
    """The bytes behind a token's text; characters outside of the alphabet are spelled as llama.cpp does."""
    try:
        return bytes([_BYTE_OF_CHARACTER[character] for character in text])
    except KeyError:
        return b"".join(_spelled_byte(character, text) for character in text)


def _spelled_byte(character: str, text: str) -> bytes:
    byte = _BYTE_OF_CHARACTER.get(character)
    return bytes([byte]) if byte is not None else f"[UNK_BYTE_0x{character.encode().hex()}{text}]".encode()
