"""Markdown as a model writes it."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from tui_llama.widgets.markdown.answer_markdown import AnswerMarkdown
from tui_llama.widgets.markdown.code import code_blocks


class MarkdownApp(App[None]):
    def compose(self) -> ComposeResult:
        yield AnswerMarkdown()


@asynccontextmanager
async def grown(pieces: Sequence[str]) -> AsyncIterator[Pilot[None]]:
    """An answer that has grown by these pieces."""
    async with MarkdownApp().run_test(size=(60, 60)) as pilot:
        for piece in pieces:
            pilot.app.query_one(AnswerMarkdown).append(piece)
        await pilot.pause()
        yield pilot


def screen_lines(pilot: Pilot[None]) -> list[str]:
    strips = pilot.app.screen._compositor.render_strips()
    lines = ["".join(segment.text for segment in strip).strip() for strip in strips]
    return [line for line in lines if line]


def without_marks(lines: list[str]) -> list[str]:
    """The lines without the marks that copy code."""
    return [re.sub(r" *copy \d+$", "", line) for line in lines]


BULLETS = "".join(f"- item {number}\n" for number in range(11))
NUMBERS = "".join(f"{number + 1}. item {number}\n" for number in range(11))
NESTED = "- one\n  - inner\n  - more\n- two\n  1. a\n  2. b\n\nafter\n"


@pytest.mark.slow
@pytest.mark.parametrize("source", [BULLETS, NUMBERS, NESTED], ids=["bullets", "numbers", "nested"])
@pytest.mark.parametrize("cut", [1, 3, 7, 1000])
async def test_a_list_that_grew_looks_like_one_that_came_whole(source: str, cut: int) -> None:
    async with grown([source]) as pilot:
        whole = screen_lines(pilot)
    async with grown([source[start : start + cut] for start in range(0, len(source), cut)]) as pilot:
        assert screen_lines(pilot) == whole


async def test_the_items_of_a_list_stand_on_lines_that_follow_each_other() -> None:
    async with grown(["- one\n", "- two\n- three\n"]) as pilot:
        strips = pilot.app.screen._compositor.render_strips()
        rows = ["".join(segment.text for segment in strip).strip() for strip in strips]
        assert rows[:3] == ["• one", "• two", "• three"]


async def test_html_is_shown_as_it_stands() -> None:
    async with grown(["a <b>bold</b> <script>x</script>\n\n<div>block</div>\n"]) as pilot:
        assert screen_lines(pilot) == ["a <b>bold</b> <script>x</script>", "<div>block</div>"]


async def test_a_single_line_break_is_kept() -> None:
    async with grown(["roses are red\nviolets are blue"]) as pilot:
        assert screen_lines(pilot) == ["roses are red", "violets are blue"]


async def test_links_do_not_open_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    async with grown(["[here](https://example.org)"]) as pilot:
        monkeypatch.setattr(pilot.app, "open_url", opened.append)
        await pilot.click(AnswerMarkdown, offset=(1, 0))
        await pilot.pause()
        assert opened == []


async def test_cells_of_a_table_are_no_markup() -> None:
    async with grown(["| [/x] | b |\n|---|---|\n| [red | d |\n"]) as pilot:
        assert screen_lines(pilot) == ["[/x] │ b", "─────┼──", "[red │ d"]


@pytest.mark.parametrize("language", ["", "nonsense", "python title='x'", "{.python}"])
async def test_a_code_block_of_any_language_is_shown(language: str) -> None:
    async with grown([f"```{language}\n[bold] x = 1\n```\n"]) as pilot:
        assert screen_lines(pilot)[1:] == ["[bold] x = 1"]


async def test_lists_and_quotations_that_are_nested_deep_are_shown() -> None:
    levels = "".join(f"{'  ' * level}- level {level}\n" for level in range(30))
    async with grown([f"{levels}\n{'>' * 25} quoted\n"]) as pilot:
        lines = screen_lines(pilot)
        assert lines[13] == "⭑ level 13"
        assert all(any(f"level {level}" in line for line in lines) for level in range(30))
        assert any("quoted" in line for line in lines)


async def test_where_links_and_images_lead_is_shown_once() -> None:
    source = '[a](http://a.example) [](http://b.example) <http://c.example> ![d](d.png "e") <f@g.example>'
    async with grown([source]) as pilot:
        shown = " ".join(screen_lines(pilot))
        assert "a (http://a.example)  (http://b.example) http://c.example" in shown
        assert "d (d.png e) f@g.example" in shown
        assert shown.count("c.example") == shown.count("f@g.example") == 1


@pytest.mark.parametrize("source", ['[a]: http://b.example "c"', "[^1]: a footnote", "[//]: # (a comment)"])
async def test_definitions_are_shown(source: str) -> None:
    async with grown([source]) as pilot:
        assert screen_lines(pilot) == [source]


async def test_cells_without_a_column_are_shown() -> None:
    async with grown(["| a | b |\n|---|---|\n| 1 | 2 | 3 | 4 |\n"]) as pilot:
        assert any("2 | 3 | 4" in line for line in screen_lines(pilot))


async def test_a_table_that_loses_a_row_while_it_grows_is_drawn_again() -> None:
    async with grown(["| a |\n|---|\n1", ". x\n"]) as pilot:
        lines = screen_lines(pilot)
        assert "1. x" in lines and any("a" in line for line in lines)


async def test_what_is_said_of_a_code_block_stands_above_it() -> None:
    async with grown(["```python title", " of it\nx = 1\n```\n"]) as pilot:
        assert without_marks(screen_lines(pilot)) == ["python title of it", "x = 1"]


@pytest.mark.parametrize(
    ("fence", "lines"),
    [
        ("```python\nx\n```", ["python", "x"]),
        ("```\nx\n```", ["", "x"]),
        ("``` C++ \nx\n```", ["C++", "x"]),
        ("```Answer:\nx\n```", ["Answer:", "x"]),
        ("~~~secret words here\nx\n~~~", ["secret words here", "x"]),
        ("- ```mermaid\n  x\n  ```", ["•   mermaid", "x"]),
    ],
)
async def test_the_first_line_of_a_code_block_is_shown(fence: str, lines: list[str]) -> None:
    async with grown([fence]) as pilot:
        assert without_marks(screen_lines(pilot)) == lines


@pytest.mark.parametrize(
    "written",
    [
        '{"a": "*b* \\"c\\" \\\\ <d> _e_"}',
        '{\n\n  "a": -1.5e3,\n    "b": ["**", {}, true]\n}',
        '[{"a": null}, "b"]',
        "[[1, 2], []]",
        "{}",
        '{"a": ["breaks off \\',
        '{"a": tr',
        '{"a": 1,',
    ],
)
async def test_json_is_shown_as_it_was_written(written: str) -> None:
    assert code_blocks(f"{written}\n") == [written]
    async with grown([f"{written}\n"]) as pilot:
        lines = [line.strip() for line in written.splitlines() if line]
        assert without_marks(screen_lines(pilot))[-len(lines) :] == lines


@pytest.mark.parametrize(
    "written",
    [
        '{"a": 1} is JSON',
        '["a"](b)',
        "[1] a",
        "[[a]]",
        "{{ a }}",
        '{"a": "b\nc"}',
        '{"a": 1\n\nThat was it.',
        "[]",
        "- {}",
    ],
)
async def test_what_only_begins_like_json_is_none(written: str) -> None:
    assert code_blocks(written) == []


async def test_text_around_json_is_markdown() -> None:
    source = 'one *two*\n\n{"a": "*"}\n*three* {"b": 4}\n'
    assert code_blocks(source) == ['{"a": "*"}']
    async with grown([source]) as pilot:
        lines = without_marks(screen_lines(pilot))
        assert [lines[0], lines[-2], lines[-1]] == ["one two", '{"a": "*"}', 'three {"b": 4}']


async def test_code_blocks_have_numbers_and_a_mark_that_copies_them() -> None:
    copied: list[tuple[str, int]] = []

    class CopyApp(MarkdownApp):
        def on_answer_markdown_copy_wanted(self, event: AnswerMarkdown.CopyWanted) -> None:
            copied.append((event.text, event.number))

    source = "```\na\n```\n\n- item\n  ```sh\n  b\n  ```\n"
    async with CopyApp().run_test(size=(60, 30)) as pilot:
        pilot.app.query_one(AnswerMarkdown).append(source)
        await pilot.pause()
        assert [line.split()[-1] for line in screen_lines(pilot) if "copy" in line] == ["1", "2"]
        assert "copy 2" in screen_lines(pilot)[3]
        await pilot.click(AnswerMarkdown, offset=(10, 4))
        await pilot.pause()
    assert copied == [(source, 2)]
    assert code_blocks(source) == ["a", "b"]


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("energy $E=mc^2$ and \\(a_i\\)", "energy E = mc² and aᵢ"),
        ("from $5 to $10, or 10$ each", "from $5 to $10, or 10$ each"),
        ("$6CO_2 + 6H_2O$ and $2x + 3 = 7$", "6CO₂ + 6H₂O and 2x + 3 = 7"),
        ("$5 (=4 €) or 3$, $20_000 and 5$", "$5 (=4 €) or 3$, $20_000 and 5$"),
        ("see \\[this note\\]", "see [this note]"),
        ("a $\\foo_a *b* c_d$ z", "a $\\foo_a *b* c_d$ z"),
        ("$$\nE = mc^2\n$$\n\nafter", "E = mc² after"),
        ("\\[\n\\frac{1}{2}\n\\]", "1/2"),
        ("$$\n\\begin{cases} a \\\\ b \\end{cases}\n$$", "$$\\begin{cases} a \\\\ b \\end{cases}$$"),
        ("$$ costs much", "$$ costs much"),
        ("`$x^2$`", "$x^2$"),
        ("- [ ] to do\n- [x] done", "• ☐ to do • ☑ done"),
    ],
)
async def test_formulas_and_tasks(source: str, shown: str) -> None:
    async with grown([source]) as pilot:
        assert " ".join(" ".join(screen_lines(pilot)).split()) == shown


async def test_a_formula_that_grows_keeps_its_place() -> None:
    async with grown(["one\n\n$$\nE = m"]) as pilot:
        assert screen_lines(pilot) == ["one", "E = m"]
        pilot.app.query_one(AnswerMarkdown).append("c^2\n$$\n\ntwo")
        await pilot.pause()
        assert screen_lines(pilot) == ["one", "E = mc²", "two"]


async def test_an_open_formula_that_is_none_becomes_part_of_the_paragraph_above_it() -> None:
    source = "sum:\n$$\nx + y\n\nend"
    async with grown([source]) as pilot:
        whole = "\n".join(line.text for placed in pilot.app.query_one(AnswerMarkdown)._blocks for line in placed.lines)
    async with grown(source) as pilot:
        blocks = pilot.app.query_one(AnswerMarkdown)._blocks
        assert "\n".join(line.text for placed in blocks for line in placed.lines) == whole
        assert len(blocks) == 2


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("- a\n\n  ---\n\n  b\n- c\n", "• a ─── b • c"),
        ("> a\n>\n> ***\n> b\n\nafter", "a ─── b after"),
        ("1. > a\n   > - - -\n   > b\n2. ___\n", "1. a ─── b 2. ───"),
    ],
)
async def test_a_rule_stays_in_what_it_is_in(source: str, shown: str) -> None:
    async with grown([source]) as pilot:
        marks_and_words = re.sub("─+", "───", " ".join(screen_lines(pilot)).replace("▌", "")).split()
        assert marks_and_words == shown.split()


async def test_an_entity_is_no_way_around_the_gate() -> None:
    async with grown(["a &#x202e;b &#8294;c &lt;d&gt; [x](y 'z&#x202e;')"]) as pilot:
        assert screen_lines(pilot) == ["a ⇄b ⇄c <d> x (y z⇄)"]


async def test_numbers_stay_those_that_were_written_if_they_ascend() -> None:
    async with grown(["2. a\n4. b\n11. c\n\nand\n\n1. a\n1. b\n"]) as pilot:
        assert screen_lines(pilot) == ["2. a", "4. b", "11. c", "and", "1. a", "2. b"]
