import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.serve.openai.cutting import cut_anywhere
from tui_llama.serve.openai.answer_text.reasoning import PartedText, ReasoningSplitter

ANSWERS = {
    "no thinking": ("Hello <think>there</think>", False, "", "Hello <think>there</think>"),
    "thinking": ("<think>\nI see.\n</think>\n\nHello", False, "I see.", "Hello"),
    "blanks before": (" \n<think>I see</think>Hello", False, "I see", "Hello"),
    "an empty thought": ("<think>\n\n</think>\n\nHello", False, "", "Hello"),
    "opened by the template": ("I see.\n</think>\n\nHello", True, "I see.", "Hello"),
    "opened twice": ("<think>\nI see.\n</think>\n\nHello", True, "I see.", "Hello"),
    "never closed": ("<think>I see < and </thin", False, "I see < and </thin", ""),
    "never closed, opened by the template": ("I see  ", True, "I see  ", ""),
    "a mark that does not come": ("<thin air", False, "", "<thin air"),
    "the start of a mark": ("<thi", False, "", "<thi"),
    "blanks only": ("  \n", False, "", "  \n"),
    "blanks inside": ("<think>a  \n b</think> c  d ", False, "a  \n b", "c  d "),
    "a second thought": ("<think>a</think>b<think>c</think>", False, "a", "b<think>c</think>"),
    "nothing": ("", True, "", ""),
}


def parted(pieces: list[str], is_open: bool, given_text: str = "") -> PartedText:
    splitter = ReasoningSplitter(is_open)
    splitter.continue_after(given_text)
    parts = [*map(splitter.push, pieces), splitter.finish()]
    return PartedText("".join(part.reasoning for part in parts), "".join(part.content for part in parts))


@pytest.mark.parametrize("name", ANSWERS)
def test_thinking_is_parted_from_the_answer(name: str) -> None:
    text, is_open, reasoning, content = ANSWERS[name]

    assert parted([text], is_open) == (reasoning, content)


@pytest.mark.parametrize("name", ANSWERS)
@given(data=st.data())
def test_it_does_not_matter_how_the_stream_is_cut(name: str, data: st.DataObject) -> None:
    text, is_open, reasoning, content = ANSWERS[name]

    assert parted(data.draw(cut_anywhere(text)), is_open) == (reasoning, content)


@given(text=st.text("<think>/ \na", max_size=40), is_open=st.booleans(), data=st.data())
def test_any_text_is_parted_alike_however_it_is_cut(text: str, is_open: bool, data: st.DataObject) -> None:
    assert parted(data.draw(cut_anywhere(text)), is_open) == parted([text], is_open)


@pytest.mark.parametrize(
    ("given_text", "goes_on", "reasoning", "content"),
    [
        ("<think>I s", "ee.</think>Hello", "ee.", "Hello"),
        ("<think>I  ", "see", "see", ""),
        ("<think>I</thi", "nk>Hello", "", "Hello"),
        ("<think>I</thi", "s", "s", ""),
        ("<thi", "nk>I</think>Hello", "I", "Hello"),
        ("<thi", "s", "", "s"),
        ("Hello ", "there", "", "there"),
        ("<think>I</think>\n", "\nHello", "", "Hello"),
    ],
)
def test_an_answer_that_goes_on_tells_only_what_is_new(
    given_text: str, goes_on: str, reasoning: str, content: str
) -> None:
    assert parted([*goes_on], False, given_text) == (reasoning, content)


def test_text_is_not_held_back_longer_than_needed() -> None:
    splitter = ReasoningSplitter()

    assert splitter.push("<think>I see") == ("I see", "")
    assert splitter.push(". ") == (".", "")
    assert splitter.push("<") == ("", "")
    assert splitter.push("b</think> ") == (" <b", "")
    assert splitter.push("Hello ") == ("", "Hello ")
