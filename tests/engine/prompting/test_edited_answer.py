"""Answers that go on after the user has changed them: what the model generated before the change is kept."""

from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.engine_events import tokens_of
from tests.fakes.fake_model import FakeModel, answering
from tests.fakes.talk import GREEDY, engine_with, never
from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.events import PromptEncoded
from tui_llama.engine.prompting.edited_answer import answer_tokens
from tui_llama.engine.requests import CompleteRequest, ReplyRequest

QUESTION = ChatMessage(Role.USER, "hi")
TOKENIZER = FakeModel().tokenizer


def ids(text: str) -> list[int]:
    return TOKENIZER.tokenize(text, continues=True)


def test_the_same_text_keeps_all_tokens() -> None:
    assert answer_tokens(TOKENIZER, ids("hello"), "hello") == ids("hello")


def test_nothing_generated_is_tokenised() -> None:
    assert answer_tokens(TOKENIZER, (), "hello") == ids("hello")


def test_control_tokens_are_never_kept() -> None:
    end = min(TOKENIZER.end_of_generation)
    assert answer_tokens(TOKENIZER, [*ids("hello"), end], "hello</s>") == ids("hello</s>")


@given(before=st.text(max_size=12), after=st.text(max_size=12))
def test_the_tokens_write_the_text_and_begin_with_those_generated(before: str, after: str) -> None:
    generated = ids(before)
    tokens = answer_tokens(TOKENIZER, generated, after)
    assert TOKENIZER.detokenize(tokens, special=True) == TOKENIZER.detokenize(ids(after), special=True)


def test_an_edited_answer_goes_on_and_reads_only_what_was_changed() -> None:
    model = FakeModel(answering("hello there you"))
    engine = engine_with(model)
    said = list(engine.reply(ReplyRequest(1, (QUESTION,), sampling=GREEDY, max_tokens=11), never))
    prompt = next(event for event in said if isinstance(event, PromptEncoded))
    ledger = (*prompt.token_ids, *tokens_of(said))
    edited = "hello thus"
    request = CompleteRequest(
        2,
        "",
        sampling=GREEDY,
        max_tokens=1,
        ledger=ledger,
        vocabulary=model.info.vocabulary,
        answer=edited,
        messages=(QUESTION, ChatMessage(Role.ASSISTANT, edited)),
    )
    goes_on = list(engine.reply(request, never))
    event = next(event for event in goes_on if isinstance(event, PromptEncoded))
    all_ids = (*ledger[: event.kept_tokens], *event.token_ids)
    assert event.answer_tokens == len(ids(edited))
    assert TOKENIZER.detokenize(all_ids, special=True).endswith(edited)
    same = len("hello th")
    assert all_ids[: len(prompt.token_ids) + same] == ledger[: len(prompt.token_ids) + same]
