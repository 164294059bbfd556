"""The style sheets: parsed once at the start, and again only for other variables."""

import pytest
from textual.css.stylesheet import Stylesheet

from tests.fakes.chat_app import opened
from tui_llama.settings import Settings


@pytest.fixture
def parsed_again(monkeypatch: pytest.MonkeyPatch) -> list[Stylesheet]:
    """The style sheets that were parsed again, once for each time."""
    again: list[Stylesheet] = []
    reparse = Stylesheet.reparse

    def noted(self: Stylesheet) -> None:
        again.append(self)
        reparse(self)

    monkeypatch.setattr(Stylesheet, "reparse", noted)
    return again


@pytest.mark.parametrize("theme", ["llama-dusk", "textual-light"])
async def test_nothing_is_parsed_twice_at_the_start(parsed_again: list[Stylesheet], theme: str) -> None:
    async with opened(settings=Settings(theme=theme, text_width=60)) as driver:
        assert driver.app.theme == theme
        background = driver.app.theme_variables["background"]
        assert driver.app.chat_screen.styles.background.hex.casefold() == background.casefold()
        assert parsed_again == []


async def test_another_theme_is_parsed_and_seen_at_once(parsed_again: list[Stylesheet]) -> None:
    async with opened() as driver:
        screen = driver.app.chat_screen
        before = screen.styles.background
        driver.app.theme = "textual-light"
        await driver.until(lambda: screen.styles.background != before, "the new background")
        assert len(parsed_again) == 1
