"""Dates as chat templates write them: the same text for one moment, on every machine and at any time.

The system writes the names of months and days in its own language, and some numbers by its time zone. A prompt must be
written again letter by letter, or its tokens cannot be reused. So here the names are English, and the moment brings its
own offset.
"""

import re
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final

_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_DIRECTIVE: Final = re.compile(r"%([-_0^#]*)[EO]?([A-Za-z%+])")
_WRITTEN: Final = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)"
    r"|(?P<day2>\d{1,2})\.? (?P<name>[A-Z][a-z]{2,8})\.?,? (?P<year2>\d{4})"
    r"|(?P<name2>[A-Z][a-z]{2,8})\.? (?P<day3>\d{1,2}),? (?P<year3>\d{4})"
)
_SEARCHED_CHARACTERS: Final = 4096
_MOST_DATES: Final = 8
_COMPOSED: Final = {"c": "%a %b %e %H:%M:%S %Y", "x": "%m/%d/%y", "X": "%H:%M:%S", "r": "%I:%M:%S %p"}


def date_writer(moment: datetime) -> Callable[[str], str]:
    """Returns the function that templates call as `strftime_now`: it writes one moment in a format of C's `strftime`.

    Args:
        moment: Local time. Its offset, if it has one, is used only for seconds since 1970 (`%s`).
    """
    return partial(write_date, moment)


def write_date(moment: datetime, wanted: str) -> str:
    """Writes the moment in a format of C's `strftime`, with English names whatever the system's language."""
    return moment.replace(tzinfo=None).strftime(_DIRECTIVE.sub(partial(_fixed, moment), wanted))


def dates_in(text: str) -> list[datetime]:
    """Finds the first days named at the beginning of a text, such as 2026-11-27 or 27 Nov 2026: noon in local time."""
    found: dict[datetime, None] = {}
    for match in _WRITTEN.finditer(text[:_SEARCHED_CHARACTERS]):
        parts = {name.rstrip("23"): text for name, text in match.groupdict().items() if text is not None}
        name = parts.get("name", "")
        month = next((at for at, known in enumerate(_MONTHS, 1) if name in (known, known[:3])), parts.get("month", 0))
        try:
            moment = datetime(int(parts["year"]), int(month), int(parts["day"]), 12).astimezone()
        except (ValueError, OverflowError, OSError):  # such as the 31st of June, or a year out of range
            continue
        found[moment] = None
    return list(found)[:_MOST_DATES]


def _fixed(moment: datetime, found: re.Match[str]) -> str:
    """Writes a directive whose text depends on the system; returns any other directive unchanged."""
    flags, letter = found[1], found[2]
    match letter:
        case "c" | "x" | "X" | "r":
            return _DIRECTIVE.sub(partial(_fixed, moment), _COMPOSED[letter])
        case "a" | "A":
            text = _DAYS[moment.weekday()]
        case "b" | "h" | "B":
            text = _MONTHS[moment.month - 1]
        case "p" | "P":
            text = "AM" if moment.hour < 12 else "PM"
        case "s":
            return str(int(moment.timestamp()))
        case "z" | "Z":
            return ""  # elsewhere, templates are given a local time without its zone
        case _:
            return f"%{flags}{letter}"
    text = text[:3] if letter in "abh" else text.lower() if letter == "P" else text
    if "^" in flags or ("#" in flags and letter != "p"):
        return text.upper()
    return text.lower() if "#" in flags else text
