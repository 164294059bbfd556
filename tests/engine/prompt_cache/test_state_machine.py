"""Thousands of operations on a prompt cache, in any order: what it gives is right, and what it promised is there."""

import random
from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.fakes.power_cuts import random_crash_state
from tests.fakes.simulated_disk import Moment, SimulatedDisk
from tests.fakes.stored_prompts import TOKEN_BYTES, cache_on, sequence_of, store
from tests.scale import scaled
from tui_llama.engine.prompt_cache.cache import CacheResult
from tui_llama.engine.prompt_cache.eviction import cache_uses, make_room, remove_owner, used_bytes
from tui_llama.engine.state_shape import RECORD_TOKENS

OPERATIONS: Final = scaled(5_000, 1_000_000)
STEPS: Final = 50
BUDGET_BYTES: Final = 10_000
RECORD_BYTES: Final = RECORD_TOKENS * (TOKEN_BYTES + 4) + 64
OWNERS: Final = tuple(bytes([number]) * 16 for number in range(1, 5))

Tokens: TypeAlias = tuple[int, ...]
_COUNTS: Final = st.sampled_from([1, 2, 10, 63, 64, 65, 128, 150])
_SEEDS: Final = st.integers(0, 2**16)


def some_tokens(count: int, seed: int) -> Tokens:
    """Few kinds, so that what belongs to different chats begins alike at times."""
    chance = random.Random(seed % 7)
    return tuple(chance.randrange(3) for _ in range(count))


