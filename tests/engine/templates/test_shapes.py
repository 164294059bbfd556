"""Whatever a chat went through, and whatever a template asks for, there is a prompt, with all that the user said."""

import itertools
import os
import random
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scale import scaled
from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.prompting.prompt_messages import prompt_messages
from tui_llama.engine.templates.chat_template import ChatTemplate
from tui_llama.engine.templates.known import KNOWN_TEMPLATES, PLAIN_TEMPLATE
from tui_llama.errors import EngineError

NOW = datetime(2026, 11, 27, 9, 30)
LOOP = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}<|assistant|>"

OWN_TEMPLATES = {
    "alternation and no system": """\
{%- if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{%- for m in messages %}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}
<|{{ m.role }}|>{{ m.content | trim }}<|end|>
{%- endfor %}""",
    "alternation behind a system message": """\
{%- if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system = messages[0]['content'] %}
{%- else %}{% set loop_messages = messages %}{% endif %}
{%- for m in loop_messages %}
{%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}
{%- if not m['content'] and m['role'] == 'assistant' %}{{ raise_exception('An answer is empty') }}{% endif %}
{%- if loop.first and system is defined %}{{ '<<SYS>>' + system + '<</SYS>>' }}{% endif %}
[{{ m['role'] }}]{{ m['content'] + eos_token }}
{%- endfor %}""",
    "system messages only at the beginning": """\
{%- for m in messages %}
{%- if m.role == 'system' and not loop.first %}{{ raise_exception('System message must be first') }}{% endif %}
{%- if m.role not in ['system', 'user', 'assistant'] %}{{ raise_exception('Only known roles') }}{% endif %}
<|{{ m.role }}|>{{ m.content }}
{%- endfor %}
{%- if messages[-1].role != 'user' %}{{ raise_exception('The last message must be the user\\'s') }}{% endif %}""",
    "a question to be found": """\
{%- set ns = namespace(last=-1) %}
{%- for m in messages[::-1] %}{% set index = (messages | length - 1) - loop.index0 %}
{%- if ns.last < 0 and m.role == 'user' and m.content is string %}{% set ns.last = index %}{% endif %}{% endfor %}
{%- if ns.last < 0 %}{{ raise_exception('No user query found in messages.') }}{% endif %}
{%- for m in messages %}
{%- if m.role == 'assistant' and '</think>' in m.content %}{{ m.content.split('</think>')[-1].lstrip('\\n') }}
{%- else %}<|{{ m.role }}|>{{ m.content }}{% endif %}{% endfor %}""",
    "undefined names": """\
{{- functions + '' }}{{ 'Tools: ' + tools }}{{ builtin_tools.code.name }}{{ custom_tools | tojson(indent=2) }}
{%- if tools is defined or documents is defined %}{{ raise_exception('There are none') }}{% endif %}
{%- for tool in tools %}{{ tool.name }}{% endfor %}{% if 'x' in builtin_tools %}x{% endif %}{{ functions | length }}
{%- if messages[0].tool_calls %}x{% endif %}{{ messages[0].reasoning_content.text }}"""
    + LOOP,
    "tools as transformers gives them": """\
{%- if tools is none %}{% set has_tools = false %}{% else %}{% set has_tools = tools | length > 0 %}{% endif %}
{%- if documents is not none %}{{ documents[0].title + 1 }}{% endif %}"""
    + LOOP,
    "other efforts": "{% if reasoning_effort is defined and reasoning_effort not in ['high', 'no_think'] %}"
    "{{ raise_exception('reasoning_effort error') }}{% endif %}" + LOOP,
    "an effort": "{{ 'Reasoning: ' + reasoning_effort ~ enable_thinking }}" + LOOP,
    "dates": "{{ strftime_now('%d %b %Y') ~ date_string ~ datetime }}" + LOOP,
    "macros, namespaces and loop controls": """\
{%- macro write(m, count) -%}<|{{ m.role }}|>{{ m.content }}{%- endmacro %}
{%- set ns = namespace(count=0, is_first=true) %}
{%- for m in messages %}{% set ns.count = ns.count + 1 %}
{%- if loop.index0 > 100 %}{% break %}{% endif %}{% if m.role == 'tool' %}{% continue %}{% endif %}
{{- write(m, ns.count) }}{% generation %}{% endgeneration %}
{%- endfor %}{{ {'a': [1, '<é>']} | tojson(indent=4, ensure_ascii=false) }}""",
    "content in parts": "{% for m in messages %}<|{{ m.role }}|>{{ m.content[0].text }}{% endfor %}",
    "content in parts, gone through": "{% for m in messages %}<|{{ m.role }}|>{% for part in m['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endfor %}",
    "content in parts, chosen": "{% for m in messages %}<|{{ m.role }}|>"
    "{{ (m.content | selectattr('type', 'equalto', 'text') | list)[0].text }}{% endfor %}",
    "content in parts, of the user": "{% for m in messages %}{% if m.role == 'user' %}{{ m.content[0]['text'] + '\n' }}"
    "{% else %}{{ '[' + m.content + ']' }}{% endif %}{% endfor %}",
    "content in parts or not": "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for part in m.content %}{{ part.text }}{% endfor %}{% endif %}\n{% endfor %}",
}  # fmt: skip

