"""Writes models of random weights, of any declared architecture: its declaration says which tensors these are."""

import fnmatch
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gguf
import numpy as np
import numpy.typing as npt

from tests.engine.tokenizer.vocabulary_file import BYTE_ALPHABET
from tui_llama.engine.gguf.file import GgufFile, open_gguf
from tui_llama.engine.model.coverage import TensorCensus
from tui_llama.engine.plan.architectures import architecture_named
from tui_llama.engine.plan.forward.decoder import emit_forward_pass
from tui_llama.engine.plan.sizes.read_sizes import read_sizes

Key = int | float | bool | str | Sequence[int] | Sequence[bool]

TOKENS = [*BYTE_ALPHABET, "<end>"]
_COMMON: Mapping[str, Key] = {
    "block_count": 2, "embedding_length": 64, "feed_forward_length": 96, "attention.head_count": 4,
    "attention.head_count_kv": 2, "attention.layer_norm_rms_epsilon": 1e-2, "attention.layer_norm_epsilon": 1e-2,
    "context_length": 256, "rope.dimension_count": 16, "rope.freq_base": 500.0,
}  # fmt: skip


class _Wanted:
    """Stands for a file that has whatever is asked for, and notes it.

    Args:
        optional: Patterns of names of tensors that it has although no model must have them.
    """

    def __init__(self, optional: Sequence[str]) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._optional = optional

    @property
    def tensors(self) -> "_Wanted":
        return self

    def __contains__(self, name: str) -> bool:
        return any(fnmatch.fnmatch(name, pattern) for pattern in self._optional)

    def tensor_of_shape(self, name: str, shape: tuple[int, ...]) -> SimpleNamespace:
        self.shapes[name] = shape
        return SimpleNamespace(type_id=0, shape=shape)


def write_random_model(
    path: Path, architecture: str, changes: Mapping[str, Key | None] | None = None, optional: Sequence[str] = ()
) -> Path:
    """Writes a model in F32.

    Args:
        path: Where to.
        architecture: Its name in GGUF.
        changes: Keys beside the common ones, without the architecture's name; None leaves a common one out.
        optional: Patterns of names of tensors that the file has although no model of its kind must have them.
    """
    keys = {name: value for name, value in {**_COMMON, **(changes or {})}.items() if value is not None}
    # Sizes may hang on whether the file has a tensor, but not on what is in it.
    _write(path, architecture, keys, {name: np.zeros(1, np.float32) for name in optional if "*" not in name})
    wanted = _Wanted(optional)
    with open_gguf(path) as file:
        sizes = read_sizes(file, architecture_named(architecture)).sizes
    emit_forward_pass(TensorCensus(cast(GgufFile, wanted), sizes), architecture_named(architecture))
    random = np.random.default_rng(7)
    _write(path, architecture, keys, {name: _values(random, name, shape) for name, shape in wanted.shapes.items()})
    return path


def _values(random: np.random.Generator, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Returns numbers that let every property of a model show in its logits."""
    normal = random.standard_normal(shape[::-1]).astype(np.float32)
    if name.endswith("norm.weight"):
        return np.float32(1.0) + np.float32(0.3) * normal
    if len(shape) > 1:
        return normal * np.float32(shape[0] ** -0.5)
    return np.float32(0.5) * normal


def _write(path: Path, architecture: str, keys: Mapping[str, Key], tensors: Mapping[str, npt.NDArray[Any]]) -> None:
    writer = gguf.GGUFWriter(path, architecture)
    for name, value in keys.items():
        _add(writer, f"{architecture}.{name}", value)
    for name, text in (("model", "gpt2"), ("pre", "gpt-2")):
        writer.add_string(f"tokenizer.ggml.{name}", text)
    writer.add_array("tokenizer.ggml.tokens", TOKENS)
    writer.add_array("tokenizer.ggml.token_type", [*[1] * len(BYTE_ALPHABET), 3])
    writer.add_array("tokenizer.ggml.merges", ["a b"])
    for name in ("bos", "eos"):
        writer.add_uint32(f"tokenizer.ggml.{name}_token_id", len(BYTE_ALPHABET))
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add(writer: gguf.GGUFWriter, key: str, value: Key) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, list(value))
