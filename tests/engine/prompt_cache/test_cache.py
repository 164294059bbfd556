"""What was read once is not read again: over a real folder, with a model without weights."""

import os
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.fake_model import FakeModel, FakeSequence
from tests.fakes.storage_wrappers import CountingStorage
from tests.fakes.stored_prompts import MODEL, OTHER_OWNER, OWNER, TOKEN_BYTES, cache_on, sequence_of, store, tokens
from tests.scale import scaled
from tui_llama.engine.prompt_cache.eviction import cache_uses, clear, make_room, remove_owner, used_bytes
from tui_llama.engine.prompt_cache.owner import served_owner_id
from tui_llama.engine.state_file import header_bytes, record_head_bytes
from tui_llama.engine.state_shape import KvArray
from tui_llama.files.storage import DiskStorage


def restored(folder: Path, token_ids: list[int], held: list[int] | None = None) -> int:
    """How many tokens another program finds; what it takes over is what would have been computed."""
    sequence = sequence_of(held or [])
    outcome = cache_on(folder).restore(sequence, token_ids)
    assert outcome.problems == ()
    assert sequence.token_ids == token_ids[: outcome.tokens]
    expected = sequence_of(token_ids[: outcome.tokens])
    assert sequence.kv(0, 0, outcome.tokens).tobytes() == expected.kv(0, 0, outcome.tokens).tobytes()
    return outcome.tokens


