"""Turns text into token ids and back, for the vocabularies in model files.

    tokenizer = open_tokenizer("model.gguf")
    ids = tokenizer.tokenize("Hello", add_special=True)
    text = tokenizer.detokenize(ids)

`byte_pair` and `score_based` split plain text into tokens: the first with the `tokenizers` package for words and
compiled code of ours for merges, the second with the `sentencepiece` package. This module handles special tokens, the
beginning and end of a sequence, bytes and detokenizing, as llama.cpp does. It does not know chats.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from tui_llama.engine import ops
from tui_llama.engine.gguf.file import GgufFile, open_gguf
from tui_llama.engine.tokenizer.fingerprint import vocabulary_fingerprint
from tui_llama.engine.tokenizer.plain_spans import Span
from tui_llama.engine.tokenizer.special_tokens import (
    SPLITTING_KINDS,
    SpecialTokenSplitter,
    StripRules,
    special_ids,
)
from tui_llama.engine.tokenizer.stream_decoder import StreamDecoder
from tui_llama.engine.tokenizer.vocabulary import TokenKind, Vocabulary, read_vocabulary, text_bytes
from tui_llama.errors import CallerError, ModelFileError

__all__ = [
    "Span",
    "StreamDecoder",
    "TokenKind",
    "Tokenizer",
    "check_tokenizer_kind",
    "open_tokenizer",
    "tokenizer_from_gguf",
    "tokenizer_kernels",
    "valid_unicode",
]

_SCORE_BASED_KIND = "llama"
_BYTE_PAIR_KINDS = ("gpt2", "gemma4")
_REPLACEMENT = "\ufffd"
_MARKED_KINDS = (TokenKind.CONTROL, TokenKind.UNKNOWN)
_SILENT_KINDS = (TokenKind.UNUSED, TokenKind.UNDEFINED)
_CONTRACTION_ENDINGS = ("m", "s", "re", "ve")


class Encoder(Protocol):
    """One way of splitting plain text into tokens."""

    def encode(self, text: str) -> list[int]:
        """Returns the tokens of `text`, which holds no special tokens."""
        ...

    def piece(self, token_id: int) -> bytes:
        """Returns the bytes of a normal or byte token."""
        ...


class Tokenizer:
    """Turns text into tokens and back, exactly as llama.cpp does.

    Attributes:
        vocab_size: Number of tokens; ids go from 0 to `vocab_size` - 1.
        bos_id: The token that begins a sequence, if there is one.
        eos_id: The token that ends a sequence, if there is one.
        add_bos: True if the model expects `bos_id` first.
        add_eos: True if the model expects `eos_id` last.
        add_space_prefix: True if tokenizing adds a space in front of text.
        end_of_generation: Every token that ends an answer.
        never_written: The tokens that the model file rules out of answers, such as the places of pictures.
        notices: Notices for the user, one line each.
        fingerprint: Fingerprint of the vocabulary; equal only where ids mean the same.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        encoder: Encoder,
        *,
        strip: StripRules = StripRules(),  # noqa: B008 - immutable
        clean_spaces: bool = False,
        notices: Sequence[str] = (),
        fingerprint: str = "",
    ) -> None:
        self.vocab_size = len(vocabulary.texts)
        self.bos_id = vocabulary.bos_id
        self.eos_id = vocabulary.eos_id
        self.add_bos = vocabulary.add_bos and vocabulary.bos_id is not None
        self.add_eos = vocabulary.add_eos and vocabulary.eos_id is not None
        self.add_space_prefix = vocabulary.add_space_prefix
        self.end_of_generation = vocabulary.end_of_generation
        self.never_written = vocabulary.never_written
        self.notices = tuple(notices)
        self.fingerprint = fingerprint
        self._vocabulary = vocabulary
        self._encoder = encoder
        self._clean_spaces = clean_spaces
        self._splitter = SpecialTokenSplitter(vocabulary, strip)

    def tokenize(
        self,
        text: str,
        add_special: bool = False,
        parse_special: bool = False,
        *,
        continues: bool = False,
        plain_spans: Sequence[Span] = (),
    ) -> list[int]:
        """Returns the tokens of `text`.

        Args:
            text: Any text; a lone surrogate counts as U+FFFD.
            add_special: Adds the beginning and the end of sequence, where the model expects them.
            parse_special: True: the texts of control tokens become these tokens. Never for a user's own text.
            continues: The text continues another one, so no space is added in front.
            plain_spans: Parts of the text (first character, one past the last) that no control token may touch.
        """
        ids = [self.bos_id] if add_special and self.add_bos and self.bos_id is not None else []
        after_special = not continues
        for fragment in self._splitter.split(valid_unicode(text), parse_special, plain_spans):
            if isinstance(fragment, int):
                ids.append(fragment)
            else:
                ids += self._encoder.encode(" " + fragment if self.add_space_prefix and after_special else fragment)
            after_special = isinstance(fragment, int)
        if add_special and self.add_eos and self.eos_id is not None:
            ids.append(self.eos_id)
        return ids

    def detokenize(self, ids: Sequence[int], *, special: bool = False) -> str:
        """Returns the text of `ids`, without the space that tokenizing adds in front, and with spaces cleaned up.

        Args:
            ids: Token ids.
            special: True to show control tokens as their texts.

        Raises:
            CallerError: an id is not in the vocabulary.
        """
        pieces = [self.piece(token_id, special) for token_id in ids]
        if pieces and self.add_space_prefix:
            pieces[0] = pieces[0].removeprefix(b" ")
        text = b"".join(pieces).decode("utf-8", "replace")
        return _without_spaces_before_punctuation(text) if self._clean_spaces else text

    def piece(self, token_id: int, special: bool = False) -> bytes:
        """Returns the bytes of one token as it appears inside a text; maybe only a part of a character.

        Raises:
            CallerError: the id is not in the vocabulary.
        """
        kind = self._kind(token_id)
        if kind in _MARKED_KINDS:
            return text_bytes(self._vocabulary.texts[token_id]) if special else b""
        if kind is TokenKind.USER_DEFINED:
            return text_bytes(self._vocabulary.texts[token_id])
        return b"" if kind in _SILENT_KINDS else self._encoder.piece(token_id)

    def pieces(self, *, special: bool = False) -> list[bytes]:
        """Returns what `piece` returns for every token, in the order of ids; takes a tenth of a second."""
        is_plain = np.isin(self._vocabulary.kinds, (TokenKind.NORMAL, TokenKind.BYTE)).tolist()
        plain = self._encoder.piece
        return [plain(each) if is_plain[each] else self.piece(each, special) for each in range(self.vocab_size)]

    def token_text(self, token_id: int) -> str:
        """Returns the text of one token as the vocabulary writes it, such as `Ġthe` or `<|im_end|>`; valid Unicode.

        Raises:
            CallerError: the id is not in the vocabulary.
        """
        self._kind(token_id)
        return valid_unicode(self._vocabulary.texts[token_id])

    def token_id(self, text: str) -> int | None:
        """Returns the token that the vocabulary writes as `text`, or None."""
        return self._vocabulary.ids.get(text)

    def is_special(self, token_id: int) -> bool:
        """Tells whether text is split at this token, so that the texts on its two sides are separate.

        Raises:
            CallerError: the id is not in the vocabulary.
        """
        return self._kind(token_id) in SPLITTING_KINDS

    def special_spans(self, text: str, plain_spans: Sequence[Span] = ()) -> list[Span]:
        """Returns where `tokenize` with `parse_special` would find the texts of special tokens in `text`."""
        return self._splitter.special_spans(valid_unicode(text), plain_spans)

    def control_spans(self, text: str) -> list[Span]:
        """Returns where `text` holds the names of control tokens, which are text wherever somebody else wrote them."""
        everywhere = self.special_spans(text)
        if not everywhere:
            return []
        always = set(self.special_spans(text, [(0, len(text))]))
        return [span for span in everywhere if span not in always]

    def swallows_after(self, token_id: int) -> bool:
        """Tells whether this token swallows white space after it (some models' special tokens do)."""
        return self._splitter.swallows_after(token_id)

    def stream_decoder(self) -> StreamDecoder:
        """Makes a decoder for tokens that arrive one by one; control tokens are not shown."""
        return StreamDecoder(self.piece)

    def _kind(self, token_id: int) -> TokenKind:
        if not 0 <= token_id < self.vocab_size:
            raise CallerError(f"Token {token_id} is not in the vocabulary of {self.vocab_size} tokens")
        return self._vocabulary.kind(token_id)


