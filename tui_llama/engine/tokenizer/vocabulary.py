"""The vocabulary of a model file, read from its metadata and checked: texts, kinds, scores, special tokens.

Metadata counts as hostile until it is checked here. The corrections of kinds and the end-of-generation set follow
llama.cpp, because model files are written for it. This module does not know how text is split into tokens.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tui_llama.engine.gguf.file import GgufFile, StringArray

MAX_VOCAB_SIZE = 1 << 24
SPACE = "\u2581"
"""The sign that stands for a space in the texts of SentencePiece's tokens."""
_PREFIX = "tokenizer.ggml."
_NO_TOKEN = (-1, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)

_END_OF_TURN_TEXTS = (
    *("<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<EOT>"),
    *("_<EOT>", "[EOT]", "<｜end▁of▁sentence｜>", "<end_of_utterance>"),
)
_END_OF_MESSAGE_TEXTS = ("<|eom_id|>",)
_FILL_TEXTS = {
    "fim_pre": (
        *("<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>"),
        *("<|code_prefix|>", "<|prefix|>"),
    ),
    "fim_suf": (
        *("<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>"),
        *("<|code_suffix|>", "<|suffix|>"),
    ),
    "fim_mid": (
        *("<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>"),
        *("<|code_middle|>", "<|middle|>"),
    ),
    "fim_pad": ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
    "fim_rep": ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
    "fim_sep": ("<|file_sep|>",),
}
_FILL_THAT_ENDS = ("fim_pad", "fim_rep", "fim_sep")
_END_OF_GENERATION_TEXTS = (
    *("<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>"),
    *("<end_of_turn>", "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]"),
    *("<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>"),
    *("<｜end▁of▁sentence｜>", "[e~["),
)
_ALWAYS_SHOWN_TEXTS = ("<|channel|>", "<|message|>", "<|start|>", "<|constrain|>")


class TokenKind(IntEnum):
    """Purpose of a token; the numbers are those of `tokenizer.ggml.token_type`."""

    UNDEFINED = 0
    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, slots=True)
class VocabularyDefaults:
    """Values that a kind of vocabulary assumes where the metadata is silent."""

    bos_id: int | None
    eos_id: int | None
    unknown_id: int | None
    add_bos: bool
    add_space_prefix: bool
    always_bos: bool = False


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A checked vocabulary; token `i` has text `texts[i]` and kind `kinds[i]`.

    Bytes of a text that are not UTF-8 are lone surrogates in it; `text_bytes` restores them. `scores` is (vocab,)
    float32, or None if the file has none. Every id in here is a valid index. `never_written` are tokens that no answer
    may have. `notices` are for the user, one line each.
    """

    texts: Sequence[str]
    ids: dict[str, int]
    kinds: NDArray[np.uint8]
    scores: NDArray[np.float32] | None
    bos_id: int | None
    eos_id: int | None
    unknown_id: int | None
    add_bos: bool
    add_eos: bool
    add_space_prefix: bool
    end_of_generation: frozenset[int]
    never_written: frozenset[int] = frozenset()
    notices: tuple[str, ...] = ()

    def kind(self, token_id: int) -> TokenKind:
        """Returns the purpose of token `token_id`."""
        return TokenKind(int(self.kinds[token_id]))


def read_vocabulary(file: GgufFile, defaults: VocabularyDefaults) -> Vocabulary:
    """Reads and checks everything that all kinds of tokenizers have in common.

    Raises:
        ModelFileError: something is missing, of the wrong type, too short or out of range.
    """
    texts, ids = _read_texts(file)
    kinds = _read_kinds(file, len(texts))
    special = _SpecialTokens(file, ids, kinds)
    bos_id = special.stored("bos", defaults.bos_id)
    eos_id = special.stored("eos", defaults.eos_id)
    unknown_id = special.stored("unknown", defaults.unknown_id)
    _hide_unused_controls(texts, kinds)
    end_of_generation = special.end_of_generation(eos_id)
    return Vocabulary(
        texts=texts,
        ids=ids,
        kinds=kinds,
        scores=_read_scores(file, len(texts)),
        bos_id=bos_id,
        eos_id=eos_id,
        unknown_id=unknown_id,
        add_bos=file.get_bool(_PREFIX + "add_bos_token", defaults.add_bos) or defaults.always_bos,
        add_eos=file.get_bool(_PREFIX + "add_eos_token", False),
        add_space_prefix=file.get_bool(_PREFIX + "add_space_prefix", defaults.add_space_prefix),
        end_of_generation=end_of_generation,
        never_written=_read_never_written(file, len(texts)),
        notices=tuple(special.notices),
    )


def byte_text(byte: int) -> str:
    """Returns the text of a byte's token, such as `<0x0A>`."""
    return f"<0x{byte:02X}>"


