"""An answer that was cut off goes on as if it had not been: its tokens, its text, and what was held back."""

import pytest

from tests.fakes.engine_events import finish_of, text_of, tokens_of, usage_of
from tests.fakes.fake_model import EOS, FakeModel, FakeTemplate, answering, any_letter
from tests.fakes.talk import GREEDY, Talk, engine_with, go_on, never, once_asked, talk_with
from tui_llama.chat import StopReason
from tui_llama.engine.events import Failed, PromptEncoded, PromptProgress, RereadCause
from tui_llama.engine.requests import CompleteRequest


def test_an_answer_goes_on_as_if_it_had_not_been_cut_off() -> None:
    whole = talk_with(answering("an answer that is long enough")).say("hi")
    talk = talk_with(answering("an answer that is long enough"))
    beginning = talk.say("hi", once_asked(9))
    assert finish_of(beginning).stop_reason is StopReason.STOPPED
    rest = go_on(talk, text_of(beginning))
    assert rest[0] == PromptEncoded(8, len(talk.ledger), ())
    assert tokens_of(beginning) + tokens_of(rest) == tokens_of(whole)
    assert text_of(beginning) + text_of(rest) == text_of(whole)
    assert finish_of(rest).stop_reason is StopReason.END_OF_GENERATION
    usage = usage_of(rest)
    assert (usage.reused_tokens, usage.read_tokens) == (len(talk.ledger) - 1, 1)
    assert usage.generated_tokens == len(tokens_of(rest))


def test_half_a_character_that_an_answer_was_cut_off_in_becomes_whole() -> None:
    talk = talk_with(answering("café au lait"))
    beginning = talk.say("hi", max_tokens=4)
    assert text_of(beginning) == "caf\ufffd"
    assert text_of(go_on(talk, "caf")) == "é au lait"


def test_text_that_was_held_back_when_the_answer_was_cut_off_comes_first() -> None:
    model = FakeModel(answering("a<b"))
    model.chat_template = FakeTemplate(stop_texts=("<end>",))
    talk = Talk(engine_with(model))
    talk.say("hi", max_tokens=2)
    assert text_of(go_on(talk, "a")) == "<b"
    assert text_of(go_on(talk, "a", max_tokens=0)) == "<"
    assert text_of(go_on(talk, "a<")) == "b"


@pytest.mark.parametrize(
    ("answer", "shown", "more"),
    [
        ("<b>bold", "", "<b>bold"),
        ("<<b>", "<", "<b>"),
        ("\n\nand", "\n", "\nand"),
    ],
)
def test_text_that_was_held_back_is_found_where_the_same_text_was_shown(answer: str, shown: str, more: str) -> None:
    model = FakeModel(answering(answer))
    model.chat_template = FakeTemplate(stop_texts=("<end>", "\n\nUser:"))
    talk = Talk(engine_with(model))
    talk.say("hi", max_tokens=len(shown) + 1)
    assert text_of(go_on(talk, shown)) == more


def test_an_answer_without_a_token_goes_on_from_its_prompt() -> None:
    talk = talk_with(answering("yes"))
    talk.say("hi", once_asked(0))
    assert text_of(go_on(talk, "")) == "yes"


def test_a_prompt_that_ends_in_an_end_is_no_answer_that_is_whole() -> None:
    talk = talk_with()
    talk.ledger = (EOS,)
    assert len(tokens_of(go_on(talk, "", max_tokens=3))) == 3


def test_an_answer_that_goes_on_without_a_ledger_is_no_crash() -> None:
    request = CompleteRequest(8, "hi", GREEDY, max_tokens=3, answer="")
    assert len(tokens_of(engine_with(FakeModel()).reply(request, never))) == 3


def test_a_stop_text_of_the_template_ends_an_answer_that_goes_on() -> None:
    model = FakeModel(answering("one two three"))
    model.chat_template = FakeTemplate(stop_texts=("two",))
    talk = Talk(engine_with(model))
    talk.say("hi", max_tokens=2)
    events = go_on(talk, "on")
    assert (text_of(events), finish_of(events).stop_reason) == ("e ", StopReason.STOP_TEXT)


def test_an_answer_whose_last_token_ends_it_is_whole() -> None:
    talk = talk_with(answering("yes"))
    talk.say("hi")
    events = go_on(talk, "yes")
    assert (tokens_of(events), finish_of(events).stop_reason) == ([], StopReason.END_OF_GENERATION)


def test_tokens_that_write_something_else_are_another_models() -> None:
    talk = talk_with()
    talk.say("hi", max_tokens=4)
    events = go_on(talk, "something else")
    assert isinstance(events[-1], Failed)
    assert "another model" in events[-1].message


def test_an_answer_of_which_nothing_is_stored_goes_on_after_it_was_read_and_says_why() -> None:
    talk = talk_with()
    beginning = talk.say("h" * 100, max_tokens=4)
    talk.engine = engine_with(FakeModel())
    events = go_on(talk, text_of(beginning), max_tokens=1)
    causes = {event.reread_cause for event in events if isinstance(event, PromptProgress)}
    assert causes == {RereadCause.NOT_STORED}
    assert tokens_of(events) == [any_letter(talk.ledger)]
