"""Answers that a grammar binds: they fit it whatever the model wants, and say so where they ended before they do."""

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.engine.generation.test_thought import following
from tests.engine.templates.thinking_templates import DEEPSEEK_R1, HARMONY, QWEN3
from tests.fakes.engine_events import finish_of, text_of, thought_of, tokens_of
from tests.fakes.fake_model import EOS, VOCAB_SIZE, FakeModel, answering, any_letter, byte_tokenizer
from tests.fakes.talk import GREEDY, engine_with, never
from tui_llama.chat import ChatMessage, Role, StopReason, Thinking
from tui_llama.engine.events import Failed, GrammarProgress, PromptEncoded
from tui_llama.engine.local import LocalEngine
from tui_llama.engine.protocol import ReplyEvent
from tui_llama.engine.requests import CompleteRequest, ReplyRequest
from tui_llama.engine.templates.chat_template import ChatTemplate
from tui_llama.sampling.settings import SamplingSettings

QUESTION: Final = ReplyRequest(1, (ChatMessage(Role.USER, "hi"),), sampling=GREEDY)
WILD: Final = SamplingSettings(temperature=4.0, top_k=0, top_p=1.0, min_p=0.0)

PERSON: Final = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "kind": {"enum": ["a", "ab", "abc", 1, None]},
        "tags": {"type": "array", "items": {"type": "boolean"}, "maxItems": 3},
    },
    "required": ["name", "age", "kind"],
    "additionalProperties": False,
}


def is_person(value: Any) -> bool:
    rest = dict(value)
    tags = rest.pop("tags", [])
    name, age, kind = rest.pop("name"), rest.pop("age"), rest.pop("kind")
    return (
        not rest
        and isinstance(name, str)
        and len(name) <= 8
        and type(age) is int
        and 0 <= age <= 150
        and kind in ("a", "ab", "abc", 1, None)
        and len(tags) <= 3
        and all(type(tag) is bool for tag in tags)
    )


BOUNDED: Final[list[tuple[dict[str, Any], Callable[[Any], bool]]]] = [
    (PERSON, is_person),
    ({"enum": ["", "é", '"\\', [], {"x": 1}]}, lambda value: value in ("", "é", '"\\', [], {"x": 1})),
    (
        {"anyOf": [{"type": "null"}, {"type": "string", "pattern": "^[äöü]{2,3}$"}]},
        lambda value: value is None or (2 <= len(value) <= 3 and set(value) <= set("äöü")),
    ),
]


def engine(model: FakeModel | None = None) -> LocalEngine:
    return engine_with(model or FakeModel(any_letter, context_size=4096))


def answer(request: ReplyRequest | CompleteRequest, model: FakeModel | None = None) -> list[ReplyEvent]:
    return list(engine(model).reply(request, never))


def failure_of(events: list[ReplyEvent]) -> Failed:
    assert isinstance(events[-1], Failed), events[-1]
    return events[-1]


@pytest.mark.parametrize(("schema", "fits"), BOUNDED)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_whatever_the_model_wants_a_finished_answer_is_json_of_the_schema(
    schema: dict[str, Any], fits: Callable[[Any], bool], seed: int
) -> None:
    sampling = replace(WILD, seed=seed)
    events = answer(replace(QUESTION, sampling=sampling, json_schema=json.dumps(schema), max_tokens=2000))
    finish = finish_of(events)
    assert finish.usage.is_incomplete == (finish.stop_reason is not StopReason.END_OF_GENERATION)
    if not finish.usage.is_incomplete:
        assert fits(json.loads(text_of(events)))


OTHER_SAMPLING: Final[list[dict[str, Any]]] = [
    {"temperature": 1.0, "top_k": 3, "min_keep": 50},
    {"temperature": 3.0, "top_n_sigma": 1.0, "typical_p": 0.5},
    {"temperature": 1.5, "xtc_probability": 1.0, "xtc_threshold": 0.0},
    {"temperature": 2.0, "mirostat": 1},
    {"temperature": 2.0, "mirostat": 2, "mirostat_tau": 1.0},
    {"temperature": 2.0, "adaptive_target": 0.3},
    {"temperature": 2.0, "dry_multiplier": 5.0, "repeat_penalty": 3.0, "logit_bias": "120+100,257+50"},
]


