"""Tokens in a cache taken to other positions: keys as their naive twin turns them, and as reading gives them there."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.engine.model.random_model import write_random_model
from tests.fakes.tiny_model import Architecture, ScalingKind, make_tiny_model
from tests.naive import ops as naive
from tui_llama.engine import open_model
from tui_llama.engine.layouts.plan_row import HALVES, NEIGHBOURS, ROW
from tui_llama.engine.model.kv_moves import PositionMoves
from tui_llama.engine.model.sequence import Sequence
from tui_llama.engine.plan.plan import Plan, PlanStep
from tui_llama.engine.prompt_cache.cache import PromptCache
from tui_llama.engine.state_shape import KvArray, StateShape
from tui_llama.engine.tensors.hyperparameters import RopeScaling, Rotation
from tui_llama.engine.tensors.kv_cache import CacheShape, KeyValueCache
from tui_llama.engine.tensors.rotary import RotaryTables
from tui_llama.errors import CallerError, ShapeMismatchError
from tui_llama.files.storage import DiskStorage

LENGTH, CONTEXT = 61, 70
IDS = [5 + 7 * i % 40 for i in range(40)]
RNG = np.random.default_rng(11)


def rotary_of(rotated: int) -> RotaryTables:
    """Returns the tables of a model whose layers rotate so many elements of a head."""
    rotation = Rotation(rotated, 10000.0, RopeScaling("none", 1.0, CONTEXT), neighbours=True)
    return RotaryTables(SimpleNamespace(rotations=(rotation,)), None, CONTEXT, CONTEXT)  # type: ignore[arg-type]


def moves_for(shape: CacheShape, rotary: RotaryTables, rotated_dim: int, mode: int) -> PositionMoves:
    layers = [(layer, group) for group in shape.state.groups for layer in group.layers]
    rows = np.zeros(len(layers), ROW)
    for row, (layer, group) in zip(rows, layers, strict=True):
        for name, value in shape.row_fields(layer).items():
            row[name] = value
        row["head_dim"], row["padded_head_dim"] = group.key_dim, shape.width(group.key_dim)
    rows["extra"] = rotary.tables[0].address
    rows["rotated_dim"], rows["mode"] = rotated_dim, mode
    return PositionMoves(Plan(rows, [PlanStep("store_keys", "")] * len(rows), None, rotary, 0, []))  # type: ignore[arg-type] # it has no logits


def filled(shape: CacheShape, length: int = LENGTH) -> KeyValueCache:
    cache, dtype = KeyValueCache(shape), shape.state.dtype
    for index, group in enumerate(shape.state.groups):
        planes = [
            [naive.cache_rows(RNG.standard_normal((length, group.kv_heads, dim), np.float32), dtype) for dim in dims]
            for dims in [(group.key_dim, group.value_dim)] * len(group.layers)
        ]
        rows: Any = np.stack([np.concatenate(layer, axis=-1) for layer in planes])
        cache.fill(index, 0, rows)
    cache.append(length)
    return cache


def rows_of(cache: KeyValueCache, group: int = 0) -> list[tuple[KvArray, KvArray]]:
    state = cache.shape.state
    return list(state.layers(state.groups[group], cache.kv(group, cache.kept_from(group), cache.length)))


KINDS = [
    (cache_type, mode, head_dim, rotated)
    for cache_type in ("f16", "q8_0")
    for mode, head_dim, rotated in ((NEIGHBOURS, 8, 8), (HALVES, 40, 40), (NEIGHBOURS, 64, 32), (HALVES, 64, 32))
]


@pytest.mark.parametrize(("cache_type", "mode", "head_dim", "rotated"), KINDS)
def test_what_is_behind_a_removed_range_moves_down_with_its_keys_turned_back(
    cache_type: str, mode: int, head_dim: int, rotated: int
) -> None:
    rotary = rotary_of(rotated)
    cache = filled(CacheShape(StateShape.uniform(2, 3, head_dim, cache_type), CONTEXT))
    before, first, count = rows_of(cache), 5, 23

    moves_for(cache.shape, rotary, rotated, mode).remove(cache, first, count)

    assert cache.length == LENGTH - count
    turns = np.repeat(rotary.tables[0].turns(np.array([-count])), LENGTH - first - count, axis=0)
    for (keys, values), (old_keys, old_values) in zip(rows_of(cache), before, strict=True):
        np.testing.assert_array_equal(keys[:first], old_keys[:first])
        expected = naive.turned_rows(old_keys[first + count :], turns, head_dim, mode == NEIGHBOURS)
        np.testing.assert_array_equal(keys[first:], expected)
        np.testing.assert_array_equal(values, np.delete(old_values, range(first, first + count), axis=0))


@pytest.mark.parametrize(("cache_type", "mode", "head_dim", "rotated"), KINDS)
def test_turned_keys_agree_with_their_twin_and_values_stay(
    cache_type: str, mode: int, head_dim: int, rotated: int
) -> None:
    rotary = rotary_of(rotated)
    cache = filled(CacheShape(StateShape.uniform(2, 3, head_dim, cache_type), CONTEXT))
    before, differences = rows_of(cache), RNG.integers(-9, 10, LENGTH)

    moves_for(cache.shape, rotary, rotated, mode).turn(cache, differences)

    turned = differences != 0
    turns = rotary.tables[0].turns(differences[turned])
    for (keys, values), (old_keys, old_values) in zip(rows_of(cache), before, strict=True):
        np.testing.assert_array_equal(values, old_values)
        np.testing.assert_array_equal(keys[~turned], old_keys[~turned])
        expected = naive.turned_rows(old_keys[turned], turns, head_dim, mode == NEIGHBOURS)
        np.testing.assert_array_equal(keys[turned], expected)


def test_ranges_and_differences_that_do_not_fit_the_cache_are_refused() -> None:
    cache = filled(CacheShape(StateShape.uniform(1, 1, 8), CONTEXT))
    moves = moves_for(cache.shape, rotary_of(8), 8, HALVES)
    for first, count in [(-1, 3), (3, -1), (60, 2)]:
        with pytest.raises(CallerError):
            moves.remove(cache, first, count)
    with pytest.raises(ShapeMismatchError):
        moves.turn(cache, np.zeros(LENGTH - 1, np.int64))
    assert cache.length == LENGTH


# --- in a model of one layer: keys and values depend on nothing but their token and position ----------------

MODELS: list[tuple[Architecture, ScalingKind, str]] = [
    *(("llama", scaling, "f16") for scaling in ("none", "factors", "linear", "yarn")),
    *(("llama", "yarn", "q8_0"), ("qwen2", "none", "f16"), ("qwen3", "none", "q8_0")),
]


def keys_of(sequence: Sequence) -> npt.NDArray[np.float64]:
    (keys, _), *_ = rows_of(sequence.cache)
    return naive.from_cache_rows(keys, sequence.cache.shape.state.groups[0].key_dim)


def relative_error(got: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    difference = got.astype(np.float64) - expected
    return float(np.sqrt((difference**2).mean() / (expected.astype(np.float64) ** 2).mean()))


@pytest.mark.parametrize(("architecture", "scaling", "cache_type"), MODELS)
def test_a_shifted_sequence_goes_on_as_if_only_the_rest_had_been_read(
    tmp_path: Path, architecture: Architecture, scaling: ScalingKind, cache_type: str
) -> None:
    path = make_tiny_model(tmp_path / "tiny.gguf", architecture, layers=1, rope_scaling=scaling)
    tolerance = 1e-3 if cache_type == "f16" else 2e-2
    with open_model(path, threads=1, cache_type=cache_type) as model, model.new_sequence() as sequence:
        sequence.extend(IDS)
        sequence.shift(3, 20)
        rest = IDS[:3] + IDS[23:]
        assert sequence.token_ids == rest
        assert sequence.positions == list(range(len(rest)))
        with model.new_sequence() as fresh:
            fresh.extend(rest)
            assert relative_error(keys_of(sequence), keys_of(fresh)) < tolerance
            assert relative_error(sequence.extend([9]), fresh.extend([9])) < tolerance


@pytest.mark.parametrize(("architecture", "scaling", "cache_type"), MODELS)
def test_keys_at_shared_positions_are_those_of_that_position(
    tmp_path: Path, architecture: Architecture, scaling: ScalingKind, cache_type: str
) -> None:
    path = make_tiny_model(tmp_path / "tiny.gguf", architecture, layers=1, rope_scaling=scaling)
    shared = [*range(8), *(8 + i // 4 for i in range(24)), *range(14, 22)]
    with open_model(path, threads=1, cache_type=cache_type) as model, model.new_sequence() as sequence:
        sequence.extend([9] * 40)
        at_position = keys_of(sequence)
        sequence.set_positions(shared)
        assert sequence.positions == shared
        assert relative_error(keys_of(sequence), at_position[shared]) < (1e-3 if cache_type == "f16" else 2e-2)
        sequence.extend([9, 9, 9])
        assert sequence.positions == [*shared, 22, 23, 24]
        np.testing.assert_array_equal(keys_of(sequence)[-3:], at_position[22:25])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


def test_a_sequence_says_which_tokens_are_as_reading_leaves_them(tiny: Path) -> None:
    with open_model(tiny, threads=1) as model, model.new_sequence() as sequence:
        sequence.extend(IDS)
        assert sequence.exact_tokens == 40
        sequence.shift(30, 10)  # nothing is behind them: as if they had never been read
        assert sequence.exact_tokens == len(sequence) == 30
        sequence.shift(7, 5)
        sequence.extend(IDS[:4])
        assert (sequence.exact_tokens, len(sequence)) == (7, 29)
        sequence.rewind(9)
        assert sequence.exact_tokens == 7
        sequence.rewind(7)
        expected = model.logits(IDS[:10])[-1].tobytes()
        assert sequence.extend(IDS[7:10]).tobytes() == expected
        assert sequence.exact_tokens == len(sequence) == 10
        sequence.set_positions([*range(5), 4, *range(5, 9)])
        assert sequence.exact_tokens == 5


def test_a_sequence_says_which_tokens_are_its_own(tiny: Path) -> None:
    with open_model(tiny, threads=1) as model, model.new_sequence() as sequence:
        sequence.extend(IDS)
        rows = sequence.kv(0, 0, 40)
        sequence.rewind(20)
        sequence.fill(0, 20, rows[:, 20:30])
        sequence.adopt(IDS[20:30], is_foreign=True)
        sequence.extend(IDS[30:])  # computed beside them
        assert (sequence.own_tokens, len(sequence)) == (20, 40)
        sequence.rewind(21)
        assert sequence.own_tokens == 20
        sequence.shift(20, 1)
        sequence.extend(IDS[20:])
        assert sequence.own_tokens == len(sequence) == 40
        sequence.rewind(20)
        sequence.fill(0, 20, rows[:, 20:])
        sequence.adopt(IDS[20:], is_foreign=True)
        sequence.shift(4, 4)
        assert sequence.own_tokens == 4
        sequence.rewind(4)
        sequence.extend(IDS[4:])
        assert sequence.own_tokens == len(sequence) == 40


def test_of_a_sequence_whose_tokens_have_moved_only_the_start_is_stored(tiny: Path, tmp_path: Path) -> None:
    with open_model(tiny, threads=1) as model, model.new_sequence() as sequence:
        expected = sequence.extend(IDS).tobytes()
        sequence.shift(4, 4)
        cache = PromptCache(DiskStorage(tmp_path), model.fingerprint, model.state_shape, 1 << 30)
        assert cache.save(bytes(16), sequence).tokens == 4
        assert cache.restore(sequence, IDS).tokens == sequence.exact_tokens == 4
        assert sequence.extend(IDS[4:]).tobytes() == expected


def test_a_restored_sequence_has_not_moved(tiny: Path, tmp_path: Path) -> None:
    with open_model(tiny, threads=1) as model, model.new_sequence() as sequence:
        expected = sequence.extend(IDS).tobytes()
        cache = PromptCache(DiskStorage(tmp_path), model.fingerprint, model.state_shape, 1 << 30)
        assert cache.save(bytes(16), sequence).tokens == len(IDS)
        sequence.set_positions([i // 4 for i in range(len(IDS))])
        assert cache.restore(sequence, IDS[:39]).tokens == sequence.exact_tokens == 39
        assert sequence.extend(IDS[39:]).tobytes() == expected


@pytest.mark.parametrize("positions", [[0, 1], [0, 1, 3], [0, 2, 1], [-1, 0, 1]])
def test_positions_that_make_no_sense_are_refused(tiny: Path, positions: list[int]) -> None:
    with open_model(tiny, threads=1) as model, model.new_sequence() as sequence:
        expected = sequence.extend([1, 2, 3, 4]).tobytes()
        sequence.rewind(3)
        with pytest.raises(CallerError):
            sequence.set_positions(positions)
        assert sequence.extend([4]).tobytes() == expected


def test_tokens_that_share_positions_are_not_shifted(tiny: Path) -> None:
    with open_model(tiny, threads=1) as model, model.new_sequence() as sequence:
        sequence.extend([1, 2, 3, 4])
        sequence.set_positions([0, 0, 1, 1])
        with pytest.raises(CallerError):
            sequence.shift(1, 1)
        assert sequence.token_ids == [1, 2, 3, 4]


def test_tokens_whose_positions_are_in_their_embeddings_are_read_again_where_they_move(tmp_path: Path) -> None:
    path = write_random_model(tmp_path / "model.gguf", "gpt2")
    with open_model(path, threads=1) as model, model.new_sequence() as sequence:
        sequence.extend(IDS)
        assert not sequence.can_share_positions
        sequence.shift(3, 20)
        rest = IDS[:3] + IDS[23:]
        assert sequence.token_ids == rest
        assert sequence.exact_tokens == len(rest)
        assert sequence.extend([9]).tobytes() == model.logits([*rest, 9])[-1].tobytes()


def test_tokens_whose_scores_fall_with_distance_move_but_share_no_positions(tmp_path: Path) -> None:
    keys = {"block_count": 1}
    path = write_random_model(tmp_path / "model.gguf", "bloom", keys)
    with open_model(path, threads=1) as model, model.new_sequence() as sequence:
        sequence.extend(IDS)
        sequence.shift(3, 20)
        assert sequence.exact_tokens == 3
        assert sequence.extend([9]).tobytes() == model.logits([*IDS[:3], *IDS[23:], 9])[-1].tobytes()
        assert not sequence.can_share_positions
        with pytest.raises(CallerError):
            sequence.set_positions([0] * len(sequence))
