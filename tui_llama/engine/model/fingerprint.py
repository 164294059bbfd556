"""Identifies stored keys and values: by a digest of the model, one of the configuration, and the engine's version.

State files contain these values. If one changes, the engine reads every prompt that users have stored again.
"""

import hashlib
from dataclasses import fields, is_dataclass

import numpy as np

from tui_llama.engine.gguf.file import GgufFile
from tui_llama.engine.machine.instruction_sets import INSTRUCTION_SET
from tui_llama.engine.state_file import StateFingerprint
from tui_llama.engine.tensors.hyperparameters import Hyperparameters

ENGINE_ABI = 3
"""Goes up whenever kernels give other bits than before, or keys and values mean something else."""

_EDGE_BYTES = 64 << 10


def state_fingerprint(
    file: GgufFile,
    sizes: Hyperparameters,
    cache_type: str,
    context_size: int,
    instruction_set: str = INSTRUCTION_SET,
) -> StateFingerprint:
    """Returns what the keys and values of a model belong to.

    Args:
        file: The model.
        sizes: Those of the model.
        cache_type: How keys and values are kept.
        context_size: Tokens of the context, by which some models choose how they rotate.
        instruction_set: What computes them.

    Raises:
        ModelFileError: the file cannot be read.
    """
    configuration = _configuration_hash(sizes, cache_type, context_size, instruction_set)
    return StateFingerprint(_model_hash(file), configuration, ENGINE_ABI)


def _model_hash(file: GgufFile) -> bytes:
    """Returns the SHA-256 of the header and the edges of every tensor.

    Other weights give another hash, in milliseconds: to read all of them would take seconds.
    """
    digest = hashlib.sha256()
    for chunk in file.header_chunks():
        digest.update(chunk)
    for name, tensor in file.tensors.items():
        edge = np.empty(min(tensor.size_bytes, _EDGE_BYTES), np.uint8)
        for first_byte in (0, tensor.size_bytes - len(edge)):
            file.read_tensor(name, first_byte, edge)
            digest.update(edge.data)
    return digest.digest()


def _configuration_hash(sizes: Hyperparameters, cache_type: str, context_size: int, instruction_set: str) -> bytes:
    """Returns a digest of rotation, element type and instruction set.

    All instruction sets should give the same bits; a faulty one must not spoil what the others have stored.
    """
    rotations = [f"{_chosen(rotation)} {rotation.factors_in(context_size)}" for rotation in sizes.rotations]
    text = f"{rotations!r} {cache_type} {instruction_set}"
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _chosen(value: object) -> str:
    """Returns the fields of a dataclass that are not at their default: a new field changes nothing for older models."""
    if not is_dataclass(value):
        return repr(value)
    pairs = ((field, getattr(value, field.name)) for field in fields(value))
    return f"({', '.join(f'{field.name}={_chosen(own)}' for field, own in pairs if own != field.default)})"
