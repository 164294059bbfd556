"""The team: everybody takes part in every call, and sleeps between."""

import threading

from tui_llama.engine.thread_team import ThreadTeam, physical_core_count


def test_every_thread_takes_part_in_every_call() -> None:
    calls: list[int] = []
    lock = threading.Lock()

    def work(index: int) -> None:
        with lock:
            calls.append(index)

    with ThreadTeam(4) as team:
        for _ in range(50):
            team.run(work)
            assert sorted(calls) == [0, 1, 2, 3]
            calls.clear()


def test_a_call_returns_only_when_all_are_back() -> None:
    gate = threading.Barrier(3)
    done = []

    def work(index: int) -> None:
        gate.wait()
        done.append(index)

    with ThreadTeam(3) as team:
        team.run(work)
        assert len(done) == 3


def test_the_caller_is_one_of_them() -> None:
    seen: dict[int, str] = {}
    with ThreadTeam(2) as team:
        team.run(lambda index: seen.update({index: threading.current_thread().name}))
    assert seen[0] == threading.current_thread().name
    assert seen[1] == "engine-1"


def test_closing_ends_the_threads_and_may_be_repeated() -> None:
    team = ThreadTeam(3)
    team.close()
    team.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("engine-")]


def test_there_is_at_least_one_core() -> None:
    assert physical_core_count() >= 1
