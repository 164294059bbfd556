"""Hostile templates: no way out of the sandbox, and no way to use up time or memory."""

from datetime import datetime

import pytest

from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.templates.chat_template import ChatTemplate
from tui_llama.engine.templates.sandbox import SandboxedTemplate
from tui_llama.engine.templates.value_limits import TemplateLimitError
from tui_llama.errors import EngineError

QUESTION = (ChatMessage(Role.USER, "Hello"),)

ESCAPES = [
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ ''|attr('\\x5f\\x5fclass\\x5f\\x5f') }}",
    "{{ [].__class__.__base__.__subclasses__() }}",
    "{{ {}.__class__.__bases__ }}",
    "{{ ().__class__.__mro__ }}",
    "{{ (1).__class__ }}",
    "{{ messages.__class__ }}",
    "{{ messages[0].__class__.__init__.__globals__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ self.__class__.__mro__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__.__builtins__.__import__('os').system('true') }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ range.__class__ }}",
    "{{ range.__self__ }}",
    "{{ range.__func__.__globals__ }}",
    "{{ dict.__globals__ }}",
    "{{ raise_exception.__globals__ }}",
    "{{ raise_exception.__code__ }}",
    "{{ strftime_now.__self__ }}",
    "{{ strftime_now.__self__.__class__ }}",
    "{{ '{0.__class__}'.format('') }}",
    "{{ '{0.__class__.__mro__}'.format(messages) }}",
    "{{ '{a.__class__}'.format_map({'a': ''}) }}",
    "{% set f = '{0.__class__}'.format %}{{ f('') }}",
    "{{ ['{0.__class__}']|map('format', '')|list }}{{ ''|map(attribute='__class__')|list + [''.__class__] }}",
    "{{ (['{0.__class__}'.format]|first)('') }}",
    "{{ [''] | map(attribute='__class__') | first }}",
    "{{ [''] | map('attr', '__class__') | list }}",
    "{{ [''] | selectattr('__class__') | list | first | attr('__class__') }}",
    "{{ [''] | groupby('__class__') | first | first }}",
    "{{ [''] | sum(attribute='__class__', start='') }}",
    "{{ messages.append(1) }}",
    "{{ messages[0].update({'role': 'x'}) }}",
    "{{ messages[0].pop('role') }}",
    "{{ messages.clear() }}",
    "{% set ns = namespace(f=''.format) %}{{ ns.f.__class__ }}{{ ns.f.__self__ }}",
    "{% set ns = namespace(f='{0.__class__}'.format) %}{{ ns.f('') }}",
    "{% set ns = namespace(x='') %}{{ ns.__class__ }}{{ ns._Namespace__attrs }}{{ ns.x.__class__ }}",
    "{% macro m() %}{% endmacro %}{{ m.__globals__ }}",
    "{% macro m() %}{% endmacro %}{{ m._func.__globals__ }}",
    "{% macro m() %}{% endmacro %}{{ m._environment.from_string }}{{ m._environment.globals.x.y }}",
    "{% for x in [1] %}{{ loop.__class__ }}{% endfor %}",
    "{% for x in [1] %}{{ loop._iterable.__class__ }}{% endfor %}",
    "{% include '/etc/passwd' %}",
    "{% import '/etc/passwd' as x %}",
    "{% from '/etc/passwd' import x %}",
    "{% extends '/etc/passwd' %}",
    "{{ environment.from_string('x').render() }}",
    "{{ context.environment.x }}",
    "{{ caller.__globals__.x }}",
    "{{ undefined_name.__init__.__globals__ }}",
    "{{ open('/etc/passwd').read() }}",
    "{{ __import__('os') }}",
    "{{ eval('1') }}",
    "{{ get_flashed_messages.__globals__.x }}",
    "{% set x.y = 1 %}",
    "{{ (messages|list).__reduce_ex__(2) }}",
    "{{ 'x'.encode().__class__ }}",
    "{% trans %}x{% endtrans %}",
    "{% debug %}",
]  # fmt: skip

