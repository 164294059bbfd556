"""Tests that the tiny models have the properties on which other tests rely."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from tests.fakes.tiny_model import make_tiny_model, make_vocabulary
from tui_llama.engine.gguf.file import open_gguf

QUANTIZATIONS = [
    "F32",
    "F16",
    "BF16",
    "Q4_0",
    "Q4_1",
    "Q5_0",
    "Q5_1",
    "Q8_0",
    "Q2_K",
    "Q3_K",
    "Q4_K",
    "Q5_K",
    "Q6_K",
    "IQ4_NL",
    "IQ4_XS",
    "MXFP4",
    "Q4_K_M",
    "Q5_K_M",
]


def test_the_same_arguments_make_the_same_file(tmp_path: Path) -> None:
    first = make_tiny_model(tmp_path / "first.gguf", "qwen2", "Q4_K").read_bytes()
    assert make_tiny_model(tmp_path / "second.gguf", "qwen2", "Q4_K").read_bytes() == first
    assert make_tiny_model(tmp_path / "third.gguf", "qwen2", "Q4_K", seed=1).read_bytes() != first


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
@pytest.mark.parametrize("architecture", ["llama", "qwen3"])
def test_matrices_of_every_type_keep_activations_near_one(tmp_path: Path, architecture: Any, quantization: str) -> None:
    path = make_tiny_model(tmp_path / "tiny.gguf", architecture, quantization)
    for tensor in gguf.GGUFReader(path).tensors:
        if len(tensor.shape) == 2 and tensor.name != "token_embd.weight":
            weights = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            gain = weights.std() * np.sqrt(tensor.shape[0])
            assert 0.8 < gain < 1.25, tensor.name


def test_a_tied_model_has_no_output_of_its_own(tmp_path: Path) -> None:
    for tied in (False, True):
        with open_gguf(make_tiny_model(tmp_path / "tiny.gguf", tied=tied)) as file:
            assert ("output.weight" in file.tensors) is not tied


def test_a_model_without_template_and_end_of_turn_has_no_such_keys(tmp_path: Path) -> None:
    path = make_tiny_model(tmp_path / "tiny.gguf", chat_template=None, end_of_turn=None)
    with open_gguf(path) as file:
        assert "tokenizer.chat_template" not in file.metadata
        assert "tokenizer.ggml.eot_token_id" not in file.metadata


@pytest.mark.parametrize("kind", ["spm", "bpe"])
def test_vocabularies_have_every_byte_and_no_token_twice(kind: Any) -> None:
    vocabulary = make_vocabulary(kind)
    assert len(set(vocabulary.tokens)) == len(vocabulary.tokens) == len(vocabulary.types)
    if kind == "spm":
        assert {f"<0x{value:02X}>" for value in range(256)} <= set(vocabulary.tokens)
        assert len(vocabulary.scores) == len(vocabulary.tokens)
    else:
        assert sum(len(token) == 1 for token in vocabulary.tokens) == 256
        assert {merge.replace(" ", "") for merge in vocabulary.merges} <= set(vocabulary.tokens)
