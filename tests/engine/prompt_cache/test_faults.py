"""The prompt cache on a disk that loses power, fails and fills up: warmth may be lost, nothing wrong is ever used."""

import errno
import random
from collections.abc import Callable, Sequence
from itertools import islice

import pytest

from tests.fakes.power_cuts import crash_states, every_crash_point, random_crash_state
from tests.fakes.simulated_disk import Moment, SimulatedDisk
from tests.fakes.storage_wrappers import CountingStorage, every_fault
from tests.fakes.stored_prompts import OWNER, TOKEN_BYTES, cache_on, sequence_of, store, tokens
from tests.scale import scaled
from tui_llama.engine.prompt_cache.cache import PromptCache
from tui_llama.engine.prompt_cache.eviction import make_room, remove_owner, used_bytes
from tui_llama.files.storage import Storage


def script(first: int, second: int, fork: int, more: int) -> tuple[list[int], ...]:
    """Two turns, and a branch that leaves them at `fork`."""
    past = tokens(second)
    return past[:first], past, past[:fork] + tokens(more, 1)


SCRIPTS = (script(180, 400, 30, 150), script(64, 256, 64, 192), script(10, 330, 200, 130))
TURNS = SCRIPTS[0]
PAST = TURNS[1]
EXPECTED = {tuple(turn): sequence_of(turn) for turns in SCRIPTS for turn in turns}


def stored(storage: Storage, token_ids: Sequence[int], cache: PromptCache | None = None) -> int:
    """How many of the tokens another program finds; what it takes over must be what would have been computed."""
    sequence = sequence_of([])
    outcome = (cache or cache_on(storage)).restore(sequence, token_ids)
    assert all(problem.startswith("damaged (") for problem in outcome.problems)
    assert sequence.token_ids == token_ids[: outcome.tokens]
    expected = EXPECTED.get(tuple(token_ids)) or sequence_of(token_ids)
    assert sequence.kv(0, 0, outcome.tokens).tobytes() == expected.kv(0, 0, outcome.tokens).tobytes()
    return outcome.tokens


def saved_turns(turns: Sequence[Sequence[int]]) -> Callable[[SimulatedDisk], None]:
    """Saves one turn after the other, with a promise once each is saved."""

    def save(disk: SimulatedDisk) -> None:
        cache = cache_on(disk)
        for turn in turns:
            assert all(problem.startswith("damaged (") for problem in store(cache, turn).problems)
            disk.mark(str(len(disk.marks)))

    return save


# Of the longer scripts every eighth power cut in CI, and every one before a release.
@pytest.mark.parametrize(("turns", "step"), [(SCRIPTS[0], scaled(8, 1)), (SCRIPTS[1], 1), (SCRIPTS[2], scaled(8, 1))])
def test_after_every_power_cut_what_was_promised_is_there_and_the_chat_goes_on(
    turns: Sequence[Sequence[int]], step: int
) -> None:
    count = 0
    for state in islice(every_crash_point(saved_turns(turns)), 0, None, step):
        count += 1
        promised, cache = len(state.marks), cache_on(state)
        if count % 4 == 0:  # what comes out as it was is promised anew, whatever the power cut has torn
            again = state.copy()
            saved_turns(turns)(again)
            assert [stored(again, turn) for turn in turns] == [len(turn) for turn in turns], state.history
        lengths = [stored(state, turn, cache) for turn in turns]
        assert lengths[:promised] == [len(turn) for turn in turns[:promised]], state.history
        if count % 16 == 0:
            for turn in turns:
                cache.save(OWNER, EXPECTED[tuple(turn)])
            assert [stored(state, turn) for turn in turns] == [len(turn) for turn in turns], state.history
    assert count > 1000 // step


def some_turns(chance: random.Random) -> list[list[int]]:
    """Turns of a chat; each goes on from the one before or leaves an earlier one somewhere."""
    turns: list[list[int]] = []
    for number in range(chance.randint(3, 7)):
        past = chance.choice(turns) if turns and chance.random() < 0.4 else turns[-1] if turns else []
        kept = chance.randint(0, len(past)) if chance.random() < 0.5 else len(past)
        turns.append(
            past[:kept] + tokens(chance.choice([1, 20, 63, 64, 65, 200]), 1000 * chance.randrange(1000) + number)
        )
    return turns


def test_after_a_power_cut_at_random_what_was_promised_is_there() -> None:
    for seed in range(scaled(20, 2000)):
        chance, disk = random.Random(seed), SimulatedDisk()
        moments: list[Moment] = [disk.moment()]

        def note(disk: SimulatedDisk = disk, moments: list[Moment] = moments) -> None:
            moments.append(disk.moment())

        disk.on_change = note
        turns = some_turns(chance)
        saved_turns(turns)(disk)
        for _ in range(50):
            state = random_crash_state(chance.choice(moments), chance)
            promised = turns[: len(state.marks)]
            assert [stored(state, turn) for turn in promised] == [len(turn) for turn in promised], (seed, state.history)
            for turn in turns[len(state.marks) :]:
                stored(state, turn)


