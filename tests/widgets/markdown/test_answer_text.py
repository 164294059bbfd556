"""Long answers: they are laid out in parts, and look as if they were not."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.screen import Screen

from tests.fakes.chat_app import wait_until
from tests.widgets.markdown.test_pieces import CODE, ITEMS, KINDS, PARAGRAPHS
from tui_llama import paths
from tui_llama.screens.readable_colours import readable_variables
from tui_llama.widgets.markdown.answer_markdown import AnswerMarkdown
from tui_llama.widgets.markdown.answer_text import AnswerText
from tui_llama.widgets.message_view import FRAME_SECONDS, AnswerView, ShownMessage
from tui_llama.widgets.transcript import Transcript


class AnswerApp(App[None]):
    CSS_PATH = [paths.style_folder() / "app.tcss", paths.style_folder() / "widgets.tcss"]  # noqa: RUF012

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """The widths that the settings give to the styles, and the colours of the theme."""
        return {**readable_variables(self.current_theme), "text-width": "104"}

    def __init__(self, make: Callable[[], AnswerText | AnswerMarkdown | Transcript]) -> None:
        super().__init__()
        self.make = make

    def compose(self) -> ComposeResult:
        yield self.make()


@asynccontextmanager
async def shown(
    make: Callable[[], AnswerText | AnswerMarkdown | Transcript], height: int = 2500
) -> AsyncIterator[Pilot[None]]:
    async with AnswerApp(make).run_test(size=(70, height)) as pilot:
        await pilot.pause()
        yield pilot


def rows(pilot: Pilot[None]) -> list[str]:
    strips = pilot.app.screen._compositor.render_strips()
    return ["".join(segment.text for segment in strip).rstrip() for strip in strips]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["code", "items", "lines", "paragraphs"])
async def test_an_answer_in_parts_looks_like_one_in_a_single_part(kind: str) -> None:
    source = KINDS[kind][:9000]
    async with shown(lambda: AnswerMarkdown(source)) as pilot:
        whole = rows(pilot)
    async with shown(AnswerText) as pilot:
        text = pilot.app.query_one(AnswerText)
        for start in range(0, len(source), 700):
            await text.append(source[start : start + 700])
        text.finish()
        await pilot.pause()
        assert text.source == source
        assert len(text.parts) > 1
        assert rows(pilot) == whole


async def test_the_parts_of_a_long_answer_that_are_far_away_are_folded_and_keep_their_place() -> None:
    source = "".join(f"Paragraph number {number}.\n\n" for number in range(900))
    async with shown(Transcript, height=30) as pilot:
        transcript = pilot.app.query_one(Transcript)
        await transcript.show([])
        transcript.begin_answer()
        for start in range(0, len(source), 2000):
            transcript.append(source[start : start + 2000])
            await pilot.pause()
        transcript.finish_answer("")
        text = transcript.query_one(AnswerText)
        await wait_until(pilot, lambda: text.source == source and not text._is_growing)
        await wait_until(pilot, lambda: not text.parts[0].is_open and text.parts[-1].is_open)
        assert transcript.virtual_size.height >= 1800
        transcript.scroll_to(y=0, animate=False, immediate=True)
        await wait_until(pilot, lambda: text.parts[0].is_open and not text.parts[-1].is_open)
        assert "Paragraph number 0." in "\n".join(rows(pilot))
        for _ in range(8):
            transcript.scroll_page_down(animate=False)
            await pilot.pause()
            await wait_until(pilot, lambda: sum("Paragraph" in row for row in rows(pilot)) >= 13)


async def test_neighbours_that_are_folded_away_share_one_place_whatever_the_length() -> None:
    source = "".join(f"Paragraph number {number}.\n\n" for number in range(900))
    async with shown(Transcript, height=30) as pilot:
        transcript = pilot.app.query_one(Transcript)
        await transcript.show([ShownMessage(is_answer=True, text=source)])
        text = transcript.query_one(AnswerText)
        await wait_until(pilot, lambda: text.parts[-1].is_open and not text.parts[0].is_open)
        transcript.scroll_to(y=transcript.max_scroll_y // 2, animate=False, immediate=True)
        await wait_until(pilot, lambda: sum("Paragraph" in row for row in rows(pilot)) >= 13)
        await wait_until(pilot, lambda: not text.parts[-1].is_open)
        displayed = [part for part in text.parts if part.display]
        assert len(text.parts) > 12
        assert len([part for part in displayed if not part.is_open]) == 2
        assert text.virtual_size.height == 2 * 900


async def test_a_chat_of_many_messages_mounts_a_bounded_number_of_them_both_ways() -> None:
    messages = [ShownMessage(number % 2 == 1, f"message {number}") for number in range(400)]
    async with shown(Transcript, height=20) as pilot:
        transcript = pilot.app.query_one(Transcript)
        await transcript.show(messages)
        await wait_until(pilot, lambda: transcript.scroll_y > 0)

        async def scroll(step: Callable[[], None], until: str) -> None:
            for _ in range(300):
                step()
                await pilot.pause()
                await wait_until(pilot, lambda: not transcript._is_mounting and "message" in "\n".join(rows(pilot)))
                assert len(transcript.children) <= 70
                if any(row.endswith(until) for row in rows(pilot)):
                    return
            raise AssertionError(f"{until} never came")

        await scroll(lambda: transcript.scroll_page_up(animate=False), "message 0")
        await scroll(lambda: transcript.scroll_page_down(animate=False), "message 399")
        assert [each.text for each in transcript._all_shown()] == [each.text for each in messages]
        view = await transcript.reveal(3)
        assert view is not None and view.shown.text == "message 3"
        transcript.add_message(ShownMessage(is_answer=False, text="the newest"))
        await wait_until(pilot, lambda: any(row.endswith("the newest") for row in rows(pilot)))
        assert len(transcript._all_shown()) == 401


def test_the_samples_are_long_enough() -> None:
    assert min(map(len, (CODE, ITEMS, PARAGRAPHS))) > 9000


async def test_more_words_in_the_last_row_change_only_that_row_and_arrange_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arranged = list[Screen[object]]()
    async with shown(AnswerText, height=30) as pilot:
        text = pilot.app.query_one(AnswerText)
        await text.append("- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nThe")
        await pilot.pause()
        refresh = Screen._refresh_layout

        def note(screen: Screen[object], *_: object, **__: object) -> None:
            arranged.append(screen)
            refresh(screen)

        monkeypatch.setattr(Screen, "_refresh_layout", note)
        await text.append(" end")
        await pilot.pause()
        assert "The end" in "\n".join(rows(pilot))
        assert not arranged
        await text.append("\nor not")
        await pilot.pause()
        assert "or not" in "\n".join(rows(pilot))
        assert len(arranged) == 1
        assert list(text.query("*")) == text.parts  # one widget for each part, whatever stands in it


async def test_text_that_comes_while_the_answer_is_removed_is_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    parts_left: list[int] = []
    async with shown(Transcript, height=30) as pilot:
        transcript = pilot.app.query_one(Transcript)
        await transcript.show([])
        transcript.begin_answer()
        transcript.append("one")
        view = pilot.app.query_one(AnswerView)
        await wait_until(pilot, lambda: view.parts and view.markdown.source == "one")

        async def go_on(text: AnswerText) -> None:
            """Textual has removed the parts, and will remove the rest when this returns."""
            transcript.append(" two")
            parts_left.append(len(text.parts))
            await asyncio.sleep(3 * FRAME_SECONDS)

        monkeypatch.setattr(AnswerText, "on_unmount", go_on, raising=False)
        await transcript.remove_children()
        assert not transcript.children
    assert parts_left == [0]
