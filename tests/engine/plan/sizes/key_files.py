"""Model files that hold the keys of sizes and a tensor table, and nothing else."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.fakes.gguf_bytes import array, gguf_bytes, scalar, tensor
from tui_llama.engine.gguf.file import GgufFile, ValueType, open_gguf
from tui_llama.engine.plan.architectures import architecture_named
from tui_llama.engine.plan.sizes.read_sizes import read_sizes
from tui_llama.engine.tensors.hyperparameters import Hyperparameters

Setting = tuple[ValueType, float | str] | Sequence[int] | Sequence[float] | Sequence[bool] | Sequence[str] | None
"""A value and its type; an array of numbers, truths or texts; or None for a key that is left out."""


def integer(value: int) -> Setting:
    return ValueType.INT64, value


def number(value: float) -> Setting:
    return ValueType.FLOAT32, value


def text(value: str) -> Setting:
    return ValueType.STRING, value


def flag(value: bool) -> Setting:
    return ValueType.BOOL, value


REQUIRED: Mapping[str, Setting] = {
    "general.architecture": text("llama"),
    "llama.block_count": integer(2),
    "llama.embedding_length": integer(64),
    "llama.feed_forward_length": integer(96),
    "llama.attention.head_count": integer(4),
    "llama.attention.layer_norm_rms_epsilon": number(1e-5),
    "llama.context_length": integer(512),
    "tokenizer.ggml.tokens": ["a", "b", "c"],
}
"""The keys without which no file of llama is read."""


def sizes_of(file: GgufFile) -> Hyperparameters:
    """Reads the sizes of an open file."""
    return read_sizes(file, architecture_named(file.get_str("general.architecture"))).sizes


def read_changed(
    folder: Path, changes: Mapping[str, Setting], tensors: Mapping[str, Sequence[int]] | None = None
) -> Hyperparameters:
    """Reads the sizes of a file with the required keys, the whole names of changes, and empty tensors."""
    path = folder / "model.gguf"
    merged = {**REQUIRED, **changes}
    entries = [_encode(key, value) for key, value in merged.items() if value is not None]
    path.write_bytes(gguf_bytes(entries, list(_table(tensors or {})), bytes(1 << 12)))
    with open_gguf(path) as file:
        return sizes_of(file)


def read_as(
    folder: Path,
    architecture: str,
    changes: Mapping[str, Setting] | None = None,
    tensors: Mapping[str, Sequence[int]] | None = None,
) -> Hyperparameters:
    """Does as `read_changed` for another architecture; names of changes go without its name."""
    own = {key.replace("llama.", f"{architecture}."): value for key, value in REQUIRED.items()}
    own |= {f"{architecture}.attention.layer_norm_epsilon": number(1e-5), "general.architecture": text(architecture)}
    own |= {_whole_name(architecture, key): value for key, value in (changes or {}).items()}
    return read_changed(folder, own, tensors)


def _whole_name(architecture: str, key: str) -> str:
    return key if key.startswith("xielu.") else f"{architecture}.{key}"


def _encode(key: str, setting: Setting) -> bytes:
    if isinstance(setting, tuple):
        return scalar(key, *setting)
    values: Sequence[Any] = setting or []
    kinds = {str: ValueType.STRING, bool: ValueType.BOOL, float: ValueType.FLOAT32}
    return array(key, kinds.get(type(values[0]) if values else int, ValueType.UINT32), values)


def _table(tensors: Mapping[str, Sequence[int]]) -> Iterable[bytes]:
    offset = 0
    for name, shape in tensors.items():
        yield tensor(name, shape, offset=offset)
        offset += -(-4 * math.prod(shape) // 32) * 32
