"""Stop texts in a stream that is cut anywhere."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tui_llama.engine.generation.stop_text import StopTextFinder

TEXT = st.text(alphabet="abc", max_size=30)
STOP_TEXTS = st.lists(st.text(alphabet="abc", max_size=5), max_size=4)


def shown(pieces: list[str], stop_texts: list[str]) -> tuple[str, bool]:
    """Everything that is let through, and whether a stop text ended it."""
    finder = StopTextFinder(stop_texts)
    text = ""
    for piece in pieces:
        safe, found = finder.push(piece)
        text += safe
        if found:
            return text, True
    return text + finder.finish(), False


@given(text=TEXT, stop_texts=STOP_TEXTS, cuts=st.lists(st.integers(0, 30)))
def test_every_way_of_cutting_gives_the_same_text(text: str, stop_texts: list[str], cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(places)]
    assert shown(pieces, stop_texts) == shown([text], stop_texts) == shown(list(text), stop_texts)


@given(text=TEXT, stop_texts=STOP_TEXTS)
def test_what_is_shown_holds_no_stop_text(text: str, stop_texts: list[str]) -> None:
    result, found = shown(list(text), stop_texts)
    assert text.startswith(result)
    assert not any(stop_text in result for stop_text in stop_texts if stop_text)
    assert found == any(stop_text in text for stop_text in stop_texts if stop_text)
    assert found or result == text


@given(text=TEXT, stop_texts=STOP_TEXTS)
def test_no_more_is_held_back_than_could_become_a_stop_text(text: str, stop_texts: list[str]) -> None:
    finder = StopTextFinder(stop_texts)
    safe, found = finder.push(text)
    held_back = text[len(safe) :]
    assert found or not held_back or any(stop_text.startswith(held_back) for stop_text in stop_texts)


def test_a_stop_text_in_two_pieces_is_found() -> None:
    finder = StopTextFinder(["###"])
    assert finder.push("Hello #") == ("Hello ", False)
    assert finder.push("## more") == ("", True)


def test_a_false_alarm_is_shown_after_all() -> None:
    finder = StopTextFinder(["###"])
    assert finder.push("a ##") == ("a ", False)
    assert finder.push("b") == ("##b", False)


def test_what_is_held_back_at_the_end_is_shown() -> None:
    finder = StopTextFinder(["###"])
    finder.push("a ##")
    assert finder.finish() == "##"
    assert finder.finish() == ""


def test_nothing_comes_after_a_stop_text() -> None:
    finder = StopTextFinder(["stop"])
    assert finder.push("go stop go") == ("go ", True)
    assert finder.push("go") == ("", True)
    assert finder.finish() == ""


def test_the_stop_text_that_is_whole_first_counts() -> None:
    assert shown(["xabcd"], ["abcd", "bc"]) == ("xa", True)


def test_of_two_that_end_together_the_longer_counts() -> None:
    assert shown(["xabc"], ["bc", "abc"]) == ("x", True)


def test_without_stop_texts_everything_goes_through_at_once() -> None:
    assert StopTextFinder([]).push("abc") == ("abc", False)
    assert StopTextFinder([""]).push("abc") == ("abc", False)
