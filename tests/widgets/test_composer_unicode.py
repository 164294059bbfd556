"""Editing text of all scripts: the cursor, deletion and widths go by what people see as one character."""

from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.widgets.test_composer import opened
from tests.widgets.test_composer_text import CLUSTERS
from tui_llama import graphemes
from tui_llama.terminal.driver import TerminalInput
from tui_llama.widgets.editor_text import EditorDocument, wrap_offsets

PIECES = [*CLUSTERS.values(), "a", " ", "漢", "か\u3099", "\U0001f600", "e\u0301", "\u200b", "שלום", "\t", "ﷺ", "\x1b"]
texts = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
KEYS = ("left", "right", "backspace", "delete", "home", "end", "shift+left", "ctrl+w", "ctrl+left", "up", "down")
steps = st.lists(st.one_of(st.sampled_from(KEYS), texts.map(lambda text: f"={text}")), max_size=15)


@given(texts)
def test_boundaries_part_a_line_into_clusters(text: str) -> None:
    places = list(graphemes.boundaries(text))
    assert places[0] == 0 and places[-1] == len(text) and places == sorted(set(places))
    assert "".join(text[start:end] for start, end in pairwise(places)) == text


@given(texts, st.integers(2, 20))
def test_no_row_is_wider_than_the_editor_and_no_cluster_is_broken(text: str, width: int) -> None:
    line = EditorDocument(text).get_line(0).replace("\t", " ")
    offsets = [0, *wrap_offsets(line, width, 4), len(line)]
    places = set(graphemes.boundaries(line))
    for start, end in pairwise(offsets):
        assert start in places
        row = line[start:end]
        assert cell_len(row.rstrip()) <= width or len(graphemes.boundaries(row)) == 2


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps)
async def test_whatever_is_pressed_the_cursor_stands_between_clusters(pressed: list[str]) -> None:
    async with opened() as (_app, composer, pilot):
        for step in pressed:
            if step.startswith("="):
                composer.write(step[1:])
            else:
                await pilot.press(step)
            row, column = composer.cursor_location
            assert column in composer.document.boundaries(row)
            assert composer.text == composer.document.unfolded("\n".join(composer.document._raw))


async def test_what_an_input_method_commits_is_written_as_one_text() -> None:
    async with opened() as (app, composer, pilot):
        for event in TerminalInput().feed("日本語か\u3099".encode()):
            app.post_message(event)
        await pilot.pause()
        assert composer.text == "日本語か\u3099"
        await pilot.press("backspace")
        assert composer.text == "日本語"
        assert composer.cursor_screen_offset.x - composer.content_region.x == 6
