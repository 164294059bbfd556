"""Which rows of a plan the threads do together, which one of them does alone, and where they meet: for one batch.

A row that is a single unit of work needs one thread only. When one token is decoded every other row is, and a meeting
before and after each would cost more than the row: so whoever comes last to a meeting does all such rows that follow,
before the others go on. Knows nothing of threads and kernels but their number and address.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tui_llama.engine.rows import PER_PLAN, PER_TOKEN, PER_TOKEN_GROUP
from tui_llama.errors import ShapeMismatchError

ENTRY = np.dtype(
    [
        ("kernel", np.int64),  # address of the compiled kernel
        ("units", np.int64),  # units of work in this batch
        ("meets", np.int64),  # 1: the threads meet after this row
        ("following", np.int64),  # the next row that they do together; those between are done alone at the meeting
    ]
)

MOST_UNITS = (1 << 24) - 1
"""The most units that a row may have in a batch: threads count them in so many bits."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A plan's rows for one batch.

    Args:
        entries: (rows,) ENTRY.
        first_row: The first row that the threads do together; those before are done alone. May be the end.
    """

    entries: npt.NDArray[np.void]
    first_row: int


def make_schedule(
    rows: npt.NDArray[np.void], *, token_count: int, first_output_token: int, thread_count: int
) -> Schedule:
    """Lays out a batch.

    Args:
        rows: (rows,) ROW, at least one.
        token_count: Tokens of the batch.
        first_output_token: As in BATCH.
        thread_count: Threads that take part.

    Raises:
        ShapeMismatchError: a row has more than `MOST_UNITS`.
    """
    count = len(rows)
    units = _units(rows, token_count, first_output_token)
    if units.max() > MOST_UNITS:
        raise ShapeMismatchError(f"{units.max()} units of work in one row are more than the {MOST_UNITS} that fit")
    is_last = np.arange(count) == count - 1
    meets = (rows["barrier"] == 1) | is_last
    together = np.flatnonzero((units > 1) & (thread_count > 1))
    # For each row and for the end: the first row from there on that is done together.
    next_together = np.append(together, count)[np.searchsorted(together, np.arange(count + 1))]
    entries = np.zeros(count, ENTRY)
    entries["kernel"], entries["units"], entries["meets"] = rows["kernel"], units, meets
    entries["following"] = np.where(meets, next_together[1:], np.arange(1, count + 1))
    return Schedule(entries, int(next_together[0]))


def _units(rows: npt.NDArray[np.void], token_count: int, first_output_token: int) -> npt.NDArray[np.int64]:
    """How many units of work each row has: (rows,) int64."""
    tokens = token_count - first_output_token * (rows["output_tokens_only"] == 1)
    kinds = [rows["per_token"] == kind for kind in (PER_PLAN, PER_TOKEN, PER_TOKEN_GROUP)]
    groups = -(-tokens // np.maximum(1, rows["tokens_per_unit"]))
    units: npt.NDArray[np.int64] = rows["units"] * np.select(kinds, [np.ones_like(tokens), tokens, groups])
    return units


def most_rows_between_meetings(rows: npt.NDArray[np.void]) -> int:
    """The length of the longest run of rows that ends with a meeting."""
    ends = np.flatnonzero(rows["barrier"][:-1] == 1)
    return int(np.diff([-1, *ends, len(rows) - 1]).max())
