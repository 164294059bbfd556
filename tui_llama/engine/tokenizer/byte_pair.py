"""Byte-pair tokenizing (BPE): merges by rank within words.

The `tokenizers` package splits the text into words; the compiled code of merging.py merges them. Merges may name
symbols that the vocabulary lacks. Such symbols get ids beyond the vocabulary's end; they are translated after merging
and never leave this module.
"""

import codecs
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from tokenizers import Regex, pre_tokenizers

from tui_llama.engine.gguf.file import GgufFile
from tui_llama.engine.layouts.byte_pair_merge import NO_TOKEN
from tui_llama.engine.tokenizer.merging import Merger, TextTable
from tui_llama.engine.tokenizer.splitting_rules import SplittingRule, oniguruma_pattern
from tui_llama.engine.tokenizer.vocabulary import (
    SPACE,
    TokenKind,
    Vocabulary,
    VocabularyDefaults,
    byte_of,
    byte_text,
    text_bytes,
)
from tui_llama.errors import EngineError

# after 10 million steps of backtracking in one match, Oniguruma fails, and the package with it
MAX_CHARACTERS = 1 << 22
_NEWLINE_RUNS = re.compile(r"\n+|[^\n]+")
_DEFAULT_ID = 11  # GPT-2's, whose vocabularies the format was first made for


def byte_pair_defaults(rule: SplittingRule) -> VocabularyDefaults:
    """Returns the values that a byte-pair vocabulary assumes where the metadata is silent."""
    return VocabularyDefaults(
        bos_id=_DEFAULT_ID if rule.has_bos else None,
        eos_id=_DEFAULT_ID,
        unknown_id=None,
        add_bos=rule.add_bos,
        always_bos=rule.always_bos,
        add_space_prefix=False,
    )


def _byte_alphabet() -> list[str]:
    """Returns GPT-2's character for each byte: printable Latin-1 stands for itself, others are U+0100 and up."""
    itself = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in itself else next(others)) for byte in range(256)]


BYTE_ALPHABET = _byte_alphabet()
_BYTE_OF_CODE_POINT = {ord(character): byte for byte, character in enumerate(BYTE_ALPHABET)}


class BytePairEncoder:
    """Encoder for text without special tokens."""

    def __init__(self, file: GgufFile, vocabulary: Vocabulary, rule: SplittingRule) -> None:
        self._vocabulary = vocabulary
        self._rule = rule
        self._splitter = _pre_tokenizer(rule)
        self._merger = _Merger(file, vocabulary, rule)
        self.notices = self._merger.notices

    def encode(self, text: str) -> list[int]:
        """Returns the tokens of `text`.

        Raises:
            EngineError: the text is longer than the splitting engine can take.
        """
        if len(text) > MAX_CHARACTERS:
            raise EngineError("The text is too long to be tokenised", "Split it into smaller parts.")
        if self._rule.escapes_spaces:
            text = text.replace(" ", SPACE)
        if self._rule.whole_newline_runs:
            return [token_id for run in _NEWLINE_RUNS.findall(text) for token_id in self._encode_run(run)]
        return self._encode(text)

    def piece(self, token_id: int) -> bytes:
        """Returns the bytes of a normal or byte token."""
        text = self._vocabulary.texts[token_id]
        if self._rule.has_byte_alphabet:
            return _bytes_of(text)
        if int(self._vocabulary.kinds[token_id]) == TokenKind.BYTE:
            return byte_of(text)
        return text_bytes(text.replace(SPACE, " ") if self._rule.escapes_spaces else text)

    def _encode_run(self, run: str) -> list[int]:
        token_id = self._vocabulary.ids.get(run) if run[0] == "\n" else None
        return self._encode(run) if token_id is None else [token_id]

    def _encode(self, text: str) -> list[int]:
        return self._merger.tokens([word.encode() for word, _ in self._splitter.pre_tokenize_str(text)])


