"""Reads JSON of which nothing is sure: whatever is missing or of another kind than expected counts as absent.

What a server sends may be damaged or hostile. So no value here chooses a class, and no reader here raises for a value.
"""

import json
import math
from typing import Any, Final

import msgspec

from tui_llama.errors import EngineError

MOST_COUNT: Final = 2**63 - 1
"""The largest number that is taken for a count; the store keeps 64 bits."""


class NotJsonError(EngineError):
    """A text is not JSON, or it is nested too deeply to be read."""


def decode_json(raw: bytes) -> Any:
    """Returns the value of a JSON text.

    Servers that are written in Python write `NaN` and `Infinity`, which are no JSON, and halves of surrogate pairs; the
    standard library reads both. Bytes that are no UTF-8 become U+FFFD.

    Raises:
        NotJsonError: nothing can be read from it.
    """
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    try:
        return json.loads(raw.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise NotJsonError("this is not JSON") from error


def value_at(value: Any, *path: str | int) -> Any:
    """Returns what is found in `value` by keys of objects and places in arrays, None if there is no such thing."""
    for step in path:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            value = value[step] if isinstance(value, list) and -len(value) <= step < len(value) else None
    return value


def text_at(value: Any, *path: str | int) -> str:
    """Returns the text at a path, "" if there is none. Halves of surrogate pairs become U+FFFD."""
    found = value_at(value, *path)
    return clean_text(found) if isinstance(found, str) else ""


def count_at(value: Any, *path: str | int) -> int | None:
    """Returns the count at a path: a whole number from 0 to `MOST_COUNT`. None if there is none."""
    found = value_at(value, *path)
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found <= MOST_COUNT:
        return None
    return found


def number_at(value: Any, *path: str | int) -> float | None:
    """Returns the finite number at a path, None if there is none."""
    found = value_at(value, *path)
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    try:
        number = float(found)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def list_at(value: Any, *path: str | int) -> list[Any]:
    """Returns the array at a path, an empty one if there is none."""
    found = value_at(value, *path)
    return found if isinstance(found, list) else []


def clean_text(text: str) -> str:
    """Returns the text without halves of surrogate pairs, which no file and no terminal takes."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