SPEAKERS = (Role.SYSTEM, Role.USER, Role.ASSISTANT)  # test_tools.py has chats with tools
roles = st.sampled_from(SPEAKERS)
texts = st.sampled_from(
    ["", " ", "\n\n", "yes", "two words", " a blank before", "and after\n", "<|im_end|>", "é🦙", "[INST]"]
)
paths = st.lists(st.builds(ChatMessage, roles, texts), max_size=10)


def written(template: ChatTemplate, path: list[ChatMessage]) -> str:
    """The prompt for a path."""
    return str(template.render(prompt_messages(path), now=NOW))


def assert_all_is_said(prompt: str, path: list[ChatMessage]) -> None:
    """The prompt holds all that the user said, in its order."""
    place = 0
    for message in path:
        if message.role is Role.USER:
            said = message.text.strip()
            found = prompt.find(said, place)
            assert found >= 0, f"{said!r} is missing in {prompt!r} behind its first {place} characters"
            place = found + len(said)


@pytest.mark.parametrize("source", OWN_TEMPLATES.values(), ids=OWN_TEMPLATES)
@settings(max_examples=scaled(40, 400))
@given(path=paths)
def test_a_template_writes_chats_of_every_shape(source: str, path: list[ChatMessage]) -> None:
    template = ChatTemplate(source, "test", bos_text="<s>", eos_text="</s>")
    template.check()
    asked = [*path, ChatMessage(Role.USER, "a question")]
    assert_all_is_said(written(template, asked), asked)


@pytest.mark.parametrize("name", [*sorted(KNOWN_TEMPLATES), "plain"])
@settings(max_examples=scaled(40, 400))
@given(path=paths, answer=st.sampled_from(["yes", "no\nmore"]), further=texts)
def test_known_templates_only_add_to_what_was_fed(
    name: str, path: list[ChatMessage], answer: str, further: str
) -> None:
    source = KNOWN_TEMPLATES.get(name, PLAIN_TEMPLATE)
    template = ChatTemplate(source, "test", bos_text="<s>", eos_text="</s>")
    asked = [*path, ChatMessage(Role.USER, "a question")]
    answered = [*asked, ChatMessage(Role.ASSISTANT, answer), ChatMessage(Role.USER, further)]
    before, after = written(template, asked), written(template, answered)
    assert after.startswith(before)
    assert_all_is_said(before, asked)
    assert_all_is_said(after, answered)


def test_a_chat_is_written_as_if_what_says_nothing_had_not_been() -> None:
    template = ChatTemplate(OWN_TEMPLATES["alternation and no system"], "test")
    path = [ChatMessage(Role.USER, "one"), ChatMessage(Role.ASSISTANT, ""), ChatMessage(Role.USER, "two")]
    assert written(template, path) == "<|user|>one\n\ntwo<|end|>"


