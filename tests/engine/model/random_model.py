"""Writes models of random weights, of any declared architecture: its declaration says which tensors these are."""

import fnmatch
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gguf
import numpy as np
import numpy.typing as npt

from tests.engine.tokenizer.vocabulary_file import BYTE_ALPHABET, CONTROL, Value, add_vocabulary, pair_keys
from tui_llama.engine.gguf.file import GgufFile, open_gguf
from tui_llama.engine.model.coverage import TensorCensus
from tui_llama.engine.plan.architectures import Architecture, architecture_named
from tui_llama.engine.plan.forward.decoder import emit_forward_pass
from tui_llama.engine.plan.sizes.read_sizes import read_sizes

Key = int | float | bool | str | Sequence[int] | Sequence[bool] | Sequence[float]

TOKENS = [*BYTE_ALPHABET, "<end>"]
_COMMON: Mapping[str, Key] = {
    "block_count": 2, "embedding_length": 64, "feed_forward_length": 96, "attention.head_count": 4,
    "attention.head_count_kv": 2, "attention.layer_norm_rms_epsilon": 1e-2, "attention.layer_norm_epsilon": 1e-2,
    "context_length": 256, "rope.dimension_count": 16, "rope.freq_base": 500.0,
}  # fmt: skip
_USUAL: Mapping[str, Key] = {
    "block_count": 3, "attention.sliding_window": 20, "logit_scale": 0.5, "rope.dimension_sections": [4, 2, 2, 0],
    "use_parallel_residual": True, "attention.clamp_kqv": 1.0, "attention.max_alibi_bias": 8.0,
    "xielu.alpha_n": 0.4, "xielu.alpha_p": [0.8, 0.2, 0.5], "xielu.beta": 0.5,
    "xielu.eps": -1e-6,
}  # fmt: skip
_EXPERTS: Mapping[str, Key] = {
    "expert_count": 8, "expert_used_count": 3, "expert_feed_forward_length": 32, "expert_shared_count": 2,
    "expert_shared_feed_forward_length": 40, "leading_dense_block_count": 1, "expert_gating_func": 2,
    "interleave_moe_layer_step": 2,
}  # fmt: skip
_LATENT: Mapping[str, Key] = {
    "attention.q_lora_rank": 24, "attention.kv_lora_rank": 32, "attention.key_length_mla": 24,
    "attention.value_length_mla": 16, "rope.dimension_count": 8, "attention.key_length": 40,
    "attention.value_length": 32, "attention.head_count_kv": 1,
}  # fmt: skip
_LAYERS: Mapping[str, int] = {"baichuan": 32}
"""Architectures whose files must have a certain number of layers."""
_GENERAL = "xielu."
"""What keys begin with that have no architecture's name before them."""
_ROUTERS = ("blk.1.ffn_gate_inp.weight", "blk.2.ffn_gate_inp.weight")
"""Tensors that say which layers have experts, where keys do not."""
_END = len(BYTE_ALPHABET)
BYTES: Mapping[str, Value] = {
    **pair_keys(["a b"], {}), "tokens": TOKENS, "token_type": [*[1] * _END, CONTROL],
    "bos_token_id": _END, "eos_token_id": _END,
}  # fmt: skip
"""A vocabulary of the bytes and one token that begins and ends."""


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
    path: Path,
    architecture: str,
    changes: Mapping[str, Key | None] | None = None,
    optional: Sequence[str] = (),
    vocabulary: Mapping[str, Value] = BYTES,
    chat_template: str = "",
) -> Path:
    """Writes a model in F32.

    Args:
        path: Where to.
        architecture: Its name in GGUF.
        changes: Keys beside the common ones, without the architecture's name; None leaves a common one out.
        optional: Patterns of names of tensors that the file has although no model of its kind must have them.
        vocabulary: Its keys below `tokenizer.ggml.`.
        chat_template: The template in the file; "" for none.
    """
    texts = vocabulary, chat_template
    keys = {name: value for name, value in {**_COMMON, **(changes or {})}.items() if value is not None}
    # Sizes may hang on whether the file has a tensor, but not on what is in it.
    _write(path, architecture, keys, texts, {name: np.zeros(1, np.float32) for name in optional if "*" not in name})
    wanted = _Wanted(optional)
    with open_gguf(path) as file:
        sizes = read_sizes(file, architecture_named(architecture)).sizes
    emit_forward_pass(TensorCensus(cast(GgufFile, wanted), sizes), architecture_named(architecture))
    random = np.random.default_rng(7)
    tensors = {name: _values(random, name, shape) for name, shape in wanted.shapes.items()}
    _write(path, architecture, keys, texts, tensors)
    return path


def write_model_of(
    path: Path,
    architecture: str,
    changes: Mapping[str, Key] | None = None,
    vocabulary: Mapping[str, Value] = BYTES,
    chat_template: str = "",
) -> Path:
    """Writes a model of any declared architecture, with the keys and tensors that its files must have.

    Args:
        path: Where to.
        architecture: Its name in GGUF.
        changes: More keys, without the architecture's name.
        vocabulary: Its keys below `tokenizer.ggml.`.
        chat_template: The template in the file; "" for none.
    """
    keys = {**_keys_for(architecture_named(architecture)), **(changes or {})}
    return write_random_model(path, architecture, keys, _ROUTERS, vocabulary, chat_template)


def _keys_for(architecture: Architecture) -> dict[str, Key]:
    """Returns the keys that a file of an architecture must have besides those of every file, and some that it may."""
    keys = {**_USUAL, **(_EXPERTS if architecture.experts is not None else {})}
    if architecture.latent_query_rank is not None:
        keys |= _LATENT
    if architecture.windows is not None and architecture.windows.period is None:
        keys |= {"attention.sliding_window_pattern": [True, False, True], "attention.rope_pattern": [False, True, True]}
    if architecture.name in _LAYERS:
        keys["block_count"] = _LAYERS[architecture.name]
    if architecture.has_layer_embeddings:
        keys["embedding_length_per_layer_input"] = 16
    return keys


def _values(random: np.random.Generator, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Returns numbers that let every property of a model show in its logits."""
    normal = random.standard_normal(shape[::-1]).astype(np.float32)
    if name.endswith("norm.weight"):
        return np.float32(1.0) + np.float32(0.3) * normal
    if len(shape) > 1:
        return normal * np.float32(shape[0] ** -0.5)
    return np.float32(0.5) * normal


def _write(
    path: Path,
    architecture: str,
    keys: Mapping[str, Key],
    texts: tuple[Mapping[str, Value], str],
    tensors: Mapping[str, npt.NDArray[Any]],
) -> None:
    """Writes a file; `texts` are the keys of its vocabulary and its template."""
    writer = gguf.GGUFWriter(path, architecture)
    for name, value in keys.items():
        _add(writer, name if name.startswith(_GENERAL) else f"{architecture}.{name}", value)
    vocabulary, chat_template = texts
    add_vocabulary(writer, vocabulary)
    if chat_template:
        writer.add_chat_template(chat_template)
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
