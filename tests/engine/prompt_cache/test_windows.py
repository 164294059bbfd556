"""Prompts of a model whose layers have windows: it goes on at every turn's end and branch, with the right keys."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.fake_model import SPARE_POSITIONS, FakeModel, FakeSequence
from tests.fakes.simulated_disk import SimulatedDisk
from tests.fakes.stored_prompts import OTHER_OWNER, OWNER, cache_on, tokens
from tests.scale import scaled
from tui_llama.engine.prompt_cache.restore_points import first_missing, restore_point
from tui_llama.engine.state_file import PartPlace, RecordPlace
from tui_llama.engine.state_shape import LayerGroup, StateShape

WINDOW = 40
SHAPE = StateShape((LayerGroup((0, 2), 1, 4, 2, WINDOW), LayerGroup((1,), 1, 2, 2), LayerGroup((3,), 1, 2, 0, 70)))
ONLY_WINDOWS = StateShape((LayerGroup((0,), 1, 2, 2, WINDOW),))
SHAPES = {"full and window": SHAPE, "only windows": ONLY_WINDOWS, "only full": StateShape.uniform(2, 1, 2)}


def model_of(shape: StateShape) -> FakeModel:
    return FakeModel(context_size=100_000, state_shape=shape)


def read(token_ids: Sequence[int], model: FakeModel) -> FakeSequence:
    """A sequence that has read tokens, a few at a time as a model does."""
    sequence = FakeSequence(model)
    for first in range(0, len(token_ids), 16):
        sequence.extend(list(token_ids[first : first + 16]))
    return sequence


def go_on(sequence: FakeSequence, token_ids: Sequence[int]) -> None:
    for first in range(len(sequence), len(token_ids), 16):
        sequence.extend(list(token_ids[first : first + 16]))


def check(sequence: FakeSequence, token_ids: Sequence[int], model: FakeModel) -> None:
    """Whatever the sequence still has is what reading the tokens gives, and the next token sees nothing else."""
    assert sequence.token_ids == list(token_ids)
    expected = FakeSequence(model)
    expected.extend(list(token_ids))
    numbers = dict(enumerate(expected.numbers))
    for index, group in enumerate(model.state_shape.groups):
        first = sequence.kept_from(index)
        assert first <= max(0, len(token_ids) - group.window + 1 if group.window else 0)
        kv = sequence.kv(index, first, len(token_ids))
        assert kv[0, :, 0, 0].tolist() == [numbers[place] + index for place in range(first, len(token_ids))]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_turn_of_a_long_chat_can_be_gone_back_to(shape: StateShape) -> None:
    model, disk = model_of(shape), SimulatedDisk()
    cache, sequence, said, ends = cache_on(disk, model=model), FakeSequence(model), list[int](), list[int]()
    for turn, count in enumerate([30, 100, 7, 300, 64, 1, 90]):
        said += tokens(count, turn)
        go_on(sequence, said)
        assert cache.save(OWNER, sequence).tokens == count
        ends.append(len(said))
    for end in ends:
        other = FakeSequence(model)
        assert cache_on(disk, model=model).restore(other, [*said[:end], 255], OWNER).tokens == end
        check(other, said[:end], model)


def test_what_windows_have_forgotten_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    model, disk, said = model_of(SHAPE), SimulatedDisk(), tokens(500)
    cache_on(disk, model=model).save(OWNER, read(said, model))
    filled: list[tuple[int, int, int]] = []
    fill = FakeSequence.fill

    def noting(sequence: FakeSequence, group: int, first: int, kv: object) -> None:
        filled.append((group, first, first + kv.shape[1]))  # type: ignore[attr-defined]
        fill(sequence, group, first, kv)  # type: ignore[arg-type]

    monkeypatch.setattr(FakeSequence, "fill", noting)
    assert cache_on(disk, model=model).restore(FakeSequence(model), said, OWNER).tokens == 500
    firsts = {group: min(first for each, first, _ in filled if each == group) for group in range(3)}
    assert firsts == {0: 500 - WINDOW, 1: 0, 2: 430}


def test_a_branch_far_before_the_end_stores_what_its_parent_lacks() -> None:
    model, disk, said = model_of(SHAPE), SimulatedDisk(), tokens(1000)
    cache = cache_on(disk, model=model)
    cache.save(OWNER, read(said, model))
    branch = said[:500] + tokens(20, 1)
    sequence = FakeSequence(model)
    assert cache.restore(sequence, branch, OWNER).tokens == 0  # the windows of position 500 were never stored
    go_on(sequence, branch)
    assert cache.save(OWNER, sequence).tokens == 20 + 50  # the larger window reaches 50 positions into the parent
    assert cache.save(OWNER, sequence).tokens == 0
    other = FakeSequence(model)
    assert cache_on(disk, model=model).restore(other, branch, OWNER).tokens == 520
    check(other, branch, model)


def test_a_short_way_back_needs_no_disk_and_a_long_one_says_so() -> None:
    model, said = model_of(SHAPE), tokens(300)
    sequence = read(said, model)
    assert sequence.rewindable(300 - SPARE_POSITIONS) == 300 - SPARE_POSITIONS
    assert sequence.rewindable(300 - SPARE_POSITIONS - 2) == 0
    cache = cache_on(SimulatedDisk(), model=model)
    assert cache.restore(sequence, said[:290], OWNER).tokens == 290
    check(sequence, said[:290], model)
    assert cache.restore(sequence, said[:100], OWNER).tokens == 0
    assert len(sequence) == 0


_COUNTS = st.sampled_from([1, 5, 40, 63, 64, 65, 100, 200])
_TURNS = st.lists(st.tuples(st.floats(0, 1), _COUNTS, st.integers(0, 2), st.booleans()), min_size=1, max_size=8)


@given(turns=_TURNS, shape=st.sampled_from(list(SHAPES.values())), asked=st.floats(0, 1))
@settings(max_examples=scaled(30, 300), deadline=None)
def test_what_was_saved_can_be_gone_on_from_whatever_was_said(
    turns: list[tuple[float, int, int, bool]], shape: StateShape, asked: float
) -> None:
    """Each turn keeps a part of what was said, goes on otherwise, and now and then another program does it."""
    model, disk = model_of(shape), SimulatedDisk()
    cache, sequence, said, saved = cache_on(disk, model=model), FakeSequence(model), list[int](), list[list[int]]()
    for number, (kept, count, seed, is_elsewhere) in enumerate(turns):
        said = said[: int(len(said) * kept)] + [token_id % 3 for token_id in tokens(count, seed)]
        if is_elsewhere:
            cache, sequence = cache_on(disk, model=model), FakeSequence(model)
        outcome = cache.restore(sequence, said, OWNER if number % 2 else OTHER_OWNER)
        assert outcome.problems == ()
        ends = [len(each) for each in saved if each == said[: len(each)]]
        assert outcome.tokens >= max(ends, default=0)
        assert cache.stored_length(said, OWNER) >= max(ends, default=0)
        check(sequence, said[: outcome.tokens], model)
        go_on(sequence, said)
        assert cache.save(OWNER if number % 2 else OTHER_OWNER, sequence).problems == ()
        saved.append(said)
    wanted = said[: int(len(said) * asked)]
    other = FakeSequence(model)
    outcome = cache_on(disk, model=model).restore(other, wanted, OWNER)
    check(other, wanted[: outcome.tokens], model)


def test_a_damaged_window_costs_the_turn_and_nothing_before_it(tmp_path: Path) -> None:
    model, said, ends = model_of(SHAPE), list[int](), list[int]()
    cache, sequence = cache_on(tmp_path, model=model), FakeSequence(model)
    for turn in range(3):
        said += tokens(200, turn)
        go_on(sequence, said)
        cache.save(OWNER, sequence)
        ends.append(len(said))
    (path,) = tmp_path.rglob("*.tlk")
    content = bytearray(path.read_bytes())
    content[-200] ^= 1  # in the keys and values of the last record
    path.write_bytes(content)
    other = FakeSequence(model)
    outcome = cache_on(tmp_path, model=model).restore(other, said, OWNER)
    assert outcome.problems == ("damaged (tokens 576–599)",)
    assert outcome.tokens >= ends[1]
    check(other, said[: outcome.tokens], model)


def record(first: int, last: int, *present: bool) -> RecordPlace:
    parts = tuple(PartPlace(0, 0) if is_present else None for is_present in present)
    return RecordPlace(first, last - first, 0, parts, 0)


def test_restore_points_are_where_every_group_has_what_it_needs() -> None:
    shape = StateShape((LayerGroup((0,), 1, 2, 2, 10), LayerGroup((1,), 1, 2, 2)))
    places = [record(0, 8, True, True), record(8, 30, False, True), record(30, 50, True, True)]
    assert [restore_point(shape, [(0, end, places)]) for end in (5, 8, 20, 30, 39, 40, 45)] == [5, 8, 8, 8, 8, 40, 45]
    assert restore_point(shape, []) == 0
    assert first_missing(shape, [(0, 50, places)], 50, [0, 0]) == 50
    assert first_missing(shape, [(0, 35, places)], 39, [0, 0]) == 29
    assert first_missing(shape, [(0, 35, places)], 39, [30, 0]) == 35
    assert first_missing(shape, [(0, 20, places)], 60, [0, 0]) == 20