def byte_of(text: str) -> bytes:
    """Returns the byte that such a text names, or the text's own bytes if it names none."""
    digits = text[3:-1]
    if text[:3] == "<0x" and text[-1:] == ">" and len(digits) == 2 and digits.isascii() and digits.isalnum():
        try:
            return bytes([int(digits, 16)])
        except ValueError:
            return text_bytes(text)
    return text_bytes(text)


def text_bytes(text: str) -> bytes:
    """Returns the bytes of a token's text in the file."""
    return text.encode("utf-8", "surrogateescape")


def _read_never_written(file: GgufFile, count: int) -> frozenset[int]:
    """Returns the tokens that the file rules out; ids beyond the vocabulary do not count, as in llama.cpp."""
    value = file.get_int_array(_PREFIX + "suppress_tokens", None)
    return frozenset() if value is None else frozenset(value[(value >= 0) & (value < count)].tolist())


def _read_texts(file: GgufFile) -> tuple[list[str], dict[str, int]]:
    texts = _decode_all(file.get_strings(_PREFIX + "tokens"))
    if not 0 < len(texts) <= MAX_VOCAB_SIZE:
        raise file.refuse(f"the vocabulary has {len(texts)} tokens")
    ids = dict(zip(texts, range(len(texts)), strict=True))
    if "" in ids:
        texts = [text or f"[EMPTY_{token_id}]" for token_id, text in enumerate(texts)]
        ids = dict(zip(texts, range(len(texts)), strict=True))
    if len(ids) != len(texts):
        repeated = next(text for token_id, text in enumerate(texts) if ids[text] != token_id)
        raise file.refuse(f"the vocabulary has the token {repeated[:40]!r} twice")
    return texts, ids


def _decode_all(strings: StringArray) -> list[str]:
    """Decodes all strings, in one go if no string contains the separator."""
    decoded = strings.joined(ord("\n")).decode("utf-8", "surrogateescape").split("\n")
    if len(decoded) == len(strings):
        return decoded
    return [raw.decode("utf-8", "surrogateescape") for raw in strings.raw_list()]


def _read_kinds(file: GgufFile, count: int) -> NDArray[np.uint8]:
    value = file.get_int_array(_PREFIX + "token_type", None)
    if value is None:
        return np.full(count, TokenKind.NORMAL, np.uint8)
    _check_length(file, "token_type", value, count)
    known = (value >= min(TokenKind)) & (value <= max(TokenKind))
    kinds: NDArray[np.uint8] = np.where(known, value, TokenKind.UNDEFINED)[:count].astype(np.uint8)
    return kinds


def _read_scores(file: GgufFile, count: int) -> NDArray[np.float32] | None:
    key = _PREFIX + "scores"
    if key not in file.metadata:
        return None
    value = file.get_int_array(key) if _is_whole(file.metadata[key]) else file.get_float_array(key)
    _check_length(file, "scores", value, count)
    with np.errstate(over="ignore"):
        scores: NDArray[np.float32] = value[:count].astype(np.float32)
    if np.isnan(scores).any():
        raise file.refuse(f"{key} has values that are not numbers")
    return scores


