"""A token that is computed again tells whether keys and values are those of its tokens and this model."""

from collections.abc import Sequence

import numpy as np
import pytest

from tests.fakes.fake_model import FakeModel, FakeSequence
from tui_llama.engine.prompt_cache.recompute_check import MOST_RELATIVE_ERROR, is_reproduced
from tui_llama.engine.state_shape import KvArray, StateShape
from tui_llama.engine.token_sequence import Logits

LAYERS, TOKENS = 3, 5
SHAPE = StateShape.uniform(LAYERS, 2, 16)
QUANTISED = StateShape.uniform(1, 1, 32, "q8_0")
MODEL = FakeModel(state_shape=SHAPE)


class Computed(FakeSequence):
    """A sequence whose model computes `truth`, and that was given other rows."""

    def __init__(self, truth: KvArray, given: KvArray) -> None:
        super().__init__(MODEL)
        self.token_ids = list(range(TOKENS))
        self._truth = truth
        self._given = given.copy()

    def kv(self, group: int, first: int, last: int) -> KvArray:
        return self._given[:, first:last].copy()

    def rewind(self, length: int) -> None:
        del self.token_ids[length:]

    def extend(self, ids: Sequence[int]) -> Logits:
        first = len(self.token_ids)
        self.token_ids += ids
        self._given[:, first : first + len(ids)] = self._truth[:, first : first + len(ids)]
        return np.zeros(MODEL.vocab_size, np.float32)


def some_rows(seed: int = 0) -> KvArray:
    rows = np.random.default_rng(seed).standard_normal((LAYERS, TOKENS, 2, 32))
    return rows.astype(np.float16)


def with_error(rows: KvArray, error: float, layer: int | None = None) -> KvArray:
    """The rows with as large an error, relative to their size, everywhere or in the values of one layer."""
    changed = rows.astype(np.float64)
    part = changed if layer is None else changed[layer, ..., 16:]
    part *= 1 + error * np.where(np.arange(part.shape[-1]) % 2, 1, -1)
    return changed.astype(np.float16)


@pytest.mark.parametrize("position", [0, 2, TOKENS - 1])
def test_the_same_bits_are_reproduced(position: int) -> None:
    sequence = Computed(some_rows(), some_rows())
    assert is_reproduced(sequence, SHAPE, position, must_be_equal=True)
    assert sequence.token_ids == list(range(position + 1))


def test_a_bit_too_many_is_not_the_same() -> None:
    given = some_rows()
    given.view(np.uint16)[2, TOKENS - 1, 1, 31] ^= 1
    assert not is_reproduced(Computed(some_rows(), given), SHAPE, TOKENS - 1, must_be_equal=True)
    assert is_reproduced(Computed(some_rows(), given), SHAPE, TOKENS - 1, must_be_equal=False)


def test_another_program_may_differ_by_little() -> None:
    given = with_error(some_rows(), 0.9 * MOST_RELATIVE_ERROR)
    assert is_reproduced(Computed(some_rows(), given), SHAPE, 3, must_be_equal=False)


@pytest.mark.parametrize("layer", range(LAYERS))
def test_one_plane_that_differs_by_more_is_enough(layer: int) -> None:
    given = with_error(some_rows(), 1.1 * MOST_RELATIVE_ERROR, layer)
    assert not is_reproduced(Computed(some_rows(), given), SHAPE, 3, must_be_equal=False)


@pytest.mark.parametrize("given", [some_rows(1), np.zeros_like(some_rows()), some_rows()[::-1], -some_rows()])
def test_other_keys_and_values_are_not_close(given: KvArray) -> None:
    assert not is_reproduced(Computed(some_rows(), given), SHAPE, 3, must_be_equal=False)


def test_zeros_are_close_to_zeros_alone() -> None:
    zeros = np.zeros_like(some_rows())
    assert is_reproduced(Computed(zeros, zeros), SHAPE, 3, must_be_equal=False)
    assert not is_reproduced(Computed(zeros, some_rows()), SHAPE, 3, must_be_equal=False)


def test_quantised_blocks_must_be_equal() -> None:
    blocks = np.random.default_rng(0).integers(0, 256, (1, TOKENS, 1, 68)).astype(np.uint8)
    other = blocks ^ np.uint8(1)
    assert is_reproduced(Computed(blocks, blocks), QUANTISED, 3, must_be_equal=False)
    assert not is_reproduced(Computed(blocks, other), QUANTISED, 3, must_be_equal=False)