def open_tokenizer(path: str | Path) -> Tokenizer:
    """Opens the tokenizer of a model file; only the file's header is read.

    Raises:
        ModelFileError: the file cannot be read, or its vocabulary is damaged or of an unknown kind.
    """
    with open_gguf(path) as file:
        return tokenizer_from_gguf(file)


def tokenizer_from_gguf(file: GgufFile) -> Tokenizer:
    """Makes the tokenizer that the metadata of `file` describe.

    Raises:
        ModelFileError: the vocabulary is missing, damaged or of an unknown kind.
    """
    kind = check_tokenizer_kind(file)
    if kind == _SCORE_BASED_KIND:
        return _open_score_based(file)
    return _open_byte_pair(file, "gemma4" if kind == "gemma4" else file.get_str("tokenizer.ggml.pre", ""))


def check_tokenizer_kind(file: GgufFile) -> str:
    """Returns the kind of a file's vocabulary, if it can be used.

    Raises:
        ModelFileError: it is of another kind, or there is none.
    """
    kind = file.get_str("tokenizer.ggml.model")
    if kind != _SCORE_BASED_KIND and kind not in _BYTE_PAIR_KINDS:
        raise ModelFileError(
            f"{file.path.name}: its vocabulary is of the unsupported kind {kind[:40]!r}",
            "Models with a score-based (llama) or byte-pair (gpt2) vocabulary can be used.",
        )
    return kind


