import sqlite3

import pytest

from tui_llama.chats.stored_text import DAMAGED_CHARACTER, TITLE_LENGTH, storable, title_of


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Hello", "Hello"),
        ("  two\n\tlines  ", "two lines"),
        ("", ""),
        (" \n", ""),
        ("x" * TITLE_LENGTH, "x" * TITLE_LENGTH),
        ("x" * (TITLE_LENGTH + 1), "x" * (TITLE_LENGTH - 1) + "…"),
        ("word " * 30, ("word " * 12).rstrip()[: TITLE_LENGTH - 1] + "…"),
        ("e\u0301" * (TITLE_LENGTH + 1), "e\u0301" * (TITLE_LENGTH - 1) + "…"),
        ("half \ud83d", f"half {DAMAGED_CHARACTER}"),
    ],
)
def test_a_title_is_the_beginning_of_a_message_on_one_line(text: str, title: str) -> None:
    assert title_of(text) == title


def test_what_is_storable_comes_out_of_a_database_as_it_went_in() -> None:
    text = storable("a\ud800b\udfffc 🦙\0")
    connection = sqlite3.connect(":memory:")

    assert text == f"a{DAMAGED_CHARACTER}b{DAMAGED_CHARACTER}c 🦙\0"
    assert connection.execute("SELECT ?", (text,)).fetchone() == (text,)
    connection.close()