class CacheMachine(RuleBasedStateMachine):
    """Some chats that share a cache which is too small for all of them, in two programs.

    Attributes:
        chats: The tokens that each owner's sequence holds.
        promised: What was saved without trouble, and whose segment ends it; None: nobody's in particular.
        interrupted: What was being saved when the power was cut or the program was killed, the last few.
        may_be_over_budget: A power cut may have brought back what was removed, until room is made again.
    """

    operations = 0

    def __init__(self) -> None:
        super().__init__()
        # Of two files that were used at the same time one goes first, by its name: always the same one.
        self._names = patch("tui_llama.engine.prompt_cache.cache.secrets.token_bytes", random.Random(0).randbytes)
        self._names.start()
        self.disk = SimulatedDisk()
        self.cache, self.other_cache = cache_on(self.disk, BUDGET_BYTES), cache_on(self.disk, BUDGET_BYTES)
        self.chats: dict[bytes, Tokens] = dict.fromkeys(OWNERS, ())
        self.promised: dict[Tokens, bytes | None] = {}
        self.interrupted: deque[Tokens] = deque(maxlen=4)
        self.may_be_over_budget = False
        self.power_was_cut = False

    # --- what happens to chats ----------------------------------------------------------------------------------

    @rule(owner=st.sampled_from(OWNERS), count=_COUNTS, seed=_SEEDS)
    def append_a_turn(self, owner: bytes, count: int, seed: int) -> None:
        self._save(owner, self.chats[owner] + some_tokens(count, seed))

    @rule(owner=st.sampled_from(OWNERS), kept=st.floats(0, 1), count=_COUNTS, seed=_SEEDS)
    def edit(self, owner: bytes, kept: float, count: int, seed: int) -> None:
        past = self.chats[owner]
        self._save(owner, past[: int(len(past) * kept)] + some_tokens(count, seed))

    @precondition(lambda self: self.promised)
    @rule(owner=st.sampled_from(OWNERS), data=st.data(), count=_COUNTS, seed=_SEEDS)
    def branch(self, owner: bytes, data: st.DataObject, count: int, seed: int) -> None:
        """Goes on from what some chat once held; with a single token that differs it is another answer."""
        self._save(owner, data.draw(st.sampled_from(sorted(self.promised))) + some_tokens(count, seed))

    @precondition(lambda self: any(self.promised.values()))
    @rule(data=st.data(), seed=_SEEDS)
    def regenerate(self, data: st.DataObject, seed: int) -> None:
        path = data.draw(st.sampled_from(sorted(path for path, owner in self.promised.items() if owner)))
        owner = self.promised[path]
        assert owner is not None
        self._save(owner, path[: -min(len(path), 20)] + some_tokens(30, seed))

    @precondition(lambda self: self.interrupted)
    @rule(
        owner=st.sampled_from(OWNERS), data=st.data(), kept=st.sampled_from([0.5, 0.9, 1]), count=_COUNTS, seed=_SEEDS
    )
    def come_to_the_same_answer(self, owner: bytes, data: st.DataObject, kept: float, count: int, seed: int) -> None:
        """Saves what an interrupted save may have left on the disk, torn or whole, and goes on from there."""
        path = data.draw(st.sampled_from(list(self.interrupted)))
        self._save(owner, path[: int(len(path) * kept)])
        self._save(owner, path + some_tokens(count, seed))
        for promised in self.promised:
            self._restore_elsewhere(promised)

    @rule(owner=st.sampled_from(OWNERS))
    def delete(self, owner: bytes) -> None:
        remove_owner(self.disk, owner)
        assert owner not in {use.owner for use in cache_uses(self.disk)}
        self._forget_owner(owner)

    @rule(owner=st.sampled_from(OWNERS), kept=st.floats(0, 1), count=_COUNTS, seed=_SEEDS)
    def restore(self, owner: bytes, kept: float, count: int, seed: int) -> None:
        """What comes out of the cache is what would be computed, whatever was in memory."""
        past = self.chats[owner]
        wanted = past[: int(len(past) * kept)] + some_tokens(count, seed)
        sequence = sequence_of(past[: int(len(past) * (1 - kept))])
        outcome = self.cache.restore(sequence, wanted)
        assert self._unexpected(outcome) == []
        assert tuple(sequence.token_ids) == wanted[: outcome.tokens]
        expected = sequence_of(wanted[: outcome.tokens])
        assert sequence.kv(0, 0, outcome.tokens).tobytes() == expected.kv(0, 0, outcome.tokens).tobytes()

    # --- what happens to the disk -------------------------------------------------------------------------------

    @rule(budget=st.integers(BUDGET_BYTES // 4, BUDGET_BYTES))
    def evict(self, budget: int) -> None:
        before = len(self.disk.journal)
        assert make_room(self.disk, 0, budget, {}) == (used_bytes(self.disk) <= budget)
        self._note_evictions(before, ())
        self.may_be_over_budget = False

    @rule()
    def go_on_in_the_other_program(self) -> None:
        self.cache, self.other_cache = self.other_cache, self.cache

    @rule()
    def kill(self) -> None:
        self.disk.close_all()
        self._reopen(self.disk)

    @rule(seed=_SEEDS)
    def cut_the_power(self, seed: int) -> None:
        self._lose_power_in([self.disk.moment()], seed)

    @rule(owner=st.sampled_from(OWNERS), count=_COUNTS, seed=_SEEDS)
    def cut_the_power_while_saving(self, owner: bytes, count: int, seed: int) -> None:
        moments: list[Moment] = [self.disk.moment()]
        self._save_interrupted(owner, count, seed, lambda: moments.append(self.disk.moment()))
        self._lose_power_in(moments, seed)

    @rule(owner=st.sampled_from(OWNERS), count=_COUNTS, seed=_SEEDS)
    def kill_while_saving(self, owner: bytes, count: int, seed: int) -> None:
        states: list[SimulatedDisk] = [self.disk.copy()]
        self._save_interrupted(owner, count, seed, lambda: states.append(self.disk.copy()))
        self._reopen(random.Random(seed).choice(states))

    @rule(owner=st.sampled_from(OWNERS), seed=_SEEDS)
    def cut_the_power_while_deleting(self, owner: bytes, seed: int) -> None:
        moments: list[Moment] = [self.disk.moment()]
        self.disk.on_change = lambda: moments.append(self.disk.moment())
        remove_owner(self.disk, owner)
        self._forget_owner(owner)
        self._lose_power_in(moments, seed)

    # --- what always holds --------------------------------------------------------------------------------------

    @invariant()
    def count(self) -> None:
        type(self).operations += 1
        self.disk.now += 1

    @invariant()
    def the_budget_is_kept(self) -> None:
        assert self.may_be_over_budget or used_bytes(self.disk) <= BUDGET_BYTES + RECORD_BYTES

    @invariant()
    def what_was_promised_is_there(self) -> None:
        for path in self.promised:
            assert self.cache.stored_length(path) == len(path)

    @invariant()
    def nothing_is_open(self) -> None:
        assert not self.disk.has_open_files

    def teardown(self) -> None:
        self._names.stop()
        self.disk.close_all()
        for path in self.promised:
            self._restore_elsewhere(path)

    # --- how it is done -----------------------------------------------------------------------------------------

    def _restore_elsewhere(self, path: Tokens) -> None:
        """What was promised is there for a program that has seen nothing yet, bit by bit."""
        sequence = sequence_of([])
        outcome = cache_on(self.disk, BUDGET_BYTES).restore(sequence, path)
        assert (outcome.tokens, self._unexpected(outcome)) == (len(path), [])
        assert sequence.kv(0, 0, len(path)).tobytes() == sequence_of(path).kv(0, 0, len(path)).tobytes()

    def _unexpected(self, outcome: CacheResult) -> list[str]:
        """Troubles but for what a power cut has torn, of which nothing was promised."""
        return [each for each in outcome.problems if not (self.power_was_cut and each.startswith("damaged ("))]

    def _save(self, owner: bytes, token_ids: Tokens) -> None:
        before = len(self.disk.journal)
        stored = self.cache.stored_length(token_ids)
        outcome = store(self.cache, token_ids, owner)
        self._note_evictions(before, token_ids[:stored])
        unexpected = self._unexpected(outcome)
        if self.cache._told_problem:  # which is said once only
            assert unexpected in ([], ["the disk quota is used up"])
            return
        assert unexpected == []
        # The path that was there is what is gone on from, but for what a power cut tore; whatever room was made, that
        # stayed.
        missing = len(token_ids) - stored
        is_torn = any(problem.startswith("damaged (tokens ") for problem in outcome.problems)
        assert outcome.tokens > missing if is_torn else outcome.tokens == missing
        self.may_be_over_budget &= not outcome.tokens
        self.promised[token_ids] = owner if outcome.tokens else self.promised.get(token_ids)
        self.chats[owner] = token_ids

    def _save_interrupted(self, owner: bytes, count: int, seed: int, on_change: Callable[[], None]) -> None:
        before = len(self.disk.journal)
        path = self.chats[owner] + some_tokens(count, seed)
        self.interrupted.append(path)
        stored = self.cache.stored_length(path)
        self.disk.on_change = on_change
        store(self.cache, path, owner)
        self.disk.on_change = None
        self._note_evictions(before, path[:stored])

    def _note_evictions(self, before: int, active: Tokens) -> None:
        """Where something was removed or cut off, only what is being gone on from is still promised."""
        if any(entry.startswith(("unlink", "truncate")) for entry in self.disk.journal[before:]):
            self.promised = {path: owner for path, owner in self.promised.items() if path == active[: len(path)]}

    def _forget_owner(self, owner: bytes) -> None:
        self.promised = {path: other for path, other in self.promised.items() if other not in (owner, None)}
        self.chats[owner] = ()

    def _lose_power_in(self, moments: list[Moment], seed: int) -> None:
        """At any of the moments, half of the times when most is not yet on the disk: just before it is synced."""
        chance = random.Random(seed)
        worst = max(moments, key=lambda moment: len(moment.unsynced))
        self.may_be_over_budget = self.power_was_cut = True
        self._reopen(random_crash_state(worst if chance.random() < 0.5 else chance.choice(moments), chance))

    def _reopen(self, disk: SimulatedDisk) -> None:
        self.disk = disk
        self.cache, self.other_cache = cache_on(disk, BUDGET_BYTES), cache_on(disk, BUDGET_BYTES)


@pytest.mark.slow
def test_what_a_cache_gives_is_right_and_what_it_promised_is_there() -> None:
    run_state_machine_as_test(
        CacheMachine,
        settings=settings(
            # Hypothesis does fewer steps in some of its examples.
            max_examples=OPERATIONS * 5 // 4 // STEPS,
            stateful_step_count=STEPS,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        ),
    )
    assert CacheMachine.operations >= OPERATIONS
