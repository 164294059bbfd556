"""Limits for the values of a chat template: the length of a text, the items of a list, the width of padding.

An operation that could make much out of little is checked before it runs, because its result would already take the
time and the memory. A function that begins with `check` or `checked` raises `TemplateLimitError`.
"""

import re
from collections.abc import Iterable, Mapping, Sized
from typing import Any

from jinja2 import TemplateError
from jinja2.utils import Namespace

MAX_RENDERED_CHARACTERS = 1 << 22
MAX_ITEMS = 1 << 16  # of a list, together with all that its members hold
MAX_WIDTH = 256  # of padding and indents

_WEIGHT_PER_UNIT = 16
_MAX_NUMBER_BITS = 256
_PADDING_METHODS = ("center", "expandtabs", "ljust", "rjust", "zfill")
_WIDE_FORMAT = re.compile(r"\d{4}|\*|\{[^{}]*\{")  # a large width or precision, or one taken from a value


class TemplateLimitError(TemplateError):
    """The template asks for more than any chat needs."""


def cost(value: Any) -> int:
    """Returns the cost of working on a value once: its items, or the kibibytes of a text.

    What the items hold in turn counts for a part, because most work on a list does not look into them; to write tools
    as JSON does.

    Raises:
        TemplateLimitError: it holds more than `MAX_ITEMS`.
    """
    if isinstance(value, str):
        return len(value) >> 10
    items = len(value) if isinstance(value, Sized) else 0
    return max(items, _checked_weight(value) // _WEIGHT_PER_UNIT)


def measured(value: Any) -> Any:
    """Returns the value.

    Raises:
        TemplateLimitError: it holds more than `MAX_ITEMS`. Items that it holds twice count twice, because printing or
            comparing the value goes through them twice. A text counts once more for each kibibyte.
    """
    _checked_weight(value)
    return value


def _checked_weight(value: Any) -> int:
    """Returns what a list, dictionary or namespace holds, in items and kibibytes of text; 0 for another value."""
    if not isinstance(value, list | tuple | dict | Namespace):
        return 0
    weight = _weight(value, {})
    if weight > MAX_ITEMS:
        raise TemplateLimitError("it makes too large a list")
    return weight


def _weight(value: Any, known: dict[int, int]) -> int:
    if id(value) in known:
        return known[id(value)]
    if isinstance(value, str):
        return 1 + (len(value) >> 10)
    if isinstance(value, Namespace):
        members: Iterable[Any] = object.__getattribute__(value, "_Namespace__attrs").values()
    elif isinstance(value, dict):
        members = value.values()
    elif isinstance(value, list | tuple):
        members = value
    else:
        return 1
    weight = 1 + sum(_weight(member, known) for member in members)
    known[id(value)] = weight
    return weight


def check_length(characters: int) -> None:
    """Checks the length of a text."""
    if characters > MAX_RENDERED_CHARACTERS:
        raise TemplateLimitError("its text becomes too long")


def check_width(*values: Any) -> None:
    """Checks the numbers among the values as widths of padding."""
    if any(isinstance(value, int) and abs(value) > MAX_WIDTH for value in values):
        raise TemplateLimitError("it pads its text too far")


def check_operands(operator: str, left: Any, right: Any) -> None:
    """Checks the result of an operator by the sizes of its operands."""
    if operator == "+" and isinstance(left, Sized) and isinstance(right, Sized):
        check_length(len(left) + len(right))
    elif operator == "%" and isinstance(left, str):
        check_format(left, "%", right if isinstance(right, tuple) else (right,))
    elif operator == "*" and (isinstance(left, Sized) or isinstance(right, Sized)):
        sequence, times = (left, right) if isinstance(left, Sized) else (right, left)
        if len(sequence) * times > MAX_ITEMS:
            raise TemplateLimitError("it repeats something too often")
    elif operator in ("*", "**") and isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * max(1, right) if operator == "**" else left.bit_length() + right.bit_length()
        if bits > _MAX_NUMBER_BITS:
            raise TemplateLimitError("it computes too large a number")


def checked_arguments(text: str, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    """Checks the arguments of a method of `text` and returns them; those of `join` as a list.

    `join` may get a generator, which can be read only once.
    """
    if name in _PADDING_METHODS:
        check_width(*args, *kwargs.values())
    elif name == "replace" and len(args) >= 2:
        check_replacing(text, args[0], args[1])
    elif name == "join" and args:
        parts = list(args[0])
        check_joining(text, parts)
        return (parts,)
    return args


def check_format(text: str, mark: str, values: Iterable[Any]) -> None:
    """Checks the result of formatting: each `mark` in `text` may become the longest of the values."""
    if _WIDE_FORMAT.search(text):
        raise TemplateLimitError("it pads its text too far")
    longest = max((_text_length(value) for value in values), default=0)
    check_length(len(text) + text.count(mark) * longest)


def _text_length(value: Any) -> int:
    """Returns the least length of the text of `value`; for lists and dictionaries, that of their longest member."""
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return max(len(value) if isinstance(value, str) else 0, *map(_text_length, members), 0)


def check_replacing(text: str, old: Any, new: Any) -> None:
    """Checks the length of `text` once every `old` in it is `new`."""
    if isinstance(old, str) and isinstance(new, str):
        check_length(len(text) + text.count(old) * len(new))


def check_joining(separator: str, parts: list[Any]) -> None:
    """Checks the length of the parts that are text, with a separator for each part."""
    check_length(sum(len(part) for part in parts if isinstance(part, str)) + len(separator) * len(parts))