def test_a_power_cut_while_room_is_made_or_a_chat_removed_leaves_only_what_is_right() -> None:
    start = SimulatedDisk()
    saved_turns(TURNS)(start)

    def remove(disk: SimulatedDisk) -> None:
        make_room(disk, 0, used_bytes(disk) - 100, {})
        remove_owner(disk, OWNER)

    states = list(every_crash_point(remove, start.copy()))
    assert len(states) >= 4
    for state in states:
        for turn in TURNS:
            stored(state, turn)


def test_a_power_cut_while_damage_is_cut_back_leaves_what_comes_before_it() -> None:
    start = SimulatedDisk()
    saved_turns(TURNS)(start)
    contents = start.contents()
    path = max(contents, key=lambda path: len(contents[path] or b""))
    damaged = bytearray(contents[path] or b"")
    damaged[len(damaged) * 3 // 4] ^= 1

    def find_the_damage(disk: SimulatedDisk) -> None:
        assert stored(disk, PAST) == 256

    states = list(every_crash_point(find_the_damage, SimulatedDisk({**contents, path: bytes(damaged)})))
    assert len(states) >= 3
    for state in states:
        assert stored(state, TURNS[0]) == len(TURNS[0])
        assert stored(state, TURNS[2]) == len(TURNS[2])
        # The turn before it at the least, if what was good of its own is not committed yet.
        assert stored(state, PAST) in (len(TURNS[0]), 256)


@pytest.mark.slow
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EINTR, errno.EDQUOT, None])
def test_whichever_call_fails_nothing_is_raised_and_nothing_wrong_is_kept(error: int | None, persistent: bool) -> None:
    calls = 0
    for storage in every_fault(SimulatedDisk, error, persistent=persistent, short_first=error == errno.ENOSPC):
        calls += 1
        cache = cache_on(storage)
        for turn in TURNS:
            store(cache, turn)
            sequence = sequence_of(PAST[:10])
            outcome = cache.restore(sequence, turn)
            assert sequence.token_ids == turn[: outcome.tokens]
            assert sequence.kv(0, 0, outcome.tokens).tobytes() == sequence_of(turn).kv(0, 0, outcome.tokens).tobytes()
        disk = storage.inner
        assert isinstance(disk, SimulatedDisk)
        disk.close_all()
        for turn in TURNS:
            stored(disk, turn)
            assert store(cache_on(disk), turn).problems == ()
            assert stored(disk, turn) == len(turn)
    assert calls > 30


def test_a_failed_sync_is_never_taken_for_a_good_one() -> None:
    for storage in every_fault(SimulatedDisk, errno.EIO, method="sync"):
        disk = storage.inner
        assert isinstance(disk, SimulatedDisk)
        cache = cache_on(storage)
        promised = [turn for turn in TURNS if not store(cache, turn).problems]
        for state in crash_states(disk):
            assert [stored(state, turn) for turn in promised] == [len(turn) for turn in promised], state.history


def test_a_full_disk_pauses_saving_and_says_so_once() -> None:
    disk = SimulatedDisk(capacity_bytes=(512 << 20) + 5000)
    cache = cache_on(disk)
    assert store(cache, PAST[:180]).problems == ()
    outcomes = [store(cache, [*PAST, *tokens(count, 2)]) for count in (100, 200, 300)]
    assert [outcome.problems for outcome in outcomes] == [("the disk is full",), (), ()]
    assert stored(disk, PAST) == 180
    disk.capacity_bytes *= 2
    assert store(cache, PAST).problems == ()
    assert stored(disk, PAST) == len(PAST)


def written_by(action: Callable[[PromptCache], None]) -> CountingStorage:
    storage = CountingStorage(SimulatedDisk())
    action(cache_on(storage))
    return storage


def test_a_turn_writes_what_it_adds_and_syncs_once() -> None:
    storage = CountingStorage(SimulatedDisk())
    cache, past = cache_on(storage), tokens(4000)
    store(cache, past[:10])
    for before, length in ((10, 200), (200, 201), (201, 1500), (1500, 4000)):
        written, syncs = storage.written_bytes, storage.syncs
        store(cache, past[:length])
        added = (length - before) * TOKEN_BYTES
        # A token of this model is 8 bytes of keys and values beside its id of 4, and a record of 64 has 64 more.
        assert storage.written_bytes - written <= added + 4 * (length - before) + (length - before) // 64 * 64 + 8192
        assert storage.syncs - syncs == 1


def test_a_chat_of_forty_turns_writes_little_more_than_it_leaves() -> None:
    storage, length, chance = CountingStorage(SimulatedDisk()), 0, random.Random(0)
    cache, past = cache_on(storage), tokens(40 * 200)
    for _ in range(40):
        length += chance.randint(20, 200)
        assert store(cache, past[:length]).problems == ()
    disk = storage.inner
    assert isinstance(disk, SimulatedDisk)
    assert stored(disk, past[:length]) == length
    assert storage.written_bytes <= 1.02 * used_bytes(disk)


def test_loading_reads_each_byte_once() -> None:
    storage = CountingStorage(SimulatedDisk())
    past = tokens(4000)
    store(cache_on(storage), past)
    cache, sequence, before = cache_on(storage), sequence_of([]), storage.read_bytes
    assert cache.restore(sequence, past).tokens == 4000
    assert storage.read_bytes - before <= 4000 * (TOKEN_BYTES + 4 + 4) + 63 * 320 + 1000
