from datetime import UTC, datetime

import pytest

from tui_llama.chats.database import moments


@pytest.mark.parametrize("step", [0, -1_000_000, 1])
def test_each_moment_is_later_than_the_one_before_whatever_the_clock_does(
    step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [moments.new_moment()]

    def tick() -> int:
        clock.append(clock[-1] + step)
        return clock[-1]

    monkeypatch.setattr(moments, "present", tick)
    taken = [moments.new_moment() for _ in range(5)]

    assert taken == sorted(set(taken))
    assert taken[0] > clock[0]


def test_a_moment_is_a_time_in_utc() -> None:
    assert moments.time_from(1_764_000_000_000_001) == datetime(2025, 11, 24, 16, 0, 0, 1, UTC)