@pytest.mark.parametrize("fields", OTHER_SAMPLING, ids="-".join)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=5)
def test_no_way_of_sampling_leaves_the_grammar(fields: dict[str, Any], seed: int) -> None:
    sampling = replace(WILD, seed=seed, **fields)
    events = answer(replace(QUESTION, sampling=sampling, json_schema=json.dumps(PERSON), max_tokens=2000))
    finish = finish_of(events)
    if not finish.usage.is_incomplete:
        assert is_person(json.loads(text_of(events)))
    else:
        assert finish.stop_reason is StopReason.LENGTH


@given(seed=st.integers(0, 2**32 - 1), draft_max=st.integers(1, 9))
@settings(max_examples=20)
def test_speculation_changes_nothing_of_a_bound_answer(seed: int, draft_max: int) -> None:
    request = replace(QUESTION, sampling=replace(WILD, seed=seed), json_schema=json.dumps(PERSON), max_tokens=150)
    plain, ahead = (answer(replace(request, draft_max=most)) for most in (0, draft_max))
    assert tokens_of(plain) == tokens_of(ahead)
    assert finish_of(plain).usage.is_incomplete == finish_of(ahead).usage.is_incomplete
    assert finish_of(ahead).usage.accepted_tokens > 0


def test_the_only_continuation_that_a_grammar_allows_is_computed_ahead() -> None:
    usage = finish_of(answer(replace(QUESTION, grammar='root ::= "a long text that is fixed"'))).usage
    assert usage.drafted_tokens == usage.accepted_tokens > 10


def test_what_the_model_wants_and_the_grammar_allows_is_its_answer() -> None:
    events = answer(replace(QUESTION, grammar='root ::= "yes" | "no"'), FakeModel(answering("no")))
    assert (text_of(events), finish_of(events).stop_reason) == ("no", StopReason.END_OF_GENERATION)


def test_the_end_is_allowed_exactly_where_the_grammar_accepts() -> None:
    request = replace(QUESTION, grammar='root ::= "ab"*')
    assert text_of(answer(request, FakeModel(lambda tokens: EOS))) == ""
    assert text_of(answer(request, FakeModel(answering("abx")))) == "abab"
    assert text_of(answer(request, FakeModel(answering("aba")))) == "abab"


def test_control_tokens_are_never_text() -> None:
    events = answer(replace(QUESTION, grammar='root ::= "<s>" .{4}', sampling=replace(WILD, seed=5)))
    assert text_of(events).startswith("<s>")
    assert all(token_id < 256 for token_id in tokens_of(events)[:-1])


def test_a_text_that_must_hold_the_name_of_a_mark_holds_its_letters() -> None:
    model = FakeModel(any_letter)
    model.tokenizer = byte_tokenizer(user_defined=["<b>", "<<b>>", "[image]"])
    model.vocab_size = model.tokenizer.vocab_size
    model.tokenizer.add_space_prefix = True
    events = answer(replace(QUESTION, grammar='root ::= "a<b>c <<b>>[image] x"'), model)
    image = VOCAB_SIZE + 2
    assert tokens_of(events) == [*b"a<b>c <<b>>", image, *b" x", EOS]


def test_a_grammar_may_ask_for_a_control_token() -> None:
    events = answer(replace(QUESTION, grammar='root ::= "a" <s> "b"'))
    assert tokens_of(events) == [ord("a"), 256, ord("b"), EOS]


@pytest.mark.parametrize("reason", [StopReason.LENGTH, StopReason.CONTEXT_FULL])
def test_an_answer_that_is_cut_off_says_that_it_is_incomplete(reason: StopReason) -> None:
    most = 5 if reason is StopReason.LENGTH else None
    model = FakeModel(answering('{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaa'), context_size=48)
    finish = finish_of(answer(replace(QUESTION, json_schema="{}", max_tokens=most), model))
    assert (finish.stop_reason, finish.usage.is_incomplete) == (reason, True)


def test_an_answer_that_was_cut_off_where_the_grammar_accepts_is_complete() -> None:
    finish = finish_of(answer(replace(QUESTION, grammar="root ::= [a-z]+", max_tokens=3)))
    assert (finish.stop_reason, finish.usage.is_incomplete) == (StopReason.LENGTH, False)


def test_a_model_that_may_not_end_its_answer_ends_it_where_nothing_else_is_left() -> None:
    for model in (FakeModel(any_letter), FakeModel(any_letter)):
        model.tokenizer.end_of_generation = frozenset({EOS})
        events = answer(replace(QUESTION, grammar='root ::= "a" | "b" [c]?', ignore_eos=True), model)
        assert text_of(events) in ("a", "bc")
        model.tokenizer.end_of_generation = frozenset()


