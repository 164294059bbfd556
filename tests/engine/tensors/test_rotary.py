"""Angles of rotary positions: plain, divided by factors, linear, yarn."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.fakes.tiny_model import make_tiny_model
from tui_llama.engine.gguf.file import open_gguf
from tui_llama.engine.tensors.hyperparameters import Hyperparameters, RopeScaling, read_hyperparameters
from tui_llama.engine.tensors.rotary import RotaryTable
from tui_llama.errors import ModelFileError


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> Hyperparameters:
    with open_gguf(make_tiny_model(tmp_path_factory.mktemp("rotary") / "tiny.gguf")) as file:
        return read_hyperparameters(file)


def table(sizes: Hyperparameters, positions: int, factors: npt.NDArray[np.float32] | None = None) -> RotaryTable:
    made = RotaryTable(sizes, factors, positions)
    made.prepare(positions)
    return made


def test_plain_angles_are_positions_times_frequencies(sizes: Hyperparameters) -> None:
    angles = 1500 * sizes.rope_base ** (-2.0 * np.arange(sizes.rope_dim // 2) / sizes.rope_dim)
    got = table(sizes, 1501).row(1500)
    np.testing.assert_allclose(got[:, 0], np.cos(angles), atol=1e-6)
    np.testing.assert_allclose(got[:, 1], np.sin(angles), atol=1e-6)


def test_factors_divide_the_frequencies(sizes: Hyperparameters) -> None:
    factors = np.linspace(1.0, 4.0, sizes.rope_dim // 2, dtype=np.float32)
    angles = 7 * sizes.rope_base ** (-2.0 * np.arange(sizes.rope_dim // 2) / sizes.rope_dim) / factors
    np.testing.assert_allclose(table(sizes, 8, factors).row(7)[:, 1], np.sin(angles), atol=1e-6)


def test_linear_scaling_divides_positions(sizes: Hyperparameters) -> None:
    linear = dataclasses.replace(sizes.rope_scaling, kind="linear", factor=4.0)
    scaled = table(dataclasses.replace(sizes, rope_scaling=linear), 9)
    np.testing.assert_allclose(scaled.row(8), table(sizes, 3).row(2), atol=1e-6)


def test_yarn_keeps_fast_pairs_and_stretches_slow_ones(sizes: Hyperparameters) -> None:
    yarn = RopeScaling("yarn", 4.0, 128, 1.0, 1.0, 32.0, 1.0, 0.0)
    magnitude = 1.0 + 0.1 * math.log(4.0)
    scaled, plain = table(dataclasses.replace(sizes, rope_scaling=yarn), 5), table(sizes, 5)
    np.testing.assert_allclose(scaled.row(4)[0], plain.row(4)[0] * magnitude, atol=1e-6)
    np.testing.assert_allclose(scaled.row(4)[-1], plain.row(1)[-1] * magnitude, atol=1e-6)


def test_rows_are_made_as_they_are_needed(sizes: Hyperparameters) -> None:
    made = RotaryTable(sizes, None, 5000)
    made.prepare(1)
    assert not made.row(4000).any()
    made.prepare(4001)
    assert made.row(4000).any()


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_factors_that_are_no_divisors_are_refused(sizes: Hyperparameters, bad: float) -> None:
    factors = np.ones(sizes.rope_dim // 2, np.float32)
    factors[-1] = bad
    with pytest.raises(ModelFileError, match="rope_freqs"):
        RotaryTable(sizes, factors, 8)


def test_a_model_with_factors_opens(tmp_path: Path) -> None:
    with open_gguf(make_tiny_model(tmp_path / "tiny.gguf", rope_scaling="factors")) as file:
        assert "rope_freqs.weight" in file.tensors
