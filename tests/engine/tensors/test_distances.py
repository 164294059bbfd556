"""The slopes by which scores fall with distance."""

import numpy as np
import pytest

from tui_llama.engine.tensors.distances import slopes_of


@pytest.mark.parametrize(
    ("heads", "exponents"),
    [
        (1, [8]), (4, [2, 4, 6, 8]), (8, [1, 2, 3, 4, 5, 6, 7, 8]),
        (6, [2, 4, 6, 8, 1, 3]), (12, [1, 2, 3, 4, 5, 6, 7, 8, 0.5, 1.5, 2.5, 3.5]),
    ],
)  # fmt: skip
def test_slopes_are_a_sequence_of_powers_and_further_heads_lie_between(heads: int, exponents: list[float]) -> None:
    np.testing.assert_allclose(slopes_of(heads, 8.0), [2.0**-exponent for exponent in exponents], rtol=1e-6)
