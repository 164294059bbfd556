"""Where the user writes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from textual import events, on
from textual._xterm_parser import XTermParser
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from tui_llama.widgets.composer import NEW_LINE_KEYS, Composer


class ComposerApp(App[None]):
    CSS = "Composer { height: auto; max-height: 12; }"

    def __init__(self) -> None:
        super().__init__()
        self.submitted: list[str] = []

    def compose(self) -> ComposeResult:
        yield Composer()

    @on(Composer.Submitted)
    def _note(self, event: Composer.Submitted) -> None:
        self.submitted.append(event.text)


@asynccontextmanager
async def opened(*history: str) -> AsyncIterator[tuple[ComposerApp, Composer, Pilot[None]]]:
    app = ComposerApp()
    async with app.run_test() as pilot:
        composer = app.query_one(Composer)
        composer.set_history(history)
        composer.focus()
        await pilot.pause()
        yield app, composer, pilot


async def test_enter_asks_to_send_and_keeps_the_text_until_it_is_accepted() -> None:
    async with opened() as (app, composer, pilot):
        await pilot.press("h", "i", "enter")
        assert app.submitted == ["hi"]
        assert composer.text == "hi"
        composer.accept()
        assert composer.text == ""


async def test_nothing_is_not_sent() -> None:
    async with opened() as (app, _composer, pilot):
        await pilot.press("enter", "space", "enter")
        assert app.submitted == []


@pytest.mark.parametrize("key", ["shift+enter", "alt+enter", "ctrl+j"])
async def test_a_key_makes_a_new_line(key: str) -> None:
    async with opened() as (app, composer, pilot):
        await pilot.press("a", key, "b")
        assert composer.text == "a\nb"
        assert app.submitted == []


@pytest.mark.parametrize("sent", ["\x1b\r", "\n", "\x1b[13;2u", "\x1b[13;3u", "\x1b[27;2;13~"])
def test_what_terminals_send_for_a_new_line_arrives_as_one_of_its_keys(sent: str) -> None:
    keys = [event.key for event in XTermParser().feed(sent) if isinstance(event, events.Key)]
    assert keys[0] in NEW_LINE_KEYS


async def test_enter_after_a_backslash_makes_a_new_line_instead() -> None:
    async with opened() as (app, composer, pilot):
        await pilot.press("a", "backslash", "enter", "b")
        assert composer.text == "a\nb"
        assert app.submitted == []


async def test_up_and_down_go_through_what_was_sent_and_back_to_the_draft() -> None:
    async with opened("first", "second") as (_app, composer, pilot):
        await pilot.press("d")
        texts = []
        for key in ("up", "up", "up", "down", "down", "down"):
            await pilot.press(key)
            texts.append(composer.text)
        assert texts == ["second", "first", "first", "second", "d", "d"]


async def test_up_moves_inside_a_text_of_several_lines_first() -> None:
    async with opened("sent") as (_app, composer, pilot):
        await pilot.press("a", "ctrl+j", "b", "up")
        assert composer.text == "a\nb"
        await pilot.press("up")
        assert composer.text == "sent"


async def test_it_grows_with_its_text_up_to_a_limit() -> None:
    async with opened() as (_app, composer, pilot):
        await pilot.press("a", "ctrl+j", "b", "ctrl+j", "c")
        assert composer.size.height == 3
        composer.insert("\n" * 50)
        await pilot.pause()
        assert composer.outer_size.height == 12


async def test_a_paste_is_text_only() -> None:
    async with opened() as (app, composer, pilot):
        app.post_message(events.Paste("one\r\ntwo\rthree\x1b[31m\x07 four"))
        await pilot.pause()
        assert composer.text == "one\ntwo\nthree\x1b[31m\x07 four"


async def test_the_caret_stands_still_after_a_while_until_the_next_key() -> None:
    async with opened() as (_, composer, pilot):
        assert composer.cursor_blink
        composer.rest()
        assert not composer.cursor_blink and composer._cursor_visible
        await pilot.press("a")
        assert composer.cursor_blink


async def test_the_caret_shows_when_it_stands_still_after_a_moment_in_which_it_did_not() -> None:
    async with opened() as (_, composer, pilot):
        await pilot.press("a")
        shown = composer.render_line(0)
        composer._toggle_cursor_blink_visible()
        hidden = composer.render_line(0)
        composer.rest()
        assert composer.render_line(0) == shown != hidden


async def test_a_caret_that_stood_still_blinks_again_when_the_text_is_pasted_into_or_focused() -> None:
    async with opened() as (app, composer, pilot):
        composer.rest()
        composer.post_message(events.Paste("text"))
        await pilot.pause()
        assert composer.cursor_blink
        composer.rest()
        app.set_focus(None)
        composer.focus()
        await pilot.pause()
        assert composer.cursor_blink


async def test_lines_that_made_a_scroll_bar_can_be_undone_and_done_again() -> None:
    async with opened() as (_, composer, pilot):
        composer.insert("one")
        composer.history.checkpoint()
        composer.insert("\nline" * 40)
        await pilot.pause()
        assert composer.show_vertical_scrollbar
        composer.undo()
        await pilot.pause()
        assert composer.text == "one" and composer.cursor_location == (0, 3)
        composer.redo()
        await pilot.pause()
        assert composer.text == "one" + "\nline" * 40 and composer.cursor_location[0] == 40


@pytest.mark.parametrize(
    ("burst", "expected"),
    [
        ("\x7f\x7f/mo", "/mo"),
        ("\x15/mo", "/mo"),
        ("\x1b[D!", "a!b"),
        ("\x1b[H!", "!ab"),
    ],
)
async def test_keys_that_come_all_at_once_count_in_their_order(burst: str, expected: str) -> None:
    """As over a slow line, or from a program that types."""
    async with opened() as (app, composer, pilot):
        composer.insert("ab")
        for message in XTermParser().feed(burst):
            app.post_message(message)
        await pilot.pause()
        assert composer.text == expected
