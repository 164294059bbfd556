"""Tables: their alignment, and what becomes of them where there is little room."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from textual.pilot import Pilot

from tests.widgets.markdown.test_odd_markdown import MarkdownApp, screen_rows
from tui_llama.widgets.markdown.answer_markdown import AnswerMarkdown

TWELVE = range(12)
NARROW, WIDE = 60, 200


def table(header: Sequence[str], marks: Sequence[str], *rows: Sequence[str]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in (header, marks, *rows))


@asynccontextmanager
async def shown(source: str, width: int = NARROW) -> AsyncIterator[Pilot[None]]:
    async with MarkdownApp().run_test(size=(width, 60)) as pilot:
        pilot.app.query_one(AnswerMarkdown).append(source)
        await pilot.pause()
        yield pilot


def cells(row: str) -> list[str]:
    return row.split(" │ ")


def filled(pilot: Pilot[None]) -> list[str]:
    return [row[2:].rstrip() for row in screen_rows(pilot) if row.strip()]


async def test_columns_are_aligned_as_they_are_marked() -> None:
    header, row = ["header", "header", "header", "header"], ["a", "b", "c", "1"]
    async with shown(table(header, [":---", "---", ":--:", "---:"], row)) as pilot:
        assert cells(filled(pilot)[2]) == ["a     ", "b     ", "  c   ", "     1"]


async def test_wide_characters_take_two_cells_of_a_column() -> None:
    async with shown(table(["名前", "emoji"], ["---", "---:"], ["日本語", "🎉🎉"], ["x", "y"])) as pilot:
        assert filled(pilot) == ["名前   │ emoji", "───────┼──────", "日本語 │  🎉🎉", "x      │     y"]


async def test_twelve_columns_of_numbers_stay_columns_at_sixty_cells() -> None:
    numbers = [str(number) for number in TWELVE]
    async with shown(table(numbers, ["--:"] * 12, numbers)) as pilot:
        assert [cell.strip() for cell in cells(filled(pilot)[2])] == numbers


@pytest.mark.parametrize("word", ["value", "日本語🎉", "👩‍👩‍👧 family"])
async def test_twelve_columns_of_words_are_lines_with_their_headers_at_sixty_cells(word: str) -> None:
    header, row = [f"名{number}" for number in TWELVE], [f"{word}{number}" for number in TWELVE]
    async with shown(table(header, [":-:"] * 12, row, row)) as pilot:
        lines = [f"{name}: {cell}" for name, cell in zip(header, row, strict=True)]
        assert filled(pilot) == [*lines, "─" * 56, *lines]


async def test_a_wide_window_has_columns_again() -> None:
    header, row = [f"name{number}" for number in TWELVE], [f"value{number}" for number in TWELVE]
    async with shown(table(header, ["---"] * 12, row)) as pilot:
        await pilot.resize_terminal(WIDE, 60)
        await pilot.pause()
        assert [cell.strip() for cell in cells(filled(pilot)[2])] == row
        await pilot.resize_terminal(NARROW, 60)
        await pilot.pause()
        assert "name3: value3" in "\n".join(filled(pilot))


async def test_headers_without_rows_are_lines_where_there_is_no_room() -> None:
    header = [f"header{number}" for number in TWELVE]
    async with shown(table(header, ["---"] * 12)) as pilot:
        assert filled(pilot) == header


@pytest.mark.parametrize("width", [NARROW, WIDE])
async def test_rows_that_come_one_after_the_other_look_like_all_at_once(width: int) -> None:
    header, row = [f"h{number}" for number in TWELVE], [f"**word{number}**" for number in TWELVE]
    source = table(header, ["--:"] * 12, header, row, header)
    async with shown(source, width) as pilot:
        whole = filled(pilot)
    async with shown("", width) as pilot:
        for start in range(0, len(source), 5):
            pilot.app.query_one(AnswerMarkdown).append(source[start : start + 5])
        await pilot.pause()
        assert filled(pilot) == whole
