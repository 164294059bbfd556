"""The fingerprint of a model must never change by itself: every prompt that users have stored would be lost."""

from dataclasses import dataclass, fields, replace
from pathlib import Path

import pytest

from tests.fakes.gguf_bytes import array, gguf_bytes, scalar, tensor
from tui_llama.engine.gguf.file import ValueType, open_gguf
from tui_llama.engine.model.fingerprint import state_fingerprint
from tui_llama.engine.plan.architectures import architecture_named
from tui_llama.engine.plan.sizes.read_sizes import read_sizes
from tui_llama.engine.state_file import StateFingerprint
from tui_llama.engine.tensors.hyperparameters import Rotation

TOKENS = 1000
"""So many that the matrix is longer than both of its edges together, and only the edges are hashed."""

EMBEDDING_BYTES, NORM_BYTES = 4 * 64 * TOKENS, 4 * 64
DATA = bytes(number % 251 for number in range(EMBEDDING_BYTES + NORM_BYTES))
SIZES = {
    "block_count": 2, "embedding_length": 64, "feed_forward_length": 96, "context_length": 512,
    "attention.head_count": 4, "attention.head_count_kv": 2,
}  # fmt: skip


def write_model(folder: Path, data: bytes = DATA, rope_base: float = 10000.0) -> Path:
    entries = [
        scalar("general.architecture", ValueType.STRING, "llama"),
        *(scalar(f"llama.{key}", ValueType.UINT32, size) for key, size in SIZES.items()),
        scalar("llama.attention.layer_norm_rms_epsilon", ValueType.FLOAT32, 1e-5),
        scalar("llama.rope.freq_base", ValueType.FLOAT32, rope_base),
        array("tokenizer.ggml.tokens", ValueType.STRING, [f"token {number}" for number in range(TOKENS)]),
    ]
    tensors = [
        tensor("token_embd.weight", (64, TOKENS)),
        tensor("output_norm.weight", (64,), offset=EMBEDDING_BYTES),
    ]
    path = folder / "model.gguf"
    path.write_bytes(gguf_bytes(entries, tensors, data))
    return path


def fingerprint_of(
    folder: Path, data: bytes = DATA, *, rope_base: float = 10000.0, cache_type: str = "f16", instructions: str = "avx2"
) -> StateFingerprint:
    with open_gguf(write_model(folder, data, rope_base)) as file:
        return state_fingerprint(
            file, read_sizes(file, architecture_named("llama")).sizes, cache_type, 512, instructions
        )


@pytest.mark.parametrize(
    ("cache_type", "instructions", "configuration"),
    [
        ("f16", "avx2", "5fdb13acd3f827ff1d2663d55d6eb94d"),
        ("q8_0", "amx_int8", "87f9727b5314ae4902427dc77aae3b29"),
    ],
)
def test_the_fingerprint_is_the_one_that_stored_prompts_have(
    tmp_path: Path, cache_type: str, instructions: str, configuration: str
) -> None:
    assert fingerprint_of(tmp_path, cache_type=cache_type, instructions=instructions) == StateFingerprint(
        model=bytes.fromhex("2b3ffae8822b65e70f0a33ae6956f3d212b073f172ebee371aae31898286bdf5"),
        configuration=bytes.fromhex(configuration),
        engine_abi=3,
    )


@pytest.mark.parametrize("place", [0, (64 << 10) - 1, EMBEDDING_BYTES - (64 << 10), EMBEDDING_BYTES, len(DATA) - 1])
def test_other_weights_have_another_fingerprint(tmp_path: Path, place: int) -> None:
    changed = bytearray(DATA)
    changed[place] ^= 1
    other, own = fingerprint_of(tmp_path, bytes(changed)), fingerprint_of(tmp_path)
    assert other.model != own.model
    assert other.configuration == own.configuration


def test_a_property_of_rotations_that_a_model_does_not_have_changes_nothing(tmp_path: Path) -> None:
    with open_gguf(write_model(tmp_path)) as file:
        sizes = read_sizes(file, architecture_named("llama")).sizes
        layers = tuple(replace(layer, rotation=_wider(layer.rotation)) for layer in sizes.layers)
        own, wider = (state_fingerprint(file, each, "f16", 512) for each in (sizes, replace(sizes, layers=layers)))
    assert wider == own


@dataclass(frozen=True)
class _WiderRotation(Rotation):
    spin: int = 0


def _wider(rotation: Rotation | None) -> Rotation:
    assert rotation is not None
    return _WiderRotation(*(getattr(rotation, field.name) for field in fields(rotation)))


def test_another_rotation_has_another_fingerprint(tmp_path: Path) -> None:
    assert fingerprint_of(tmp_path, rope_base=20000.0).configuration != fingerprint_of(tmp_path).configuration
