"""Dates that a template writes, and dates that a text names."""

import locale
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest

from tui_llama.engine.templates.dates import dates_in, write_date

MOMENT = datetime(2026, 3, 9, 7, 5, 9, tzinfo=timezone(timedelta(hours=2)))


@pytest.fixture(params=["C", "de_DE.UTF-8", "fr_FR.UTF-8"])
def language(request: pytest.FixtureRequest) -> Iterator[str]:
    """The language of the system, where it has it."""
    before = locale.setlocale(locale.LC_TIME)
    try:
        locale.setlocale(locale.LC_TIME, request.param)
    except locale.Error:
        locale.setlocale(locale.LC_TIME, "C")
    yield str(request.param)
    locale.setlocale(locale.LC_TIME, before)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ("%d %b %Y", "09 Mar 2026"),
        ("%A, %B %-d, %Y", "Monday, March 9, 2026"),
        ("%c", "Mon Mar  9 07:05:09 2026"),
        ("%x %X %r", "03/09/26 07:05:09 07:05:09 AM"),
        ("%^a %#B %h %p %P %Ey", "MON MARCH Mar AM am 26"),
        ("%%b %%%b", "%b %Mar"),
        ("%s%z%Z", "1773032709"),
        ("no date", "no date"),
        ("", ""),
    ],
)
def test_a_moment_is_written_in_english_and_without_its_zone(language: str, wanted: str, text: str) -> None:
    assert write_date(MOMENT, wanted) == text


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("Today Date: 26 Jul 2024\nCutting Knowledge Date: December 2023", ["2024-07-26"]),
        ("Current date: 2026-11-27, not 2026-13-01 or 2026-02-30", ["2026-11-27"]),
        ("On November 3, 2025 and Mar 4, 2021, not Foo 3, 2020", ["2025-11-03", "2021-03-04"]),
        ("2026-11-27 and again 27 November 2026", ["2026-11-27"]),
        ("31 Jun 2024 0000-01-01 9999-99-99", []),
        ("x" * 5000 + " 2026-11-27", []),
        (" ".join(f"2026-01-{day:02}" for day in range(1, 20)), [f"2026-01-{day:02}" for day in range(1, 9)]),
    ],
)
def test_the_days_that_the_beginning_of_a_text_names(text: str, days: list[str]) -> None:
    assert [moment.date().isoformat() for moment in dates_in(text)] == days
