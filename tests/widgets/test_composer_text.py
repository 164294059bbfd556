"""What is written is kept as it is, drawn so that it does nothing, and edited by what people see as one character."""

import pytest
from textual import events
from textual.geometry import Offset

from tests.widgets.test_composer import ComposerApp, opened
from tui_llama.widgets.composer import Composer

FLAG = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
CLUSTERS = {
    "family": "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "country": "\U0001f1e9\U0001f1ea",
    "England": FLAG,
    "skin": "\U0001f44d\U0001f3fd",
    "heart on fire": "\u2764\ufe0f\u200d\U0001f525",
    "keycap": "1\ufe0f\u20e3",
    "accents": "e\u0301\u0323",
    "jamo": "\u1112\u1161\u11ab",
    "conjunct": "\u0915\u094d\u0937\u093f",
    "Tamil": "\u0ba8\u0bbf",
    "Thai": "\u0e01\u0e33",
}
HOSTILE = "a\x00b\x1b[31mc\x07\x7fd\x9be\u202ef\u2066g\ufeffh\U000e0041i\u2028j\x0ck\x85l"


def drawn_row(app: ComposerApp, row: int = 0) -> str:
    return "".join(segment.text for segment in app.query_one(Composer).render_line(row)).rstrip()


async def paste(app: ComposerApp, text: str) -> None:
    app.post_message(events.Paste(text))


async def test_hostile_text_is_kept_and_drawn_so_that_it_does_nothing() -> None:
    async with opened() as (app, composer, pilot):
        await paste(app, HOSTILE)
        await pilot.pause()
        assert composer.text == HOSTILE
        assert drawn_row(app) == "a␀b␛[31mc␇␡d�e⇄f⇄g·h·i↵j␌k↵l"
        await pilot.press("enter")
        assert app.submitted == [HOSTILE]


async def test_line_ends_of_all_systems_are_line_feeds() -> None:
    async with opened() as (app, composer, pilot):
        await paste(app, "a\r\nb\rc\n\r\nd")
        await pilot.pause()
        assert composer.text == "a\nb\nc\n\nd"


async def test_a_flag_of_tags_is_drawn_as_one() -> None:
    async with opened() as (app, composer, pilot):
        await paste(app, FLAG)
        await pilot.pause()
        assert (composer.text, drawn_row(app)) == (FLAG, FLAG)


@pytest.mark.parametrize("cluster", CLUSTERS.values(), ids=CLUSTERS)
async def test_one_key_moves_over_and_deletes_a_cluster(cluster: str) -> None:
    async with opened() as (app, composer, pilot):
        await paste(app, f"x{cluster}y")
        await pilot.press("left", "left")
        assert composer.cursor_location == (0, 1)
        await pilot.press("right")
        assert composer.cursor_location == (0, 1 + len(cluster))
        await pilot.press("shift+left")
        assert composer.selected_text == cluster
        await pilot.press("right", "backspace")
        assert composer.text == "xy"
        await pilot.press("ctrl+underscore", "left", "delete")
        assert composer.text == "xy"
        await pilot.press("alt+z")
        assert composer.text == f"x{cluster}y"


async def test_up_and_down_and_the_mouse_never_land_inside_of_a_cluster() -> None:
    family = CLUSTERS["family"]
    async with opened() as (app, composer, pilot):
        await paste(app, f"abcdef\n{family * 4}\nabcdef")
        await pilot.pause()
        boundaries = {column * len(family) for column in range(5)}
        for column in range(7):
            composer.move_cursor((0, column))
            await pilot.press("down")
            assert composer.cursor_location[0] == 1 and composer.cursor_location[1] in boundaries
            composer.move_cursor((2, column))
            await pilot.press("up")
            assert composer.cursor_location[0] == 1 and composer.cursor_location[1] in boundaries
        for cell in range(10):
            await pilot.click(Composer, Offset(cell + composer.gutter.left, 1 + composer.gutter.top))
            assert composer.cursor_location == (1, min(cell // 2, 4) * len(family))


async def test_words_are_deleted_in_whole_clusters() -> None:
    async with opened() as (app, composer, pilot):
        await paste(app, f"one {CLUSTERS['conjunct'] * 3}")
        await pilot.press("ctrl+w")
        assert composer.text in {"one " + CLUSTERS["conjunct"] * count for count in range(3)}


async def test_what_joins_the_character_before_it_does_not_leave_the_cursor_inside() -> None:
    async with opened() as (app, composer, pilot):
        await paste(app, "\u0301x")
        await pilot.press("home", "e", "!")
        assert composer.text == "e\u0301!x"


async def test_an_emoji_that_is_typed_keeps_its_joiners() -> None:
    family = CLUSTERS["family"]
    async with opened() as (app, composer, pilot):
        for character in family:
            app.post_message(events.Key(f"key of {ord(character):x}", character))
        await pilot.pause()
        assert composer.text == family


async def test_a_word_that_is_too_long_is_wrapped_between_clusters() -> None:
    family = CLUSTERS["family"]
    async with opened() as (_, composer, pilot):
        composer.replace_text(family * 100)
        await pilot.pause()
        offsets = composer.wrapped_document.get_offsets(0)
        assert offsets and all(offset % len(family) == 0 for offset in offsets)
        assert offsets[0] == composer.wrap_width // 2 * len(family)


async def test_tabs_are_wrapped_as_wide_as_they_are_drawn() -> None:
    async with opened() as (_, composer, pilot):
        composer.replace_text("\u00e4\t" * 100)
        await pilot.pause()
        assert composer.wrapped_document.get_offsets(0)[0] == composer.wrap_width // 4 * 2


LONG = "".join(f"line {number}\n" for number in range(5_000))


async def test_a_long_paste_is_one_label_and_is_sent_whole() -> None:
    async with opened() as (app, composer, pilot):
        await pilot.press("a")
        await paste(app, LONG)
        await pilot.press("b")
        assert drawn_row(app) == f"a[pasted: {len(LONG):,} characters in 5,001 lines]b"
        assert composer.text == f"a{LONG}b"
        await pilot.press("enter")
        assert app.submitted == [f"a{LONG}b"]


async def test_a_label_is_moved_over_deleted_and_brought_back_as_one_character() -> None:
    async with opened() as (app, composer, pilot):
        await paste(app, LONG)
        await paste(app, LONG[::-1])
        await pilot.press("left", "x", "left", "backspace")
        assert composer.text == "x" + LONG[::-1]
        await pilot.press("alt+z")
        assert composer.text == LONG + "x" + LONG[::-1]
        await pilot.press("ctrl+a", "shift+right", "ctrl+x")
        assert composer.text == "x" + LONG[::-1]
        assert app.clipboard == LONG
        await pilot.press("ctrl+v")
        assert composer.text == LONG + "x" + LONG[::-1]


async def test_what_was_sent_comes_back_folded_too() -> None:
    async with opened(LONG) as (app, composer, pilot):
        await pilot.press("d", "up")  # in an empty composer, Up edits the last message
        assert composer.text == LONG
        assert drawn_row(app).startswith("[pasted: ")
