"""Score-based tokenizing (SPM): merges by score, with the `sentencepiece` package.

The package needs a model file. This module builds one in memory from the vocabulary, so that the package does what
llama.cpp does: it does not normalise, and every token may result from a merge whatever its kind. This module itself
replaces characters that are not tokens, because the package's way with bytes keeps their tokens out of the merges. The
message is small enough to be written by hand, so that no protobuf library is needed.
"""

import struct
from collections.abc import Iterable

import sentencepiece

from tui_llama.engine.gguf.file import GgufFile
from tui_llama.engine.tokenizer.vocabulary import (
    SPACE,
    TokenKind,
    Vocabulary,
    VocabularyDefaults,
    byte_of,
    byte_text,
    text_bytes,
)

DEFAULTS = VocabularyDefaults(bos_id=1, eos_id=2, unknown_id=0, add_bos=True, add_space_prefix=True)

# Field numbers and values of sentencepiece_model.proto (https://github.com/google/sentencepiece).
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_PIECE_TEXT, _PIECE_SCORE, _PIECE_TYPE = 1, 2, 3
_TYPE_UNKNOWN = 2
_MODEL_TYPE, _MODEL_TYPE_BPE, _VOCAB_SIZE, _UNKNOWN_TEXT = 3, 2, 4, 45
_ADD_DUMMY_PREFIX, _REMOVE_EXTRA_WHITE_SPACE, _ESCAPE_WHITE_SPACE = 3, 4, 5
_VARINT, _LENGTH_DELIMITED, _FIXED32 = 0, 2, 5

# longer than any one character, and no merge makes it, so it never results
_UNREACHABLE = "\U0010ffff{}\U0010ffff"
_UNKNOWN_PIECE = _UNREACHABLE.format("unknown").encode()


class ScoreBasedEncoder:
    """Encoder for text without special tokens."""

    def __init__(self, file: GgufFile, vocabulary: Vocabulary) -> None:
        # Without scores all are equal, so that pairs are merged from left to right.
        scores = [0.0] * len(vocabulary.texts) if vocabulary.scores is None else vocabulary.scores.tolist()
        self._vocabulary = vocabulary
        self._unknown_piece_id = len(vocabulary.texts)
        self._byte_ids = [self._byte_id(byte) for byte in range(256)]
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(_model_proto(vocabulary.texts, scores))
        except RuntimeError as error:
            raise file.refuse(f"its vocabulary cannot be used ({error})") from error

    def encode(self, text: str) -> list[int]:
        """Returns the tokens of `text` with its spaces replaced by U+2581; no space is added in front."""
        text = text.replace(" ", SPACE)
        ids: list[int] = self._processor.EncodeAsIds(text)
        if self._unknown_piece_id not in ids:
            return ids
        pieces: list[str] = self._processor.EncodeAsPieces(text)
        return [
            token_id
            for piece_id, piece in zip(ids, pieces, strict=True)
            for token_id in (self._tokens_of_bytes(piece) if piece_id == self._unknown_piece_id else (piece_id,))
        ]

    def piece(self, token_id: int) -> bytes:
        """Returns the bytes of a normal or byte token."""
        text = self._vocabulary.texts[token_id]
        if int(self._vocabulary.kinds[token_id]) == TokenKind.BYTE:
            return byte_of(text)
        return text_bytes(text.replace(SPACE, " "))

    def _tokens_of_bytes(self, text: str) -> Iterable[int]:
        """Yields the byte tokens of characters that are not tokens; a byte without a token is dropped."""
        return (byte_id for byte in text.encode() if (byte_id := self._byte_ids[byte]) is not None)

    def _byte_id(self, byte: int) -> int | None:
        ids = self._vocabulary.ids
        spelled = ids.get(byte_text(byte))
        if spelled is not None:
            return spelled
        return ids.get(chr(byte), self._vocabulary.unknown_id) if byte < 0x80 else self._vocabulary.unknown_id


def _model_proto(texts: Iterable[str], scores: Iterable[float]) -> bytes:
    """Returns the serialized model: every token of the vocabulary as a normal piece, and one piece for unknown text."""
    pieces = [
        _field(_PIECES, _text_field(_PIECE_TEXT, _piece(index, text)) + _SCORE_TAG + struct.pack("<f", score))
        for index, (text, score) in enumerate(zip(texts, scores, strict=True))
    ]
    pieces.append(_field(_PIECES, _text_field(_PIECE_TEXT, _UNKNOWN_PIECE) + _number(_PIECE_TYPE, _TYPE_UNKNOWN)))
    trainer = (
        _number(_MODEL_TYPE, _MODEL_TYPE_BPE)
        + _number(_VOCAB_SIZE, len(pieces))
        + _text_field(_UNKNOWN_TEXT, _UNKNOWN_PIECE)
    )
    normalizer = _number(_ADD_DUMMY_PREFIX, 0) + _number(_REMOVE_EXTRA_WHITE_SPACE, 0) + _number(_ESCAPE_WHITE_SPACE, 0)
    return b"".join(pieces) + _field(_TRAINER, trainer) + _field(_NORMALIZER, normalizer)


def _piece(index: int, text: str) -> bytes:
    """Returns a token's text as a piece.

    The package accepts no NUL, and no text is encoded to bytes that are not UTF-8. Such tokens become a piece that
    never results from text.
    """
    if "\0" not in text:
        try:
            return text.encode()
        except UnicodeEncodeError:
            pass
    return _UNREACHABLE.format(index).encode()


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value)


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | _LENGTH_DELIMITED) + _varint(len(content)) + content


_text_field = _field
_SCORE_TAG = _varint(_PIECE_SCORE << 3 | _FIXED32)
