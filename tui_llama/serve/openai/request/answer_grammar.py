"""What binds the answer to a request: OpenAI's `response_format`, or llama-server's `json_schema` and `grammar`."""

from typing import Any, Final, NamedTuple

import msgspec

from tui_llama.serve.openai.request.bodies import CommonBody, ResponseFormat
from tui_llama.serve.openai.request.refusals import unsupported, wrong

_ANY_OBJECT: Final = '{"type":"object"}'
_EMPTY: Final = (None, "")


class AskedGrammar(NamedTuple):
    """The fields of the engine's request; at most one is not empty."""

    json_schema: str = ""
    grammar: str = ""


def asked_grammar(body: CommonBody) -> AskedGrammar:
    """Returns what binds the answer, as the engine takes it; whether it can be compiled is found out there.

    Raises:
        ApiError: a field has a wrong value, or several bind the answer.
    """
    found = {
        "response_format": _of_response_format(body.response_format),
        "json_schema": AskedGrammar() if body.json_schema in _EMPTY else _of_schema(body.json_schema, "json_schema"),
        "grammar": _of_grammar(body.grammar),
    }
    names = [name for name, asked in found.items() if any(asked)]
    if len(names) > 1:
        raise wrong(names[1], f"{names[0]} and {names[1]} exclude each other.")
    return found[names[0]] if names else AskedGrammar()


def _of_response_format(form: ResponseFormat | None) -> AskedGrammar:
    if form is None or form.type == "text":
        return AskedGrammar()
    if form.type == "json_object":
        if form.schema is None:
            return AskedGrammar(json_schema=_ANY_OBJECT)
        return _of_schema(form.schema, "response_format.schema")
    if form.type != "json_schema":
        raise unsupported("response_format.type", "response_format.type can be “text”, “json_object” or “json_schema”.")
    described = form.json_schema
    if not isinstance(described, dict) or "schema" not in described:
        raise wrong("response_format.json_schema", "response_format.json_schema must be an object with a schema.")
    return _of_schema(described["schema"], "response_format.json_schema.schema")


def _of_schema(schema: Any, name: str) -> AskedGrammar:
    if not isinstance(schema, (dict, bool)):
        raise wrong(name, f"{name} must be a JSON schema, an object.")
    return AskedGrammar(json_schema=msgspec.json.encode(schema).decode())


def _of_grammar(grammar: Any) -> AskedGrammar:
    if grammar in _EMPTY:
        return AskedGrammar()
    if not isinstance(grammar, str):
        raise wrong("grammar", "grammar must be a text in GBNF.")
    return AskedGrammar(grammar=grammar)