def _is_whole(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "iu"


def _check_length(file: GgufFile, name: str, value: NDArray[Any], count: int) -> None:
    if len(value) < count:
        raise file.refuse(f"{_PREFIX}{name} has {len(value)} entries for {count} tokens")


def _hide_unused_controls(texts: Sequence[str], kinds: NDArray[np.uint8]) -> None:
    for token_id in np.flatnonzero(kinds == TokenKind.CONTROL).tolist():
        if "unused" in texts[token_id]:
            kinds[token_id] = TokenKind.UNUSED


class _SpecialTokens:
    """Finds special tokens by their keys and texts, and corrects their kinds."""

    def __init__(self, file: GgufFile, ids: dict[str, int], kinds: NDArray[np.uint8]) -> None:
        self._file = file
        self._ids = ids
        self._kinds = kinds
        self.notices: list[str] = []

    def stored(self, name: str, default: int | None = None) -> int | None:
        """Returns the id that the metadata gives for `name`, else `default` if the vocabulary is long enough.

        An id that is not in the vocabulary counts as not given, as in llama.cpp.
        """
        key = f"{_PREFIX}{name}_token_id"
        value = self._file.get_int(key, None)
        if value in _NO_TOKEN:
            return None
        if value is not None and 0 <= value < len(self._ids):
            return value
        if default is not None and default >= len(self._ids):
            default = None
        if value is not None:
            instead = "none is used" if default is None else f"{default} is used instead"
            self.notices.append(f"{key} is {value}, but the vocabulary has {len(self._ids)} tokens; {instead}.")
        return default

    def end_of_generation(self, eos_id: int | None) -> frozenset[int]:
        """Returns every token that ends an answer, and corrects the kinds of such tokens."""
        found = {
            self._by_key_or_text("eot", _END_OF_TURN_TEXTS),
            self._by_key_or_text("eom", _END_OF_MESSAGE_TEXTS),
        }
        fills = {name: self._by_key_or_text(name, texts) for name, texts in _FILL_TEXTS.items()}
        found |= {eos_id} | {fills[name] for name in _FILL_THAT_ENDS}
        found |= set(self._force_control(_END_OF_GENERATION_TEXTS))
        self._set_kind(_ALWAYS_SHOWN_TEXTS, TokenKind.USER_DEFINED)
        ends = {token_id for token_id in found if token_id is not None}
        self._take_back_false_ends(ends)
        return frozenset(ends)

    def _by_key_or_text(self, name: str, texts: Iterable[str]) -> int | None:
        stored = self.stored(name)
        return stored if stored is not None else next(self._force_control(texts), None)

    def _force_control(self, texts: Iterable[str]) -> Iterator[int]:
        for text in texts:
            if text in self._ids:
                self._kinds[self._ids[text]] = TokenKind.CONTROL
                yield self._ids[text]

    def _set_kind(self, texts: Iterable[str], kind: TokenKind) -> None:
        for text in texts:
            if text in self._ids:
                self._kinds[self._ids[text]] = kind

    def _take_back_false_ends(self, ends: set[int]) -> None:
        """Removes end markers that some formats use inside an answer (gpt-oss: `<|end|>` closes a channel)."""

        def ends_with(text: str) -> bool:
            return self._ids.get(text) in ends

        calls = ends_with("<|call|>") or ends_with("<|calls|>")
        if ends_with("<|end|>") and calls and (ends_with("<|return|>") or ends_with("<|flush|>")):
            ends.discard(self._ids["<|end|>"])
            self._set_kind(("<|end|>",), TokenKind.USER_DEFINED)
        if ends_with("</s>") and (ends_with("<|tool_response>") or "<|plamo:eos|>" in self._ids):
            ends.discard(self._ids["</s>"])
            self._set_kind(("</s>",), TokenKind.NORMAL)
