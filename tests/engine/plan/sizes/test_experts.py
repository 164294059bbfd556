"""The sizes of experts: what files say, what architectures assume, and what no model can have."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.gguf_bytes import array, gguf_bytes, scalar
from tui_llama.engine.gguf.file import ValueType, open_gguf
from tui_llama.engine.plan.architectures import architecture_named
from tui_llama.engine.plan.sizes.read_sizes import read_sizes
from tui_llama.engine.tensors.expert_sizes import ExpertSizes
from tui_llama.errors import ModelFileError

Value = int | float | bool | list[int]
LAYERS = 4


def experts_of(folder: Path, architecture: str, **given: Value) -> tuple[ExpertSizes | None, ...]:
    """Returns the experts of the four layers of a model with some keys."""
    keys: dict[str, Value] = {
        "block_count": LAYERS, "embedding_length": 64, "feed_forward_length": 96, "attention.head_count": 4,
        "attention.layer_norm_rms_epsilon": 1e-5, "context_length": 512, "expert_count": 8, "expert_used_count": 2,
    }  # fmt: skip
    kinds = {bool: ValueType.BOOL, int: ValueType.UINT32, float: ValueType.FLOAT32}
    encoded = [
        array(f"{architecture}.{key.replace('__', '.')}", ValueType.UINT32, value)
        if isinstance(value, list)
        else scalar(f"{architecture}.{key.replace('__', '.')}", kinds[type(value)], value)
        for key, value in (keys | given).items()
    ]
    path = folder / "model.gguf"
    path.write_bytes(
        gguf_bytes(
            [
                scalar("general.architecture", ValueType.STRING, architecture),
                array("tokenizer.ggml.tokens", ValueType.STRING, ["a", "b"]),
                *encoded,
            ]
        )
    )
    with open_gguf(path) as file:
        return tuple(layer.experts for layer in read_sizes(file, architecture_named(architecture)).sizes.layers)


def test_an_expert_is_as_large_as_the_file_says_or_as_its_share_of_the_dense_block(tmp_path: Path) -> None:
    given = ExpertSizes(8, 2, 40, normalises=True)
    assert experts_of(tmp_path, "qwen3moe", expert_feed_forward_length=40) == (given,) * LAYERS
    assert experts_of(tmp_path, "qwen3moe") == (replace(given, hidden_size=48),) * LAYERS
    assert experts_of(tmp_path, "grok") == (replace(given, hidden_size=96),) * LAYERS
    assert experts_of(tmp_path, "grok", expert_feed_forward_length=40) == (given,) * LAYERS
    assert experts_of(tmp_path, "olmoe") == (ExpertSizes(8, 2, 96),) * LAYERS
    with pytest.raises(ModelFileError, match="expert_feed_forward_length"):
        experts_of(tmp_path, "gpt-oss", attention__sliding_window=16)


def test_models_that_may_have_experts_are_dense_without(tmp_path: Path) -> None:
    assert experts_of(tmp_path, "llama", expert_count=0) == (None,) * LAYERS
    assert experts_of(tmp_path, "llama") == (ExpertSizes(8, 2, 96, normalises=True),) * LAYERS
    with pytest.raises(ModelFileError, match="expert_count"):
        experts_of(tmp_path, "qwen3moe", expert_count=0)


def test_the_first_layers_and_those_between_can_be_dense(tmp_path: Path) -> None:
    steps: dict[str, Value] = {"leading_dense_block_count": 1, "interleave_moe_layer_step": 2}
    experts = experts_of(tmp_path, "ernie4_5-moe", expert_feed_forward_length=32, **steps)
    assert [found is not None for found in experts] == [False, True, False, True]


def test_the_keys_of_the_router_are_read(tmp_path: Path) -> None:
    keys: dict[str, Value] = {
        "expert_gating_func": 1, "expert_weights_norm": True, "expert_weights_scale": 2.5, "expert_group_count": 4,
        "expert_group_used_count": 2, "expert_shared_count": 2, "expert_feed_forward_length": 32,
    }  # fmt: skip
    found = experts_of(tmp_path, "glm4moe", **keys)[0]
    assert found == ExpertSizes(8, 2, 32, "softmax", False, True, 2.5, 4, 2, shared_hidden_size=64)
    plain = experts_of(tmp_path, "glm4moe", expert_feed_forward_length=32)[0]
    assert plain == ExpertSizes(8, 2, 32, "sigmoid")


def test_layers_can_use_different_numbers_of_experts(tmp_path: Path) -> None:
    experts = experts_of(tmp_path, "qwen3moe", expert_used_count=[1, 2, 8, 4], expert_feed_forward_length=32)
    assert [found and found.used_count for found in experts] == [1, 2, 8, 4]


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"expert_used_count": 9}, "expert_used_count"),
        ({"expert_used_count": 0}, "expert_used_count"),
        ({"expert_count": 5000}, "expert_count"),
        ({"expert_group_count": 3}, "expert_group_count"),
        ({"expert_group_count": 8, "expert_group_used_count": 1}, "expert_group_used_count"),
        ({"expert_feed_forward_length": 1 << 21}, "expert_feed_forward_length"),
    ],
)
def test_what_no_model_can_have_is_refused(tmp_path: Path, given: dict[str, Value], key: str) -> None:
    with pytest.raises(ModelFileError, match=f"qwen3moe.{key}"):
        experts_of(tmp_path, "qwen3moe", **given)
