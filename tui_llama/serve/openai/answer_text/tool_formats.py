"""How families of models write tool calls. A model's chat template tells its family by the marks that it writes.

Hermes and Qwen:  `<tool_call>{"name": …, "arguments": {…}}</tool_call>`
Qwen3-Coder:      `<tool_call><function=NAME><parameter=KEY>VALUE</parameter>…</function></tool_call>`, often without
                  the first mark
Mistral:          `[TOOL_CALLS][{"name": …, "arguments": {…}}, …]`, since version 11 `[TOOL_CALLS]NAME[ARGS]{…}`
Llama 3:          `{"name": …, "parameters": {…}}`, also behind `<|python_tag|>`, several with `;` between them

Marks that are control tokens are not part of an answer's text, so calls are found without them, too. There only the
names of the request's tools count, so that JSON that is an answer stays one.
"""

import json
import re
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final, Protocol, TypeAlias

import msgspec


class ToolCall(msgspec.Struct, frozen=True):
    """A call as the model wrote it: `arguments` is a JSON object; `call_id` is empty where the model gave none."""

    name: str
    arguments: str
    call_id: str = ""


class ReadCalls(msgspec.Struct, frozen=True):
    """Calls, and how many characters of the text they take."""

    calls: tuple[ToolCall, ...]
    length: int


class NoCalls(Enum):
    """Why a text has no calls: it is none, or it ends before that is certain."""

    NO_CALL = "no call"
    INCOMPLETE = "incomplete"


NO_CALL: Final = NoCalls.NO_CALL
INCOMPLETE: Final = NoCalls.INCOMPLETE
Reading: TypeAlias = ReadCalls | NoCalls
Tools: TypeAlias = Mapping[str, Mapping[str, Any]]
"""The JSON schemas of the parameters of the request's tools, by their names."""


class ToolFormat(Protocol):
    """How a family writes calls. More text never changes what was read, unless it was incomplete."""

    @property
    def marks(self) -> tuple[str, ...]:
        """The texts that open calls anywhere in an answer."""
        ...

    @property
    def begins_with_mark(self) -> bool:
        """False if models of the family are taught to write calls without a mark."""
        ...

    @property
    def closing_mark(self) -> str:
        """The text that closes a call, and that may be missing at the end of an answer; "" if there is none."""
        ...

    def read(self, text: str) -> Reading:
        """Reads the calls at the start of what follows a mark."""
        ...

    def read_bare(self, text: str) -> Reading:
        """Reads calls without a mark at the start of an answer, which does not begin with a blank."""
        ...


def tool_format(template_marks: Sequence[str], tools: Tools) -> ToolFormat | None:
    """Returns the format of the family whose template writes these marks, or None if none is known."""
    if "<tool_call>" in template_marks:
        return HermesFormat(tools)
    if "[TOOL_CALLS]" in template_marks:
        return MistralFormat(tools)
    if "<|python_tag|>" in template_marks:
        return LlamaFormat(tools)
    return None


