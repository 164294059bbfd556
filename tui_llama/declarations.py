"""How settings are declared: as fields of structures. Their types say what is allowed, what for, and how it is given.

    threads: Annotated[int, Meta(ge=0, le=1024, description="Threads that compute.", extra=option("-t"))] = 0

Everything else is made of such declarations: the check of a value wherever it comes from, the settings file, the
variables, the options of the command line and the words of all of them. Knows no single setting.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, Final, NamedTuple, TypeAlias, get_args, get_origin, get_type_hints

import msgspec

from tui_llama.errors import SettingsError

Value: TypeAlias = str | int | float | None

VARIABLE_PREFIX: Final = "TUI_LLAMA_"
NONE: Final = -1  # stands for None in files, variables and options, as it does for llama.cpp
MOST: Final = 2**31 - 1
"""The most of what is counted: tokens, positions, MiB. llama.cpp counts in 32 bits too."""
_LONGEST_SHOWN: Final = 40
_METAVARS: Final = {str: "TEXT", int: "N", float: "X"}
_KIND_NAMES: Final = {str: "a text", int: "a whole number", float: "a number"}


@dataclass(frozen=True, slots=True)
class Range:
    """Which numbers make sense: from `minimum` (not itself if `is_open`) to `maximum`, and never an infinite one."""

    minimum: float = -math.inf
    maximum: float = math.inf
    is_open: bool = False

    def __contains__(self, value: object) -> bool:
        return (
            isinstance(value, int | float)
            # Not math.isfinite: it makes a float of a whole number first, and of hundreds of digits there is none.
            and -math.inf < value < math.inf
            and self.minimum <= value <= self.maximum
            and not (self.is_open and value == self.minimum)
        )

    def __str__(self) -> str:
        lower = "" if self.minimum == -math.inf else f"{'above' if self.is_open else 'from'} {self.minimum}"
        return f"{lower} to {self.maximum}" if self.maximum < math.inf else lower


@dataclass(frozen=True, slots=True)
class OneOf:
    """Which texts make sense."""

    texts: tuple[str, ...]

    def __contains__(self, value: object) -> bool:
        return value in self.texts

    def __str__(self) -> str:
        return "out of " + ", ".join(text or '""' for text in self.texts)


class Switch(NamedTuple):
    """An option without a value of its own: it sets the setting to `value`."""

    flag: str
    value: str
    explanation: str


def option(
    *flags: str, switches: tuple[Switch, ...] = (), choices: tuple[str, ...] = (), metavar: str = ""
) -> dict[str, Any]:
    """What a declaration says besides the range.

    Args:
        flags: Options of the command line that take a value, such as "-t".
        switches: Options that take none.
        choices: The texts that are allowed; none: all.
        metavar: What help writes for the value; empty: what is usual for its type.
    """
    return {"flags": flags, "switches": switches, "choices": choices, "metavar": metavar}


@dataclass(frozen=True, slots=True)
class Setting:
    """One declaration.

    Attributes:
        name: As in the settings file, with its section.
        kind: The type of its values.
        default: The value where nobody has set it; None means that `NONE` may be given.
        explanation: What it is for, one or two sentences.
        range: Which values are allowed; None: all of the type.
        flags: Options of the command line that take a value.
        switches: Options that take none.
        metavar: What help writes for a value.
    """

    name: str
    kind: type[str] | type[int] | type[float]
    default: Value
    explanation: str
    range: Range | OneOf | None = None
    flags: tuple[str, ...] = ()
    switches: tuple[Switch, ...] = ()
    metavar: str = ""

    @property
    def key(self) -> str:
        """Its name without the section."""
        return self.name.rpartition(".")[2]

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return VARIABLE_PREFIX + self.name.upper().replace(".", "_")

    def check(self, value: object, source: str) -> Value:
        """The value with the type of the setting.

        Args:
            value: As TOML gives it.
            source: Where it stands, for the error: a file and a key, a variable, an option.

        Raises:
            SettingsError: it is of another type or outside of the range.
        """
        if self.default is None and value == NONE and not isinstance(value, bool):
            return None
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = _as_float(value)
        if type(value) is not self.kind:
            raise self._refusal(source, value, f"is not {_KIND_NAMES[self.kind]}")
        if self.range is not None and value not in self.range:
            raise self._refusal(source, value, "makes no sense")
        return value

    def parse(self, text: str, source: str) -> Value:
        """The value from the text of a variable or an option, checked; raises as `check`."""
        try:
            value = self.kind(text)
        except ValueError as error:
            # Python does not even read numbers of thousands of digits.
            is_whole = self.kind is int and text.strip().lstrip("+-").isdecimal()
            why = "makes no sense" if is_whole else f"is not {_KIND_NAMES[self.kind]}"
            raise self._refusal(source, text, why) from error
        return self.check(value, source)

    @property
    def allowed(self) -> str:
        """The values that make sense, in words."""
        kind = _KIND_NAMES[self.kind]
        if self.kind is float and isinstance(self.range, Range) and self.range.maximum == math.inf:
            kind = "a finite number"
        return " ".join(filter(None, (kind, self.allowed_range)))

    @property
    def allowed_range(self) -> str:
        """The same without the kind; empty where all values of it make sense."""
        allowed = "" if self.range is None else str(self.range)
        return f"{allowed}, or {NONE}" if self.default is None else allowed

    def _refusal(self, source: str, value: object, why: str) -> SettingsError:
        return SettingsError(f"{source}: {_shown(value)} {why}", f"It must be {self.allowed}.")


def declared_in(structure: type[msgspec.Struct], section: str = "") -> Iterator[Setting]:
    """The settings that the fields of a structure declare, in their order; a field without a declaration is none.

    Args:
        structure: Its fields have defaults.
        section: Stands before the names, with a point.
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
            OneOf(details["choices"]) if details["choices"] else _range(kind, meta),
            details["flags"],
            details["switches"],
            details["metavar"] or "|".join(filter(None, details["choices"])) or _METAVARS[kind],
        )


def _parts(hint: Any) -> tuple[Any, ...]:
    """The types that an optional one allows, or the type itself."""
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
    """A value as somebody wrote it; of a very long one its beginning."""
    try:
        shown = repr(value)
    except ValueError:  # Python writes no numbers of thousands of digits
        return "this number"
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}…"
