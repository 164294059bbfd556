"""Whatever an answer's Markdown is, every word of it is on the screen."""

import re
from collections.abc import Sequence
from itertools import pairwise
from random import Random

import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from tests.widgets.markdown.odd_markdown import OddMarkdown
from tui_llama import paths
from tui_llama.screens.readable_colours import readable_variables
from tui_llama.widgets.markdown.answer_markdown import AnswerMarkdown

DOCUMENTS = 5


class MarkdownApp(App[None]):
    CSS_PATH = [paths.style_folder() / "app.tcss", paths.style_folder() / "widgets.tcss"]  # noqa: RUF012

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """The widths that the settings give to the styles, and the colours of the theme."""
        return {**readable_variables(self.current_theme), "text-width": "104"}

    def compose(self) -> ComposeResult:
        yield AnswerMarkdown()


def screen_rows(pilot: Pilot[None]) -> list[str]:
    strips = pilot.app.screen._compositor.render_strips()
    return ["".join(segment.text for segment in strip) for strip in strips]


def missing(words: Sequence[str], rows: Sequence[str]) -> list[str]:
    text = "\n".join(rows)
    return [word for word in words if word not in text and not is_broken(word, rows)]


def is_broken(word: str, rows: Sequence[str]) -> bool:
    """Whether it ends in the row below, because it stands in something too long for one."""
    return any(
        re.search(rf"{word[:place]}[ │]", row) and re.search(rf"[ │]{word[place:]}", next_row)
        for row, next_row in pairwise(rows)
        for place in range(1, len(word))
    )


@pytest.mark.parametrize("width", [100, 44])
@pytest.mark.parametrize("seed", range(2))
async def test_every_word_is_shown(seed: int, width: int) -> None:
    random = Random(seed)
    async with MarkdownApp().run_test(size=(width, 500)) as pilot:
        answer = pilot.app.query_one(AnswerMarkdown)
        for _ in range(DOCUMENTS):
            odd = OddMarkdown(random)
            source = odd.document()
            answer.update(source)
            await pilot.pause()
            assert not missing(odd.words, screen_rows(pilot)), source


@pytest.mark.parametrize("seed", range(3, 5))
async def test_every_word_of_an_answer_that_grows_is_shown(seed: int) -> None:
    random = Random(seed)
    async with MarkdownApp().run_test(size=(100, 500)) as pilot:
        answer = pilot.app.query_one(AnswerMarkdown)
        for _ in range(DOCUMENTS):
            odd = OddMarkdown(random)
            source = odd.document()
            answer.update("")
            for piece in pieces(source, random):
                answer.append(piece)
            await pilot.pause()
            assert not missing(odd.words, screen_rows(pilot)), source


def pieces(text: str, random: Random) -> list[str]:
    """The text in pieces such as a model sends, or a few longer ones."""
    longest = random.choice((60, 200))
    result = []
    while text:
        length = random.randint(1, longest)
        result.append(text[:length])
        text = text[length:]
    return result
