"""One line to write in, for titles and searches."""

from textual import events
from textual.app import App, ComposeResult
from textual.geometry import Offset

from tui_llama.widgets.line_input import LineInput

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"


class InputApp(App[None]):
    def compose(self) -> ComposeResult:
        yield LineInput(compact=True)


async def test_a_paste_is_one_line_of_text_that_does_nothing() -> None:
    async with InputApp().run_test() as pilot:
        line = pilot.app.query_one(LineInput)
        pilot.app.post_message(events.Paste("a\x1b[31m\r\n\u202eb"))
        await pilot.pause()
        assert line.value == "a\x1b[31m  \u202eb"
        drawn = "".join(segment.text for segment in line.render_line(0))
        assert drawn.startswith("a␛[31m  ⇄b")


async def test_the_cursor_goes_from_cluster_to_cluster() -> None:
    async with InputApp().run_test() as pilot:
        line = pilot.app.query_one(LineInput)
        pilot.app.post_message(events.Paste(f"x{FAMILY}y"))
        await pilot.press("left", "left")
        assert line.cursor_position == 1
        await pilot.press("right")
        assert line.cursor_position == 1 + len(FAMILY)
        await pilot.press("backspace")
        assert line.value == "xy"


async def test_a_click_lands_between_clusters() -> None:
    async with InputApp().run_test() as pilot:
        line = pilot.app.query_one(LineInput)
        line.value = FAMILY * 3
        for cell in range(8):
            await pilot.click(LineInput, Offset(cell + line.gutter.left, 0))
            assert line.cursor_position == min(cell // 2, 3) * len(FAMILY)
