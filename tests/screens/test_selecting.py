"""Selecting by the mouse across messages: what the user sees is copied as text, in order, without marks."""

from collections.abc import Sequence

from tests.fakes.chat_app import Driver, opened
from tui_llama.chat import StopReason, Usage
from tui_llama.engine.events import Finished, TextPiece
from tui_llama.engine.scripted import Step
from tui_llama.widgets.markdown.answer_text import AnswerText
from tui_llama.widgets.message_view import UserMessage
from tui_llama.widgets.thought_view import ThoughtView
from tui_llama.widgets.transcript import Transcript

ANSWER = """\
# Head

Two
lines

- item
  - nested

> quoted

```python
x = 1

y = 2
```

| a | b |
|---|--:|
| 1 | 2 |

last words
"""
COPIED = """\
thought for 12 s · 340 tokens

Head

Two
lines

• item
  ▪ nested

> quoted

x = 1

y = 2

a\tb
1\t2

last words"""
USAGE = Usage(generated_tokens=345, generate_seconds=20.0, thought_tokens=340, thought_seconds=12.2)


def thought(text: str) -> Sequence[Step]:
    """An answer behind a thought."""
    return (
        TextPiece(0, "", (1,), thought="Let me see."),
        TextPiece(0, text, (3,)),
        Finished(0, StopReason.END_OF_GENERATION, USAGE),
    )


async def select(driver: Driver, first: str, last: str) -> str | None:
    """Draws the mouse from the first place of `first` to the last character of the last place of `last`."""
    rows = list(enumerate(driver.screen_text().split("\n")[1:], 1))
    start = next((row.index(first), y) for y, row in rows if first in row)
    end = next((row.rindex(last) + len(last) - 1, y) for y, row in reversed(rows) if last in row)
    await driver.pilot.mouse_down(offset=start)
    await driver.pilot.hover(offset=(start[0] + 1, start[1]))
    await driver.pilot.hover(offset=end)
    await driver.pilot.mouse_up(offset=end)
    await driver.pilot.pause()
    return driver.app.screen.get_selected_text()


async def test_all_of_several_messages_is_copied_as_it_is_seen() -> None:
    async with opened(replies=[thought(ANSWER), thought("other")], size=(80, 60)) as driver:
        await driver.ask("Why?\n\n  indented")
        await driver.ask("Once more?")
        copied = await select(driver, "Why?", "other")
        assert copied == f"Why?\n\n  indented\n\n{COPIED}\n\nOnce more?\n\nthought for 12 s · 340 tokens\n\nother"


async def test_the_character_below_the_mouse_is_copied_too() -> None:
    async with opened(replies=[thought(ANSWER)], size=(80, 60)) as driver:
        await driver.ask("Why?")
        assert await select(driver, "y?", "wor") == f"y?\n\n{COPIED.removesuffix('ds')}"


async def test_an_unfolded_thought_is_copied_with_what_it_says() -> None:
    async with opened(replies=[thought("other")], size=(80, 40)) as driver:
        await driver.ask("Why?")
        await driver.pilot.press("ctrl+t")
        assert await select(driver, "▾", "other") == "thought for 12 s · 340 tokens\nLet me see.\n\nother"


async def test_the_line_of_an_attachment_is_copied_without_its_mark() -> None:
    async with opened(replies=[thought("other")], size=(80, 40)) as driver:
        driver.app._attachments.take_paste("long words " * 500)
        await driver.send("Why?")
        await driver.until(lambda: "other" in driver.screen_text())
        copied = await select(driver, "▪", "other")
        assert copied is not None and not copied.startswith("▪") and "\nWhy?\n\nthought" in copied


async def test_parts_of_a_long_answer_that_are_folded_away_are_copied() -> None:
    words = [f"word{number} " * 40 for number in range(60)]
    async with opened(replies=[thought("\n\n".join(words))], size=(80, 30)) as driver:
        await driver.ask("Why?")
        answer = driver.app.chat_screen.query_one(AnswerText)
        assert any(not part.is_open for part in answer.parts) and len(answer.parts) > 3
        transcript = driver.app.chat_screen.query_one(Transcript)
        transcript.scroll_home(animate=False)
        await driver.until(lambda: "Why?" in driver.screen_text().split("\n")[2])
        start = next((y for y, row in enumerate(driver.screen_text().split("\n")) if "Why?" in row and y))
        await driver.pilot.mouse_down(offset=(4, start))
        await driver.pilot.hover(offset=(5, start))
        transcript.scroll_end(animate=False)
        await driver.until(lambda: "word59" in driver.screen_text())
        end = max(y for y, row in enumerate(driver.screen_text().split("\n")) if "word59" in row)
        await driver.pilot.hover(offset=(60, end))
        await driver.pilot.mouse_up(offset=(60, end))
        copied = driver.app.screen.get_selected_text()
        assert copied is not None
        places = [copied.index(f"word{number} ") for number in range(60)]
        assert places == sorted(places)


async def test_nothing_is_copied_of_a_selection_of_which_a_part_is_no_longer_there() -> None:
    async with opened(replies=[thought(ANSWER), thought("other")], size=(80, 60)) as driver:
        await driver.ask("Why?")
        await driver.ask("Once more?")
        assert await select(driver, "Why?", "other")
        await driver.app.chat_screen.query(UserMessage).first().remove()
        await driver.pilot.press("ctrl+c")
        await driver.until(lambda: "Nothing is copied: a part of the selection is too far away" in driver.screen_text())
        assert not driver.app.screen.selections
        assert driver.app.clipboard == ""


async def test_whoever_unfolds_a_thought_by_a_click_goes_on_writing() -> None:
    async with opened(replies=[thought("other")], size=(80, 40)) as driver:
        await driver.ask("Why?")
        await driver.pilot.click(ThoughtView)
        await driver.until(lambda: "Let me see." in driver.screen_text())
        await driver.pilot.press("a", "b")
        assert driver.written == "ab"
