"""What is said of a model file: of one that can run, of one that cannot, and what of it is not used."""

from pathlib import Path

import numpy as np
import pytest

from tests.fakes.gguf_bytes import array, gguf_bytes, scalar, tensor
from tests.fakes.odd_models import odd_model
from tests.fakes.tiny_model import make_tiny_model
from tui_llama.engine.gguf.file import MetadataValue, SkippedValue, ValueType
from tui_llama.engine.model.inspection import SpecialToken, inspect_model, value_words
from tui_llama.errors import ModelFileError


def test_a_model_that_can_run_is_described_whole(tmp_path: Path) -> None:
    path = make_tiny_model(
        tmp_path / "tiny.gguf", "qwen3", "Q4_K_M", tensors_per_part=20,
        metadata={"general.sampling.temp": 0.5, "general.url": "x", "qwen3.pooling_type": 1},
    )  # fmt: skip

    inspection = inspect_model(path, with_plan=True)

    assert (inspection.facts.architecture, inspection.facts.refusal) == ("qwen3", "")
    assert inspection.part_count > 1
    assert inspection.sizes["block_count"] == "2"
    assert [each.name for each in inspection.types] == ["Q4_K", "Q6_K", "F32"]
    assert sum(each.parameter_count for each in inspection.types) == inspection.facts.parameter_count
    assert all(each.has_kernels for each in inspection.types)
    assert inspection.vocabulary.kind == "gpt2"
    assert inspection.template.source == "the model file (chatml)"
    assert "<|im_end|>" in [token.text for token in inspection.special_tokens if token.ends_answer]
    assert "general.url" in inspection.unused_keys
    assert "general.sampling.temp" not in inspection.unused_keys
    assert inspection.unused_tensors == ()
    assert "embeddings" in inspection.notices[0]
    assert any("blk.1.ffn_down" in line for line in inspection.plan)


def test_a_tensor_that_no_operation_reads_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "odd.gguf"
    odd_model(make_tiny_model(tmp_path / "sound.gguf"), path, extra_tensors=[("rope.freqs", (8,), 0, bytes(32))])

    assert inspect_model(path).unused_tensors == ("rope.freqs",)


def test_a_model_of_an_unknown_architecture_is_described_as_far_as_the_file_goes(tmp_path: Path) -> None:
    path = tmp_path / "mamba.gguf"
    entries = [
        scalar("general.architecture", ValueType.STRING, "mamba"),
        scalar("mamba.ssm.state_size", ValueType.UINT32, 16),
        scalar("tokenizer.ggml.model", ValueType.STRING, "unheard-of"),
        array("tokenizer.ggml.tokens", ValueType.STRING, ["a", "b"]),
        scalar("tokenizer.ggml.eos_token_id", ValueType.UINT32, 1),
        scalar("tokenizer.ggml.bos_token_id", ValueType.UINT32, 2),
    ]
    path.write_bytes(gguf_bytes(entries, [tensor("x.weight", (32, 2), 8)], bytes(96)))

    inspection = inspect_model(path, with_plan=True)

    assert "'mamba' is not supported" in inspection.facts.refusal
    assert inspection.sizes == {"ssm.state_size": "16"}
    assert [(each.name, each.size_bytes) for each in inspection.types] == [("Q8_0", 68)]
    assert (inspection.vocabulary.token_count, inspection.vocabulary.kind) == (2, "unheard-of")
    assert "unsupported kind" in inspection.vocabulary.refusal
    assert inspection.special_tokens == (SpecialToken("eos", 1, "b", False), SpecialToken("bos", 2, "", False))
    assert (inspection.plan, inspection.unused_keys, inspection.unused_tensors) == ((), (), ())


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.gguf"
    path.write_bytes(b"<!DOCTYPE html>")
    with pytest.raises(ModelFileError, match="web page"):
        inspect_model(path)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (7, "7"),
        (1e-6, "1e-06"),
        (True, "True"),
        ("x" * 200, "x" * 100),
        (np.array([4] * 30, np.int32), "30 × 4"),
        (np.array([1, 0, 0, 1], np.bool_), "True, 2 × False, True"),
        (np.array([], np.int32), "no values"),
        (np.arange(9), "0, 1, 2, 3, 4, 5 … (9 values)"),
        (SkippedValue(12), "12 bytes"),
    ],
)
def test_a_value_is_said_in_few_words(value: MetadataValue, words: str) -> None:
    assert value_words(value) == words
