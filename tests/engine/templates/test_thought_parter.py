"""An answer is parted into thought and text by the marks of its family, however its tokens are cut."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.fake_model import byte_tokenizer
from tests.scale import scaled
from tui_llama.engine.templates.thinking.forms import HARMONY, THINK, ThoughtForm
from tui_llama.engine.templates.thinking.parter import MarkedTokens, Parts, ThoughtParter, opened_parter
from tui_llama.engine.tokenizer.tokenizer import Tokenizer

MISTRAL = ThoughtForm("[THINK]", "[/THINK]")
GEMMA = ThoughtForm("<|channel>thought", "<channel|>")

LETTERS = byte_tokenizer()
MARKS = byte_tokenizer(
    control=("[THINK]", "[/THINK]", "<|channel|>", "<|message|>", "<|start|>", "<|channel>", "<channel|>"),
    user_defined=("<think>", "</think>", "<|end|>"),
)
TOKENIZERS = pytest.mark.parametrize("tokenizer", [LETTERS, MARKS], ids=["letters", "tokens"])


def parts_of(tokenizer: Tokenizer, form: ThoughtForm, answer: str | Sequence[int], prompt: str = "") -> Parts:
    """What an answer is parted into, token by token."""
    prompt_ids = tokenizer.tokenize(prompt, parse_special=True)
    parter = opened_parter(tokenizer, form, prompt_ids)
    token_ids = tokenizer.tokenize(answer, parse_special=True) if isinstance(answer, str) else answer
    decoder = tokenizer.stream_decoder()
    parts = [parter.push(parter.marks.stand_in(each) or decoder.push(each)) for each in token_ids]
    parts += [parter.push(decoder.finish()), parter.finish()]
    return Parts("".join(part.thought for part in parts), "".join(part.text for part in parts))


@TOKENIZERS
@pytest.mark.parametrize(
    ("form", "answer"),
    [
        (THINK, "<think>\nLet me see.\n</think>\n\nBecause."),
        (THINK, "\n<think>Let me see.</think>Because."),
        (MISTRAL, "[THINK]Let me see.[/THINK]Because."),
        (GEMMA, "<|channel>thought\nLet me see.\n<channel|>Because."),
        (HARMONY, f"{HARMONY.opening}Let me see.{HARMONY.ending}Because."),
        (HARMONY, "<|channel|>analysis<|message|>Let me see.<|start|>assistant<|channel|>final<|message|>Because."),
    ],
)  # fmt: skip
def test_a_thought_is_parted_from_the_text_behind_it(tokenizer: Tokenizer, form: ThoughtForm, answer: str) -> None:
    assert parts_of(tokenizer, form, answer) == ("Let me see.", "Because.")


@TOKENIZERS
def test_a_prompt_may_open_the_thought(tokenizer: Tokenizer) -> None:
    assert parts_of(tokenizer, THINK, "Hm.\n</think>\n\nYes.", "assistant\n<think>\n") == ("Hm.", "Yes.")
    assert parts_of(tokenizer, HARMONY, "Hm.<|end|>", "<|start|>assistant<|channel|>analysis<|message|>") == ("Hm.", "")


@TOKENIZERS
def test_a_prompt_may_have_closed_the_thought(tokenizer: Tokenizer) -> None:
    assert parts_of(tokenizer, THINK, "Yes.", "assistant\n<think>\n\n</think>\n\n") == ("", "Yes.")
    assert parts_of(tokenizer, HARMONY, "Yes.", "<|start|>assistant<|channel|>final<|message|>") == ("", "Yes.")


@TOKENIZERS
@pytest.mark.parametrize("answer", ["Write <think> first.", "", "  \n indented", "a </think> b", "<"])
def test_marks_behind_the_start_of_the_text_are_text(tokenizer: Tokenizer, answer: str) -> None:
    assert parts_of(tokenizer, THINK, answer) == ("", answer)


def test_the_letters_of_a_mark_that_is_a_token_are_text() -> None:
    letters = list(b"<think>a</think>b")
    assert parts_of(MARKS, THINK, letters) == ("", "<think>a</think>b")
    opened = MARKS.tokenize("<think>", parse_special=True)
    assert parts_of(MARKS, THINK, [*opened, *letters]) == ("<think>a</think>b", "")


def test_a_thought_that_never_ends_stays_one() -> None:
    assert parts_of(LETTERS, THINK, "<think>a </thin") == ("a </thin", "")
    assert parts_of(LETTERS, THINK, "<think>a \n") == ("a", "")


def test_parts_of_the_same_channel_are_parted_by_an_empty_line() -> None:
    answer = (
        "<|channel|>analysis<|message|>one<|end|><|start|>assistant<|channel|>commentary<|message|>I look it up.<|end|>"
        "<|start|>assistant<|channel|>analysis<|message|>two<|end|><|start|>assistant<|channel|>final<|message|>Done."
    )
    assert parts_of(MARKS, HARMONY, answer) == ("one\n\ntwo", "I look it up.\n\nDone.")


def test_a_parter_tells_whether_it_is_in_a_thought() -> None:
    parter = ThoughtParter(THINK, MarkedTokens(LETTERS, THINK))
    states = [(parter.push(each), parter.is_thinking)[1] for each in ("<thi", "nk>", "hm", "</think>", "yes")]
    assert states == [False, True, True, False, False]


words = st.sampled_from(
    ["<think>", "</think>", "<th", "</", "[THINK]", "<|channel|>", "<|message|>", "<|start|>", "<|end|>", "assistant",
     "analysis", "final", "\n", " ", "a", "é", "🦙", "<"]
)  # fmt: skip


@settings(max_examples=scaled(150, 2000), deadline=None)
@given(
    answer=st.lists(words, max_size=14).map("".join),
    form=st.sampled_from([THINK, MISTRAL, HARMONY]),
    cuts=st.lists(st.integers(0, 80), max_size=10),
    prompt=st.sampled_from(["", "assistant\n<think>\n", "<|start|>assistant"]),
)
def test_the_parts_do_not_depend_on_how_the_text_is_cut(
    answer: str, form: ThoughtForm, cuts: list[int], prompt: str
) -> None:
    whole = ThoughtParter(form, MarkedTokens(LETTERS, form), prompt)
    first, last = whole.push(answer), whole.finish()
    places = sorted({0, len(answer), *(cut for cut in cuts if cut < len(answer))})
    cut = ThoughtParter(form, MarkedTokens(LETTERS, form), prompt)
    pieces = [cut.push(answer[start:end]) for start, end in itertools.pairwise(places)]
    pieces.append(cut.finish())
    assert "".join(piece.thought for piece in pieces) == first.thought + last.thought
    assert "".join(piece.text for piece in pieces) == first.text + last.text


@settings(max_examples=scaled(100, 1000), deadline=None)
@given(answer=st.lists(words, max_size=14).map("".join))
def test_nothing_but_marks_and_blanks_is_lost(answer: str) -> None:
    parts = parts_of(LETTERS, THINK, answer)
    bare = "".join(answer.split())
    kept = "".join((parts.thought + parts.text).split())
    if parts.thought or bare.startswith("<think>"):
        thought, _, text = bare.removeprefix("<think>").partition("</think>")
        assert kept == thought + text
    else:
        assert parts.text == answer
