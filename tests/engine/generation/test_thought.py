"""A reply with a thought: told beside the text, limited, closed on request, and continued where it was cut off."""

from collections.abc import Callable, Sequence

import pytest

from tests.engine.templates.thinking_templates import DEEPSEEK_R1, PLAIN, QWEN3
from tests.fakes.engine_events import finish_of, text_of, thought_of, tokens_of, usage_of
from tests.fakes.fake_model import EOS, FakeModel
from tests.fakes.talk import GREEDY, engine_with, never
from tui_llama.chat import ChatMessage, Role, StopReason, Thinking
from tui_llama.engine.events import PromptEncoded, TextPiece
from tui_llama.engine.local import LocalEngine
from tui_llama.engine.protocol import ReplyEvent
from tui_llama.engine.requests import CompleteRequest, ReplyRequest
from tui_llama.engine.templates.chat_template import ChatTemplate

QUESTION = (ChatMessage(Role.USER, "Why?"),)
ANSWER = "<think>\nLet me see.\n</think>\n\nBecause."


def following(text: str, marker: str) -> Callable[[Sequence[int]], int]:
    """A rule that writes `text` behind the last `marker`; behind what is not of the text, an exclamation mark."""

    def rule(token_ids: Sequence[int]) -> int:
        said = bytes(each for each in token_ids if each < 256).rpartition(marker.encode())[2].decode()
        if not text.startswith(said):
            return ord("!") if not said.endswith("!") else EOS
        return text.encode()[len(said)] if len(said) < len(text) else EOS

    return rule


def engine(text: str = ANSWER, template: str = QWEN3, marker: str = "assistant\n") -> LocalEngine:
    model = FakeModel(following(text, marker), context_size=4096)
    model.chat_template = ChatTemplate(template, "test")
    return engine_with(model)


def asked(engine: LocalEngine, **fields: object) -> list[ReplyEvent]:
    request = ReplyRequest(1, QUESTION, sampling=GREEDY, **fields)  # type: ignore[arg-type]
    return list(engine.reply(request, never))


def test_a_thought_is_told_beside_the_text_and_its_tokens_are_whole() -> None:
    events = asked(engine())
    assert (thought_of(events), text_of(events)) == ("Let me see.", "Because.")
    assert bytes(tokens_of(events)[:-1]).decode() == ANSWER


def test_the_usage_counts_the_thought_with_its_marks() -> None:
    usage = usage_of(asked(engine()))
    assert usage.thought_tokens == len("<think>\nLet me see.\n</think>") - len("<think>") + 1
    assert usage.generated_tokens == len(ANSWER) + 1
    assert usage.thought_seconds <= usage.generate_seconds


def test_a_thought_that_the_prompt_opens_is_one() -> None:
    events = asked(engine("Hm.\n</think>\n\nYes.", DEEPSEEK_R1, "<think>\n"))
    assert (thought_of(events), text_of(events)) == ("Hm.", "Yes.")


def test_a_model_whose_template_knows_no_thoughts_writes_text() -> None:
    events = asked(engine(ANSWER, PLAIN, "<|assistant|>"))
    assert (thought_of(events), text_of(events)) == ("", ANSWER)


def test_thinking_that_is_off_is_told_to_the_template() -> None:
    encoded = asked(engine(), thinking=Thinking.OFF)[0]
    assert isinstance(encoded, PromptEncoded)
    assert bytes(encoded.token_ids).decode().endswith("<think>\n\n</think>\n\n")


def test_values_of_the_request_come_before_the_choice() -> None:
    encoded = asked(engine(), thinking=Thinking.OFF, template_values='{"enable_thinking": true}')[0]
    assert isinstance(encoded, PromptEncoded)
    assert bytes(encoded.token_ids).decode().endswith("assistant\n")


def test_a_limit_closes_the_thought_and_the_answer_goes_on_from_there() -> None:
    events = asked(engine(), thinking_tokens=5)
    assert thought_of(events) == "Let"
    assert text_of(events) == "!"
    assert bytes(tokens_of(events)[:-1]).decode() == "<think>\nLet\n</think>\n\n!"
    usage = usage_of(events)
    assert usage.generated_tokens == len(tokens_of(events))
    assert finish_of(events).stop_reason is StopReason.END_OF_GENERATION