def tokenizer_kernels(file: GgufFile) -> tuple[ops.Operation, ...]:
    """Returns the kernels that the tokenizer of `file` needs."""
    return ops.BYTE_PAIR_MERGING if file.get_str("tokenizer.ggml.model", "") in _BYTE_PAIR_KINDS else ()


def _open_score_based(file: GgufFile) -> Tokenizer:
    from tui_llama.engine.tokenizer.score_based import DEFAULTS, ScoreBasedEncoder

    vocabulary = read_vocabulary(file, DEFAULTS)
    notices = list(vocabulary.notices)
    if vocabulary.scores is None:
        notices.append(
            "The vocabulary has no scores (tokenizer.ggml.scores); text is split differently, and answers may be worse."
        )
    encoder = ScoreBasedEncoder(file, vocabulary)
    return Tokenizer(
        vocabulary,
        encoder,
        strip=_strip_rules(file, vocabulary),
        notices=notices,
        fingerprint=vocabulary_fingerprint(file),
    )


def _open_byte_pair(file: GgufFile, rule_name: str) -> Tokenizer:
    from tui_llama.engine.tokenizer.byte_pair import BytePairEncoder, byte_pair_defaults
    from tui_llama.engine.tokenizer.splitting_rules import splitting_rule

    notices = []
    if not rule_name:
        notices.append("The model file does not say how to split text (tokenizer.ggml.pre); answers may be worse.")
    rule = splitting_rule(rule_name or "default")
    vocabulary = read_vocabulary(file, byte_pair_defaults(rule))
    encoder = BytePairEncoder(file, vocabulary, rule)
    return Tokenizer(
        vocabulary,
        encoder,
        strip=_strip_rules(file, vocabulary),
        clean_spaces=rule.clean_spaces,
        notices=[*notices, *vocabulary.notices, *encoder.notices],
        fingerprint=vocabulary_fingerprint(file),
    )


def _strip_rules(file: GgufFile, vocabulary: Vocabulary) -> StripRules:
    """Returns the special tokens that swallow white space in some models, which only the model's name shows."""
    stored_name = file.metadata.get("general.name")
    name = stored_name.lower() if isinstance(stored_name, str) else ""
    if "phi-3" in name or "phi3" in name:
        special = {vocabulary.texts[token_id] for token_id in special_ids(vocabulary)}
        return StripRules(right=frozenset((special | {"</s>"}) - {"<unk>", "<s>", "<|endoftext|>"}))
    left = {"[MASK]"} if "modern-bert" in name else set()
    if file.get_str("tokenizer.ggml.pre", "") in ("jina-v2-de", "jina-v2-es", "jina-v2-code"):
        left.add("<mask>")
    return StripRules(left=frozenset(left))


def valid_unicode(text: str) -> str:
    """Returns the text with U+FFFD for every lone surrogate; nothing else can be wrong with a text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join(_REPLACEMENT if "\ud800" <= character <= "\udfff" else character for character in text)
    return text


def _without_spaces_before_punctuation(text: str) -> str:
    """Removes the spaces that old tokenizers put before punctuation; in three passes, as in llama.cpp."""
    for mark in "?!.,":
        text = text.replace(" " + mark, mark)
    text = text.replace(" ' ", "'")
    for ending in _CONTRACTION_ENDINGS:
        text = text.replace(" '" + ending, "'" + ending)
    return text
