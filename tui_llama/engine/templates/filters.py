"""Filters of chat templates: Jinja's own with a limit on their results, and JSON as templates expect it."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from jinja2 import Undefined

from tui_llama.engine.templates.value_limits import (
    TemplateLimitError,
    check_format,
    check_joining,
    check_length,
    check_replacing,
    check_width,
    measured,
)


def format_text(text: Any, *args: Any, **kwargs: Any) -> str:
    """Formats as `%` does. Like all functions here, it raises `TemplateLimitError` if its result would be too large."""
    template = str(text)
    check_format(template, "%", (*args, *kwargs.values()))
    return template % (kwargs or args)


def limited_indent(indent: Callable[..., str]) -> Callable[..., str]:
    """Returns Jinja's filter `indent` with a limit."""

    def bounded_indent(text: str, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
        check_width(width if isinstance(width, int) else len(width))
        size = width if isinstance(width, int) else len(width)
        check_length(len(text) + (text.count("\n") + 1) * size)
        return indent(text, width, first, blank)

    return bounded_indent


def join_texts(values: Iterable[Any], separator: Any = "", attribute: str | None = None) -> str:
    """Joins the texts of values; unlike Jinja's filter, it does not take them from an attribute."""
    if attribute is not None:
        raise TemplateLimitError("joining by an attribute is not supported")
    parts = [str(measured(value)) for value in values]
    check_joining(str(separator), parts)
    return str(separator).join(parts)


def replace_text(text: Any, old: str, new: str, count: int = -1) -> str:
    """Replaces `old` by `new`, at most `count` times; everywhere if that is -1 or None."""
    check_replacing(str(text), old, new)
    return str(text).replace(old, new, -1 if count is None else count)


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Writes JSON without the escaping for web pages of Jinja's own filter; has the signature that templates use.

    An undefined value becomes null, as in llama.cpp.
    """
    check_width(indent, *(len(separator) for separator in separators or ()))
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
        default=_null_if_undefined,
    )


def _null_if_undefined(value: Any) -> None:
    if not isinstance(value, Undefined):
        raise TypeError(f"{type(value).__name__} cannot be written as JSON")
