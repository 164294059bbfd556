"""An answer that came in pieces looks like the same answer that came whole."""

from random import Random

import pytest
from textual.pilot import Pilot

from tests.scale import scaled
from tests.widgets.markdown.odd_markdown import OddMarkdown
from tests.widgets.markdown.test_odd_markdown import MarkdownApp, screen_rows
from tui_llama.widgets.markdown.answer_markdown import AnswerMarkdown

SAMPLES = {
    "code in a list": "1. one\n   ```sh\n   ls\n   ```\n2. two\n\n   more\n   - x\n\n     y\n3. three\n",
    "loose list": "- a\n\n- b\n\n  para\n- c\n\ntext\n- d\n+ e\n* f\n**bold** end\n",
    "tables": "text\n| a | b |\n|---|--:|\n| 1 | 2 |\n| 3 | 4 |\n\nafter\n\n| x |\n|:-:|\n| `a|b` |\n| **c** |\n",
    "quotations": "> a\n> b\n>\n> c\n>> d\n\ne\n> f\n1. g\n",
    "headings": "Para\nline\n---\ntext\n===\n- a\n-\n- b\n---\n",
    "formulas": "a\n\n$$\nx = 1\n$$\n\nb \\[ y \\] c\n\\[\nz\n\\]\nd\n",
    "lazy lines": "> quote\nlazy\n\n- item\nlazy\n\n    code\n\n\tcode2\ntext\n",
    "fences": "```\na\n```\n```\nb\n```\ntext\n~~~py\nc\n\n\nd\n~~~\n",
    "html": "<div>\n*a*\n</div>\n<!-- c\n\nd -->\n",
    "json": '{\n\n  "a": "\\\\ *b*",\n  "c": [1, true, {}]\n}\n*text*\n\n{"d": null} e\n\n[{"f": "g\n"}]\n\n[["h"',
    "tasks": "- [ ] a\n- [x] b\n  1. [ ] c\n     more\n",
}


async def looks_the_same(pilot: Pilot[None], source: str, cuts: list[int]) -> None:
    answer = pilot.app.query_one(AnswerMarkdown)
    answer.update(source)
    await pilot.pause()
    whole = screen_rows(pilot)
    answer.update("")
    for start, end in zip([0, *cuts], [*cuts, len(source)], strict=True):
        answer.append(source[start:end])
    await pilot.pause()
    assert screen_rows(pilot) == whole, (source, cuts)


@pytest.mark.parametrize("source", SAMPLES.values(), ids=SAMPLES.keys())
async def test_whatever_the_pieces_an_answer_looks_as_if_it_had_come_whole(source: str) -> None:
    async with MarkdownApp().run_test(size=(60, 40)) as pilot:
        for length in (1, 3, 7):
            await looks_the_same(pilot, source, list(range(length, len(source), length)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_odd_markdown_in_odd_pieces_looks_as_if_it_had_come_whole(seed: int) -> None:
    random = Random(seed)
    async with MarkdownApp().run_test(size=(80, 300)) as pilot:
        for _ in range(scaled(6, 60)):
            source = OddMarkdown(random).document()
            cuts = sorted(random.sample(range(1, len(source)), min(len(source) - 1, random.choice((3, 40)))))
            await looks_the_same(pilot, source, cuts)
