"""Text can be read in every theme: as the variables say, and as it stands on the screen."""

from collections.abc import Iterator

import pytest
from rich.style import Style
from textual.color import BLACK, WHITE, Color
from textual.geometry import Region
from textual.theme import BUILTIN_THEMES, Theme
from textual.widgets import OptionList

from tests.fakes.chat_app import Driver, opened, spoken
from tui_llama.screens.dialogs.pick import PickDialog
from tui_llama.screens.readable_colours import FAINT_CONTRAST, TEXT_CONTRAST, contrast, readable, readable_variables
from tui_llama.screens.themes import own_themes
from tui_llama.settings import Settings

THEMES = {theme.name: theme for theme in (*own_themes(), *BUILTIN_THEMES.values())}
ODD_THEMES = (
    Theme("only primary", primary="#777777"),
    Theme("grey on grey", primary="#888888", foreground="#808080", background="#7a7a7a", surface="#828282"),
    Theme("see-through", primary="rgba(136,170,255,0.3)", foreground="rgba(255,255,255,0.2)", background="#000000"),
)
MARKDOWN = (
    "# Title\n\nSome *text* with `code`, and a [link](http://example.org).\n\n> A quote\n\n```python\nx = 1\n```\n"
)


def test_contrast_is_that_of_the_guideline() -> None:
    assert contrast(WHITE, BLACK) == pytest.approx(21)
    assert contrast(BLACK, BLACK) == 1
    assert contrast(Color.parse("#767676"), WHITE) == pytest.approx(4.54, abs=0.01)


def test_a_colour_that_can_be_read_stays() -> None:
    assert readable(Color.parse("#123456"), [WHITE], 4.5) == Color.parse("#123456")
    assert contrast(readable(Color.parse("#ffee00"), [WHITE], 4.5), WHITE) >= 4.5


@pytest.mark.parametrize("theme", [*THEMES.values(), *ODD_THEMES], ids=lambda theme: theme.name)
def test_in_every_theme_text_has_the_contrast_that_it_needs(theme: Theme) -> None:
    texts = readable_variables(theme)
    if theme.ansi:
        assert texts["quiet-style"] == texts["faint-style"] == "dim"
        return
    colours = {**theme.to_color_system().generate(), **theme.variables}
    background = Color.parse(colours["background"])
    grounds = [background, background + Color.parse(colours["surface"]), Color.parse(texts["chosen"])]
    for name, colour in texts.items():
        least = FAINT_CONTRAST if name.startswith("faint") else TEXT_CONTRAST
        if colour.startswith("#") and name != "chosen":
            lowest = min(contrast(Color.parse(colour), ground) for ground in grounds)
            assert lowest >= least, f"{name}: {lowest:.2f}"


def faint_words(driver: Driver, part: Region | None = None) -> Iterator[str]:
    """Yields the words in a part of the screen whose contrast is too low to read, with the contrast."""
    part = part or driver.app.screen.region
    for strip in driver.app.screen._compositor.render_strips()[part.y : part.bottom]:
        for text, style, _ in strip.crop(part.x, part.right):
            if style is None or style.color is None or style.bgcolor is None or style.reverse:
                continue
            if not any(character.isalnum() for character in text):
                continue
            found = contrast(Color.from_rich_color(style.color), Color.from_rich_color(style.bgcolor))
            if found < FAINT_CONTRAST:
                yield f"{text.strip()} {found:.2f}"


async def until_titled(driver: Driver, title: str) -> None:
    await driver.until(lambda: f"─ {title} ─" in driver.screen_text())


@pytest.mark.parametrize("theme", ["llama-dusk", "llama-dawn", "nord", "solarized-light", "dracula"])
async def test_in_every_theme_all_words_on_the_screen_can_be_read(theme: str) -> None:
    async with opened(replies=[spoken(MARKDOWN)], settings=Settings(theme=theme), size=(100, 40)) as driver:
        await driver.ask("Hello")
        assert list(faint_words(driver)) == []
        for key in ("alt+up", "escape", "slash"):
            await driver.pilot.press(key)
            await driver.pilot.pause()
            assert list(faint_words(driver)) == [], key
        await driver.pilot.press("escape", "backspace")
        for key, title in (("f1", "Help"), ("f2", "Settings"), ("ctrl+s", "Chats"), ("f9", "System prompt")):
            await driver.pilot.press(key)
            await until_titled(driver, title)
            await driver.pilot.pause()
            box = driver.app.screen.query_one(".dialog").region  # what lies below stands back on purpose
            assert list(faint_words(driver, box)) == [], title
            await driver.pilot.press("escape")
            await driver.until(lambda: driver.app.screen is driver.app.chat_screen)


def styles_of(driver: Driver, word: str) -> list[Style]:
    """The styles of what stands in the first row with this word, from left to right."""
    strip = next(strip for strip in driver.app.screen._compositor.render_strips() if word in strip.text)
    return [style or Style() for _, style, _ in strip]


@pytest.mark.parametrize("theme", ["ansi-dark", "ansi-light"])
@pytest.mark.parametrize("key", ["f2", "ctrl+s"])
async def test_with_the_terminal_s_colours_all_of_a_chosen_line_is_reverse(theme: str, key: str) -> None:
    async with opened(replies=[spoken("Hi.")], settings=Settings(theme=theme), size=(100, 30)) as driver:
        await driver.ask("Hello")
        await driver.pilot.press(key)
        await driver.until(lambda: isinstance(driver.app.screen, PickDialog))
        options = driver.app.screen.query_one(OptionList)
        await driver.until(lambda: options.highlighted is not None)
        await driver.pilot.pause()
        y = options.region.y + (options.highlighted or 0) - options.scroll_offset.y
        strip = driver.app.screen._compositor.render_strips()[y].crop(options.region.x + 1, options.region.right - 2)
        assert strip.text.strip()
        for text, style, _ in strip:
            assert style is not None and style.reverse, text
            assert style.color is not None and style.color.is_default, text
            assert style.bgcolor is not None and style.bgcolor.is_default, text


async def test_code_stands_on_another_ground_than_the_answer_in_focus() -> None:
    async with opened(replies=[spoken(MARKDOWN)], size=(100, 40)) as driver:
        await driver.ask("Hello")
        grounds = []
        for key in ("alt+up", "escape"):
            await driver.pilot.press(key)
            await driver.pilot.pause()
            text, code = (styles_of(driver, word)[-3].bgcolor for word in ("A quote", "x = 1"))
            assert text != code, key
            grounds.append(text)
        assert grounds[0] != grounds[1]


async def test_what_copies_code_looks_like_a_link() -> None:
    async with opened(replies=[spoken(MARKDOWN)], size=(100, 40)) as driver:
        await driver.ask("Hello")
        await driver.pilot.pause()
        assert any(style.underline for style in styles_of(driver, "copy 1"))
        assert not all(style.underline for style in styles_of(driver, "copy 1"))