def test_a_vocabulary_without_an_end_ends_where_nothing_else_is_left() -> None:
    model = FakeModel(any_letter)
    model.tokenizer.end_of_generation = frozenset()
    events = answer(replace(QUESTION, grammar='root ::= "ab"'), model)
    assert (text_of(events), finish_of(events).stop_reason) == ("ab", StopReason.END_OF_GENERATION)


def test_a_loop_that_the_grammar_wants_is_no_loop() -> None:
    wanted = replace(QUESTION, grammar='root ::= ("over and over " "again "){40}', loop_guard=True)
    model = FakeModel(any_letter, context_size=4096)
    assert finish_of(answer(wanted, model)).stop_reason is StopReason.END_OF_GENERATION
    chosen = replace(wanted, grammar='root ::= ("over and over again ")*')
    finish = finish_of(answer(chosen, FakeModel(answering("over and over again " * 40), context_size=4096)))
    assert (finish.stop_reason, finish.usage.is_incomplete) == (StopReason.LOOP, False)


def test_a_cut_answer_goes_on_within_its_grammar() -> None:
    request = replace(QUESTION, json_schema=json.dumps(PERSON), sampling=replace(WILD, seed=1), max_tokens=9)
    with_engine = engine()
    begun = list(with_engine.reply(request, never))
    encoded = next(event for event in begun if isinstance(event, PromptEncoded))
    more = CompleteRequest(
        2,
        "",
        replace(WILD, seed=2),
        ledger=(*encoded.token_ids, *tokens_of(begun)),
        answer=text_of(begun),
        answer_tokens=len(tokens_of(begun)),
        json_schema=request.json_schema,
    )
    rest = list(with_engine.reply(more, never))
    assert not any(isinstance(event, GrammarProgress) for event in rest)
    assert is_person(json.loads(text_of(begun) + text_of(rest)))
    other = failure_of(list(with_engine.reply(replace(more, json_schema="", grammar='root ::= "no"'), never)))
    assert "does not fit its grammar" in other.message


def test_the_given_start_of_an_answer_is_part_of_it() -> None:
    events = answer(replace(QUESTION, reply_start='{"name": "x"', json_schema=json.dumps(PERSON), sampling=WILD))
    assert is_person(json.loads('{"name": "x"' + text_of(events)))
    assert "at “S”" in failure_of(answer(replace(QUESTION, reply_start="So", json_schema="{}"))).message


def test_a_text_that_goes_on_as_it_stands_is_bound_from_its_first_token() -> None:
    events = answer(CompleteRequest(1, "Is it? ", WILD, grammar='root ::= "yes" | "no"'))
    assert text_of(events) in ("yes", "no")


def test_compiling_is_told_once() -> None:
    with_engine = engine()
    request = replace(QUESTION, json_schema="{}", max_tokens=1)
    first, again = (list(with_engine.reply(request, never)) for _ in range(2))
    progress = [(event.done, event.total) for event in first if isinstance(event, GrammarProgress)]
    assert progress == [(0, 2), (1, 2), (2, 2)]
    assert first.index(next(event for event in first if isinstance(event, PromptEncoded))) == 3
    assert not any(isinstance(event, GrammarProgress) for event in again)
    other = list(with_engine.reply(replace(request, json_schema="true"), never))
    assert sum(isinstance(event, GrammarProgress) for event in other) == 2


@pytest.mark.parametrize(
    "place", ["{}", '{{"type": "array", "items": {}, "maxItems": 1}}', '{{"$defs": {{"x": {}}}, "$ref": "#/$defs/x"}}']
)
def test_a_format_that_nobody_knows_binds_nothing(place: str) -> None:
    schema = place.format('{"enum": ["a"], "format": "path"}')
    answered = text_of(answer(replace(QUESTION, json_schema=schema, max_tokens=200)))
    assert json.loads(answered) in ("a", ["a"], [])


