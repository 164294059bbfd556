"""Which layers have a window, and of what size."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.engine.plan.sizes.key_files import Setting, integer, number, read_as
from tui_llama.errors import ModelFileError

SIX = {"block_count": integer(6)}
EXPERTS = {
    "expert_count": integer(8), "expert_used_count": integer(2), "expert_feed_forward_length": integer(32),
    "expert_gating_func": integer(2), "leading_dense_block_count": integer(1), "expert_shared_count": integer(1),
}  # fmt: skip


def windows(folder: Path, architecture: str, changes: Mapping[str, Setting]) -> list[int]:
    return [layer.window for layer in read_as(folder, architecture, {**SIX, **changes}).layers]


def test_the_last_layer_of_each_period_sees_everything(tmp_path: Path) -> None:
    assert windows(tmp_path, "gemma2", {}) == [4096, 0] * 3
    size = {"attention.sliding_window": integer(20), "logit_scale": number(1.0)}
    assert windows(tmp_path, "gemma3", size) == [20] * 5 + [0]
    assert windows(tmp_path, "cohere2", size) == [20, 20, 20, 0, 20, 20]


@pytest.mark.parametrize(
    ("period", "expected"), [(0, [7] * 6), (1, [0] * 6), (2, [7, 0] * 3), (3, [7, 7, 0] * 2), (99, [7] * 6)]
)
def test_a_file_may_have_a_period_of_its_own(tmp_path: Path, period: int, expected: list[int]) -> None:
    keys = {"attention.sliding_window": integer(7), "attention.sliding_window_pattern": integer(period)}
    assert windows(tmp_path, "gemma3", keys) == expected


@pytest.mark.parametrize(
    "pattern",
    [[True, False, False, True, True, False], [1, 0, 0, 1, 1, 0], [True, False, False, True, True, False, True]],
)
def test_a_file_may_say_it_of_each_layer(tmp_path: Path, pattern: list[bool] | list[int]) -> None:
    keys: dict[str, Setting] = {"attention.sliding_window": integer(7), "attention.sliding_window_pattern": pattern}
    assert windows(tmp_path, "gemma3", keys) == [7, 0, 0, 7, 7, 0]


def test_a_pattern_that_is_too_short_or_of_texts_is_refused(tmp_path: Path) -> None:
    size = {"attention.sliding_window": integer(7)}
    with pytest.raises(ModelFileError, match="it has 2 values for 6 layers"):
        windows(tmp_path, "gemma3", {**size, "attention.sliding_window_pattern": [True, False]})
    with pytest.raises(ModelFileError, match="the file has an array of 6 strings"):
        windows(tmp_path, "gemma3", {**size, "attention.sliding_window_pattern": ["a"] * 6})


@pytest.mark.parametrize("architecture", ["gemma3", "olmo2"])
def test_without_a_size_no_layer_of_some_architectures_has_a_window(tmp_path: Path, architecture: str) -> None:
    assert windows(tmp_path, architecture, {}) == [0] * 6
    assert windows(tmp_path, architecture, {"attention.sliding_window": integer(0)}) == [0] * 6


def test_a_size_that_must_be_there_is_named_where_it_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"'cohere2\.attention\.sliding_window' is missing"):
        windows(tmp_path, "cohere2", {})


@pytest.mark.parametrize("architecture", ["llama", "phi3", "mistral3", "qwen3"])
def test_the_keys_mean_nothing_to_architectures_without_windows(tmp_path: Path, architecture: str) -> None:
    keys = {"attention.sliding_window": integer(7), "attention.sliding_window_pattern": integer(2)}
    assert windows(tmp_path, architecture, keys) == [0] * 6


def test_only_the_large_model_of_a_family_may_have_windows(tmp_path: Path) -> None:
    keys = {"attention.sliding_window": integer(7)}
    assert windows(tmp_path, "exaone4", keys) == [0] * 6
    assert windows(tmp_path, "exaone4", {**keys, "block_count": integer(64)}) == [7, 7, 7, 0] * 16


def test_the_first_layer_of_a_period_may_be_the_one_that_sees_everything(tmp_path: Path) -> None:
    keys = {**EXPERTS, "attention.sliding_window": integer(7), "logit_scale": number(1.0)}
    assert windows(tmp_path, "cohere2moe", keys) == [0, 7, 7, 7, 0, 7]
    assert windows(tmp_path, "smallthinker", keys) == [0, 4096, 4096, 4096, 0, 4096]
    assert windows(tmp_path, "smallthinker", {**keys, "attention.sliding_window": None}) == [0] * 6


def test_heads_of_layers_with_a_window_may_have_a_size_of_their_own(tmp_path: Path) -> None:
    changes = {
        "attention.sliding_window": integer(7), "attention.key_length_swa": integer(32),
        "attention.value_length_swa": integer(8), "rope.dimension_count_swa": integer(24),
    }  # fmt: skip
    layers = read_as(tmp_path, "gemma3", {**SIX, **changes}).layers
    assert [(layer.head_dim, layer.value_dim) for layer in layers[4:]] == [(32, 8), (16, 16)]
    assert [layer.rotation.dim for layer in layers[4:] if layer.rotation] == [24, 16]
    assert [layer.attention_scale for layer in layers[4:]] == pytest.approx([32**-0.5, 0.25])


def test_chunks_are_of_one_size_whatever_the_file_says(tmp_path: Path) -> None:
    experts = {"expert_count": integer(4), "expert_used_count": integer(1), "expert_feed_forward_length": integer(32)}
    keys = {**experts, "interleave_moe_layer_step": integer(2)}
    assert windows(tmp_path, "llama4", keys) == [8192, 8192, 8192, 0, 8192, 8192]
    assert windows(tmp_path, "llama4", {**keys, "attention.sliding_window": integer(20)})[0] == 8192
    assert windows(tmp_path, "llama4", {**keys, "attention.sliding_window": integer(0)}) == [0] * 6
    layers = read_as(tmp_path, "llama4", {**keys, "block_count": integer(4)}).layers
    assert [layer.is_chunked for layer in layers] == [True, True, True, False]
    assert [layer.rotation is not None for layer in layers] == [True, True, True, False]
    assert [layer.temperature is not None for layer in layers] == [False, False, False, True]
    assert [layer.experts is not None for layer in layers] == [False, True, False, True]