class HermesFormat:
    """The format of Hermes, Qwen and many others, and the one of Qwen3-Coder, which share their marks."""

    _START, _END = "<tool_call>", "</tool_call>"
    _NAME_START, _NAME_END, _FUNCTION_END = "<function=", ">", "</function>"
    _PARAMETER = re.compile(r"<parameter=([^>]+)>(.*?)</parameter>", re.DOTALL)
    marks, closing_mark, begins_with_mark = (_START, _NAME_START), _END, True

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def read(self, text: str) -> Reading:
        """Reads one call and the mark that closes it."""
        begun = text.lstrip()
        if not begun or self._NAME_START.startswith(begun):
            return INCOMPLETE
        if begun.startswith("{"):
            return self._json(text)
        return self._function(text, begun.removeprefix(self._NAME_START))

    def read_bare(self, text: str) -> Reading:
        """Reads a call in JSON without its marks, which some models leave out; takes a mark that closes none away."""
        if text.startswith(self._END):
            return ReadCalls((), len(self._END))
        return INCOMPLETE if self._END.startswith(text) else _known_call(text, self._tools)

    def _json(self, text: str) -> Reading:
        """Reads a call in JSON. The mark that closes it may also stand in a text among the arguments."""
        end = -1
        while (end := text.find(self._END, end + 1)) >= 0:
            if (call := json_call(_whole_json(text[:end]))) is not None:
                return ReadCalls((call,), end + len(self._END))
        return INCOMPLETE

    def _function(self, text: str, begun: str) -> Reading:
        """Reads a call of Qwen3-Coder, whose values are text that the tool's schema gives a type."""
        name, has_name, inner = begun.partition(self._NAME_END)
        if not has_name:
            return INCOMPLETE if any(each.startswith(name) for each in self._tools) else NO_CALL
        if name not in self._tools:
            return NO_CALL
        inner, is_whole, _ = inner.partition(self._FUNCTION_END)
        if not is_whole:
            return INCOMPLETE
        values = {
            key.strip(): _typed(_without_frame(value), key.strip(), self._tools[name])
            for key, value in self._PARAMETER.findall(inner)
        }
        call = json_call({"name": name, "arguments": values})
        length = len(text) - len(begun) + len(name) + 1 + len(inner) + len(self._FUNCTION_END)
        return ReadCalls((call,), length) if call is not None else NO_CALL


class MistralFormat:
    """The two formats of Mistral. Its mark is a control token, so both are also found without it."""

    marks, closing_mark, begins_with_mark = ("[TOOL_CALLS]",), "", True
    _NAMED = re.compile(r"\s*([\w.-]+)(?:\[CALL_ID\](\w+))?(?:\[ARGS\])?\s*(?=\{)")
    _MAY_BE_NAMED = re.compile(r"\s*[\w.-]*(?:\[[\w\[\]]*)?\s*")

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def read(self, text: str) -> Reading:
        """Reads a list of calls, or one call that begins with its name."""
        begun = text.lstrip()
        if not begun:
            return INCOMPLETE
        skipped = len(text) - len(begun)
        read = self._list(begun) if begun.startswith("[") else self._named(begun)
        return ReadCalls(read.calls, skipped + read.length) if isinstance(read, ReadCalls) else read

    def read_bare(self, text: str) -> Reading:
        """Reads the same without the mark, as far as the names are those of the request's tools."""
        if text.startswith("["):
            inner = text[1:].lstrip()
            opening = begins_call(inner) if inner else INCOMPLETE
            read = self._list(text) if opening is None else opening
        elif any(text.startswith(name) or name.startswith(text) for name in self._tools):
            read = self._named(text)
        else:
            return NO_CALL
        return read if not isinstance(read, ReadCalls) else self._if_known(read)

    def _if_known(self, read: ReadCalls) -> Reading:
        return read if all(call.name in self._tools for call in read.calls) else NO_CALL

    def _list(self, text: str) -> Reading:
        value, length = _first_json(text)
        if length == 0:
            return INCOMPLETE
        calls = [json_call(each) for each in value] if isinstance(value, list) else []
        whole = tuple(call for call in calls if call is not None)
        return ReadCalls(whole, length) if whole and len(whole) == len(calls) else NO_CALL

    def _named(self, text: str) -> Reading:
        found = self._NAMED.match(text)
        if found is None:
            return INCOMPLETE if self._MAY_BE_NAMED.fullmatch(text) else NO_CALL
        value, length = _first_json(text[found.end() :])
        if length == 0:
            return INCOMPLETE
        call = json_call({"name": found[1], "arguments": value, "id": found[2] or ""})
        return ReadCalls((call,), found.end() + length) if call is not None else NO_CALL


class LlamaFormat:
    """The format of Llama 3: JSON with `parameters`, with or without its mark, which is a control token."""

    marks, closing_mark, begins_with_mark = ("<|python_tag|>",), "", False

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def read(self, text: str) -> Reading:
        """Reads one call. Behind the mark the model may also write code, which stays text."""
        begun = text.lstrip()
        read = self.read_bare(begun) if begun else INCOMPLETE
        skipped = len(text) - len(begun)
        return ReadCalls(read.calls, skipped + read.length) if isinstance(read, ReadCalls) else read

    def read_bare(self, text: str) -> Reading:
        """Reads one call of a tool of the request; a `;` before it parts it from the call before."""
        begun = text.removeprefix(";").lstrip()
        if not begun:
            return INCOMPLETE
        read = _known_call(begun, self._tools)
        skipped = len(text) - len(begun)
        return ReadCalls(read.calls, skipped + read.length) if isinstance(read, ReadCalls) else read


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


