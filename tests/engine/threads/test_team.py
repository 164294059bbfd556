"""The team: every unit is done once, rows wait for what they need, and threads are where they were put."""

import os
import threading
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.engine.kernels.kernel_bench import address
from tui_llama.engine.kernels.ir.simd import int64_at, row_at
from tui_llama.engine.layouts.plan_row import PER_PLAN, PER_TOKEN, ROW
from tui_llama.engine.plan.plan import Plan, PlanStep
from tui_llama.engine.plan.runner import PlanRunner
from tui_llama.engine.threads import placement
from tui_llama.engine.threads.placement import Placement
from tui_llama.engine.threads.team import ThreadTeam
from tui_llama.engine.toolchain.loader import LoadedCode, linked
from tui_llama.engine.toolchain.numba_codegen import machine_code

Numbers = npt.NDArray[np.int64]
MOST_UNITS = 70


def total(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Adds to the output of each unit its number and all that the row before has put out."""
    row = row_at(np.uintp(row_address))
    source, target = int64_at(np.uintp(row.input)), int64_at(np.uintp(row.output))
    for unit in range(first, last):
        for i in range(MOST_UNITS):
            target[unit] += source[i]
        target[unit] += unit + 1


@cache
def compiled_total() -> LoadedCode:
    """The compiled code of `total`."""
    return linked(machine_code(total, "iiiii"), "iiiii")


class Chain:
    """A plan whose rows each need all of the row before: a unit done twice, left out or done early shows.

    Args:
        units: Units of each row for one token.
        barriers: Whether a meeting follows each row; the row after one without reads what that one reads.
        per_token: Whether units are counted for each token.
    """

    def __init__(self, units: list[int], barriers: list[bool], per_token: list[bool]) -> None:
        self.units, self.barriers, self.per_token = units, barriers, per_token
        self.values = np.zeros((len(units) + 1, MOST_UNITS), np.int64)
        self.sources = self._sources()
        rows = np.zeros(len(units), ROW)
        for index, row in enumerate(rows):
            row["kernel"], row["units"], row["barrier"] = compiled_total().address, units[index], barriers[index]
            row["per_token"] = PER_TOKEN if per_token[index] else PER_PLAN
            row["input"], row["output"] = address(self.values[self.sources[index]]), address(self.values[index + 1])
        self.plan = Plan(rows, [PlanStep("total", "")] * len(rows), None, None, 64, [])  # type: ignore[arg-type]

    def expected(self, tokens: int) -> Numbers:
        values = np.zeros_like(self.values)
        values[0] = self.values[0]
        for index, units in enumerate(self.units):
            count = units * tokens if self.per_token[index] else units
            # Sums grow beyond 64 bits; they wrap around in the same way everywhere.
            values[index + 1, :count] = values[self.sources[index]].sum() + np.arange(1, count + 1)
        return values

    def _sources(self) -> list[int]:
        sources, source = [], 0
        for index, barrier in enumerate(self.barriers):
            sources.append(source)
            if barrier:
                source = index + 1
        return sources


def random_chain(seed: int, rows: int = 40) -> Chain:
    numbers = np.random.default_rng(seed)
    units = numbers.choice([1, 1, 1, 2, 3, 7, 35], rows).tolist()
    barriers = (numbers.random(rows) < 0.6).tolist()
    return Chain(units, barriers, (numbers.random(rows) < 0.5).tolist())


@pytest.mark.parametrize(
    ("threads", "batch_threads", "poll"),
    [(1, 1, 50), (2, 2, 50), (2, 2, 0), (1, 3, 50), (3, 1, 0), (2, 9, 1), (9, 2, 50)],
)
def test_every_unit_is_done_once_and_after_what_it_needs(threads: int, batch_threads: int, poll: int) -> None:
    for seed in range(6):
        chain = random_chain(seed)
        with ThreadTeam(threads, batch_threads, Placement(poll=poll)) as team:
            runner = PlanRunner(chain.plan, team)
            # Two tokens are a small batch; the sizes of large ones are in the chain's own rows.
            for tokens in (1, 2, 1, 1, 2):
                chain.values[1:] = 0
                runner.run(token_count=tokens)
                np.testing.assert_array_equal(chain.values, chain.expected(tokens))


def test_large_batches_have_threads_of_their_own_number() -> None:
    chain = Chain([1, 1, 1], [True, False, True], [True, True, True])
    for threads, batch_threads in [(1, 4), (4, 1), (2, 5)]:
        with ThreadTeam(threads, batch_threads) as team:
            runner = PlanRunner(chain.plan, team)
            for tokens in (1, 9, 50, 8, 50, 1):
                chain.values[1:] = 0
                runner.run(token_count=tokens)
                np.testing.assert_array_equal(chain.values, chain.expected(tokens))


def test_a_team_runs_many_times_from_any_thread() -> None:
    chain = random_chain(1)
    expected = chain.expected(1)
    with ThreadTeam(3) as team:
        runner = PlanRunner(chain.plan, team)
        failures = []

        def run() -> None:
            for _ in range(200):
                chain.values[1:] = 0
                runner.run(token_count=1)
                if not np.array_equal(chain.values, expected):
                    failures.append(chain.values.copy())

        for _ in range(3):
            caller = threading.Thread(target=run)
            caller.start()
            caller.join()
        assert not failures


def helpers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("engine-")]


def test_closing_ends_the_threads_and_may_be_repeated() -> None:
    team = ThreadTeam(3, 5)
    assert len(helpers()) == 4
    team.close()
    team.close()
    assert not helpers()


def test_a_team_that_cannot_be_had_whole_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def start_two(thread: threading.Thread) -> None:
        if len(helpers()) == 2:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_two)
    with pytest.raises(RuntimeError):
        ThreadTeam(5)
    assert not helpers()


# --- placement --------------------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere() -> Iterator[Callable[[Callable[[], Any]], Any]]:
    """Runs something in a thread that ends with the test, so that nothing it does to itself outlives it."""

    def run(work: Callable[[], Any]) -> Any:
        results = []
        thread = threading.Thread(target=lambda: results.append(work()))
        thread.start()
        thread.join()
        return results[0]

    yield run


def one_row() -> Plan:
    return Chain([2], [True], [True]).plan


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system binds no threads")
def test_all_threads_run_on_the_chosen_processors(elsewhere: Callable[[Callable[[], Any]], Any]) -> None:
    chosen = max(os.sched_getaffinity(0))

    def affinities() -> tuple[list[set[int]], set[int]]:
        with ThreadTeam(3, placement=Placement(cpu_range=f"{chosen}-{chosen}")) as team:
            PlanRunner(one_row(), team).run(token_count=1)
            ids = [helper.native_id or 0 for helper in helpers()]
            inside = [os.sched_getaffinity(thread) for thread in [0, *ids]]
            assert team.notices == ()
        return inside, os.sched_getaffinity(0)

    inside, after = elsewhere(affinities)
    assert inside == [{chosen}] * 3
    assert after == os.sched_getaffinity(0)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system binds no threads")
def test_threads_are_dealt_out_to_memory_nodes(
    monkeypatch: pytest.MonkeyPatch, elsewhere: Callable[[Callable[[], Any]], Any]
) -> None:
    asked: list[set[int]] = []
    monkeypatch.setattr(placement, "usable_processors", lambda: frozenset(range(8)))
    monkeypatch.setattr(placement, "memory_nodes", lambda: [frozenset({0, 1, 2, 3}), frozenset({4, 5, 6, 7})])
    monkeypatch.setattr(placement, "current_processor", lambda: 5)
    monkeypatch.setattr(os, "sched_setaffinity", lambda thread, processors: asked.append(set(processors)))

    def seats_of(**options: Any) -> list[set[int]]:
        asked.clear()
        with ThreadTeam(3, placement=Placement(**options)) as team:
            PlanRunner(one_row(), team).run(token_count=1)
            assert team.notices == ()
            return sorted(asked, key=min)

    assert elsewhere(lambda: seats_of(numa="distribute")) == [{0, 1, 2, 3}, {0, 1, 2, 3}, {4, 5, 6, 7}]
    assert elsewhere(lambda: seats_of(numa="distribute", cpu_mask="31")) == [{0}, {0}, {4, 5}]
    assert elsewhere(lambda: seats_of(numa="isolate")) == [{4, 5, 6, 7}] * 3
    assert elsewhere(lambda: seats_of(numa="numactl")) == []


def test_one_memory_node_is_nothing_to_distribute_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "memory_nodes", lambda: [frozenset(range(1024))])
    with ThreadTeam(2, placement=Placement(numa="distribute")) as team:
        assert team.notices == ("The processors in use belong to one memory node, so --numa changes nothing.",)


def test_a_low_priority_is_set_for_every_thread(elsewhere: Callable[[Callable[[], Any]], Any]) -> None:
    def niceness() -> list[int]:
        with ThreadTeam(2, placement=Placement(priority=-1)) as team:
            PlanRunner(one_row(), team).run(token_count=1)
            ids = [threading.get_native_id(), *(helper.native_id or 0 for helper in helpers())]
            return [os.getpriority(os.PRIO_PROCESS, thread) for thread in ids]

    assert min(elsewhere(niceness)) >= 5


@pytest.mark.parametrize("priority", [1, 2, 3])
def test_a_priority_that_is_refused_is_a_notice(
    monkeypatch: pytest.MonkeyPatch, priority: int, elsewhere: Callable[[Callable[[], Any]], Any]
) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)
    monkeypatch.setattr(os, "sched_setscheduler", refuse, raising=False)

    def notices() -> tuple[str, ...]:
        with ThreadTeam(3, placement=Placement(priority=priority)) as team:
            PlanRunner(one_row(), team).run(token_count=1)
            return team.notices

    assert elsewhere(notices) == (f"This system does not allow priority {priority}; threads run with normal priority.",)
