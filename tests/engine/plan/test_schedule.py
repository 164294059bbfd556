"""What is done together, what alone, and where the threads meet."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tui_llama.engine.layouts.plan_row import MOST_UNITS, PER_CHOSEN_EXPERT, PER_PLAN, PER_TOKEN, PER_TOKEN_GROUP, ROW
from tui_llama.engine.plan.schedule import Schedule, make_schedule, most_rows_of_a_stage
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
        ({"units": 5, "per_token": PER_CHOSEN_EXPERT, "expert_count": 8, "used_count": 3}, 40),
        ({"units": 5, "per_token": PER_CHOSEN_EXPERT, "expert_count": 99, "used_count": 3}, 150),
        (
            {"units": 5, "per_token": PER_CHOSEN_EXPERT, "expert_count": 99, "used_count": 3, "output_tokens_only": 1},
            60,
        ),
    ],
)
def test_units_are_counted_by_plan_token_or_group(row: dict[str, int], units: int) -> None:
    assert column(batch(rows_of(row), token_count=10, first_output_token=6), "units") == [units]


def test_threads_take_several_rows_of_tiles_at_once_where_many_tokens_share_them() -> None:
    rows = rows_of(MATRIX, NORM)
    assert column(batch(rows, token_count=10), "least_share") == [4, 1]
    assert column(batch(rows, token_count=1), "least_share") == [1, 1]


def stages(schedule: Schedule) -> list[tuple[int, int, int]]:
    """The last row of each stage, its units, and the first row of the next."""
    ends = zip(column(schedule, "stage_units"), column(schedule, "following"), strict=True)
    return [(row, units, following) for row, (units, following) in enumerate(ends) if units > 0]


def test_one_token_s_single_units_are_left_to_one_thread_between_the_stages() -> None:
    schedule = batch(rows_of(NORM, NORM, MATRIX, NORM, NORM, MATRIX, NORM))
    assert schedule.first_row == 2
    assert stages(schedule) == [(2, 100, 5), (5, 100, 7)]


def test_many_tokens_are_done_together_row_by_row() -> None:
    schedule = batch(rows_of(NORM, MATRIX, NORM, MATRIX), token_count=2)
    assert schedule.first_row == 0
    assert stages(schedule) == [(0, 2, 1), (1, 100, 2), (2, 2, 3), (3, 100, 4)]


def test_rows_that_do_not_wait_for_each_other_are_one_stage() -> None:
    free = {"barrier": 0}
    schedule = batch(rows_of(NORM, MATRIX | free, MATRIX | free, MATRIX, NORM | free, NORM | free, NORM, MATRIX | free))
    assert schedule.first_row == 1
    assert stages(schedule) == [(3, 300, 7), (7, 100, 8)]


def test_a_single_unit_inside_of_a_stage_is_part_of_it_but_not_one_in_front() -> None:
    free = {"barrier": 0}
    schedule = batch(rows_of(NORM | free, MATRIX | free, NORM, NORM | free, NORM | free, MATRIX))
    assert schedule.first_row == 1
    assert stages(schedule) == [(2, 101, 5), (5, 100, 6)]


def test_a_single_thread_does_all_rows_alone() -> None:
    schedule = batch(rows_of(NORM, MATRIX, MATRIX), thread_count=1, token_count=9)
    assert schedule.first_row == 3
    assert stages(schedule) == []


def test_counters_are_needed_for_the_longest_stage() -> None:
    assert most_rows_of_a_stage(rows_of(NORM)) == 1
    assert most_rows_of_a_stage(rows_of(NORM, {"barrier": 0}, {"barrier": 0}, NORM, NORM)) == 3
    assert most_rows_of_a_stage(rows_of(NORM, {"barrier": 0}, {"barrier": 0})) == 2


def test_more_units_than_can_be_counted_are_refused() -> None:
    rows = rows_of(NORM | {"units": MOST_UNITS})
    assert column(batch(rows), "units") == [MOST_UNITS]
    with pytest.raises(ShapeMismatchError):
        batch(rows, token_count=2)
