"""The page as people read it, and as programs do."""

import json

from tui_llama.doctor.report import (
    NOTHING_WRONG,
    Problem,
    Row,
    Section,
    advice,
    as_json,
    as_page,
    what_is_wrong,
    with_texts,
)

SOUND = Section("Place", (Row("size", "3 kB", 3000), Row("colour", "red")))
BROKEN = Section("Other", (Row("a", "b"),), (Problem("It is broken.", "Mend it."), Problem("Dull.", is_advice=True)))


def test_a_page_has_its_sections_and_says_that_nothing_is_wrong() -> None:
    assert as_page([SOUND]) == f"Place\n  size    3 kB\n  colour  red\n\n{NOTHING_WRONG}\n"


def test_what_is_wrong_comes_at_the_end_with_what_to_do_and_then_what_could_be_better() -> None:
    page = as_page([BROKEN, SOUND])

    assert page.endswith("What is wrong\n  - It is broken.\n    Mend it.\n\nWhat could be better\n  - Dull.\n")
    assert NOTHING_WRONG not in page


def test_advice_alone_is_nothing_wrong() -> None:
    section = Section("x", problems=(Problem("Dull.", is_advice=True),))

    assert as_page([section]) == f"{NOTHING_WRONG}\n\nWhat could be better\n  - Dull.\n"
    assert what_is_wrong([section]) == []


def test_what_two_sections_find_is_told_once() -> None:
    assert len(what_is_wrong([BROKEN, BROKEN])) == len(advice([BROKEN, BROKEN])) == 1


def test_programs_get_values_where_there_are_some() -> None:
    page = json.loads(as_json([SOUND, BROKEN]))

    assert page["sections"][0] == {
        "title": "Place",
        "rows": [
            {"name": "size", "text": "3 kB", "value": 3000},
            {"name": "colour", "text": "red", "value": "red"},
        ],
    }
    assert page["wrong"] == [{"what": "It is broken.", "remedy": "Mend it."}]
    assert page["advice"] == [{"what": "Dull.", "remedy": ""}]


def test_every_text_can_be_changed() -> None:
    (changed,) = with_texts(
        [Section("Title", (Row("name", "text", "value"), Row("b", "c", 1)), (Problem("wrong", "remedy"),))], str.upper
    )

    assert changed == Section("Title", (Row("NAME", "TEXT", "VALUE"), Row("B", "C", 1)), (Problem("WRONG", "REMEDY"),))
