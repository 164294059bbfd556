"""Declarations of settings as fields of structures. A field's type holds its range, explanation and options.

    threads: Annotated[int, Meta(ge=0, le=1024, description="Threads that compute.", extra=option("-t"))] = 0

Everything else is made from such declarations: the check of a value from any source, the settings file, the variables,
the options of the command line, and the help for all of them. This module knows no particular setting.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import NoneType
from typing import Annotated, Any, Final, NamedTuple, TypeAlias, get_args, get_origin, get_type_hints

import msgspec

from tui_llama.errors import SettingsError

Value: TypeAlias = str | int | float | None

VARIABLE_PREFIX: Final = "TUI_LLAMA_"
NONE: Final = -1  # stands for None in files, variables and options, as in llama.cpp
MOST: Final = 2**31 - 1
"""The largest count of anything: tokens, positions, MiB. llama.cpp counts in 32 bits too."""
_LONGEST_SHOWN: Final = 40
_METAVARS: Final = {str: "TEXT", int: "N", float: "X"}
_KIND_NAMES: Final = {str: "text", int: "a whole number", float: "a number"}


class Group(StrEnum):
    """What a setting is about. The settings screen shows the groups in this order."""

    LOOKS = "Looks"
    KEYS = "Keys"
    ANSWERS = "Answers"
    SAMPLING = "Sampling"
    CONTEXT = "Context"
    CACHE = "Cache"
    COMPUTING = "Computing"


class Applies(StrEnum):
    """When the change of a setting has its effect, in words that follow "applies"."""

    AT_ONCE = "at once"
    NEXT_ANSWER = "with the next answer"
    NEW_CHAT = "in new chats"
    MODEL_LOAD = "when a model is loaded next"
    START = "at the next start"


@dataclass(frozen=True, slots=True)
class Range:
    """The allowed numbers: finite ones from `minimum` to `maximum`, without `minimum` itself if `is_open`."""

    minimum: float = -math.inf
    maximum: float = math.inf
    is_open: bool = False

    def __contains__(self, value: object) -> bool:
        return (
            isinstance(value, int | float)
            # Not math.isfinite, which makes a float of a whole number first and fails for one with hundreds of digits.
            and -math.inf < value < math.inf
            and self.minimum <= value <= self.maximum
            and not (self.is_open and value == self.minimum)
        )

    def __str__(self) -> str:
        lower = "" if self.minimum == -math.inf else f"{'above' if self.is_open else 'from'} {self.minimum}"
        return f"{lower} to {self.maximum}" if self.maximum < math.inf else lower


@dataclass(frozen=True, slots=True)
class OneOf:
    """The allowed texts."""

    texts: tuple[str, ...]

    def __contains__(self, value: object) -> bool:
        return value in self.texts

    def __str__(self) -> str:
        return "one of " + ", ".join(text or '""' for text in self.texts)


@dataclass(frozen=True, slots=True)
class TextForm:
    """The allowed texts: those that can be read.

    Attributes:
        read: Reads a text. Raises ValueError, which says what is wrong.
        words: What the texts look like.
        join: Makes one text of the values of an option that may be repeated; None where it may not.
    """

    read: Callable[[str], object]
    words: str
    join: Callable[[Sequence[str]], str] | None = None

    def __contains__(self, value: object) -> bool:
        return isinstance(value, str) and not self.problem(value)

    def __str__(self) -> str:
        return self.words

    def problem(self, text: str) -> str:
        """Says what is wrong with a text; empty if it is allowed."""
        try:
            self.read(text)
        except ValueError as error:
            return str(error)
        return ""


class Switch(NamedTuple):
    """An option that takes no value and sets its setting to `value`."""

    flag: str
    value: str
    explanation: str


def option(
    *flags: str,
    switches: tuple[Switch, ...] = (),
    choices: tuple[str, ...] = (),
    form: TextForm | None = None,
    metavar: str = "",
    group: Group = Group.ANSWERS,
    applies: Applies = Applies.NEXT_ANSWER,
    per_model: bool = False,
) -> dict[str, Any]:
    """Returns the parts of a declaration besides the range.

    Args:
        flags: The options of the command line that take a value, such as "-t".
        switches: The options that take no value.
        choices: The allowed texts; none means all.
        form: The form of the allowed texts; None means any.
        metavar: The word for the value in the help; empty means the usual word for its type.
        group: What the setting is about.
        applies: When a change has its effect.
        per_model: Whether the settings file may set it for one model.
    """
    return {
        "flags": flags,
        "switches": switches,
        "choices": choices,
        "form": form,
        "metavar": metavar,
        "group": group,
        "applies": applies,
        "per_model": per_model,
    }


@dataclass(frozen=True, slots=True)
class Setting:
    """A declared setting.

    Attributes:
        name: The name in the settings file, with its section.
        kind: The type of its values.
        default: The value if nobody has set it. A default of None means that `NONE` may be given.
        explanation: One or two sentences that say what the setting does.
        range: The allowed values; None means all values of the type.
        flags: The options of the command line that take a value.
        switches: The options that take no value.
        metavar: The word for a value in the help.
        group: What it is about.
        applies: When a change has its effect.
        per_model: Whether the settings file may set it for one model.
    """

    name: str
    kind: type[str] | type[int] | type[float]
    default: Value
    explanation: str
    range: Range | OneOf | TextForm | None = None
    flags: tuple[str, ...] = ()
    switches: tuple[Switch, ...] = ()
    metavar: str = ""
    group: Group = Group.ANSWERS
    applies: Applies = Applies.NEXT_ANSWER
    per_model: bool = False

    @property
    def key(self) -> str:
        """The name without the section."""
        return self.name.rpartition(".")[2]

    @property
    def variable(self) -> str:
        """The name of the environment variable."""
        return VARIABLE_PREFIX + self.name.upper().replace(".", "_")

    def check(self, value: object, source: str) -> Value:
        """Checks a value and returns it with the type of the setting.

        Args:
            value: The value, as TOML gives it.
            source: The place of the value, for the error: a file and a key, a variable, or an option.

        Raises:
            SettingsError: the value has another type or is out of range.
        """
        if self.default is None and value == NONE and not isinstance(value, bool):
            return None
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = _as_float(value)
        if type(value) is not self.kind:
            raise self._refusal(source, value, f"is not {_KIND_NAMES[self.kind]}")
        if isinstance(self.range, TextForm) and isinstance(value, str) and (problem := self.range.problem(value)):
            raise SettingsError(f"{source}: {problem}", f"It must be {self.allowed}.")
        if self.range is not None and value not in self.range:
            raise self._refusal(source, value, "is not allowed")
        return value

    def parse(self, text: str, source: str) -> Value:
        """Reads the value from the text of a variable or an option and checks it. Raises the errors of `check`."""
        try:
            value = self.kind(text)
        except ValueError as error:
            # Python refuses to read numbers with thousands of digits.
            is_whole = self.kind is int and text.strip().lstrip("+-").isdecimal()
            why = "is not allowed" if is_whole else f"is not {_KIND_NAMES[self.kind]}"
            raise self._refusal(source, text, why) from error
        return self.check(value, source)

    @property
    def allowed(self) -> str:
        """The allowed values, in words."""
        kind = "" if isinstance(self.range, OneOf | TextForm) else _KIND_NAMES[self.kind]
        if self.kind is float and isinstance(self.range, Range) and self.range.maximum == math.inf:
            kind = "a finite number"
        return " ".join(filter(None, (kind, self.allowed_range)))

    @property
    def allowed_range(self) -> str:
        """The allowed values without their type, in words; empty if all values of the type are allowed."""
        allowed = "" if self.range is None else str(self.range)
        return f"{allowed}, or {NONE}" if self.default is None else allowed

    def _refusal(self, source: str, value: object, why: str) -> SettingsError:
        return SettingsError(f"{source}: {_shown(value)} {why}", f"It must be {self.allowed}.")


def declared_in(structure: type[msgspec.Struct], section: str = "") -> Iterator[Setting]:
    """Yields the settings that the fields of a structure declare, in order. Skips fields without a declaration.

    Args:
        structure: The structure, whose fields have defaults.
        section: The section that stands before the names, with a point between them.
    """
    hints = get_type_hints(structure, include_extras=True)
    for each in msgspec.structs.fields(structure):
        declared = next((part for part in _parts(hints[each.name]) if get_origin(part) is Annotated), None)
        if declared is None:
            continue
        kind, meta = get_args(declared)
        details = meta.extra or option()
        yield Setting(
            f"{section}.{each.name}" if section else each.name,
            kind,
            each.default,
            meta.description,
            details["form"] or (OneOf(details["choices"]) if details["choices"] else _range(kind, meta)),
            details["flags"],
            details["switches"],
            details["metavar"] or "|".join(filter(None, details["choices"])) or _METAVARS[kind],
            details["group"],
            details["applies"],
            details["per_model"],
        )


def _parts(hint: Any) -> tuple[Any, ...]:
    """Returns the parts of an optional type, or the type itself."""
    arguments = get_args(hint)
    return arguments if NoneType in arguments else (hint,)


def _range(kind: type, meta: msgspec.Meta) -> Range | None:
    if kind is str:
        return None
    minimum = meta.ge if meta.gt is None else meta.gt
    return Range(
        -math.inf if minimum is None else minimum, math.inf if meta.le is None else meta.le, meta.gt is not None
    )


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _shown(value: object) -> str:
    """Returns a value as a user would write it, cut if it is very long."""
    try:
        shown = repr(value)
    except ValueError:  # Python refuses to write numbers with thousands of digits
        return "this number"
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}…"


def as_toml(value: Value | bool) -> str:
    """Returns a value as it stands in a file in TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(map(_toml_character, value)) + '"'
    return str(NONE if value is None else value)


def _toml_character(character: str) -> str:
    """Returns a character as it stands in a basic string of TOML, which has no pairs of surrogates as JSON has."""
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    if 0xD800 <= code < 0xE000:  # half of a pair, or a byte of a variable that is not text
        return "\ufffd"
    return f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"
