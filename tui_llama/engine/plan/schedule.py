"""Schedules of batches: rows of a plan that the threads do together, stage by stage, and rows that one thread does.

A stage ends with a row that the next rows have to wait for. A row that is a single unit of work needs one thread only.
In decode every other row is such a row, and a stage for each would cost more than the row itself. So one thread does
such rows between two stages, while the others wait. This module knows of threads only their number, and of kernels
only their address.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tui_llama.engine.layouts.plan_row import (
    ENTRY,
    EVERY_TOKEN,
    MOST_UNITS,
    PER_CHOSEN_EXPERT,
    PER_PLAN,
    PER_TOKEN,
    PER_TOKEN_GROUP,
)
from tui_llama.engine.layouts.routing import most_groups
from tui_llama.errors import ShapeMismatchError

_TILE_ROWS_TOGETHER = 4  # tile rows share the loaded input of many tokens


@dataclass(frozen=True, slots=True)
class Schedule:
    """Schedule of a plan's rows for one batch.

    Args:
        entries: (rows,) ENTRY.
        first_row: The row that begins the first stage; one thread does the rows before it. May be the end.
    """

    entries: npt.NDArray[np.void]
    first_row: int


def make_schedule(rows: npt.NDArray[np.void], token_count: int, first_output_token: int, thread_count: int) -> Schedule:
    """Makes the schedule of a batch.

    Args:
        rows: (rows,) ROW, at least one.
        token_count: Tokens of the batch.
        first_output_token: As in BATCH.
        thread_count: Threads that take part.

    Raises:
        ShapeMismatchError: a row has more units than `MOST_UNITS`.
    """
    count = len(rows)
    units = _units(rows, token_count, first_output_token)
    if units.max() > MOST_UNITS:
        raise ShapeMismatchError(f"{units.max()} units of work in one row are more than the {MOST_UNITS} that fit")
    together = np.flatnonzero((units > 1) & (thread_count > 1))
    # For each row and for the end: the next row, itself included, that the threads do together.
    next_together = np.append(together, count)[np.searchsorted(together, np.arange(count + 1))]
    ends = stage_ends(rows)
    begins = next_together[[0, *(ends[:-1] + 1)]]
    units_before = np.concatenate([[0], np.cumsum(units)])
    entries = np.zeros(count, ENTRY)
    entries["kernel"], entries["units"] = rows["kernel"], units
    many_tokens = np.isin(rows["per_token"], (PER_PLAN, PER_CHOSEN_EXPERT)) & (token_count > 1)
    entries["least_share"] = np.where(many_tokens, _TILE_ROWS_TOGETHER, 1)
    entries["stage_units"][ends] = np.where(begins <= ends, units_before[ends + 1] - units_before[begins], 0)
    entries["following"][ends] = next_together[ends + 1]
    return Schedule(entries, int(next_together[0]))


def stage_ends(rows: npt.NDArray[np.void]) -> npt.NDArray[np.intp]:
    """Returns the rows that end a stage, if the stage has a row that the threads do together: (stages,).

    The last row is always among them.
    """
    return np.flatnonzero((rows["barrier"] == 1) | (np.arange(len(rows)) == len(rows) - 1))


def _units(rows: npt.NDArray[np.void], token_count: int, first_output_token: int) -> npt.NDArray[np.int64]:
    """Returns the units of work of each row: (rows,) int64."""
    tokens = token_count - first_output_token * (rows["output_tokens_only"] != EVERY_TOKEN)
    kinds = [rows["per_token"] == kind for kind in (PER_PLAN, PER_TOKEN, PER_TOKEN_GROUP, PER_CHOSEN_EXPERT)]
    groups = -(-tokens // np.maximum(1, rows["tokens_per_unit"]))
    experts = most_groups(tokens, rows["used_count"], rows["expert_count"])
    units: npt.NDArray[np.int64] = rows["units"] * np.select(kinds, [np.ones_like(tokens), tokens, groups, experts])
    return units


def most_rows_of_a_stage(rows: npt.NDArray[np.void]) -> int:
    """Returns the number of rows of the longest stage."""
    return int(np.diff(stage_ends(rows), prepend=-1).max())
