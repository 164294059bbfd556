"""Where a motion of vim leads in a text: pure functions of its lines and a place in them.

Lines and places are those of an editor: a place is a row and a column, and a column counts characters of the line.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

Place: TypeAlias = tuple[int, int]
Lines: TypeAlias = Sequence[str]
Motion: TypeAlias = Callable[[Lines, Place], Place]

_WORD: Final = re.compile(r"\w+|[^\w\s]+")


def left(_lines: Lines, place: Place) -> Place:
    """Returns the place before, on the same line."""
    return place[0], max(0, place[1] - 1)


def right(lines: Lines, place: Place) -> Place:
    """Returns the next place, on the same line."""
    return place[0], min(len(lines[place[0]]), place[1] + 1)


def next_word(lines: Lines, place: Place) -> Place:
    """Returns the beginning of the next word; an empty line counts as one."""
    row, column = place
    starts = [match.start() for match in _WORD.finditer(lines[row]) if match.start() > column]
    if starts:
        return row, starts[0]
    for below in range(row + 1, len(lines)):
        match = _WORD.search(lines[below])
        if match or not lines[below]:
            return below, match.start() if match else 0
    return len(lines) - 1, len(lines[-1])


def word_before(lines: Lines, place: Place) -> Place:
    """Returns the beginning of this word, or of the word before where the place is there already."""
    row, column = place
    starts = [match.start() for match in _WORD.finditer(lines[row]) if match.start() < column]
    if starts:
        return row, starts[-1]
    for above in range(row - 1, -1, -1):
        starts = [match.start() for match in _WORD.finditer(lines[above])]
        if starts or not lines[above]:
            return above, starts[-1] if starts else 0
    return 0, 0


def word_end(lines: Lines, place: Place) -> Place:
    """Returns the last character of this word, or of the next one where the place is there already."""
    for row in range(place[0], len(lines)):
        first = place[1] if row == place[0] else -1
        ends = [match.end() - 1 for match in _WORD.finditer(lines[row]) if match.end() - 1 > first]
        if ends:
            return row, ends[0]
    return len(lines) - 1, max(0, len(lines[-1]) - 1)


def line_start(_lines: Lines, place: Place) -> Place:
    """Returns the first place of the line."""
    return place[0], 0


def first_letter(lines: Lines, place: Place) -> Place:
    """Returns the first place of the line that is not blank."""
    line = lines[place[0]]
    return place[0], len(line) - len(line.lstrip())


def line_end(lines: Lines, place: Place) -> Place:
    """Returns the place behind the line."""
    return place[0], len(lines[place[0]])


def first_line(_lines: Lines, _place: Place) -> Place:
    """Returns the first place of the text."""
    return 0, 0


def last_line(lines: Lines, _place: Place) -> Place:
    """Returns the first place of the last line."""
    return len(lines) - 1, 0


def down(lines: Lines, place: Place) -> Place:
    """Returns the place below, as far as there are lines."""
    row = min(len(lines) - 1, place[0] + 1)
    return row, min(place[1], len(lines[row]))


def up(lines: Lines, place: Place) -> Place:
    """Returns the place above, as far as there are lines."""
    row = max(0, place[0] - 1)
    return row, min(place[1], len(lines[row]))


MOTIONS: Final[dict[str, Motion]] = {
    "h": left,
    "left": left,
    "backspace": left,
    "l": right,
    "right": right,
    "w": next_word,
    "b": word_before,
    "e": word_end,
    "0": line_start,
    "home": line_start,
    "^": first_letter,
    "$": line_end,
    "end": line_end,
    "gg": first_line,
    "G": last_line,
    "j": down,
    "down": down,
    "k": up,
    "up": up,
}
"""The motions by their keys."""

WHOLE_LINES: Final = frozenset({"j", "down", "k", "up", "gg", "G"})
"""The motions with which a command takes whole lines."""
INCLUSIVE: Final = frozenset({"e"})
"""The motions with which a command takes the character to which they lead as well."""


def moved(motion: str, lines: Lines, place: Place, count: int = 1) -> Place:
    """Returns where a motion leads that is repeated `count` times."""
    for _ in range(count):
        before, place = place, MOTIONS[motion](lines, place)
        if place == before:
            break
    return place


def span(motion: str, lines: Lines, place: Place, count: int = 1) -> tuple[Place, Place]:
    """Returns the two ends of what a command such as `d` takes with a motion that is not one of whole lines."""
    end = moved(motion, lines, place, count)
    if motion == "w" and end[0] > place[0]:  # a word at the end of a line ends with it
        end = line_end(lines, place)
    if motion in INCLUSIVE:
        end = end[0], min(len(lines[end[0]]), end[1] + 1)
    first, last = sorted((place, end))
    return first, last


def whole_lines(lines: Lines, first: int, last: int) -> tuple[Place, Place]:
    """Returns the two ends of lines, with the line end before or behind them where there is one."""
    last = min(last, len(lines) - 1)
    if last + 1 < len(lines):
        return (first, 0), (last + 1, 0)
    if first:
        return (first - 1, len(lines[first - 1])), (last, len(lines[last]))
    return (0, 0), (last, len(lines[last]))
