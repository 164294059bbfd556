"""Suggestions for what is written: when they are shown, and how keys choose from them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from textual import on
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from tui_llama.widgets.completion.suggestion import Completion, CursorPlace, Suggestion
from tui_llama.widgets.completion.suggestion_list import SuggestionList
from tui_llama.widgets.composer import Composer

ANIMALS = ("llama", "lion", "lynx")


def animals(place: CursorPlace) -> Completion | None:
    """Completes animals behind a colon."""
    start = place.before.rfind(":")
    if start < 0:
        return None
    typed = place.before[start + 1 :]
    found = [Suggestion(animal, explanation="an animal") for animal in ANIMALS if animal.startswith(typed)]
    return Completion(len(typed), found, chooses_first=bool(typed))


class SuggestingApp(App[None]):
    CSS = "Composer { height: auto; } SuggestionList { height: auto; max-height: 5; }"

    def __init__(self) -> None:
        super().__init__()
        self.submitted: list[str] = []

    def compose(self) -> ComposeResult:
        yield SuggestionList()
        yield Composer()

    @on(Composer.Submitted)
    def _note(self, event: Composer.Submitted) -> None:
        self.submitted.append(event.text)


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[SuggestingApp, Composer, SuggestionList, Pilot[None]]]:
    app = SuggestingApp()
    async with app.run_test() as pilot:
        composer, popup = app.query_one(Composer), app.query_one(SuggestionList)
        composer.completer.popup = popup
        composer.completer.providers.append(animals)
        composer.focus()
        await pilot.pause()
        yield app, composer, popup, pilot


def listed(popup: SuggestionList) -> list[str]:
    return [suggestion.insert for suggestion in popup._suggestions]


async def test_suggestions_come_as_soon_as_something_can_be_completed_and_go_when_nothing_can() -> None:
    async with opened() as (_, _composer, popup, pilot):
        await pilot.press("a")
        assert not popup.is_open
        await pilot.press(":", "l", "i")
        assert popup.is_open and listed(popup) == ["lion"]
        await pilot.press("x")
        assert not popup.is_open
        await pilot.press("backspace", "backspace")
        assert listed(popup) == list(ANIMALS)


async def test_tab_and_enter_complete_and_an_enter_on_what_is_written_already_sends() -> None:
    async with opened() as (app, composer, _popup, pilot):
        await pilot.press("a", ":", "l", "y", "tab")
        assert composer.text == "a:lynx" and app.submitted == []
        await pilot.press("backspace", "backspace", "enter")
        assert composer.text == "a:lynx" and app.submitted == []
        await pilot.press("enter")
        assert app.submitted == ["a:lynx"]


async def test_arrows_choose_round_the_ends_and_do_not_move_in_the_text() -> None:
    async with opened() as (_, composer, popup, pilot):
        composer.set_history(["sent before"])
        await pilot.press(":", "l", "down", "down")
        assert popup.chosen is not None and popup.chosen.insert == "lynx"
        await pilot.press("down", "up", "up", "enter")
        assert composer.text == ":lion"


async def test_enter_sends_where_nothing_is_chosen_yet() -> None:
    async with opened() as (app, composer, popup, pilot):
        await pilot.press(":")
        assert popup.is_open and popup.chosen is None
        await pilot.press("enter")
        assert app.submitted == [":"]
        await pilot.press("tab")
        assert composer.text == ":llama"


async def test_escape_closes_the_list_until_something_else_is_written() -> None:
    async with opened() as (_, composer, popup, pilot):
        await pilot.press(":", "l", "escape")
        assert not popup.is_open
        await pilot.press("up")
        assert composer.text == ":l" and not popup.is_open
        await pilot.press("i")
        assert popup.is_open


async def test_a_text_that_is_put_there_is_not_completed_before_it_is_changed() -> None:
    async with opened() as (_, composer, popup, pilot):
        composer.replace_text(":li")
        await pilot.pause()
        assert not popup.is_open
        await pilot.press("backspace")
        assert popup.is_open


async def test_nothing_is_suggested_while_text_is_selected_or_the_focus_is_elsewhere() -> None:
    async with opened() as (app, _composer, popup, pilot):
        await pilot.press(":", "l", "shift+left")
        assert not popup.is_open
        await pilot.press("right")
        assert popup.is_open
        app.set_focus(None)
        await pilot.pause()
        assert not popup.is_open


async def test_what_is_suggested_is_drawn_so_that_it_does_nothing_and_fits_the_line() -> None:
    async with opened() as (_, composer, popup, pilot):
        wide = "漢" * 200
        composer.completer.providers[:] = [
            lambda _: Completion(0, [Suggestion("x", "bad\x1b[31m\n" + wide, "key", wide), Suggestion("y", "good")])
        ]
        await pilot.press("a")
        width = popup.scrollable_content_region.width
        lines = [str(popup.get_option_at_index(index).prompt) for index in range(2)]
        assert "\x1b" not in lines[0] and "\n" not in lines[0]
        assert all(popup.get_option_at_index(index).prompt.cell_length <= width for index in range(2))  # type: ignore[union-attr]
        assert "key" in lines[0] and lines[1].startswith("good")


async def test_a_provider_that_learns_more_later_has_it_shown() -> None:
    async with opened() as (_, composer, popup, pilot):
        known: list[Suggestion] = []
        composer.completer.providers[:] = [lambda _: Completion(0, list(known))]
        await pilot.press("a")
        assert not popup.is_open
        known.append(Suggestion("b"))
        composer.complete()
        assert popup.is_open


async def test_a_suggestion_that_does_something_is_taken_by_enter_even_where_it_is_written_already() -> None:
    async with opened() as (app, composer, popup, pilot):
        taken: list[str] = []

        def signs(place: CursorPlace) -> Completion | None:
            sign = Suggestion("@ ", on_taken=partial(taken.append, "@"))
            return Completion(1, [sign]) if place.before == "@" else None

        composer.completer.providers.insert(0, signs)
        await pilot.press("@")
        assert popup.is_open
        await pilot.press("enter")
        assert (taken, composer.text, app.submitted) == (["@"], "@ ", [])
        assert not popup.is_open
        await pilot.press("enter")
        assert app.submitted == ["@ "]