def test_content_in_parts_is_what_a_template_for_images_gets() -> None:
    talk = [ChatMessage(Role.USER, "one"), ChatMessage(Role.ASSISTANT, "yes"), ChatMessage(Role.USER, "two")]
    for name, text in (
        ("content in parts", "<|user|>one<|assistant|>yes<|user|>two"),
        ("content in parts, gone through", "<|user|>one<|assistant|>yes<|user|>two"),
        ("content in parts, of the user", "one\n[yes]two\n"),
        ("content in parts or not", "oneyestwo"),
    ):
        rendered = ChatTemplate(OWN_TEMPLATES[name], "test").render(talk)
        assert rendered == text
        assert [rendered[start:end] for start, end in rendered.user_spans or ()] == ["one", "two"]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ tools is defined or documents is defined or functions is defined }}", "False"),
        ("{{ functions + '' }}{{ '' + functions }}{{ functions + [1] }}{{ none + 'a' }}", "[1]a"),
        ("{{ custom_tools.a['b'].c }}{{ custom_tools | tojson }}{{ 'x' if custom_tools else 'y' }}", "nully"),
        ("{{ functions | default('d') }}{{ functions.x | trim }}{{ functions | length }}", "d0"),
        ("{{ reasoning_effort }} {{ enable_thinking }}", "medium True"),
        ("{{ bos_token + eos_token + pad_token }}", "<s></s>"),
    ],
)
def test_what_is_not_there_is_nothing(source: str, text: str) -> None:
    template = ChatTemplate("{{ messages[0].content }}: " + source, "test", bos_text="<s>", eos_text="</s>")
    assert template.render([ChatMessage(Role.USER, "hi")]) == "hi: " + text


@pytest.mark.parametrize(
    "source", ["{{ 1 / 0 }}", "{{ unheard_of() }}", "{{ unheard_of < 3 }}", "{{ messages[0].pop() }}"]
)
def test_what_is_wrong_stays_wrong(source: str) -> None:
    with pytest.raises(EngineError, match="failed"):
        ChatTemplate(source, "test").render([ChatMessage(Role.USER, "hi")])


@pytest.mark.shared
@pytest.mark.parametrize("name", ["alternate", "functions-undefined"])
def test_templates_that_refused_or_failed_write_chats_of_every_shape(name: str, shared_folder: Path) -> None:
    source = (shared_folder / "hunt" / "templates" / f"{name}.jinja").read_text()
    template = ChatTemplate(source, "test", bos_text="<s>", eos_text="</s>")
    template.check()
    for path in some_paths(100):
        prompt = written(template, path)
        assert prompt.endswith("<|end|><|go|>")
        assert_all_is_said(prompt, path)


# --- templates of others, which are not ours to give away ---


def some_paths(count: int) -> Iterator[list[ChatMessage]]:
    """Random paths, the same each time, with words that no template changes."""
    random_numbers = random.Random(7)
    words = itertools.count(1)
    for _ in range(count):
        blanks = ("", " ", "\n\n")
        path = [
            ChatMessage(
                random_numbers.choice(SPEAKERS), random_numbers.choice([f"word{next(words)}", " x", "y\n", *blanks])
            )
            for _ in range(random_numbers.randrange(9))
        ]
        yield [*path, ChatMessage(Role.USER, "a question")]


@pytest.mark.skipif("TUI_LLAMA_TEMPLATES" not in os.environ, reason="names a folder with *.jinja, such as llama.cpp's")
def test_templates_of_a_folder_write_chats_of_every_shape() -> None:
    files = sorted(Path(os.environ["TUI_LLAMA_TEMPLATES"]).glob("*.jinja"))
    assert files
    for file in files:
        template = ChatTemplate(file.read_text(), file.name, bos_text="<s>", eos_text="</s>")
        template.check()
        for path in some_paths(200):
            try:
                assert_all_is_said(written(template, path), path)
            except (EngineError, AssertionError) as error:
                raise AssertionError(f"{file.name}: {error}: {path}") from error
