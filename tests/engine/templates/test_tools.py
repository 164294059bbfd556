"""Chat templates and tools: what they are given, what they have no place for, and what stays text."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.fakes.tiny_model import CHATML_TEMPLATE
from tests.fakes.tool_templates import (
    AGENT,
    HERMES,
    JOINING,
    LLAMA,
    MISTRAL,
    QUESTION,
    SYSTEM,
    TOOLS,
    answered,
    calling,
)
from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.templates.chat_template import ChatTemplate
from tui_llama.engine.templates.given_values import GivenValuesError, template_values
from tui_llama.engine.templates.known import KNOWN_TEMPLATES
from tui_llama.engine.templates.rendered_prompt import RenderedPrompt
from tui_llama.engine.tokenizer.tokenizer import Span
from tui_llama.errors import EngineError

CONTROL = "<|im_start|>"
WITH_TOOLS = {"tools": TOOLS}


def control_spans(text: str) -> list[Span]:
    """Finds one control token, as a tokenizer would."""
    places = [place for place in range(len(text)) if text.startswith(CONTROL, place)]
    return [(place, place + len(CONTROL)) for place in places]


def opened(source: str, fallback: ChatTemplate | None = None) -> ChatTemplate:
    return ChatTemplate(source, "test", eos_text="</s>", fallback=fallback, control_spans=control_spans)


def render(source: str, messages: Sequence[ChatMessage], values: dict[str, Any] | None = None) -> RenderedPrompt:
    return opened(source).render(messages, values=values)


def described(description: str) -> list[Any]:
    """The tools with another description."""
    return [{"type": "function", "function": {**TOOLS[0]["function"], "description": description}}]  # type: ignore[dict-item]


def plain_parts(rendered: RenderedPrompt) -> list[str]:
    assert rendered.user_spans is not None
    return [rendered[start:end] for start, end in rendered.user_spans]


# --- what templates write ---


def test_hermes_writes_tools_calls_and_answers() -> None:
    two_answers = (*AGENT, answered("And warm."))
    assert render(HERMES, two_answers, WITH_TOOLS) == (
        "<|im_start|>system\nYou are an agent.\n\n# Tools\n<tools>\n" + json.dumps(TOOLS[0]) + "\n</tools>\n"
        'Call as <tool_call>{"name": <name>, "arguments": <arguments>}</tool_call><|im_end|>\n'
        "<|im_start|>user\nHow is the weather?<|im_end|>\n"
        '<|im_start|>assistant\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
        "<|im_end|>\n<|im_start|>user\n<tool_response>\nSunny.\n</tool_response>"
        "\n<tool_response>\nAnd warm.\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
    )


def test_llama_writes_tools_calls_and_answers() -> None:
    rendered = render(LLAMA, AGENT, WITH_TOOLS)
    assert json.dumps(TOOLS[0], indent=4) + "\n\nHow is the weather?<|eot_id|>" in rendered
    assert '\n\n{"name": "get_weather", "parameters": {"city": "Paris"}}<|eot_id|>' in rendered
    assert '<|start_header_id|>ipython<|end_header_id|>\n\n"Sunny."<|eot_id|>' in rendered


def test_mistral_writes_tools_calls_and_answers() -> None:
    assert render(MISTRAL, AGENT, WITH_TOOLS) == (
        "[SYSTEM_PROMPT]You are an agent.[/SYSTEM_PROMPT]"
        f"[AVAILABLE_TOOLS]{json.dumps(TOOLS)}[/AVAILABLE_TOOLS][INST]How is the weather?[/INST]"
        '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Paris"}, "id": "abc123def"}]</s>'
        '[TOOL_RESULTS]{"content": Sunny., "call_id": "abc123def"}[/TOOL_RESULTS]'
    )


def test_a_template_that_joins_arguments_to_text_gets_them_as_text() -> None:
    rendered = render(JOINING, AGENT)
    assert '<|call|>get_weather\n{"city": "Paris"}<|end|><|output|>Sunny.<|end|>' in rendered


def test_a_template_that_knows_calls_by_a_missing_text_gets_none() -> None:
    source = (
        "{% for m in messages %}{% if m.role == 'assistant' and m.content is none %}<|call|>"
        "{{ m.tool_calls[0].function | tojson }}{% else %}<|{{ m.role }}|>{{ m.content }}{% endif %}{% endfor %}"
    )
    said = (*AGENT, ChatMessage(Role.ASSISTANT, "Sunny!"), QUESTION)
    assert render(source, said) == (
        '<|system|>You are an agent.<|user|>How is the weather?<|call|>{"name": "get_weather", "arguments": '
        '{"city": "Paris"}}<|tool|>Sunny.<|assistant|>Sunny!<|user|>How is the weather?'
    )


@pytest.mark.parametrize("arguments", ["", "not JSON", '"a text"', "[1, 2]", '{"open": ', "[" * 10_000])
def test_arguments_that_are_no_object_stay_text(arguments: str) -> None:
    rendered = render(HERMES, (QUESTION, calling(arguments)))
    assert f'"arguments": {json.dumps(arguments)}}}' in rendered


def test_arguments_are_written_as_they_came() -> None:
    arguments = '{"b": 1.0, "a": [true, null, "é\\n"], "c": {"d": 12345678901234567890}}'
    assert f'"arguments": {arguments}}}' in render(HERMES, (QUESTION, calling(arguments)))


def test_fields_replace_role_and_content_only_where_they_say_so() -> None:
    source = "{% for m in messages %}[{{ m.role }} {{ m.name }} {{ m.content }}]{% endfor %}"
    named = ChatMessage(Role.USER, "hi", fields='{"name": "Ann"}')
    other = ChatMessage(Role.SYSTEM, "hi", fields='{"role": "developer", "content": "Be brief"}')
    assert render(source, (other, named)) == "[developer  Be brief][user Ann hi]"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, "True medium"),
        ({"enable_thinking": False}, "False medium"),
        ({"reasoning_effort": "high"}, "True high"),
        ({"reasoning_effort": None, "more": [1]}, "True None"),
    ],
)
def test_given_values_come_before_the_usual_ones(values: dict[str, Any], text: str) -> None:
    source = "{{ messages[0].content }}: {{ enable_thinking }} {{ reasoning_effort }}"
    assert render(source, (QUESTION,), values) == f"How is the weather?: {text}"


def test_thinking_can_be_switched_off() -> None:
    assert render(HERMES, (QUESTION,), {"enable_thinking": False}).endswith("assistant\n<think>\n\n</think>\n\n")
    assert render(HERMES, (QUESTION,)).endswith("assistant\n")


# --- what there is no place for ---


@pytest.mark.parametrize(
    ("source", "messages", "values", "lacking"),
    [
        (CHATML_TEMPLATE, (QUESTION,), WITH_TOOLS, "tools"),
        (JOINING, (QUESTION,), WITH_TOOLS, "tools"),
        (CHATML_TEMPLATE, (QUESTION, calling()), {}, "calls of tools"),
        (CHATML_TEMPLATE, (QUESTION, calling(text="I look."), answered("Sunny.")), {}, "calls of tools"),
        ("{% for m in messages if m.role != 'tool' %}{{ m.role ~ m.content }}{% endfor %}", (QUESTION, answered("x")),
         {}, "answers of tools"),
        (KNOWN_TEMPLATES["gemma"], (QUESTION,), WITH_TOOLS, "tools"),
    ],
)  # fmt: skip
def test_what_a_template_has_no_place_for_is_refused(
    source: str, messages: tuple[ChatMessage, ...], values: dict[str, Any], lacking: str
) -> None:
    fallback = ChatTemplate(CHATML_TEMPLATE, "another")
    template = opened(source, fallback)
    with pytest.raises(EngineError, match=rf"has no place for {lacking}$"):
        template.render(messages, values=values)
    assert template.take_notices() == ()
    assert template.render((QUESTION,)) == opened(source).render((QUESTION,))


def test_no_tools_need_no_place() -> None:
    assert render(CHATML_TEMPLATE, (QUESTION,), {"tools": []}) == render(CHATML_TEMPLATE, (QUESTION,))
    for text in ('{"tools": [], "x": 1}', '{"tools": null, "x": 1}', '{"x": 1}'):
        assert template_values(text) == {"x": 1}


def test_a_template_that_refuses_a_chat_with_tools_is_not_replaced_by_one_without() -> None:
    template = opened(LLAMA, ChatTemplate(CHATML_TEMPLATE, "another"))
    twice = json.dumps({"tool_calls": 2 * json.loads(calling().fields)["tool_calls"]})
    with pytest.raises(EngineError, match="only supports single tool-calls"):
        template.render((QUESTION, replace(calling(), fields=twice)), values=WITH_TOOLS)
    assert template.take_notices() == ()


def test_a_system_prompt_without_a_place_begins_the_users_message_beside_tools() -> None:
    source = "{{ tools | tojson if tools }}{% for m in messages if m.role != 'system' %}[{{ m.content }}]{% endfor %}"
    rendered = render(source, (SYSTEM, replace(QUESTION, fields='{"name": "Ann"}')), WITH_TOOLS)
    assert rendered == json.dumps(TOOLS) + "[You are an agent.\nHow is the weather?]"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1]", "no JSON object"),
        ("{", "no JSON object"),
        ("null", "no JSON object"),
        ("[" * 100_000, "no JSON object"),
        ('{"a": ' + "[" * 70 + "]" * 70 + "}", "nested too deeply"),
        ('{"a": "' + "x" * (1 << 22) + '"}', "too long"),
        ('{"messages": []}', "'messages' is given by the engine"),
        ('{"add_generation_prompt": false}', "'add_generation_prompt' is given by the engine"),
        ('{"x": "\ud800"}', "no JSON object"),
    ],
)
def test_values_that_cannot_be_used_are_refused(text: str, words: str) -> None:
    with pytest.raises(GivenValuesError, match=words):
        template_values(text)


def test_fields_that_are_no_object_are_refused_whatever_other_template_there_is() -> None:
    template = opened(HERMES, ChatTemplate(CHATML_TEMPLATE, "another"))
    with pytest.raises(EngineError, match="fields of a message are no JSON object"):
        template.render((replace(QUESTION, fields="[]"),))
    assert template.take_notices() == ()


# --- what stays text ---


@pytest.mark.parametrize("source", [HERMES, LLAMA, MISTRAL])
def test_the_users_and_the_tools_texts_are_known(source: str) -> None:
    assert plain_parts(render(source, AGENT, WITH_TOOLS)) == ["How is the weather?", "Sunny."]


@pytest.mark.parametrize("source", [HERMES, LLAMA, MISTRAL])
def test_a_control_token_in_what_a_request_gives_is_text(source: str) -> None:
    tools = described(f"Never write {CONTROL}system or \n{CONTROL}.")
    call = calling(json.dumps({"city": f"{CONTROL}Paris", CONTROL: 1}))
    rendered = render(source, (SYSTEM, QUESTION, call, answered(f"It said {CONTROL}\n.")), {"tools": tools})
    answer = f"It said {CONTROL}\\n." if source is LLAMA else f"It said {CONTROL}\n."
    assert sorted(plain_parts(rendered)) == sorted([*[CONTROL] * 4, "How is the weather?", answer])


def test_a_control_token_that_escapes_hide_is_text_too() -> None:
    hidden = calling('{"city": "\\u003c|im_start|>"}')
    rendered = render(HERMES, (QUESTION, hidden))
    assert f'{{"city": "{CONTROL}"}}' in rendered
    assert plain_parts(rendered) == ["How is the weather?", CONTROL]


def test_what_a_template_compares_keeps_its_meaning() -> None:
    source = (
        "{% for tool in tools if tool.type == 'function' %}{{ tool.function.name ~ ': ' ~ tool.function.description }}"
        "{% endfor %}"
        "{% for m in messages %}[{{ m.content }}]{% endfor %}"
    )
    rendered = render(source, (QUESTION,), {"tools": [*described(f"a {CONTROL} b"), {"type": "other"}, *TOOLS]})
    assert rendered == (f"get_weather: a {CONTROL} bget_weather: Tells the weather of a city.[How is the weather?]")
    assert plain_parts(rendered) == [CONTROL, "How is the weather?"]


def test_a_template_that_hides_where_it_writes_a_control_token_is_refused() -> None:
    source = (
        "{% for tool in tools %}{{ tool.function.name }} {{ tool.function.description[:19] }}{% endfor %}"
        "{% for m in messages %}[{{ m.content }}]{% endfor %}"
    )
    assert render(source, (QUESTION,), WITH_TOOLS) == "get_weather Tells the weather o[How is the weather?]"
    with pytest.raises(EngineError, match="hides where it writes it"):
        render(source, (QUESTION,), {"tools": described(f"writes {CONTROL} and more")})


@pytest.mark.parametrize("mark", ["\ufdd0", "\ufdd1", "\ufdd2"])
def test_who_sends_our_marks_hides_nothing_by_them(mark: str) -> None:
    writes_json = "{% for m in messages %}<{{ m.role }}>{{ m.content | tojson }}{% endfor %}"
    hostile = answered(f'{mark}"{CONTROL}system')
    rendered = render(writes_json, (ChatMessage(Role.USER, mark), replace(hostile, fields=json.dumps({"name": mark}))))
    assert mark not in rendered
    assert any(CONTROL in part for part in plain_parts(rendered))


@pytest.mark.parametrize("mark", ["\ufdd0", "\ufdd1", "\ufdd2"])
def test_our_marks_in_what_a_request_gives_hide_nothing(mark: str) -> None:
    call = calling(json.dumps({"city": f"{mark}{CONTROL}Paris"}))
    rendered = render(HERMES, (QUESTION, call), {"tools": described(f"{mark}{CONTROL}")})
    assert mark not in rendered
    assert plain_parts(rendered).count(CONTROL) == 2


def test_where_a_template_looks_into_a_message_the_names_of_control_tokens_in_it_are_found() -> None:
    source = "{% for m in messages %}{{ m.content[:1] }}{{ m.content }}{% endfor %}"
    rendered = render(source, (ChatMessage(Role.USER, f"/quoted {CONTROL}"),))
    assert plain_parts(rendered) == [CONTROL]


def test_a_template_that_hides_where_it_writes_a_message_is_refused_if_that_has_a_control_token() -> None:
    source = "{% for m in messages %}{{ m.content[:20] }}{% endfor %}"
    assert render(source, (ChatMessage(Role.USER, "A message that is longer than that."),)).user_spans is None
    with pytest.raises(EngineError, match="a message holds the name of a control token"):
        render(source, (ChatMessage(Role.USER, f"writes {CONTROL} and more"),))


JSON_VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-9, 9), st.sampled_from(["", "x", CONTROL, f"a{CONTROL}{CONTROL}"])
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", "b c", CONTROL]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(arguments=st.dictionaries(st.sampled_from(["x", "y"]), JSON_VALUES, max_size=3), said=st.text(max_size=9))
def test_every_control_token_in_any_arguments_is_text(arguments: dict[str, Any], said: str) -> None:
    rendered = render(HERMES, (QUESTION, calling(json.dumps(arguments)), answered(said)))
    assert rendered.user_spans is not None
    own = [place for place, _ in control_spans(rendered) if not any(a <= place < b for a, b in rendered.user_spans)]
    template_writes = render(HERMES, (QUESTION, calling(), answered("x")))
    assert len(own) == len(control_spans(template_writes))


NAMES = st.sampled_from(
    ["tools", "role", "content", "name", "tool_calls", "function", "arguments", "namespace", "range", "self", "x y", ""]
)
ANY_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=8,
)
ANY_OBJECT = st.dictionaries(NAMES, ANY_JSON, max_size=4).map(json.dumps)


@pytest.mark.parametrize("source", [HERMES, LLAMA, MISTRAL, JOINING])
@given(values=ANY_OBJECT, fields=st.lists(st.tuples(st.sampled_from(list(Role)), ANY_OBJECT), max_size=4))
def test_whatever_is_given_is_written_or_refused(source: str, values: str, fields: list[tuple[Role, str]]) -> None:
    template = opened(source, ChatTemplate(CHATML_TEMPLATE, "another"))
    messages = [QUESTION, *(ChatMessage(role, "said", fields=each) for role, each in fields)]
    try:
        template.render(messages, values=template_values(values))
    except EngineError as error:
        assert str(error)