def segments(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.tlk"))


# --- reuse ----------------------------------------------------------------------------------------------------------


def test_a_chat_goes_on_in_another_program(tmp_path: Path) -> None:
    past = tokens(200)
    assert store(cache_on(tmp_path), past).tokens == 200
    assert restored(tmp_path, [*past, 1, 2, 3]) == 200
    assert restored(tmp_path, past[:130]) == 130


def test_only_what_memory_lacks_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    past = tokens(640)
    store(cache_on(tmp_path), past)
    filled: list[int] = []
    fill = FakeSequence.fill

    def counting(sequence: FakeSequence, group: int, first: int, rows: KvArray) -> None:
        filled.append(first)
        fill(sequence, group, first, rows)

    monkeypatch.setattr(FakeSequence, "fill", counting)
    assert restored(tmp_path, past, [*past[:500], 1]) == 640
    assert sorted(filled) == [500, 512, 576]


def test_turns_append_to_one_segment_and_cost_what_they_add(tmp_path: Path) -> None:
    cache, past, before = cache_on(tmp_path), tokens(5000), 0
    for length in (100, 1100, 1101, 3000, 5000):
        written = store(cache, past[:length]).tokens
        (path,) = segments(tmp_path)
        added = path.stat().st_size - before
        assert added >= written * TOKEN_BYTES
        before = path.stat().st_size
    assert restored(tmp_path, past) == 5000


def test_what_is_stored_is_not_written_again(tmp_path: Path) -> None:
    cache, past = cache_on(tmp_path), tokens(100)
    store(cache, past)
    assert store(cache, past).tokens == store(cache, past[:50]).tokens == 0
    assert store(cache_on(tmp_path), past, OTHER_OWNER).tokens == 0
    assert len(segments(tmp_path)) == 1


def test_branches_share_their_common_past(tmp_path: Path) -> None:
    cache, past = cache_on(tmp_path), tokens(1000)
    store(cache, past)
    edited, again = past[:700] + tokens(200, 1), past[:700] + tokens(150, 2)
    assert store(cache, edited).tokens == 200
    assert store(cache, again).tokens == 150
    deeper = edited[:800] + tokens(100, 3)
    assert store(cache, deeper).tokens == 100
    for branch in (past, edited, again, deeper):
        assert restored(tmp_path, [*branch, 5]) == len(branch)
    assert used_bytes(DiskStorage(tmp_path)) < 1.1 * 1450 * TOKEN_BYTES + 4 * 3072


def test_another_chat_with_a_known_beginning_reuses_it_and_begins_a_segment_of_its_own(tmp_path: Path) -> None:
    cache, past = cache_on(tmp_path), tokens(300)
    store(cache, past)
    other = past + tokens(50, 1)
    assert restored(tmp_path, other) == 300
    assert store(cache, other, OTHER_OWNER).tokens == 50
    assert len(segments(tmp_path)) == 2


def test_a_sequence_that_goes_back_keeps_only_what_is_wanted(tmp_path: Path) -> None:
    past = tokens(100)
    store(cache_on(tmp_path), past)
    assert restored(tmp_path, past[:60] + tokens(10, 1), past) == 60
    assert restored(tmp_path, tokens(10, 2), past) == 0


def test_files_and_folders_are_the_users_alone(tmp_path: Path) -> None:
    folder = tmp_path / "prompts"
    store(cache_on(folder), tokens(10))
    (path,) = segments(folder)
    assert [each.stat().st_mode & 0o777 for each in (folder, path.parent, path)] == [0o700, 0o700, 0o600]


def test_two_programs_in_one_chat_branch_and_lose_nothing(tmp_path: Path) -> None:
    one, other, past = cache_on(tmp_path), cache_on(tmp_path), tokens(100)
    store(one, past)
    assert store(other, [*past, *tokens(30, 1)]).tokens == 30
    assert store(one, [*past, *tokens(40, 2)]).tokens == 40  # the segment has grown meanwhile
    assert store(one, [*past, *tokens(30, 1), 7]).tokens == 1
    for seed, count in ((1, 30), (2, 40)):
        assert restored(tmp_path, [*past, *tokens(count, seed)]) == 100 + count


# --- what was computed elsewhere --------------------------------------------------------------------------------------


def foreign_sequence_of(token_ids: list[int], error: int = 0) -> FakeSequence:
    """Tokens taken over from another program, which computed other last numbers."""
    theirs = sequence_of(token_ids)
    theirs.miscompute(-1, error)
    sequence = sequence_of([])
    sequence.fill(0, 0, theirs.kv(0, 0, len(theirs)))
    sequence.adopt(token_ids, is_foreign=True)
    return sequence


def large_past() -> list[int]:
    """Tokens whose last number is so large that one more is within what another program may differ by."""
    return next(past for seed in range(99) if sequence_of(past := tokens(100, seed)).numbers[-1] > 200)


def test_what_was_computed_elsewhere_is_for_its_owner_alone(tmp_path: Path) -> None:
    past = tokens(100)
    assert cache_on(tmp_path).save(OWNER, foreign_sequence_of(past)).tokens == 100
    lengths = [cache_on(tmp_path).stored_length([*past, 1], owner) for owner in (OWNER, OTHER_OWNER, None)]
    assert lengths == [100, 0, 0]


def test_another_chat_stores_the_same_tokens_again_and_they_are_everybodys(tmp_path: Path) -> None:
    past = tokens(100)
    cache_on(tmp_path).save(OWNER, foreign_sequence_of(past))
    assert store(cache_on(tmp_path), past, OTHER_OWNER).tokens == 100
    sequence = sequence_of([])
    assert cache_on(tmp_path).restore(sequence, past, OWNER).tokens == 100
    assert sequence.own_tokens == 100  # of two that are equally long, ours is taken
    assert cache_on(tmp_path).restore(sequence_of([]), past).tokens == 100


def test_what_a_chat_has_stored_is_stored_again_for_a_served_program(tmp_path: Path) -> None:
    past, program = tokens(100), bytes.fromhex(served_owner_id(b"system prompt"))
    store(cache_on(tmp_path), past)
    assert cache_on(tmp_path).restore(sequence_of([]), past, program).tokens == 0
    assert store(cache_on(tmp_path), [*past, 1], program).tokens == 101
    assert cache_on(tmp_path).restore(sequence_of([]), [*past, 1], program).tokens == 101
    assert cache_on(tmp_path).restore(sequence_of([]), [*past, 1], OWNER).tokens == 101


def test_what_was_computed_elsewhere_need_not_be_what_we_compute_to_the_last_bit(tmp_path: Path) -> None:
    past = large_past()
    cache_on(tmp_path).save(OWNER, foreign_sequence_of(past, error=1))
    sequence = sequence_of([])
    assert cache_on(tmp_path).restore(sequence, past, OWNER).problems == ()
    assert (len(sequence), sequence.own_tokens) == (100, 0)


def test_what_was_computed_elsewhere_and_is_far_from_what_we_compute_is_set_aside(tmp_path: Path) -> None:
    past = large_past()
    cache_on(tmp_path).save(OWNER, foreign_sequence_of(past, error=-2000))
    outcome = cache_on(tmp_path).restore(sequence_of([]), past, OWNER)
    assert (outcome.tokens, outcome.problems) == (0, ("different from what the model computes",))
    assert segments(tmp_path) == []


def test_ours_must_still_come_out_bit_by_bit(tmp_path: Path) -> None:
    past = large_past()
    wrong = sequence_of(past)
    wrong.miscompute(-1, 1)
    cache_on(tmp_path).save(OWNER, wrong)
    assert cache_on(tmp_path).restore(sequence_of([]), past, OWNER).tokens == 0


def test_what_goes_on_from_what_was_computed_elsewhere_is_its_owners_too(tmp_path: Path) -> None:
    past = tokens(100)
    cache_on(tmp_path).save(OWNER, foreign_sequence_of(past))
    sequence = sequence_of([])
    cache = cache_on(tmp_path)
    cache.restore(sequence, past, OWNER)
    sequence.extend(tokens(20, 1))
    assert cache.save(OWNER, sequence).tokens == 20
    assert len(segments(tmp_path)) == 1
    branch = past[:50] + tokens(30, 2)
    cache.restore(sequence, branch, OWNER)
    sequence.extend(branch[50:])
    assert cache.save(OWNER, sequence).tokens == 30
    for path in ([*past, *tokens(20, 1)], branch):
        assert cache_on(tmp_path).stored_length(path, OWNER) == len(path)
        assert cache_on(tmp_path).stored_length(path, OTHER_OWNER) == 0


def test_what_is_computed_beside_it_in_memory_is_marked_wherever_it_is_stored(tmp_path: Path) -> None:
    past = tokens(100)
    store(cache_on(tmp_path), past[:60])  # an unmarked segment of the same owner
    sequence = foreign_sequence_of(past)
    sequence.extend(tokens(10, 1))
    assert cache_on(tmp_path).save(OWNER, sequence).tokens == 50
    assert len(segments(tmp_path)) == 2
    assert cache_on(tmp_path).stored_length(past, OTHER_OWNER) == 60
    assert cache_on(tmp_path).stored_length([*past, *tokens(10, 1)], OWNER) == 110


def test_a_sequence_is_its_own_again_once_it_has_forgotten_what_was_foreign() -> None:
    sequence = sequence_of(tokens(10))
    sequence.fill(0, 10, sequence_of(tokens(15)).kv(0, 10, 15))
    sequence.adopt(tokens(15)[10:], is_foreign=True)
    sequence.extend([1, 2])
    assert sequence.own_tokens == 10
    sequence.rewind(12)
    assert sequence.own_tokens == 10
    sequence.rewind(10)
    sequence.extend([1, 2])
    assert sequence.own_tokens == len(sequence) == 12


# --- nothing wrong is ever used ---------------------------------------------------------------------------------------


def test_what_the_model_would_not_compute_is_not_used_and_set_aside(tmp_path: Path) -> None:
    past = tokens(100)
    wrong = sequence_of(past)
    wrong.miscompute(99, 5 - wrong.numbers[99])  # as if the weights had been others when it was read
    cache_on(tmp_path).save(OWNER, wrong)
    sequence = sequence_of(past[:20])
    outcome = cache_on(tmp_path).restore(sequence, past)
    assert outcome.tokens == 20 == len(sequence)
    assert outcome.problems == ("different from what the model computes",)
    assert segments(tmp_path) == []


@pytest.mark.parametrize("model", [FakeModel(name="other")])
def test_another_model_finds_nothing(tmp_path: Path, model: FakeModel) -> None:
    past = tokens(100)
    store(cache_on(tmp_path), past)
    sequence = FakeSequence(model)
    assert cache_on(tmp_path, model=model).restore(sequence, past).tokens == 0


def test_a_segment_moved_to_another_models_folder_is_not_used(tmp_path: Path) -> None:
    past, other = tokens(100), FakeModel(name="other")
    store(cache_on(tmp_path), past)
    (path,) = segments(tmp_path)
    cache_on(tmp_path, model=other).save(OWNER, sequence_of(tokens(5, 9), other))
    folder = next(each for each in tmp_path.iterdir() if each != path.parent)
    path.rename(folder / path.name)
    assert cache_on(tmp_path, model=other).restore(FakeSequence(other), past).tokens == 0


def damage_rows(path: Path, position: int) -> None:
    """Flips a bit in the keys and values of a token in a file of whole records."""
    content = bytearray(path.read_bytes())
    head_bytes = record_head_bytes(MODEL.state_shape, 64)
    record = header_bytes(MODEL.state_shape) + position // 64 * (head_bytes + 64 * TOKEN_BYTES)
    content[record + head_bytes + position % 64 * TOKEN_BYTES] ^= 1
    path.write_bytes(content)


def test_damage_costs_only_what_comes_after_it(tmp_path: Path) -> None:
    past = tokens(640)
    store(cache_on(tmp_path), past)
    (path,) = segments(tmp_path)
    damage_rows(path, 330)
    sequence, cache = sequence_of([]), cache_on(tmp_path)
    outcome = cache.restore(sequence, past)
    assert outcome.tokens == 320
    assert len(outcome.problems) == 1 and outcome.problems[0].startswith("damaged (tokens ")
    assert sequence.kv(0, 0, outcome.tokens).tobytes() == sequence_of(past).kv(0, 0, outcome.tokens).tobytes()
    assert restored(tmp_path, past) == 320
    sequence.extend(past[320:])
    assert cache.save(OWNER, sequence).tokens == 320
    assert segments(tmp_path) == [path]
    assert restored(tmp_path, past) == 640


def test_damage_in_a_file_that_others_are_reading_is_told_once(tmp_path: Path) -> None:
    past, storage = tokens(640), DiskStorage(tmp_path)
    store(cache_on(tmp_path), past)
    (path,) = segments(tmp_path)
    damage_rows(path, 330)
    descriptor = storage.open(str(path.relative_to(tmp_path)))
    assert storage.lock(descriptor, exclusive=False)
    cache = cache_on(tmp_path)
    outcome = cache.restore(sequence_of([]), past)
    assert (outcome.tokens, len(outcome.problems)) == (320, 1)
    outcome = store(cache, past)
    assert (outcome.tokens, len(outcome.problems)) == (640, 1)  # a segment of its own
    storage.close(descriptor)
    assert cache_on(tmp_path).restore(sequence_of([]), past).tokens == 640


def test_damage_behind_a_fork_does_not_cost_the_branch(tmp_path: Path) -> None:
    cache, past = cache_on(tmp_path), tokens(640)
    store(cache, past)
    (path,) = segments(tmp_path)
    branch = past[:300] + tokens(50, 1)
    store(cache, branch)
    damage_rows(path, 330)
    assert cache_on(tmp_path).restore(sequence_of([]), past).tokens == 320
    assert restored(tmp_path, branch) == 350


def test_nothing_is_written_behind_damage_that_was_not_read_before(tmp_path: Path) -> None:
    past = tokens(640)
    store(cache_on(tmp_path), past)
    (path,) = segments(tmp_path)
    damage_rows(path, 330)
    outcome = store(cache_on(tmp_path), [*past, *tokens(10, 1)])
    assert outcome.tokens == 640 - 320 + 10
    assert [problem[:16] for problem in outcome.problems] == ["damaged (tokens "]
    assert segments(tmp_path) == [path]
    assert restored(tmp_path, [*past, *tokens(10, 1)]) == 650


def test_what_comes_out_as_it_was_is_stored_anew_where_it_is_damaged(tmp_path: Path) -> None:
    past = tokens(200)
    store(cache_on(tmp_path), past)
    (path,) = segments(tmp_path)
    damage_rows(path, 150)
    assert store(cache_on(tmp_path), past).tokens == 200 - 128
    assert restored(tmp_path, past) == 200


def test_what_this_program_has_read_or_written_is_not_looked_at_again(tmp_path: Path) -> None:
    storage, past = CountingStorage(DiskStorage(tmp_path)), tokens(6400)
    store(cache_on(tmp_path), past[:3000])
    cache = cache_on(storage)
    cache.restore(sequence_of([]), past[:3000])
    store(cache, past[:4000])
    before = storage.read_bytes
    for length in range(4000, 6400, 100):
        assert store(cache, past[:length]).problems == ()
    assert storage.read_bytes - before < 24 * 100


def test_damaged_files_never_change_an_answer(tmp_path: Path) -> None:
    past, chance = tokens(200), np.random.default_rng(0)
    store(cache_on(tmp_path), past[:100])
    store(cache_on(tmp_path), past)
    (path,) = segments(tmp_path)
    content, expected = path.read_bytes(), sequence_of(past)
    detected, count = 0, scaled(1000, 50_000)
    for number in range(count):
        clear(DiskStorage(tmp_path))
        damaged = bytearray(content)
        place = int(chance.integers(len(content)))
        match number % 3:
            case 0:
                damaged[place] ^= 1 << int(chance.integers(8))
            case 1:
                del damaged[place:]
            case 2:
                damaged[place:place] = damaged[place - 64 : place]
        path.write_bytes(damaged)
        sequence = sequence_of([])
        outcome = cache_on(tmp_path).restore(sequence, past)
        is_outside = damaged[: len(content)] == content
        detected += is_outside or outcome.tokens < 200 or bool(outcome.problems)
        assert sequence.token_ids == past[: outcome.tokens]
        assert sequence.kv(0, 0, outcome.tokens).tobytes() == expected.kv(0, 0, outcome.tokens).tobytes()
    assert detected == count


def test_a_segment_whose_parent_is_gone_is_not_used(tmp_path: Path) -> None:
    cache, past = cache_on(tmp_path), tokens(100)
    store(cache, past)
    (parent,) = segments(tmp_path)
    store(cache, past[:50] + tokens(100, 1))
    parent.unlink()
    assert restored(tmp_path, past[:50] + tokens(100, 1)) == 0


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    past = tokens(100)
    store(cache_on(tmp_path / "prompts"), past)
    (path,) = segments(tmp_path / "prompts")
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    outcome = cache_on(tmp_path / "prompts").restore(sequence_of([]), past)
    assert outcome.tokens == 0


def test_somebody_who_writes_for_long_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_llama.engine.prompt_cache.segment_reader._LOCK_SECONDS", 0.0)
    past, cache = tokens(100), cache_on(tmp_path)
    store(cache, past)
    (path,) = segments(tmp_path)
    storage = DiskStorage(tmp_path)
    descriptor = storage.open(str(path.relative_to(tmp_path)), writable=True)
    assert storage.lock(descriptor, exclusive=True)
    assert cache_on(tmp_path).restore(sequence_of([]), past).tokens == 0
    assert store(cache, [*past, 1]).tokens == 1
    # Who has not read what is there goes on from nothing.
    assert store(cache_on(tmp_path), [*past, 2]).tokens == 101
    storage.close(descriptor)
    assert restored(tmp_path, [*past, 1]) == restored(tmp_path, [*past, 2]) == 101


# --- upkeep -----------------------------------------------------------------------------------------------------------


def age(folder: Path, order: list[Path]) -> None:
    """Makes the files look used in this order, long ago."""
    for number, path in enumerate(order):
        os.utime(path, (1000 + number, 1000 + number))


def test_the_longest_unused_loses_its_last_turns_first(tmp_path: Path) -> None:
    cache, storage = cache_on(tmp_path), DiskStorage(tmp_path)
    old, new = tokens(300), tokens(300, 1)
    for length in (100, 200, 300):
        store(cache, old[:length])
    (first,) = segments(tmp_path)
    store(cache, new)
    age(tmp_path, [first, *(path for path in segments(tmp_path) if path != first)])
    total = used_bytes(storage)
    assert make_room(storage, 90 * TOKEN_BYTES, total + 10, {})
    assert 0 < restored(tmp_path, old) < 300
    assert restored(tmp_path, new) == 300
    assert first.stat().st_mtime == pytest.approx(1000) or first.stat().st_mtime > 1e9  # used by `restored` since


def test_what_others_go_on_from_and_what_is_pinned_stays(tmp_path: Path) -> None:
    cache, storage, past = cache_on(tmp_path), DiskStorage(tmp_path), tokens(400)
    for length in (200, 400):
        store(cache, past[:length])
    (parent,) = segments(tmp_path)
    branch = past[:150] + tokens(100, 1)
    store(cache, branch)
    (child,) = (path for path in segments(tmp_path) if path != parent)
    age(tmp_path, [parent, child])
    pinned = {(child.parent.name, child.name): 250}
    assert not make_room(storage, 0, 1000, pinned)
    assert restored(tmp_path, branch) == 250
    assert restored(tmp_path, past) == 200  # a turn that the branch begins in is kept whole


def test_what_nobody_can_use_goes_first(tmp_path: Path) -> None:
    cache, storage, past = cache_on(tmp_path), DiskStorage(tmp_path), tokens(100)
    store(cache, past)
    (path,) = segments(tmp_path)
    (path.parent / f"{'1' * 32}.tlk.part").write_bytes(bytes(5000))
    (path.parent / f"{'2' * 32}.tlk.damaged").write_bytes(bytes(5000))
    assert make_room(storage, 0, used_bytes(storage) - 6000, {})
    assert restored(tmp_path, past) == 100
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_cache_never_grows_beyond_its_budget(tmp_path: Path) -> None:
    budget = 20_000
    cache = cache_on(tmp_path, budget)
    for number in range(60):
        store(cache, tokens(150, number), bytes([number]) * 16)
        assert used_bytes(DiskStorage(tmp_path)) <= budget
    assert restored(tmp_path, tokens(150, 59)) == 150
    assert restored(tmp_path, tokens(150, 0)) == 0


def test_removing_an_owner_leaves_what_others_go_on_from(tmp_path: Path) -> None:
    cache, storage, past = cache_on(tmp_path), DiskStorage(tmp_path), tokens(400)
    store(cache, past)
    store(cache, past[:300] + tokens(50, 1))
    other = past[:100] + tokens(50, 2)
    store(cache, other, OTHER_OWNER)
    secret = np.array(past[128:192], "<u4").tobytes()
    assert any(secret in path.read_bytes() for path in segments(tmp_path))
    remove_owner(storage, OWNER)
    assert restored(tmp_path, other) == 150
    assert restored(tmp_path, past) == 100
    assert not any(secret in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert [use.owner for use in cache_uses(storage)] == [OTHER_OWNER]
    remove_owner(storage, OTHER_OWNER)
    assert segments(tmp_path) == []


def test_what_others_go_on_from_is_kept_however_many_turns_it_was(tmp_path: Path) -> None:
    cache, past = cache_on(tmp_path), tokens(400)
    for length in (50, 130, 400):
        store(cache, past[:length])
    store(cache, past[:300] + tokens(50, 1))
    other = past[:300] + tokens(30, 1) + tokens(50, 2)
    store(cache, other, OTHER_OWNER)
    remove_owner(DiskStorage(tmp_path), OWNER)
    assert restored(tmp_path, other) == 380
    assert [(use.owner, use.segments) for use in cache_uses(DiskStorage(tmp_path))] == [(OTHER_OWNER, 3)]


def test_removing_an_owner_keeps_nothing_for_what_cannot_be_used(tmp_path: Path) -> None:
    cache, past = cache_on(tmp_path), tokens(256)
    store(cache, past)
    (path,) = segments(tmp_path)
    store(cache, past[:150] + tokens(50, 1))
    damage_rows(path, 99)  # so what the branch goes on from is not there any more
    assert cache_on(tmp_path).restore(sequence_of([]), past).tokens == 64
    assert len(segments(tmp_path)) == 2
    remove_owner(DiskStorage(tmp_path), OWNER)
    assert segments(tmp_path) == []


def test_removing_an_owner_takes_along_what_was_set_aside_or_left_half_written(tmp_path: Path) -> None:
    store(cache_on(tmp_path), tokens(100))
    (path,) = segments(tmp_path)
    path.with_name(path.name + ".part").write_bytes(path.read_bytes())
    path.rename(path.with_name(path.name + ".damaged"))
    remove_owner(DiskStorage(tmp_path), OWNER)
    assert list(path.parent.iterdir()) == []


def test_a_program_sees_what_another_one_has_cut_off_and_written_since(tmp_path: Path) -> None:
    past = tokens(300)
    cache, other = cache_on(tmp_path), cache_on(tmp_path)
    for length in (100, 300):
        store(cache, past[:length])
    assert make_room(DiskStorage(tmp_path), 0, used_bytes(DiskStorage(tmp_path)) - 1, {})
    turn = past[:100] + tokens(200, 1)
    assert store(other, turn).tokens == 200
    branch = past[:200] + tokens(10, 2)
    assert store(cache, branch, OTHER_OWNER).tokens == 110
    for wanted in (turn, branch):
        assert cache.restore(sequence_of([]), wanted).tokens == len(wanted)
        assert restored(tmp_path, wanted) == len(wanted)


def test_a_program_sees_what_another_one_has_written_in_the_place_of_as_many_other_tokens(tmp_path: Path) -> None:
    cache, past = cache_on(tmp_path), tokens(100)
    for length in (60, 100):
        store(cache, past[:length])
    (path,) = segments(tmp_path)
    size = path.stat().st_size
    make_room(DiskStorage(tmp_path), 0, size - 1, {})
    other = past[:60] + tokens(40, 1)
    assert store(cache_on(tmp_path), other).tokens == 40
    assert (segments(tmp_path), path.stat().st_size) == ([path], size)
    age(tmp_path, [path])  # whatever the clock's steps are, it is another time than before
    assert (cache.stored_length(past), cache.stored_length(other)) == (60, 100)


def test_a_program_sees_what_another_one_has_written_over_what_was_not_committed(tmp_path: Path) -> None:
    past = tokens(100)
    for length in (60, 100):
        store(cache_on(tmp_path), past[:length])
    (path,) = segments(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[:-64] + bytes(64))  # without its last commit
    cache = cache_on(tmp_path)
    assert cache.stored_length(past) == 60
    store(cache_on(tmp_path), past)
    assert path.read_bytes() == content
    age(tmp_path, [path])
    assert cache.stored_length(past) == 100


def test_what_goes_on_from_a_file_in_use_keeps_what_it_goes_on_from(tmp_path: Path) -> None:
    cache, storage, past = cache_on(tmp_path), DiskStorage(tmp_path), tokens(200)
    store(cache, past)
    (parent,) = segments(tmp_path)
    branch = past + tokens(50, 1)
    store(cache, branch, OTHER_OWNER)
    (child,) = (path for path in segments(tmp_path) if path != parent)
    descriptor = storage.open(str(child.relative_to(tmp_path)))
    assert storage.lock(descriptor, exclusive=False)
    assert not make_room(storage, 0, 0, {})
    storage.close(descriptor)
    assert restored(tmp_path, branch) == 250


def test_uses_say_what_each_owner_takes(tmp_path: Path) -> None:
    cache, storage = cache_on(tmp_path), DiskStorage(tmp_path)
    store(cache, tokens(100))
    store(cache, tokens(100)[:50] + tokens(30, 1))
    store(cache, tokens(70, 2), OTHER_OWNER)
    uses = {use.owner: use for use in cache_uses(storage)}
    assert (uses[OWNER].tokens, uses[OWNER].segments) == (130, 2)
    assert (uses[OTHER_OWNER].tokens, uses[OTHER_OWNER].segments) == (70, 1)
    assert sum(use.bytes for use in uses.values()) == used_bytes(storage)
    clear(storage)
    assert (used_bytes(storage), cache_uses(storage)) == (0, [])


def test_a_chat_larger_than_the_budget_is_not_stored(tmp_path: Path) -> None:
    outcome = store(cache_on(tmp_path, 1000), tokens(500))
    assert (outcome.tokens, outcome.problems) == (0, ("the disk quota is used up",))
    assert MODEL.context_size > 500


def test_what_another_program_shortened_is_not_taken_for_what_it_was(tmp_path: Path) -> None:
    cache, past = cache_on(tmp_path), tokens(3)
    store(cache, past[:2], OTHER_OWNER)
    store(cache, [past[0], 251])
    remove_owner(DiskStorage(tmp_path), OTHER_OWNER)  # its segment is as long as before, padding included
    assert store(cache, past[:2]).tokens == 1
    assert restored(tmp_path, past[:2]) == 2


def test_that_there_is_no_place_for_it_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "prompts").write_text("somebody else's")
    cache, past = cache_on(tmp_path / "prompts"), tokens(100)
    outcomes = [store(cache, past[:length]) for length in (50, 80, 100)]
    assert [outcome.tokens for outcome in outcomes] == [0, 0, 0]
    assert [outcome.problems for outcome in outcomes] == [("Not a directory",), (), ()]
    (tmp_path / "prompts").unlink()
    assert store(cache, past).tokens == 100
