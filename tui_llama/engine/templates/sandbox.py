"""Runs chat templates, which come with model files and may be hostile: no way out, and a bounded cost.

Jinja's immutable sandbox keeps a template from reaching Python, but limits neither time nor memory. So this module
bounds everything by which a template could make much out of little. Loops, calls and filters draw on a budget.
Operations that multiply or join are measured beforehand, by `value_limits`. Filters that only lay out pages are
removed; `filters` has those that replace Jinja's own.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import ChainableUndefined, TemplateError, Undefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from tui_llama.engine.templates.dates import date_writer
from tui_llama.engine.templates.filters import format_text, join_texts, limited_indent, replace_text, to_json
from tui_llama.engine.templates.value_limits import (
    MAX_ITEMS,
    TemplateLimitError,
    check_format,
    check_length,
    check_operands,
    checked_arguments,
    cost,
    measured,
)

MAX_SOURCE_CHARACTERS = 1 << 17
BUDGET = 1 << 19  # one unit for a turn of a loop, a call, an item of a list, or a kibibyte of text that is worked on
_BUDGET_OF_MESSAGE = 1 << 12  # some templates go through the whole conversation for each of its messages
_LARGEST_BUDGET = 1 << 24
_MACRO_COST = 16

_UNWANTED_FILTERS = (
    *("attr", "batch", "center", "filesizeformat", "pprint", "random", "slice", "striptags", "urlize"),
    *("wordwrap", "xmlattr"),
)
# their cost does not depend on the length of a list
_CHEAP_FILTERS = ("count", "d", "default", "first", "last", "length")
_UNWANTED_GLOBALS = ("cycler", "joiner", "lipsum")
_PLAIN_TYPES = frozenset({str, int, float, bool, type(None), list, tuple, dict})


def budget_for(message_count: int) -> int:
    """Returns the budget for writing a conversation of `message_count` messages, in units of `BUDGET`."""
    return min(BUDGET + _BUDGET_OF_MESSAGE * message_count, _LARGEST_BUDGET)


class TemplateRefusalError(TemplateError):
    """The template itself refuses the messages, by `raise_exception`."""


class SandboxedTemplate:
    """A compiled template.

    Args:
        source: Jinja source text, of any origin.

    Raises:
        TemplateError: the source is not a template, or is too long.
        RecursionError: it is nested too deeply. Python's own compiler may also raise `MemoryError` and `SyntaxError`.
    """

    def __init__(self, source: str) -> None:
        if len(source) > MAX_SOURCE_CHARACTERS:
            raise TemplateLimitError(f"its source has {len(source)} characters")
        self._environment = _Environment()
        self._template = self._environment.from_string(source)

    def render(self, variables: Mapping[str, Any], now: datetime, budget: int = BUDGET) -> str:
        """Returns the template's text for these variables.

        Args:
            variables: Plain values: text, numbers, lists and dictionaries.
            now: The moment for a template that asks for the time.
            budget: Most that it may cost, in units of `BUDGET`.

        Raises:
            TemplateError: the template refused, failed or asked for too much.
            Exception: any exception that Python raises for what a template did with its values.
        """
        self._environment.budget = budget
        pieces: list[str] = []
        length = 0
        for piece in self._template.generate({**variables, "strftime_now": date_writer(now)}):
            length += len(piece)
            check_length(length)
            pieces.append(piece)
        return "".join(pieces)


def _concat(pieces: Iterable[str]) -> str:
    texts = list(pieces)
    check_length(sum(map(len, texts)))
    return "".join(texts)


class _GenerationTag(Extension):
    """`{% generation %}` marks answers for training; here its content is written as it is."""

    tags: set[str] = {"generation"}  # noqa: RUF012 - declared so by Jinja

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja as chat templates expect it, with limits."""

    intercepted_binops = frozenset({"*", "**", "%", "+"})
    concat = staticmethod(_concat)  # joins the output of a block or a macro

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[loopcontrols, _GenerationTag],
            finalize=measured,
            undefined=ChainableUndefined,
        )
        self.budget = BUDGET
        for name in _UNWANTED_FILTERS:
            del self.filters[name]
        for name in _UNWANTED_GLOBALS:
            del self.globals[name]
        self.filters.update(
            format=format_text, indent=limited_indent(self.filters["indent"]), join=join_texts, replace=replace_text
        )
        self.filters["tojson"] = to_json
        expensive = {name: each for name, each in self.filters.items() if name not in _CHEAP_FILTERS}
        self.filters.update({name: self._charged(function) for name, function in expensive.items()})
        self.filters.update({name: self._paid_once(self.filters[name]) for name in _CHEAP_FILTERS})
        self.globals.update(raise_exception=_raise_exception, range=self._range, dict=_dict)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Reads an attribute: directly for plain values that the template has set, else by Jinja, which is slow."""
        if type(obj) is Namespace and not attribute.startswith("_"):
            value = object.__getattribute__(obj, "_Namespace__attrs").get(attribute, self)
            if type(value) in _PLAIN_TYPES:
                return value
        return super().getattr(obj, attribute)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Applies the operator, unless the result would be large.

        An undefined value adds nothing to a text or a list, as in llama.cpp; Jinja alone would fail.
        """
        if operator == "+":
            left, right = _or_nothing(left, right), _or_nothing(right, left)
        self.charge(left, right)
        check_operands(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 - Jinja's way
        """Makes the template's call, unless it is a method of text with a large result."""
        text, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        if isinstance(text, str):
            __self.charge(text)
            args = checked_arguments(text, name, args, kwargs)
        return super().call(__context, __obj, *args, **kwargs)

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """Returns a value for a forbidden attribute; unlike an undefined one, it cannot be used at all."""
        return Undefined(f"{attribute!r} may not be used", obj=obj, name=attribute, exc=SecurityError)

    def charge(self, *values: Any) -> None:
        """Subtracts from the budget the cost of working on `values` once.

        Raises:
            TemplateLimitError: the budget is used up, or a value holds too much.
        """
        self.spend(1 + sum(cost(value) for value in values))

    def spend(self, units: int) -> None:
        """Subtracts `units` from the budget.

        Raises:
            TemplateLimitError: the budget is used up.
        """
        self.budget -= units
        if self.budget < 0:
            raise TemplateLimitError("it runs too long")

    @property
    def turn(self) -> None:
        """Pays for a turn of a loop; a property, because the sandbox makes calls a hundred times slower."""
        self.spend(1)

    @property
    def macro_call(self) -> None:
        """Pays for the call of a macro; a property, as `turn`."""
        self.spend(_MACRO_COST)

    def concatenate(self, *parts: Any) -> str:
        """Joins the operands of `~`."""
        self.charge(*parts)
        return _concat(str(part) for part in parts)

    def measure(self, value: Any) -> Any:
        """Returns a value that the template has just made, unless it holds too much."""
        return measured(value)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Returns Jinja's safe `format` of a text, with a limit on the length of its result."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        @functools.wraps(wrapped)
        def bounded(*args: Any, **kwargs: Any) -> str:
            check_format(value.__self__, "{", (*args, *kwargs.values()))
            return wrapped(*args, **kwargs)

        return bounded

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        template = _LimitsInserter().visit(super()._parse(source, name, filename))
        assert isinstance(template, nodes.Template)
        template.set_environment(self)
        return template

    def _range(self, *limits: int) -> range:
        numbers = range(*limits)
        if len(numbers) > MAX_ITEMS:
            raise TemplateLimitError(f"it counts to {len(numbers)}")
        self.charge(numbers)
        return numbers

    def _charged(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)  # keeps Jinja's marks, by which Jinja passes its own first argument
        def charged(*args: Any, **kwargs: Any) -> Any:
            self.charge(*(arg for arg in args if isinstance(arg, str | list | tuple | dict | Namespace | range)))
            return function(*args, **kwargs)

        return charged

    def _paid_once(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def paid(*args: Any, **kwargs: Any) -> Any:
            self.spend(1)
            return function(*args, **kwargs)

        return paid


class _LimitsInserter(NodeTransformer):
    """Inserts limits where a template has no function to bound: loops, `~`, and literal lists."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - the name that the visitor looks for
        if node.test is not None:  # pay for items that the condition skips, too
            paying = nodes.Not(nodes.EnvironmentAttribute("turn", lineno=node.lineno), lineno=node.lineno)
            node.test = nodes.And(paying, node.test, lineno=node.lineno)
        return self._spend(node, "turn")

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:  # noqa: N802
        return self._spend(node, "macro_call")

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _call("concatenate", node.nodes, node.lineno)

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802
        return self._measure(node)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802
        return self._measure(node)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        return self._measure(node) if node.ctx == "load" else node

    def _spend(self, node: nodes.For | nodes.Macro, attribute: str) -> nodes.Node:
        self.generic_visit(node)
        spending = nodes.EnvironmentAttribute(attribute, lineno=node.lineno)
        node.body.insert(0, nodes.ExprStmt(spending, lineno=node.lineno))
        return node

    def _measure(self, node: nodes.Expr) -> nodes.Node:
        self.generic_visit(node)
        return _call("measure", [node], node.lineno)


def _call(method: str, arguments: list[nodes.Expr], line: int) -> nodes.Call:
    """Makes a call of the environment's own method, which no name in a template can hide."""
    function = nodes.EnvironmentAttribute(method, lineno=line)
    return nodes.Call(function, arguments, [], None, None, lineno=line)


def _or_nothing(value: Any, other: Any) -> Any:
    """Returns the value, or an empty text or list (by the type of `other`) if it is undefined."""
    if isinstance(value, Undefined) and isinstance(other, str | list):
        return type(other)()
    return "" if value is None and isinstance(other, str) else value


def _dict(*args: Any, **kwargs: Any) -> Any:
    return measured(dict(*args, **kwargs))


def _raise_exception(message: Any = "") -> NoReturn:
    raise TemplateRefusalError(str(message)[:200])