_FIRST_KEY: Final = re.compile(r'\{\s*"(?:type|id|name|function|parameters|arguments)"')
_PART_OF_FIRST_KEY: Final = re.compile(r'\{\s*(?:"(\w*))?')
_KEYS: Final = ("type", "id", "name", "function", "parameters", "arguments")
# Not strict: models write line ends as they are into texts.
_DECODER: Final = json.JSONDecoder(strict=False, parse_constant=_refuse)
_PYTHON_WORDS: Final = {"True": True, "False": False, "None": None}
"""Values as templates show them to the model, and as the model then writes them."""


def begins_call(text: str) -> NoCalls | None:
    """Tells by the first key whether a JSON object may be a call: None if so."""
    if _FIRST_KEY.match(text):
        return None
    part = _PART_OF_FIRST_KEY.fullmatch(text)
    may_become = part is not None and any(key.startswith(part[1] or "") for key in _KEYS)
    return INCOMPLETE if may_become else NO_CALL


def _known_call(text: str, tools: Tools) -> Reading:
    """Reads a JSON object that calls a tool of the request."""
    opening = begins_call(text)
    if opening is not None:
        return opening
    value, length = _first_json(text)
    if length == 0:
        return INCOMPLETE
    call = json_call(value)
    return ReadCalls((call,), length) if call is not None and call.name in tools else NO_CALL


def json_call(value: object) -> ToolCall | None:
    """Returns the call that a JSON value is, or None. The arguments may be an object, or its text."""
    if not isinstance(value, dict):
        return None
    inner = value.get("function")
    source = inner if isinstance(inner, dict) else value
    name = source.get("name", inner)
    arguments = source.get("arguments", source.get("parameters", {}))
    if isinstance(arguments, str):
        arguments = _whole_json(arguments)
    if not isinstance(name, str) or not name or not isinstance(arguments, dict):
        return None
    call_id = value.get("id")
    return ToolCall(_clean(name), _json_text(arguments), _clean(call_id) if isinstance(call_id, str) else "")


def _first_json(text: str) -> tuple[Any, int]:
    """Returns the JSON value at the start of the text, and its length; 0 if it is not whole."""
    try:
        return _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None, 0


def _whole_json(text: str) -> Any:
    """Returns the JSON value that the text is; None if it is none."""
    value, length = _first_json(text.strip())
    return value if length == len(text.strip()) else None


def _json_text(value: object) -> str:
    """Returns JSON as templates write it, so that a call that comes back has the same tokens where it can."""
    text = json.dumps(value, ensure_ascii=False)
    return json.dumps(value) if _has_halves(text) else text


def _clean(text: str) -> str:
    return text.encode(errors="replace").decode()


def _has_halves(text: str) -> bool:
    """Tells whether the text has half a surrogate pair, which UTF-8 cannot write."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def _without_frame(value: str) -> str:
    """Returns the value without the one line end that the format writes on either side."""
    return value.removeprefix("\n").removesuffix("\n")


def _typed(text: str, key: str, schema: Mapping[str, Any]) -> Any:
    """Returns a value with the type that the schema gives it; text where that is a text or cannot be read."""
    properties = schema.get("properties")
    declared = properties.get(key) if isinstance(properties, Mapping) else None
    kind = declared.get("type", "any") if isinstance(declared, Mapping) else "string"
    if "string" in (kind if isinstance(kind, list) else [kind]):
        return text
    if text.strip() in _PYTHON_WORDS and kind != "any":
        return _PYTHON_WORDS[text.strip()]
    value, length = _first_json(text.strip())
    is_whole = 0 < length == len(text.strip())
    return value if is_whole and (kind != "any" or isinstance(value, dict | list)) else text