def test_a_property_may_be_called_format() -> None:
    properties = {"format": {"enum": ["a"]}}
    schema = {"type": "object", "properties": properties, "required": ["format"], "additionalProperties": False}
    answered = text_of(answer(replace(QUESTION, json_schema=json.dumps(schema), max_tokens=200)))
    assert json.loads(answered) == {"format": "a"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"json_schema": '{"type": '}, "line 1, column 10"),
        ({"json_schema": "[1]"}, "not [1]"),
        ({"json_schema": '{"type": "nothing"}'}, "at its top: invalid type: nothing"),
        (
            {"json_schema": '{"properties": {"a/b": {"items": {"type": "string", "pattern": "(?=a)"}}}}'},
            "at /properties/a~1b/items: ",
        ),
        ({"json_schema": '{"anyOf": [{}, {"contains": 1}]}'}, 'at /anyOf/1: unimplemented keys: ["contains"]'),
        ({"json_schema": '{"$defs": {"x": {"type": "y"}}, "items": {"$ref": "#/$defs/x"}}'}, "at /items: "),
        ({"json_schema": '{"items": ' * 200 + "{}" + "}" * 200}, "nested too deeply"),
        ({"json_schema": '{"items": ' * 100_000 + "{}" + "}" * 100_000}, "nested too deeply"),
        ({"grammar": "root ::= a"}, "line 1, column 10"),
        ({"grammar": "root ::= root"}, "has no end"),
        ({"grammar": "root ::= x", "json_schema": "{}"}, "to a grammar and to a JSON schema"),
    ],
)
def test_a_wrong_grammar_is_one_error_that_names_the_place(fields: dict[str, str], words: str) -> None:
    with_engine = engine(FakeModel(answering("yes")))
    list(with_engine.reply(QUESTION, never))
    failed = list(with_engine.reply(replace(QUESTION, **fields), never))
    assert words in failure_of(failed).message
    assert {type(event) for event in failed} <= {GrammarProgress, Failed}
    assert finish_of(list(with_engine.reply(QUESTION, never))).usage.read_tokens == 1  # nothing was forgotten


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"json_schema": '{"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}'}, "no text fits"),
        pytest.param({"grammar": 'root ::= ("a"{1000}){1000}'}, "too intricate", marks=pytest.mark.slow),
    ],
)
def test_what_shows_only_within_an_answer_is_not_blamed_on_its_text(fields: dict[str, str], words: str) -> None:
    assert words in failure_of(answer(replace(QUESTION, **fields))).message


@pytest.mark.slow
def test_an_answer_may_go_on_in_thousands_of_ways() -> None:
    schema = {"properties": {f"p{number}": {"const": number} for number in range(2100)}, "additionalProperties": False}
    events = answer(replace(QUESTION, json_schema=json.dumps({"type": "object", **schema}), max_tokens=10))
    assert text_of(events).startswith("{")


# --- answers that may be free ---

CALLS: Final = ("<tool_call>", "<function=")


@pytest.mark.parametrize("said", ['<tool_call>{"x"}<end', "<function=f>1", "<tool_call><function=f>"])
def test_an_answer_that_begins_with_a_free_mark_is_free(said: str) -> None:
    question = replace(QUESTION, json_schema='{"type": "object"}', free_marks=CALLS)
    events = answer(question, FakeModel(answering(said)))
    assert text_of(events) == said
    assert not finish_of(events).usage.is_incomplete


def test_another_answer_is_bound_and_has_no_free_mark_further_on() -> None:
    question = replace(QUESTION, json_schema='{"enum": ["<", "a<b"]}', free_marks=CALLS)
    assert text_of(answer(question, FakeModel(answering('"a<tool_call>')))) == '"a<b"'


def test_a_mark_that_was_begun_is_written_out() -> None:
    question = replace(QUESTION, json_schema='{"type": "object"}', free_marks=("<tool_call>",))
    assert text_of(answer(question, FakeModel(answering("<to be or not")))).startswith("<tool_call>")


def test_an_answer_that_ends_within_a_mark_is_not_complete() -> None:
    question = replace(QUESTION, json_schema='{"type": "object"}', free_marks=CALLS, max_tokens=3)
    assert finish_of(answer(question, FakeModel(answering("<tool_call>")))).usage.is_incomplete


def test_a_mark_with_which_the_grammar_goes_on_does_not_make_free() -> None:
    question = replace(QUESTION, json_schema='{"type": "array", "maxItems": 0}', free_marks=("[CALLS]",))
    assert json.loads(text_of(answer(question, FakeModel(answering("[CALLS]"))))) == []


