"""Thinking gets into the text of an answer in one form, and out of it again."""

import pytest

from tui_llama.engine.remote.stream.thinking import ThinkingText, split_thinking


def joined(*pieces: tuple[str, str], is_open: bool = False, has_text: bool = False) -> str:
    text = ThinkingText(is_open, has_text)
    return "".join(text.add(*piece) for piece in pieces) + text.finish()


@pytest.mark.parametrize(
    "pieces",
    [
        [("Let me", ""), (" see.", ""), ("", "Hello"), ("", " there")],
        [("\nLet me see.\n", ""), ("", "\n\nHello there")],
        [("\n", ""), ("Let me see.", ""), ("\n", ""), ("\n", ""), ("", "\n"), ("", "\n"), ("", "Hello there")],
        [("Let me see.", "Hello there")],
        [("", ""), ("Let me see.", ""), ("", ""), ("", "Hello there"), ("", "")],
    ],
)
def test_every_server_gives_the_same_form(pieces: list[tuple[str, str]]) -> None:
    assert joined(*pieces) == "<think>\nLet me see.\n</think>\n\nHello there"


def test_white_space_within_the_thinking_stays() -> None:
    assert joined(("One.\n", ""), ("\nTwo.  ", ""), ("Three.", ""), ("", "Four.")) == (
        "<think>\nOne.\n\nTwo.  Three.\n</think>\n\nFour."
    )


def test_text_without_thinking_is_passed_on_as_it_is() -> None:
    assert joined(("", "\n<think>"), ("", "what</think>")) == "\n<think>what</think>"


def test_thinking_without_a_text_is_closed_at_the_end_and_not_before() -> None:
    text = ThinkingText()
    assert text.add("Hm", "") == "<think>\nHm"
    assert text.finish() == "\n</think>\n\n"
    assert text.finish() == ""


def test_thinking_after_a_text_begins_anew() -> None:
    assert joined(("", "One."), ("Hm", ""), ("", "Two.")) == "One.\n\n<think>\nHm\n</think>\n\nTwo."


def test_an_answer_goes_on_within_its_thinking() -> None:
    assert joined((" on", ""), ("", "Hello"), is_open=True) == " on\n</think>\n\nHello"
    assert joined(("", " on\n</think>"), ("", "\n\nHello"), is_open=True) == " on\n</think>\n\nHello"


def test_thinking_that_is_sent_apart_ends_with_the_first_text() -> None:
    def gone_on(*pieces: tuple[str, str]) -> str:
        text = ThinkingText(is_open=True, is_apart=True)
        return "".join(text.add(*piece) for piece in pieces) + text.finish()

    assert gone_on(("", "\nHello"), ("", " there")) == "\n</think>\n\nHello there"
    assert gone_on((" on", ""), ("", "Hello")) == " on\n</think>\n\nHello"


def test_an_answer_goes_on_behind_its_thinking() -> None:
    assert joined(("", "\nthere"), has_text=True) == "\nthere"


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


def test_what_was_joined_is_split_again() -> None:
    assert split_thinking(joined(("\nLet me see.\n\n", ""), ("", "\nHello"))) == ("Let me see.", "Hello", True)