def test_a_limit_of_none_closes_a_thought_of_the_prompt_at_once() -> None:
    events = asked(engine("Hm.", DEEPSEEK_R1, "<think>\n"), thinking_tokens=0)
    assert bytes(tokens_of(events)[:-1]).decode() == "\n</think>\n\n!"
    assert (thought_of(events), text_of(events)) == ("", "!")


def test_answer_now_closes_the_thought_and_reads_nothing_again() -> None:
    thought = ""

    def should_answer() -> bool:
        return thought.endswith("me")

    events: list[ReplyEvent] = []
    for event in engine().reply(ReplyRequest(1, QUESTION, sampling=GREEDY), never, should_answer):
        events.append(event)
        thought += event.thought if isinstance(event, TextPiece) else ""
    assert (thought_of(events), text_of(events)) == ("Let me", "!")
    assert bytes(tokens_of(events)[:-1]).decode() == "<think>\nLet me\n</think>\n\n!"
    assert usage_of(events).read_tokens == len(events[0].token_ids)  # type: ignore[union-attr]


def test_answer_now_does_nothing_to_the_text() -> None:
    request = ReplyRequest(1, QUESTION, sampling=GREEDY)
    events = list(engine("Because.").reply(request, never, lambda: True))
    assert (thought_of(events), text_of(events)) == ("", "Because.")


def test_stop_texts_are_looked_for_in_the_text_only() -> None:
    events = asked(engine("<think>\nstop it\n</think>\n\nDo stop now."), stop_texts=("stop",))
    assert (thought_of(events), text_of(events)) == ("stop it", "Do ")


@pytest.mark.parametrize("cut", range(1, len(ANSWER)))
def test_an_answer_that_was_cut_anywhere_goes_on_as_if_it_had_not_been(cut: int) -> None:
    one = engine()
    beginning = asked(one, max_tokens=cut)
    encoded = beginning[0]
    assert isinstance(encoded, PromptEncoded)
    request = CompleteRequest(
        2,
        "",
        GREEDY,
        ledger=(*encoded.token_ids, *tokens_of(beginning)),
        answer=text_of(beginning),
        answer_thought=thought_of(beginning),
        answer_tokens=len(tokens_of(beginning)),
    )
    rest = list(one.reply(request, never))
    assert tokens_of(beginning) + tokens_of(rest) == [*ANSWER.encode(), EOS]
    assert thought_of(beginning) + thought_of(rest) == "Let me see."
    assert text_of(beginning) + text_of(rest) == "Because."


@pytest.mark.parametrize(("thought", "text"), [("Let me", ""), ("Let me see.", "Bec"), ("", "Bec")])
def test_an_answer_of_another_vocabulary_goes_on_from_its_thought_and_text(thought: str, text: str) -> None:
    one = engine(ANSWER if thought else "Because.")
    messages = (*QUESTION, ChatMessage(Role.ASSISTANT, text, thought=thought))
    request = CompleteRequest(2, "", GREEDY, messages=messages, answer=text, answer_thought=thought)
    events = list(one.reply(request, never))
    assert text + text_of(events) == "Because."
    assert thought + thought_of(events) == ("Let me see." if thought else "")
    encoded = events[0]
    assert isinstance(encoded, PromptEncoded)
    assert encoded.answer_tokens is not None and encoded.answer_tokens > len(thought + text) - 1


def test_an_answer_of_before_thoughts_were_parted_goes_on_as_text() -> None:
    one, shown = engine(), "<think>\nLet me"
    beginning = asked(one, max_tokens=len(shown))
    encoded = beginning[0]
    assert isinstance(encoded, PromptEncoded)
    ledger = (*encoded.token_ids, *tokens_of(beginning))
    request = CompleteRequest(2, "", GREEDY, ledger=ledger, answer=shown, answer_tokens=len(shown))
    rest = list(one.reply(request, never))
    assert (thought_of(rest), shown + text_of(rest)) == ("", ANSWER)