@pytest.mark.parametrize("said", ["{}", "<tool_call>x"])
def test_a_call_or_a_bound_text_follows_a_thought(said: str) -> None:
    model = thinking_model(f"<think>\nSo.\n</think>\n\n{said}", QWEN3, "assistant\n")
    events = answer(replace(QUESTION, json_schema='{"type": "object"}', free_marks=CALLS), model)
    assert (thought_of(events), text_of(events)) == ("So.", said)


# --- thoughts ---


def thinking_model(text: str, template: str, marker: str) -> FakeModel:
    model = FakeModel(following(text, marker), context_size=4096)
    model.chat_template = ChatTemplate(template, "test")
    return model


@pytest.mark.parametrize(
    ("said", "template", "marker"),
    [
        ("<think>\nSo no.\n</think>\n\nno", QWEN3, "assistant\n"),
        ("So no.\n</think>\n\nno", DEEPSEEK_R1, "<think>\n"),
    ],
)
def test_a_thought_is_free_and_the_text_behind_it_is_bound(said: str, template: str, marker: str) -> None:
    events = answer(replace(QUESTION, grammar='root ::= "yes" | "no"'), thinking_model(said, template, marker))
    assert (thought_of(events), text_of(events)) == ("So no.", "no")
    assert not finish_of(events).usage.is_incomplete


def test_a_model_that_is_not_to_think_begins_no_thought() -> None:
    model = thinking_model("<think>\nHm\n</think>\n\nno", QWEN3, "</think>\n\n")
    events = answer(replace(QUESTION, grammar='root ::= "yes" | "no"', thinking=Thinking.OFF), model)
    assert (thought_of(events), text_of(events) in ("yes", "no")) == ("", True)


def test_an_answer_does_not_end_within_its_thought() -> None:
    model = thinking_model("<think>\n", QWEN3, "assistant\n")
    finish = finish_of(answer(replace(QUESTION, grammar='root ::= "a"*', max_tokens=30), model))
    assert (finish.stop_reason, finish.usage.is_incomplete) == (StopReason.LENGTH, True)


def test_a_thought_that_is_closed_for_the_model_is_followed_by_the_bound_text() -> None:
    model = thinking_model("<think>\n" + "Hm " * 200, QWEN3, "assistant\n")
    events = answer(replace(QUESTION, grammar='root ::= "yes" | "no"', thinking_tokens=20), model)
    assert text_of(events) in ("yes", "no")
    assert thought_of(events).startswith("Hm")


def marked_model(said: str, template: str, begin: str, marks: tuple[str, ...]) -> FakeModel:
    """A model with tokens of their own for marks, which wants to say something behind the first `begin`."""
    model = FakeModel(context_size=4096)
    model.tokenizer = byte_tokenizer(control=marks)
    model.vocab_size += len(marks)
    model.chat_template = ChatTemplate(template, "test", control_spans=model.tokenizer.control_spans)
    wanted, start = (model.tokenizer.tokenize(text, parse_special=True) for text in (said, begin))

    def rule(tokens: Sequence[int]) -> int:
        places = (at + len(start) for at in range(len(tokens)) if list(tokens[at : at + len(start)]) == start)
        place = len(tokens) - next(places, len(tokens))
        return wanted[place] if place < len(wanted) else EOS

    model.rule = rule
    return model


def test_where_an_answer_has_channels_its_last_one_is_bound() -> None:
    marks = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>")
    said = "<|channel|>analysis<|message|>Hm {no}<|end|><|start|>assistant<|channel|>final<|message|>no"
    model = marked_model(said, HARMONY, "<|start|>assistant", marks)
    events = answer(replace(QUESTION, grammar='root ::= "yes" | "no"'), model)
    assert (thought_of(events), text_of(events)) == ("Hm {no}", "no")
    impatient = marked_model("yes", HARMONY, "<|start|>assistant", marks)
    begun = tokens_of(answer(replace(QUESTION, grammar='root ::= "yes" | "no"', max_tokens=3), impatient))
    assert begun[0] == impatient.tokenizer.token_id("<|channel|>")


def test_the_marks_of_a_thought_are_no_text_within_the_answer() -> None:
    said = '<think>\nHm\n</think>\n\n"<think>"'
    model = marked_model(said, QWEN3, "assistant\n", ("<think>", "</think>"))
    events = answer(replace(QUESTION, json_schema='{"type": "string"}', max_tokens=40), model)
    assert thought_of(events) == "Hm"
    assert model.tokenizer.token_id("<think>") not in tokens_of(events)[1:]
