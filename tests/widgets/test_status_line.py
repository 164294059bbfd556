"""The line at the bottom where there is little room."""

import pytest
from textual.app import App, ComposeResult

from tui_llama.widgets.status_line import Status, StatusLine

FIGURES = "12 reused · 345 read · 678 generated · 9.0 tok/s"


class StatusApp(App[None]):
    CSS = "StatusLine { height: 1; }"

    def compose(self) -> ComposeResult:
        yield StatusLine()


class HintApp(StatusApp):
    CSS = "StatusLine { height: 1; } StatusLine.-hint { height: auto; }"


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (80, f"● ready  {FIGURES}"),
        (67, f"● ready  {FIGURES}"),
        (66, "● ready  12 reused · 345 read · 678 generated"),
        (40, "● ready  12 reused · 345 read"),
        (20, "● ready"),
        (16, "● rea…"),
    ],
)
async def test_where_there_is_no_room_whole_figures_are_left_out(width: int, shown: str) -> None:
    async with StatusApp().run_test(size=(width, 3)) as pilot:
        line = pilot.app.query_one(StatusLine)
        line.show_status(Status("ready", FIGURES, "12 / 345"))
        assert line.render().plain.removesuffix("12 / 345").removesuffix("context ").rstrip() == shown


async def test_a_hint_that_is_longer_than_the_line_stands_on_two() -> None:
    async with HintApp().run_test(size=(60, 6)) as pilot:
        line = pilot.app.query_one(StatusLine)
        hint = "There is no command /fooo. /help lists all. //fooo sends it as text."
        line.show_hint(hint, 3600)
        await pilot.pause()
        assert line.render().plain == hint
        assert line.size.height == 2
        line.clear_hint()
        await pilot.pause()
        assert line.size.height == 1
