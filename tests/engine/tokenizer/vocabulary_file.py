"""Writes model files that hold a vocabulary and nothing else."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import gguf

from tui_llama.engine.tokenizer.tokenizer import Tokenizer, open_tokenizer

Value: TypeAlias = str | bool | int | Sequence[str] | Sequence[bytes] | Sequence[int] | Sequence[float]

_ITSELF = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
_OTHERS = [byte for byte in range(256) if byte not in _ITSELF]
BYTE_ALPHABET = [chr(byte if byte in _ITSELF else 256 + _OTHERS.index(byte)) for byte in range(256)]
BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


def write_vocabulary(path: Path, keys: Mapping[str, Value], name: str = "") -> Path:
    """Writes `keys` below `tokenizer.ggml.`."""
    writer = gguf.GGUFWriter(path, "llama")
    if name:
        writer.add_name(name)
    add_vocabulary(writer, keys)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def add_vocabulary(writer: gguf.GGUFWriter, keys: Mapping[str, Value]) -> None:
    """Adds `keys` below `tokenizer.ggml.` to a file that is being written."""
    for key, value in keys.items():
        full_key = "tokenizer.ggml." + key
        if isinstance(value, bool):
            writer.add_bool(full_key, value)
        elif isinstance(value, int):
            writer.add_uint32(full_key, value)
        elif isinstance(value, str):
            writer.add_string(full_key, value)
        else:
            writer.add_array(full_key, list(value))


def score_keys(pieces: Mapping[str, float], **more: Value) -> dict[str, Value]:
    """Makes a score-based vocabulary: `<unk>`, `<s>`, `</s>`, the bytes, then `pieces` from id 259 on."""
    tokens = ["<unk>", "<s>", "</s>", *BYTE_TOKENS, *pieces]
    kinds = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * len(pieces)]
    scores = [0.0] * 259 + [float(score) for score in pieces.values()]
    return {"model": "llama", "tokens": tokens, "token_type": kinds, "scores": scores, **more}


def pair_keys(merges: Sequence[str], special: Mapping[str, int] | None = None, **more: Value) -> dict[str, Value]:
    """Makes a byte-pair vocabulary: the byte alphabet, the results of the merges from id 256 on, then `special`."""
    special = special or {}
    tokens = [*BYTE_ALPHABET, *dict.fromkeys(merge.replace(" ", "") for merge in merges), *special]
    kinds = [NORMAL] * (len(tokens) - len(special)) + list(special.values())
    base = {"model": "gpt2", "pre": "gpt-2"}
    return {**base, "tokens": tokens, "token_type": kinds, "merges": list(merges), **more}


def open_vocabulary(folder: Path, keys: Mapping[str, Value], name: str = "") -> Tokenizer:
    """Opens the tokenizer of such a vocabulary."""
    return open_tokenizer(write_vocabulary(folder / "vocabulary.gguf", keys, name))
