"""The thought and the text of an answer are parted in one way, and thoughts in kept answers are found."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_llama.engine.remote.stream.thinking import ThinkingText, split_thinking


def parted(*pieces: tuple[str, str], **stands: bool) -> tuple[str, str]:
    text = ThinkingText(**stands)
    parts = [*(text.add(*piece) for piece in pieces), text.finish()]
    return "".join(part.thought for part in parts), "".join(part.text for part in parts)


def cut(text: str, places: list[int]) -> list[str]:
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


PLACES = st.lists(st.integers(0, 1000), max_size=8)


@pytest.mark.parametrize(
    "pieces",
    [
        [("Let me", ""), (" see.", ""), ("", "Hello"), ("", " there")],
        [("\nLet me see.\n", ""), ("", "\n\nHello there")],
        [("\n", ""), ("Let me see.", ""), ("\n", ""), ("\n", ""), ("", "\n"), ("", "\n"), ("", "Hello there")],
        [("Let me see.", "Hello there")],
        [("", ""), ("Let me see.", ""), ("", ""), ("", "Hello there"), ("", "")],
        [("", "<think>\nLet me see.\n</think>\n\nHello there")],
        [("", "\n<thi"), ("", "nk>Let me"), ("", " see.\n</th"), ("", "ink>\n"), ("", "\nHello"), ("", " there")],
        [("", "<think>\n"), ("Let me see.", ""), ("", "\n"), ("", "Hello there")],
    ],
)
def test_every_server_gives_the_same_parts(pieces: list[tuple[str, str]]) -> None:
    assert parted(*pieces) == ("Let me see.", "Hello there")


@given(PLACES, st.sampled_from(["", "\n ", "\n\n"]), st.sampled_from(["Hm <b.", "Hm\n\n</th, no <think> ", "  "]))
def test_marks_are_found_however_the_text_is_cut(places: list[int], blanks: str, thought: str) -> None:
    whole = f"{blanks}<think>{blanks}{thought}</think>{blanks}Hello <think> </think>\n"
    pieces = [("", piece) for piece in cut(whole, places)]
    assert parted(*pieces) == (thought.strip(), blanks.lstrip("\r\n") + "Hello <think> </think>\n")


@given(PLACES, st.text(alphabet="<think>/ \nab", max_size=20))
def test_nothing_of_an_answer_is_lost_however_it_is_cut(places: list[int], answer: str) -> None:
    whole = parted(("", answer))
    assert parted(*(("", piece) for piece in cut(answer, places))) == whole
    if not answer.lstrip().startswith("<think>"):
        assert whole == ("", answer)


@given(PLACES, PLACES)
def test_a_thought_beside_the_text_is_the_same_however_it_is_cut(of_thought: list[int], of_text: list[int]) -> None:
    thought = [(piece, "") for piece in cut("\nOne.\n\n </think> Two.\n", of_thought)]
    text = [("", piece) for piece in cut("\n\nHello\n", of_text)]
    assert parted(*thought, *text) == ("One.\n\n </think> Two.", "Hello\n")


def test_white_space_within_the_thinking_stays() -> None:
    pieces = ("One.\n", ""), ("\nTwo.  ", ""), ("Three.", ""), ("", "Four.")
    assert parted(*pieces) == ("One.\n\nTwo.  Three.", "Four.")


@pytest.mark.parametrize("text", ["what <think>", "\n<thin", "<", "  ", f"{'':400}<think>", "</think>"], ids=len)
def test_text_without_thinking_is_passed_on_as_it_is(text: str) -> None:
    assert parted(("", text)) == ("", text)
    assert parted(*(("", letter) for letter in text)) == ("", text)


def test_marks_are_text_once_a_thought_came_beside_it() -> None:
    assert parted(("Hm", ""), ("", "<think>"), ("", "no</think>")) == ("Hm", "<think>no</think>")


def test_a_thought_in_marks_that_never_ends_is_a_thought() -> None:
    assert parted(("", "<think>\nHm </th")) == ("Hm </th", "")


def test_thinking_after_a_text_begins_anew() -> None:
    assert parted(("", "One."), ("Hm", ""), ("", "Two.")) == ("Hm", "One.\n\nTwo.")
    assert parted(("Ah", "One."), ("\nHm", ""), (" so", "Two.")) == ("Ah\n\nHm so", "One.\n\nTwo.")
    assert parted(("Ah", "One."), ("\n", ""), ("", "Two.")) == ("Ah", "One.Two.")


def test_what_might_have_been_a_mark_stays_text_before_a_thought() -> None:
    assert parted(("", "<th"), ("Hm", ""), ("", "Two.")) == ("Hm", "<th\n\nTwo.")


def test_an_answer_goes_on_within_its_thinking() -> None:
    assert parted((" on", ""), ("", "Hello"), is_open=True) == (" on", "Hello")
    assert parted(("", " on\n</think>"), ("", "\n\nHello"), is_open=True) == (" on", "Hello")


def test_thinking_that_is_sent_apart_ends_with_the_first_text() -> None:
    assert parted(("", "\nHello"), ("", " there"), is_open=True, is_apart=True) == ("", "Hello there")
    assert parted((" on", ""), ("", "Hello"), is_open=True, is_apart=True) == (" on", "Hello")


def test_an_answer_goes_on_behind_its_thinking() -> None:
    assert parted(("", "\nthere <think>"), has_text=True) == ("", "\nthere <think>")


def test_a_thought_that_is_kept_in_the_text_goes_on_there() -> None:
    kept = {"is_open": True, "keeps_marks": True}
    assert parted((" on", ""), ("", "Hello"), ("", "."), **kept) == ("", " on\n</think>\n\nHello.")
    assert parted(("", " on\n</think>"), ("", "\n\nHello"), **kept) == ("", " on\n</think>\n\nHello")
    text = ThinkingText(is_open=True, is_apart=True, keeps_marks=True)
    assert text.add(" on", "") == ("", " on")
    assert text.finish(can_go_on=False) == ("", "\n</think>\n\n")


@pytest.mark.parametrize(
    ("answer", "thinking", "text", "has_ended"),
    [
        ("Hello", "", "Hello", True),
        ("<think>\nHm.\n</think>\n\nHello\n", "Hm.", "Hello\n", True),
        ("\n <think>Hm.</think>Hello", "Hm.", "Hello", True),
        ("<think>\n\n</think>\n\nHello", "", "Hello", True),
        ("<think>\nHm. </thi", "Hm. </thi", "", False),
        ("<think>", "", "", False),
        ("Use <think> and </think>.", "", "Use <think> and </think>.", True),
        ("<think>a</think>b<think>c</think>", "a", "b<think>c</think>", True),
        ("", "", "", True),
    ],
)
def test_the_thinking_at_the_start_is_taken_out(answer: str, thinking: str, text: str, has_ended: bool) -> None:
    assert split_thinking(answer) == (thinking, text, has_ended)