class _Merger:
    """Turns words into tokens, by the merges of the file."""

    def __init__(self, file: GgufFile, vocabulary: Vocabulary, rule: SplittingRule) -> None:
        table = TextTable(*file.get_strings("tokenizer.ggml.tokens").bounds())
        merges, self._stand_ins, self.notices = _read_merges(file, vocabulary, table)
        texts = [] if rule.has_byte_alphabet else [byte_text(byte) for byte in range(256)]
        bytes_as_tokens = np.array([vocabulary.ids.get(text, NO_TOKEN) for text in texts], np.int32)
        self._merger = Merger(table, merges, bytes_as_tokens, rule.ignore_merges)

    def tokens(self, words: Sequence[bytes]) -> list[int]:
        ids: list[int] = self._merger.merge(words).tolist()
        if ids and (min(ids) < 0 or self._stand_ins):
            return [real_id for token_id in ids for real_id in self._stand_ins.get(token_id, (token_id,))]
        return ids


def _read_merges(
    file: GgufFile, vocabulary: Vocabulary, texts: TextTable
) -> tuple[npt.NDArray[np.int32], dict[int, tuple[int, ...]], tuple[str, ...]]:
    """Reads the merges, and finds a replacement for each symbol that is not a token.

    Returns:
        (merges, 3) int32 by rank, two symbols and the merged symbol; the tokens for each id that is not in the
        vocabulary; and notices for the user.
    """
    lines = file.get_strings("tokenizer.ggml.merges")
    content, starts, ends = lines.bounds()
    merges, sound_lines = texts.read_merges(content, starts, ends)
    pairs: Sequence[int] = range(len(lines))
    notices: tuple[str, ...] = ()
    if sound_lines < len(lines):
        pairs = [index for index, line in enumerate(lines.raw_list()) if b" " in line[1:]]
        merges, _ = texts.read_merges(content, starts[pairs], ends[pairs])
        notices = (f"tokenizer.ggml.merges has {len(lines) - len(pairs)} lines that are not pairs; they are ignored.",)
    ids = vocabulary.ids
    new_ids: dict[str, int] = {}
    for rank in np.flatnonzero((merges < 0).any(axis=1)).tolist():
        line = lines[pairs[rank]]
        space = line.index(" ", 1)
        first, second = line[:space], line[space + 1 :]
        for column, symbol in enumerate((first, second, first + second)):
            if merges[rank, column] < 0:
                merges[rank, column] = new_ids.setdefault(symbol, len(ids) + len(new_ids))
    stand_ins = {new_id: _tokens_of_bytes(symbol, ids) for symbol, new_id in new_ids.items()}
    return merges, {NO_TOKEN: (), **stand_ins}, notices


def _tokens_of_bytes(symbol: str, ids: dict[str, int]) -> tuple[int, ...]:
    """Returns the replacement of a symbol that is not a token: the tokens of its ASCII characters that are tokens."""
    return tuple(ids[character] for character in symbol if character.isascii() and character in ids)


def _pre_tokenizer(rule: SplittingRule) -> pre_tokenizers.PreTokenizer:
    steps: list[pre_tokenizers.PreTokenizer] = [
        pre_tokenizers.Split(Regex(oniguruma_pattern(pattern)), behavior="isolated") for pattern in rule.patterns
    ]
    if rule.has_byte_alphabet:
        steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    return pre_tokenizers.Sequence(steps)


def _bytes_of(text: str) -> bytes:
    """Returns the bytes of a token's text; characters outside the byte alphabet are spelled as in llama.cpp."""
    try:
        return codecs.charmap_encode(text, "strict", _BYTE_OF_CODE_POINT)[0]
    except UnicodeEncodeError:
        return b"".join(_spelled_byte(character, text) for character in text)


def _spelled_byte(character: str, text: str) -> bytes:
    byte = _BYTE_OF_CODE_POINT.get(ord(character))
    if byte is not None:
        return bytes([byte])
    readable = "\ufffd" if "\ud800" <= character <= "\udfff" else character
    return text_bytes(f"[UNK_BYTE_0x{readable.encode().hex()}{text}]")
