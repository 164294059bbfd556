"""Markdown as a model writes it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widgets import Markdown, Static
from textual.widgets._markdown import MarkdownBullet

from tui_llama.widgets.answer_markdown import AnswerMarkdown, CodeBlock


class MarkdownApp(App[None]):
    def compose(self) -> ComposeResult:
        yield AnswerMarkdown()


@asynccontextmanager
async def grown(pieces: Sequence[str]) -> AsyncIterator[Pilot[None]]:
    """An answer that has grown by these pieces."""
    async with MarkdownApp().run_test(size=(60, 60)) as pilot:
        for piece in pieces:
            await pilot.app.query_one(AnswerMarkdown).append(piece)
        await pilot.pause()
        yield pilot


def screen_lines(pilot: Pilot[None]) -> list[str]:
    strips = pilot.app.screen._compositor.render_strips()
    lines = ["".join(segment.text for segment in strip).strip() for strip in strips]
    return [line for line in lines if line]


BULLETS = "".join(f"- item {number}\n" for number in range(11))
NUMBERS = "".join(f"{number + 1}. item {number}\n" for number in range(11))
NESTED = "- one\n  - inner\n  - more\n- two\n  1. a\n  2. b\n\nafter\n"


@pytest.mark.slow
@pytest.mark.parametrize("source", [BULLETS, NUMBERS, NESTED], ids=["bullets", "numbers", "nested"])
@pytest.mark.parametrize("cut", [1, 3, 7, 1000])
async def test_a_list_that_grew_looks_like_one_that_came_whole(source: str, cut: int) -> None:
    async with grown([source]) as pilot:
        whole = screen_lines(pilot)
    async with grown([source[start : start + cut] for start in range(0, len(source), cut)]) as pilot:
        assert screen_lines(pilot) == whole


async def test_the_items_of_a_list_stand_on_lines_that_follow_each_other() -> None:
    async with grown(["- one\n", "- two\n- three\n"]) as pilot:
        bullets = pilot.app.query(MarkdownBullet)
        assert [bullet.region.y for bullet in bullets] == [0, 1, 2]


async def test_a_list_that_grows_keeps_the_items_it_has() -> None:
    async with grown(["- one\n", "- two\n"]) as pilot:
        first = pilot.app.query(MarkdownBullet).first()
        await pilot.app.query_one(AnswerMarkdown).append("- three\n")
        assert pilot.app.query(MarkdownBullet).first() is first
        assert len(pilot.app.query(MarkdownBullet)) == 3


async def test_html_is_shown_as_it_stands() -> None:
    async with grown(["a <b>bold</b> <script>x</script>\n\n<div>block</div>\n"]) as pilot:
        assert screen_lines(pilot) == ["a <b>bold</b> <script>x</script>", "<div>block</div>"]


async def test_a_single_line_break_is_kept() -> None:
    async with grown(["roses are red\nviolets are blue"]) as pilot:
        assert screen_lines(pilot) == ["roses are red", "violets are blue"]


async def test_links_do_not_open_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    async with grown(["[here](https://example.org)"]) as pilot:
        monkeypatch.setattr(pilot.app, "open_url", opened.append)
        markdown = pilot.app.query_one(AnswerMarkdown)
        markdown.post_message(Markdown.LinkClicked(markdown, "https://example.org"))
        await pilot.pause()
        assert opened == []


async def test_table_cells_have_no_tooltip_that_could_be_markup() -> None:
    async with grown(["| [/x] | b |\n|---|---|\n| [red | d |\n"]) as pilot:
        cells = pilot.app.query(".cell, .header")
        assert len(cells) == 4
        assert all(cell.tooltip is None for cell in cells)


@pytest.mark.parametrize("language", ["", "nonsense", "python title='x'", "{.python}"])
async def test_a_code_block_of_any_language_is_shown(language: str) -> None:
    async with grown([f"```{language}\n[bold] x = 1\n```\n"]) as pilot:
        code = pilot.app.query_one(CodeBlock).query_one("#code-content", Static)
        assert str(code.content) == "[bold] x = 1"