BOMBS = [
    "{{ 'a' * 10**9 }}",
    "{{ 10**9 * 'a' }}",
    "{{ [0] * 10**9 }}",
    "{{ '%1000000000s' % 1 }}",
    "{{ '%.1000000000f' % 1.0 }}",
    "{{ '%*d' % (1000000000, 1) }}",
    "{{ '%1000000000s' | format(1) }}",
    "{{ '{:>1000000000}'.format(1) }}",
    "{{ '{:>{}}'.format(1, 1000000000) }}",
    "{{ '{x:>1000000000}'.format_map({'x': 1}) }}",
    "{{ 'a'.ljust(10**9) }}{{ 'a'.rjust(10**9) }}",
    "{{ 'a'.center(1000000000) }}",
    "{{ 'a'.zfill(1000000000) }}",
    "{{ '\t'.expandtabs(1000000000) }}",
    "{{ 'a' | center(1000000000) }}",
    "{{ 'a\nb' | indent(1000000000) }}",
    "{{ [1] | tojson(indent=1000000000) }}",
    "{{ [1] | batch(1000000000, 'x') | list }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ range(10**9) | list }}",
    "{{ range(10**9) | sum }}",
    "{% for i in range(60000) %}{% for j in range(60000) %}{% endfor %}{% endfor %}",
    "{% for i in range(60000) %}{% for j in range(60000) if false %}{% endfor %}{% endfor %}",
    "{% set r = range(60000) | list %}{% for i in r %}{% for j in r if false %}{% endfor %}{% endfor %}",
    "{% set r = range(60000) | list %}{% for i in r %}{% set s = r | sum %}{% endfor %}",
    "{% set ns = namespace(x='aaaa') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "{% set ns = namespace(x='aaaa') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "{% set ns = namespace(x='aaaa') %}{% for i in range(99) %}{% set ns.x = ns.x * 9 %}{% endfor %}",
    "{% set ns = namespace(x='aaaa') %}{% for i in range(99) %}{% set ns.x = ns.x.replace('a', 'aa') %}{% endfor %}",
    "{% set ns = namespace(x='aaaa') %}{% for i in range(99) %}{% set ns.x = ns.x | replace('a', 'aa') %}{% endfor %}",
    "{% set ns = namespace(x='aaaa') %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] | join %}{% endfor %}",
    "{% set ns = namespace(x='aaaa') %}{% for i in range(99) %}{% set ns.x = ''.join([ns.x, ns.x]) %}{% endfor %}",
    "{% set ns = namespace(x='aaaa') %}{% for i in range(99) %}{% set ns.x = '%s%s' % (ns.x, ns.x) %}{% endfor %}",
    "{% set ns = namespace(x='aaaa') %}{% for i in range(99) %}{% set ns.x = '%s%s'|format(ns.x, ns.x) %}{% endfor %}",
    "{% set ns = namespace(x='aaaa') %}{% for i in range(99) %}{% set ns.x = '{0}{0}'.format(ns.x) %}{% endfor %}",
    "{% set ns = namespace(x='aaaa') %}{% for i in range(99) %}{% set x %}{{ ns.x }}{{ ns.x }}{% endset %}"
    "{% set ns.x = x %}{% endfor %}",
    "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace(x=1) %}{% for i in range(99) %}{% set ns.x = dict(a=ns.x, b=ns.x) %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace(x=1) %}{% for i in range(99) %}{% set ns.x = namespace(a=ns.x, b=ns.x) %}{% endfor %}"
    "{{ ns.x | string }}",
    "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns | string }}",
    "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "{% for i in range(60000) %}" + "a" * 100 + "{% endfor %}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{{ " + "[" * 5000 + "]" * 5000 + " }}",
    "{{ 1" + " + 1" * 20000 + " }}",
    "{% if 1 %}" * 2000 + "{% endif %}" * 2000,
    "x" * (1 << 21),
]  # fmt: skip


def render(source: str) -> str:
    return str(ChatTemplate(source, "test").render(QUESTION))


@pytest.mark.parametrize("source", ESCAPES)
def test_there_is_no_way_out(source: str) -> None:
    try:
        text = render(source)
    except EngineError:
        return
    assert not any(sign in text for sign in ("<class", "<function", "<module", "object at", "built-in", "root:"))
    assert QUESTION[0].text == "Hello"


@pytest.mark.parametrize("source", BOMBS, ids=range(len(BOMBS)))
def test_no_template_takes_more_than_a_chat_needs(source: str) -> None:
    with pytest.raises(EngineError, match="chat template"):
        render(source)


@pytest.mark.parametrize(
    "work", ["tools | tojson", "tools ~ ''", "tools | string", "[tools] | list", "tools + []", "tools | join"]
)
def test_what_a_request_gives_is_not_gone_through_for_nothing(work: str) -> None:
    """Each of a thousand items in one costs a little, or a template could go through all of them for ever."""
    tools = [{"parameters": [{"name": f"p{number}", "description": "x" * 2000} for number in range(1000)]}]
    variables = {"tools": tools}
    source = f"{{% for i in range(40) %}}{{% set x = {work} %}}{{% endfor %}}"
    template = SandboxedTemplate(source)
    with pytest.raises(TemplateLimitError, match="too long"):
        template.render(variables, datetime(2026, 11, 28), 10_000)
    small = {"tools": [{"parameters": [{"name": "p"}]}]}
    assert template.render(small, datetime(2026, 11, 28), 10_000) == ""


def test_a_long_text_in_a_list_over_and_over_is_not_printed() -> None:
    with pytest.raises(EngineError, match="too large a list"):
        render("{{ messages[0].content and ['" + "x" * 4096 + "'] * 60000 }}")


def test_the_budget_is_for_one_text() -> None:
    template = ChatTemplate("{% for i in range(50000) %}{% endfor %}ok", "test")
    assert [str(template.render(QUESTION)) for _ in range(15)] == ["ok"] * 15


def test_a_template_cannot_hide_the_limits() -> None:
    source = "{% set spend = 1 %}{% set environment = 1 %}{% set charge = 1 %}" + BOMBS[21]
    with pytest.raises(EngineError, match="too long"):
        render(source)


def test_a_long_conversation_fits() -> None:
    source = "{% for m in messages %}<|im_start|>{{ m.role ~ '\n' ~ m.content | trim }}<|im_end|>\n{% endfor %}"
    messages = [ChatMessage(Role.USER, "word " * 400)] * 1000
    assert len(ChatTemplate(source, "test").render(messages)) > 2_000_000


@pytest.mark.parametrize(
    "asked",
    ["messages | length", "messages | count", "(messages | last).role", "(messages | first).role", "messages | d"],
)
def test_what_is_asked_for_every_message_of_a_long_conversation_does_not_cost_more_each_time(asked: str) -> None:
    source = f"{{% for m in messages %}}{{% if {asked} %}}{{{{ m.content }}}}{{% endif %}}{{% endfor %}}"
    messages = [ChatMessage(Role.USER, f"word {number}") for number in range(2001)]
    assert str(ChatTemplate(source, "test").render(messages)) == "".join(message.text for message in messages)


def test_a_template_may_look_through_a_long_conversation_for_each_of_its_messages() -> None:
    source = (
        "{% for m in messages %}{% set last = namespace(role=none, found=false) %}"
        "{% for i in range(loop.index0 - 1, -1, -1) %}{% if not last.found %}"
        "{% set last.role = messages[i].role %}{% set last.found = true %}{% endif %}{% endfor %}"
        "{% if last.role != m.role %}{{ m.content }}{% endif %}{% endfor %}"
    )
    messages = [ChatMessage(Role.USER if number % 2 else Role.ASSISTANT, f"{number} ") for number in range(2001)]
    assert str(ChatTemplate(source, "test").render(messages)) == "".join(message.text for message in messages)


@pytest.mark.parametrize("message_count", [1, 2001, 20_000])
def test_no_conversation_is_so_long_that_a_template_may_run_for_ever(message_count: int) -> None:
    messages = [ChatMessage(Role.USER, "a")] * message_count
    source = "{% for i in range(60000) %}{% for j in range(60000) %}{% endfor %}{% endfor %}"
    with pytest.raises(EngineError, match="too long"):
        ChatTemplate(source, "test").render(messages)


def test_what_a_template_has_put_into_a_namespace_can_be_read() -> None:
    source = "{% set ns = namespace(x=1, y=messages) %}{{ ns.x }}{{ ns.y[0].content }}{{ ns.z }}{{ ns.z.z is defined }}"
    assert render(source) == "1HelloFalse"


def test_a_templates_own_refusal_is_told() -> None:
    with pytest.raises(EngineError, match="refused the messages: roles must alternate"):
        render("{{ raise_exception('roles must alternate') }}")
