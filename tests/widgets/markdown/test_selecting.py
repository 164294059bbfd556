"""What is copied of an answer that was selected with the mouse."""

from textual.geometry import Offset
from textual.pilot import Pilot
from textual.selection import SELECT_ALL, Selection

from tests.widgets.markdown.test_odd_markdown import MarkdownApp, screen_rows
from tui_llama.widgets.markdown.answer_markdown import AnswerMarkdown

WORDS = "one two three four five six seven eight nine ten eleven twelve"


async def selected(source: str, selection: Selection = SELECT_ALL) -> str:
    async with MarkdownApp().run_test(size=(40, 30)) as pilot:
        answer = pilot.app.query_one(AnswerMarkdown)
        answer.update(source)
        await pilot.pause()
        found = answer.get_selection(selection)
        assert found is not None
        return found[0]


async def test_lines_that_were_wrapped_are_copied_as_they_were_written() -> None:
    assert await selected(f"{WORDS}\n{WORDS}\n\nend") == f"{WORDS}\n{WORDS}\n\nend"


async def test_lists_and_quotations_are_copied_with_their_marks() -> None:
    source = "- one\n  - inner\n- two\n\n1. a\n2. b\n\n> said\n> more"
    assert await selected(source) == "• one\n  ▪ inner\n• two\n\n1. a\n2. b\n\n> said\n> more"


async def test_a_table_is_copied_with_tabs_and_code_without_the_line_above_it() -> None:
    assert await selected("| a | b |\n|---|--:|\n| 1 | *2* |") == "a\tb\n1\t2"
    assert await selected("```python\nif x:\n    y\n```") == "if x:\n    y"


async def test_a_part_of_a_line_is_copied_without_its_mark() -> None:
    assert await selected("- one two\n- three", Selection(Offset(4, 0), Offset(3, 1))) == "two\n• thr"
    assert await selected("- one two", Selection(Offset(4, 0), Offset(6, 0))) == "tw"


async def test_the_mouse_selects_from_the_word_it_went_down_on_to_the_one_it_went_up_on() -> None:
    async with MarkdownApp().run_test(size=(40, 30)) as pilot:
        answer = pilot.app.query_one(AnswerMarkdown)
        answer.update(f"- {WORDS}\n- more\n")
        await pilot.pause()
        assert [row.strip() for row in screen_rows(pilot)[:3]] == [
            "• one two three four five six seven",
            "eight nine ten eleven twelve",
            "• more",
        ]
        await drag(pilot, (8, 0), (8, 2))
        assert (
            pilot.app.screen.get_selected_text() == "two three four five six seven eight nine ten eleven twelve\n• more"
        )
        colours = {
            segment.style.bgcolor for segment in pilot.app.screen._compositor.render_strips()[1] if segment.style
        }
        assert len(colours) > 1  # the selection is seen


async def drag(pilot: Pilot[None], begin: tuple[int, int], end: tuple[int, int]) -> None:
    await pilot.mouse_down(offset=begin)
    await pilot.hover(offset=end)
    await pilot.mouse_up(offset=end)
    await pilot.pause()
