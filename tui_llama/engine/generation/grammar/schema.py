"""Reads JSON schemas, as llguidance understands them, and says where one is wrong.

Source: https://github.com/guidance-ai/llguidance/blob/main/docs/json_schema.md
"""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Final, TypeAlias

from tui_llama.errors import EngineError

JSON_ONLY: Final = "{}"
"""The schema of any JSON value."""

_WHITE_SPACE: Final = r"( |\n{1,2}[ \t]{0,20})"
"""The white space that an answer may have where JSON allows some; the same as llama.cpp's. Models that may write any
number of blanks sometimes write nothing else."""

_LISTS: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_MAPS: Final = ("properties", "patternProperties", "$defs", "definitions")
_SINGLE: Final = ("items", "additionalProperties")
_DEFINITIONS: Final = ("$defs", "definitions", "x-guidance")

Schema: TypeAlias = dict[str, Any]
FindFault: TypeAlias = Callable[[str], str]
"""Returns what is wrong with a grammar of llguidance; "" if nothing is."""


def read_schema(text: str) -> Schema:
    """Reads the text of a schema.

    Raises:
        EngineError: it is not JSON, or nothing fits it; the message names line and column.
    """
    try:
        schema = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        message = f"{error.msg[:1].lower()}{error.msg[1:]}"
        raise EngineError(f"the JSON schema is not JSON in {place}: {message}", "Mend the schema there.") from None
    except RecursionError:
        raise _too_deep() from None
    if schema is True:
        return {}
    if not isinstance(schema, dict):
        raise EngineError(
            f"a JSON schema is an object in braces, not {_shown(schema)}", 'Write {"type": "object"}, for example.'
        )
    _forget_unknown_formats(schema)
    return schema


def _forget_unknown_formats(schema: Schema) -> None:
    """Removes formats that llguidance does not know, in place: they are remarks, and it would refuse the schema.

    Source: JSON Schema Validation 2020-12, section 7.2.1.
    """
    parts = [schema]
    while parts:
        part = parts.pop()
        if isinstance(name := part.get("format"), str) and not _is_known_format(name):
            del part["format"]
        parts.extend(inner for _, inner in _inner_schemas(part))


@cache
def _is_known_format(name: str) -> bool:
    from llguidance import LLMatcher  # only answers that are bound need it

    return not LLMatcher.validate_grammar(LLMatcher.grammar_from_json_schema({"type": "string", "format": name}))


def schema_grammar(schema: Schema) -> str:
    """Returns the grammar of llguidance for a schema; it may still be faulty.

    Raises:
        EngineError: the schema has more levels than llguidance reads.
    """
    from llguidance import LLMatcher  # only answers that are bound need it

    try:
        return LLMatcher.grammar_from_json_schema(json.dumps(schema), defaults={"whitespace_pattern": _WHITE_SPACE})
    except (RecursionError, ValueError):  # all that it cannot read of text that is JSON
        raise _too_deep() from None


def _too_deep() -> EngineError:
    return EngineError("the JSON schema is nested too deeply", "Nest it less, or name its parts in $defs.")


def schema_error(schema: Schema, fault: str, find_fault: FindFault) -> EngineError:
    """Returns the error for a schema with a fault: it names the innermost part that has this fault by itself."""
    place, part = "", schema
    rest: Schema = {name: schema[name] for name in _DEFINITIONS if name in schema}
    while (inner := _faulty_part(part, rest, fault, find_fault)) is not None:
        step, part = inner
        place += step
    where = f"at {place}" if place else "at its top"
    return EngineError(f"the JSON schema cannot be used, {where}: {_plain(fault)}", "Change that part of the schema.")


def _faulty_part(part: Schema, rest: Schema, fault: str, find_fault: FindFault) -> tuple[str, Schema] | None:
    for step, inner in _inner_schemas(part):
        if find_fault(schema_grammar({**rest, **inner})) == fault:
            return step, inner
    return None


def _inner_schemas(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Yields the schemas inside one, with the step of a JSON pointer (RFC 6901) that leads to each."""
    for name in _SINGLE:
        if isinstance(schema.get(name), dict):
            yield f"/{name}", schema[name]
    for name in _LISTS:
        for number, inner in enumerate(each if isinstance(each := schema.get(name), list) else ()):
            if isinstance(inner, dict):
                yield f"/{name}/{number}", inner
    for name in _MAPS:
        for key, inner in (each if isinstance(each := schema.get(name), Mapping) else {}).items():
            if isinstance(inner, dict):
                yield f"/{name}/{key.replace('~', '~0').replace('/', '~1')}", inner


def _plain(fault: str) -> str:
    """Returns a fault of llguidance as part of a sentence, in one line."""
    line = " ".join(fault.split())
    return f"{line[:1].lower()}{line[1:]}"


def _shown(value: Any) -> str:
    words = json.dumps(value, ensure_ascii=False)
    return words if len(words) <= 20 else f"{words[:20]}…"
