"""Angles of rotary positions: plain, divided by factors, linear, yarn."""

import dataclasses
import math

import numpy as np
import numpy.typing as npt
import pytest

from tui_llama.engine.tensors.hyperparameters import RopeScaling, Rotation
from tui_llama.engine.tensors.rotary import RotaryTable
from tui_llama.errors import ModelFileError

ROTATION = Rotation(dim=16, base=10000.0, scaling=RopeScaling("none", 1.0, 512), neighbours=True)
FREQUENCIES = ROTATION.base ** (-2.0 * np.arange(8) / 16)


def table(rotation: Rotation, positions: int, factors: npt.NDArray[np.float32] | None = None) -> RotaryTable:
    made = RotaryTable(rotation, factors, positions)
    made.prepare(positions)
    return made


def test_plain_angles_are_positions_times_frequencies() -> None:
    angles = 1500 * FREQUENCIES
    got = table(ROTATION, 1501).row(1500)
    np.testing.assert_allclose(got[:, 0], np.cos(angles), atol=1e-6)
    np.testing.assert_allclose(got[:, 1], np.sin(angles), atol=1e-6)


def test_factors_divide_the_frequencies() -> None:
    factors = np.linspace(1.0, 4.0, 8, dtype=np.float32)
    angles = 7 * FREQUENCIES / factors
    np.testing.assert_allclose(table(ROTATION, 8, factors).row(7)[:, 1], np.sin(angles), atol=1e-6)


def test_linear_scaling_divides_positions() -> None:
    linear = RopeScaling("linear", 4.0, 128)
    scaled = table(dataclasses.replace(ROTATION, scaling=linear), 9)
    np.testing.assert_allclose(scaled.row(8), table(ROTATION, 3).row(2), atol=1e-6)


def test_yarn_keeps_fast_pairs_and_stretches_slow_ones() -> None:
    magnitude = 1.0 + 0.1 * math.log(4.0)
    yarn = RopeScaling("yarn", 4.0, 128, magnitude)
    scaled, plain = table(dataclasses.replace(ROTATION, scaling=yarn), 5), table(ROTATION, 5)
    np.testing.assert_allclose(scaled.row(4)[0], plain.row(4)[0] * magnitude, atol=1e-6)
    np.testing.assert_allclose(scaled.row(4)[-1], plain.row(1)[-1] * magnitude, atol=1e-6)


def test_rows_are_made_as_they_are_needed() -> None:
    made = RotaryTable(ROTATION, None, 5000)
    made.prepare(1)
    assert not made.row(4000).any()
    made.prepare(4001)
    assert made.row(4000).any()


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_factors_that_are_no_divisors_are_refused(bad: float) -> None:
    factors = np.ones(8, np.float32)
    factors[-1] = bad
    with pytest.raises(ModelFileError, match="divisors of frequencies"):
        RotaryTable(ROTATION, factors, 8)


def test_pairs_that_stand_still_do_not_turn() -> None:
    still = table(dataclasses.replace(ROTATION, still_pairs=(1, 7)), 30).row(29)
    moving = table(ROTATION, 30).row(29)
    assert still[[1, 7]].tolist() == [[1.0, 0.0]] * 2
    others = [0, 2, 3, 4, 5, 6]
    assert np.array_equal(still[others], moving[others])


def test_long_contexts_have_divisors_of_their_own() -> None:
    rotation = dataclasses.replace(ROTATION, factors="short", long_factors="long")
    assert [rotation.factors_in(size) for size in (512, 513)] == ["short", "long"]
