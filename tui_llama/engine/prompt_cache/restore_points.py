"""Tells at which positions of stored tokens a model can go on: where each group of layers has what the next token sees.

A group that sees everything needs all that comes before. A group with a window needs only the window before the
position, one token more than the next token sees, since the last token is computed again as a check. A state that is
valid at single positions would have just these as its points.
"""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from tui_llama.engine.state_file import RecordPlace
from tui_llama.engine.state_shape import LayerGroup, StateShape

Stored: TypeAlias = Sequence[tuple[int, int, Sequence[RecordPlace]]]
"""Parts of a path: the positions from the first number to before the second, and the records that hold them."""
_Ranges: TypeAlias = list[tuple[int, int]]


def restore_point(shape: StateShape, stored: Stored) -> int:
    """Returns the last position of a path at which a model can go on; 0 if there is none."""
    if shape.is_trimmable:
        return stored[-1][1] if stored else 0
    points = [(0, stored[-1][1])] if stored else []
    for index, group in enumerate(shape.groups):
        points = _common(points, _points(group, _held(stored, index)))
    return points[-1][1] if points else 0


def first_needed(group: LayerGroup, position: int) -> int:
    """Returns the first position whose keys and values a group of layers needs, to go on at a position."""
    return max(0, position - group.window) if group.window else 0


def first_missing(shape: StateShape, stored: Stored, position: int, kept_from: Sequence[int]) -> int:
    """Returns the first stored position that lacks something which going on at a later position needs.

    Args:
        shape: The sizes of the state.
        stored: The path that ends before or at the position.
        position: Where a model is to go on.
        kept_from: For each group, the first position that could be stored now.

    Returns:
        The end of the path if nothing is missing, or nothing that could be stored now.
    """
    end = stored[-1][1] if stored else 0
    missing = end
    for index, group in enumerate(shape.groups):
        reached = first_needed(group, position)
        if not group.window or kept_from[index] > reached:
            continue
        for first, last in _held(stored, index):
            if first <= reached < last:
                reached = last
        missing = min(missing, reached)
    return missing


def _points(group: LayerGroup, held: _Ranges) -> _Ranges:
    """Returns the positions at which a group can go on, as ranges from the first to the last of them, in order."""
    if not group.window:
        return [(0, last) for first, last in held if first == 0]
    points = [(0 if first == 0 else first + group.window, last) for first, last in held]
    return [(first, last) for first, last in points if first <= last]


def _held(stored: Stored, group: int) -> _Ranges:
    """Returns the positions whose keys and values of a group are stored: from the first to before the second number."""
    held: _Ranges = []
    for first, last, places in stored:
        for place in places:
            start, end = max(first, place.position), min(last, place.end_position)
            if place.parts[group] is None or start >= end:
                continue
            if held and held[-1][1] == start:
                held[-1] = held[-1][0], end
            else:
                held.append((start, end))
    return held


def _common(some: _Ranges, others: Iterable[tuple[int, int]]) -> _Ranges:
    """Returns what two lists of ranges have in common, in order."""
    both = [(max(first, begin), min(last, end)) for first, last in some for begin, end in others]
    return sorted((first, last) for first, last in both if first <= last)
