"""With NO_COLOR no colour reaches the terminal, and what colours would mark is marked otherwise."""

import os
from collections.abc import Iterator

import pytest
from rich.segment import Segment
from rich.style import Style
from textual.color import BLACK, Color

from tests.fakes.chat_app import Driver, opened, spoken
from tui_llama.settings import Settings
from tui_llama.terminal.colourless import REVERSED_GROUND, Colourless

MARKDOWN = "# Title\n\nSome `code`.\n\n```python\nx = 1\n```\n"


@pytest.fixture(autouse=True)
def _no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")


def segments(driver: Driver) -> Iterator[tuple[str, Style]]:
    for strip in driver.app.screen._compositor.render_strips():
        yield from ((text, style or Style()) for text, style, _ in strip)


def coloured(driver: Driver) -> list[str]:
    return [
        text
        for text, style in segments(driver)
        if not all(colour is None or colour.is_default for colour in (style.color, style.bgcolor))
    ]


def reversed_text(driver: Driver) -> str:
    return "".join(text for text, style in segments(driver) if style.reverse)


def test_colours_go_and_everything_else_stays() -> None:
    style = Style.parse("bold dim italic underline #112233 on #445566")
    (segment,) = Colourless().apply([Segment("x", style)], BLACK)
    assert segment.style is not None
    assert segment.style.without_color == style.without_color and segment.style.color is not None
    assert segment.style.color.is_default and segment.style.bgcolor is not None and segment.style.bgcolor.is_default


def test_the_ground_of_a_cursor_becomes_reverse() -> None:
    style = Style(bgcolor=Color.parse(REVERSED_GROUND).rich_color)
    (segment,) = Colourless().apply([Segment("x", style)], BLACK)
    assert segment.style is not None and segment.style.reverse


@pytest.mark.parametrize("theme", ["llama-dusk", "llama-dawn", "ansi-dark", "ansi-light", "nord"])
async def test_no_screen_has_a_colour(theme: str) -> None:
    async with opened(replies=[spoken(MARKDOWN)], settings=Settings(theme=theme), size=(100, 30)) as driver:
        assert coloured(driver) == []
        await driver.ask("Hello")
        for key in (
            "alt+up",
            "escape",
            "slash",
            "escape",
            "backspace",
            "f2",
            "down",
            "enter",
            "escape",
            "f1",
            "escape",
        ):
            await driver.pilot.press(key)
            await driver.pilot.pause()
            assert coloured(driver) == [], key


async def test_what_is_chosen_selected_and_in_focus_is_still_seen() -> None:
    async with opened(replies=[spoken("Hi.")], size=(100, 30)) as driver:
        await driver.ask("Hello")
        await driver.pilot.press("slash", "down")
        await driver.until(lambda: "/incognito" in reversed_text(driver))
        await driver.pilot.press("escape", "backspace", *"abc", "shift+home")
        await driver.until(lambda: "abc" in reversed_text(driver))
        await driver.pilot.press("f2", "down")
        await driver.until(lambda: "Density" in reversed_text(driver))
        await driver.pilot.press("escape", "alt+up")
        await driver.until(lambda: "█" in driver.screen_text())


async def test_text_that_stands_back_is_dim_and_headings_are_bold() -> None:
    async with opened(size=(100, 30)) as driver:
        await driver.pilot.press("f2")
        await driver.until(lambda: "Keymap" in driver.screen_text())
        styles = {text.strip(): style for text, style in segments(driver)}
        assert styles["Looks"].bold
        assert styles["comfortable"].dim
        assert not styles["Looks"].dim


async def test_an_empty_variable_means_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    async with opened() as driver:
        assert coloured(driver) != []
        assert "NO_COLOR" not in os.environ
