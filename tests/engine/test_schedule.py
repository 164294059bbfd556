"""What is done together, what alone, and where the threads meet."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tui_llama.engine.rows import PER_PLAN, PER_TOKEN, PER_TOKEN_GROUP, ROW
from tui_llama.engine.schedule import MOST_UNITS, Schedule, make_schedule, most_rows_between_meetings
from tui_llama.errors import ShapeMismatchError


def rows_of(*fields: dict[str, int]) -> npt.NDArray[np.void]:
    rows = np.zeros(len(fields), ROW)
    for row, given in zip(rows, fields, strict=True):
        for name, value in ({"barrier": 1, "units": 1} | given).items():
            row[name] = value
    return rows


def batch(rows: npt.NDArray[np.void], **given: int) -> Schedule:
    return make_schedule(rows, **({"token_count": 1, "first_output_token": 0, "thread_count": 2} | given))


def column(schedule: Schedule, name: str) -> list[Any]:
    values: list[Any] = schedule.entries[name].tolist()
    return values


MATRIX = {"units": 100, "per_token": PER_PLAN}
NORM = {"units": 1, "per_token": PER_TOKEN}


@pytest.mark.parametrize(
    ("row", "units"),
    [
        ({"units": 7, "per_token": PER_PLAN}, 7),
        ({"units": 3, "per_token": PER_TOKEN}, 30),
        ({"units": 3, "per_token": PER_TOKEN, "output_tokens_only": 1}, 12),
        ({"units": 2, "per_token": PER_TOKEN_GROUP, "tokens_per_unit": 4}, 6),
        ({"units": 2, "per_token": PER_TOKEN_GROUP, "tokens_per_unit": 4, "output_tokens_only": 1}, 2),
        ({"units": 2, "per_token": PER_TOKEN_GROUP, "tokens_per_unit": 3, "output_tokens_only": 1}, 4),
    ],
)
def test_units_are_counted_by_plan_token_or_group(row: dict[str, int], units: int) -> None:
    assert column(batch(rows_of(row), token_count=10, first_output_token=6), "units") == [units]


def test_one_token_s_single_units_are_done_alone_at_the_meeting_before() -> None:
    schedule = batch(rows_of(NORM, NORM, MATRIX, NORM, NORM, MATRIX, NORM))
    assert schedule.first_row == 2
    assert column(schedule, "following")[2] == 5
    assert column(schedule, "following")[5] == 7
    assert column(schedule, "meets") == [1] * 7


def test_many_tokens_are_done_together_row_by_row() -> None:
    schedule = batch(rows_of(NORM, MATRIX, NORM, MATRIX), token_count=2)
    assert schedule.first_row == 0
    assert column(schedule, "following") == [1, 2, 3, 4]


def test_a_row_without_a_meeting_leads_to_the_next_even_if_that_is_a_single_unit() -> None:
    schedule = batch(rows_of(MATRIX | {"barrier": 0}, NORM, NORM, MATRIX))
    assert column(schedule, "following") == [1, 3, 3, 4]
    assert column(schedule, "meets") == [0, 1, 1, 1]


def test_all_meet_at_the_end() -> None:
    assert column(batch(rows_of(MATRIX, MATRIX | {"barrier": 0})), "meets") == [1, 1]


def test_a_single_thread_does_all_rows_alone() -> None:
    schedule = batch(rows_of(NORM, MATRIX, MATRIX), thread_count=1, token_count=9)
    assert schedule.first_row == 3


def test_counters_are_needed_for_the_longest_run_of_rows_without_a_meeting() -> None:
    assert most_rows_between_meetings(rows_of(NORM)) == 1
    assert most_rows_between_meetings(rows_of(NORM, {"barrier": 0}, {"barrier": 0}, NORM, NORM)) == 3
    assert most_rows_between_meetings(rows_of(NORM, {"barrier": 0}, {"barrier": 0})) == 2


def test_more_units_than_can_be_counted_are_refused() -> None:
    rows = rows_of(NORM | {"units": MOST_UNITS})
    assert column(batch(rows), "units") == [MOST_UNITS]
    with pytest.raises(ShapeMismatchError):
        batch(rows, token_count=2)
