"""What the user can set: each setting declared once, with type, default, range and explanation.

The declarations give the defaults, check what a file or the environment says, and print as a settings file
with comments. What comes later wins: defaults, the file (TOML), `TUI_LLAMA_…` in the environment, the
command line (which replaces fields of `Settings` itself).
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Final, TypeAlias

from tui_llama.chat import SamplingSettings
from tui_llama.engine.placement import CACHE_TYPES, NUMA_MODES
from tui_llama.engine.protocol import DEFAULT_DRAFT_MAX, LoadRequest, Overflow, OverflowMode
from tui_llama.errors import SettingsError

Value: TypeAlias = str | int | float | None

VARIABLE_PREFIX: Final = "TUI_LLAMA_"
NONE: Final = -1  # stands for None in files and variables, as it does for llama.cpp
_SAMPLING: Final = "sampling"
_MOST: Final = 2**31 - 1
_KIND_NAMES: Final = {str: "a text", int: "a whole number", float: "a number"}


@dataclass(frozen=True, slots=True)
class Range:
    """Which numbers make sense: from `minimum` (not itself if `is_open`) to `maximum`."""

    minimum: float
    maximum: float = math.inf
    is_open: bool = False

    def __contains__(self, value: object) -> bool:
        return (
            isinstance(value, int | float)
            and math.isfinite(value)
            and self.minimum <= value <= self.maximum
            and not (self.is_open and value == self.minimum)
        )

    def __str__(self) -> str:
        if self.minimum == -math.inf:
            return "that is finite"
        lower = f"{'above' if self.is_open else 'from'} {self.minimum}"
        return lower if self.maximum in (math.inf, _MOST) else f"{lower} to {self.maximum}"


@dataclass(frozen=True, slots=True)
class OneOf:
    """Which texts make sense."""

    texts: tuple[str, ...]

    def __contains__(self, value: object) -> bool:
        return value in self.texts

    def __str__(self) -> str:
        return "out of " + ", ".join(text or '""' for text in self.texts)


@dataclass(frozen=True, slots=True)
class Setting:
    """One declaration. `name` is as in the file, with its section; `default` None means that NONE may be given."""

    name: str
    kind: type[str] | type[int] | type[float]
    default: Value
    explanation: str
    range: Range | OneOf | None = None

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return VARIABLE_PREFIX + self.name.upper().replace(".", "_")

    def check(self, value: object, source: str) -> Value:
        """The value with the type of the setting.

        Args:
            value: As TOML gives it.
            source: Where it stands, for the error: a file and a key, or a variable.

        Raises:
            SettingsError: it is of another type or outside of the range.
        """
        if self.default is None and value == NONE and not isinstance(value, bool):
            return None
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value) if abs(value) <= _MOST else math.inf
        if type(value) is not self.kind:
            raise SettingsError(f"{source}: {value!r} is not {_KIND_NAMES[self.kind]}", self.explanation)
        if self.range is not None and value not in self.range:
            raise SettingsError(f"{source}: {value!r} makes no sense", f"It must be {self.allowed}.")
        return value

    def parse(self, text: str, source: str) -> Value:
        """The value from the text of a variable, checked; raises as `check`."""
        try:
            return self.check(self.kind(text), source)
        except ValueError as error:
            raise SettingsError(f"{source}: {text!r} is not {_KIND_NAMES[self.kind]}", self.explanation) from error

    @property
    def allowed(self) -> str:
        """The values that make sense, in words."""
        kind = _KIND_NAMES[self.kind]
        allowed = kind if self.range is None else f"{kind} {self.range}"
        return f"{allowed}, or {NONE}" if self.default is None else allowed


class Source(Enum):
    """Where the value of a setting comes from. What the command line says is in `Settings` alone."""

    DEFAULT = "default"
    FILE = "settings file"
    VARIABLE = "variable"


@dataclass(frozen=True, slots=True)
class SettingValue:
    """The value that a setting has, and where it comes from."""

    setting: Setting
    value: Value
    source: Source

    @property
    def source_words(self) -> str:
        """The source in words that say where to change it, such as "TUI_LLAMA_THREADS" or "the settings file"."""
        return self.setting.variable if self.source is Source.VARIABLE else f"the {self.source.value}"


def _declared(kind: type, default: Value, explanation: str, allowed: Range | OneOf | None = None) -> Any:
    return field(default=default, metadata={"declaration": (kind, default, explanation, allowed)})


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the user can set, checked. `describe_settings` explains it."""

    theme: str = _declared(str, "", "Colours of the screen by their name; empty: the program's own.")
    context_size: int = _declared(
        int, 0, "Context in tokens; 0: the model's own, or 8192 if that is larger.", Range(0, _MOST)
    )
    threads: int = _declared(int, 0, "Threads that compute; 0: one for each core.", Range(0, 1024))
    batch_threads: int = _declared(int, 0, "Threads that read prompts; 0: as many as threads.", Range(0, 1024))
    batch_tokens: int = _declared(
        int, 512, "Most tokens of a prompt that are read in one pass over the weights.", Range(1, _MOST)
    )
    cache_type: str = _declared(
        str, "f16", "How keys and values are kept; q8_0 takes half the memory.", OneOf(CACHE_TYPES)
    )
    prompt_cache_mib: int = _declared(
        int, 0, "Most MiB that stored prompts take on disk; 0: a tenth of what is free, at most 10 GiB; -1: none.",
        Range(-1, _MOST),
    )  # fmt: skip
    cpu_mask: str = _declared(str, "", "Processors to run on, as the bits of a hexadecimal number; empty: all.")
    cpu_range: str = _declared(str, "", "Processors to run on, from one to another, such as 0-3.")
    priority: int = _declared(
        int, 0, "How urgent the threads are: -1 low, 0 normal, 1 medium, 2 high, 3 real time.", Range(-1, 3)
    )
    poll: int = _declared(int, 50, "How long threads spin before they sleep, in percent.", Range(0, 100))
    numa: str = _declared(
        str,
        "",
        "Where threads and weights go on a machine with several nodes; empty: anywhere.",
        OneOf(("", *NUMA_MODES)),
    )
    max_tokens: int | None = _declared(
        int, None, "Most tokens of an answer; -1: as many as the context holds.", Range(0, _MOST)
    )
    draft_max: int = _declared(
        int, DEFAULT_DRAFT_MAX, "Most tokens guessed at once from what stands in the context; 0: none.", Range(0, 63)
    )
    context_overflow: str = _declared(
        str,
        OverflowMode.DROP_TURNS.value,
        "What is done when the context is full: the oldest turns are left out; the older half is forgotten, and the "
        "answer goes on; older tokens share positions; or nothing.",
        OneOf(tuple(mode.value for mode in OverflowMode)),
    )
    keep_tokens: int = _declared(
        int, 0, "Tokens at the start that a shift never forgets; -1: all of the prompt.", Range(-1, _MOST)
    )
    group_size: int = _declared(
        int, 4, "How many tokens share a position when the context is extended.", Range(1, _MOST)
    )
    group_width: int = _declared(
        int, 512, "How many positions are shared at once; a multiple of group_size.", Range(1, _MOST)
    )
    read_ahead: str = _declared(
        str,
        "on",
        "Whether the conversation and the finished part of what is being written are read while nothing else is done.",
        OneOf(("on", "off")),
    )
    loop_guard: str = _declared(
        str, "on", "Whether an answer that is the same passage over and over is ended.", OneOf(("on", "off"))
    )
    system_prompt: str = _declared(str, "", "What the model is told before a new chat.")
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    # Not compared: settings are the same when they have the same effect.
    given: frozenset[str] = field(default=frozenset(), compare=False)
    """Names, such as "sampling.temperature", of the settings that somebody has set, be it to their defaults."""

    def load_request(self, model_path: str) -> LoadRequest:
        """How a model is to be opened by a program that stores nothing."""
        return LoadRequest(
            model_path,
            context_size=self.context_size,
            threads=self.threads,
            batch_tokens=self.batch_tokens,
            batch_threads=self.batch_threads,
            cache_type=self.cache_type,
            cpu_mask=self.cpu_mask,
            cpu_range=self.cpu_range,
            priority=self.priority,
            poll=self.poll,
            numa=self.numa,
        )

    def overflow(self) -> Overflow:
        """What is to be done when the context is full."""
        return Overflow(OverflowMode(self.context_overflow), self.keep_tokens, self.group_size, self.group_width)


# The defaults are those of `SamplingSettings`, which the engine knows too.
_SAMPLING_DECLARATIONS: Final[dict[str, tuple[type, str, Range | None]]] = {
    "seed": (int, "Start of the random numbers; -1: another one for each answer.", Range(0, 2**32 - 1)),
    "temperature": (float, "How freely tokens are chosen; 0: always the likeliest.", Range(0)),
    "top_k": (int, "Choose among this many of the likeliest tokens; 0: off.", Range(0, _MOST)),
    "top_p": (float, "Choose among the likeliest tokens that have this probability together; 1: off.", Range(0, 1)),
    "min_p": (float, "Drop tokens less likely than this share of the likeliest; 0: off.", Range(0, 1)),
    "repeat_penalty": (float, "Divides the weight of tokens used lately; 1: off.", Range(0, is_open=True)),
    "frequency_penalty": (float, "Taken off for each use of a token lately; 0: off.", Range(-math.inf)),
    "presence_penalty": (float, "Taken off once for a token used lately; 0: off.", Range(-math.inf)),
    "penalty_last_n": (int, "How many tokens count as lately; 0: penalties are off.", Range(0, _MOST)),
}


def _declarations() -> Iterator[Setting]:
    for each in dataclasses.fields(Settings):
        if "declaration" in each.metadata:
            yield Setting(each.name, *each.metadata["declaration"])
    for name, (kind, explanation, allowed) in _SAMPLING_DECLARATIONS.items():
        default = getattr(SamplingSettings(), name)
        yield Setting(f"{_SAMPLING}.{name}", kind, default, explanation, allowed)


SETTINGS: Final[dict[str, Setting]] = {setting.name: setting for setting in _declarations()}


def load_settings(file: Path, environment: Mapping[str, str]) -> Settings:
    """What the file and the environment set, checked; defaults for the rest.

    Args:
        file: TOML; need not be there.
        environment: Variables; those that are no setting are left alone.

    Raises:
        SettingsError: names the file and the key, or the variable, and the value.
    """
    return settings_of(load_values(file, environment))


def settings_of(found: Iterable[SettingValue]) -> Settings:
    """Settings with these values.

    Args:
        found: The values of all settings.
    """
    found = list(found)
    values: dict[str, Any] = {each.setting.name: each.value for each in found}
    sampling = {name: values.pop(f"{_SAMPLING}.{name}") for name in _SAMPLING_DECLARATIONS}
    given = frozenset(each.setting.name for each in found if each.source is not Source.DEFAULT)
    return Settings(**values, sampling=SamplingSettings(**sampling), given=given)


def load_values(file: Path, environment: Mapping[str, str]) -> list[SettingValue]:
    """The same with the source of each, in the order of declarations; raises as `load_settings`."""
    values, errors = examine_values(file, environment)
    if errors:
        raise errors[0]
    return values


def examine_values(file: Path, environment: Mapping[str, str]) -> tuple[list[SettingValue], list[SettingsError]]:
    """The same for who has to know everything that is wrong; what is wrong is passed over.

    Args:
        file: TOML; need not be there.
        environment: Variables; those that are no setting are left alone.

    Returns:
        A value for every setting, and the errors, those of the file first.
    """
    values = {name: SettingValue(setting, setting.default, Source.DEFAULT) for name, setting in SETTINGS.items()}
    errors = []
    for found in (*_values_of_file(file), *_values_of_environment(environment)):
        if isinstance(found, SettingValue):
            values[found.setting.name] = found
        else:
            errors.append(found)
    return list(values.values()), errors


def describe_settings(values: Iterable[SettingValue] | None = None) -> str:
    """A settings file that has every setting, with explanation, range and variable above each.

    Settings that nobody has set are commented out, so that the text, saved as the settings file, changes nothing: a
    default that is written down would count as the user's wish.

    Args:
        values: Of all settings; by default their defaults.
    """
    if values is None:
        values = [SettingValue(setting, setting.default, Source.DEFAULT) for setting in SETTINGS.values()]
    lines = ["# Settings of tui_llama. What is commented out has its default."]
    for each in values:
        setting = each.setting
        section, _, key = setting.name.rpartition(".")
        if section and f"[{section}]" not in lines:
            lines += ["", f"[{section}]"]
        lines += ["", f"# {setting.explanation}", f"# {setting.allowed}; {setting.variable}"]
        if each.source is Source.DEFAULT:
            lines.append(f"#{key} = {_as_toml(each.value)}")
        else:
            origin = f"from {each.source_words}; the default is {_as_toml(setting.default)}"
            lines.append(f"{key} = {_as_toml(each.value)}  # {origin}")
    return "\n".join(lines) + "\n"


def _values_of_file(file: Path) -> Iterator[SettingValue | SettingsError]:
    try:
        content = _parsed(file)
    except SettingsError as error:
        yield error
        return
    for name, value in _flat(content, file):
        try:
            setting = SETTINGS[_known(name, file)]
            yield SettingValue(setting, setting.check(value, f"{file}: {name}"), Source.FILE)
        except SettingsError as error:
            yield error


def _values_of_environment(environment: Mapping[str, str]) -> Iterator[SettingValue | SettingsError]:
    for setting in SETTINGS.values():
        if setting.variable in environment:
            try:
                value = setting.parse(environment[setting.variable], setting.variable)
                yield SettingValue(setting, value, Source.VARIABLE)
            except SettingsError as error:
                yield error


def _flat(content: Mapping[str, Any], file: Path) -> Iterator[tuple[str, object]]:
    """What a file sets, by names that have their section before them."""
    for key, value in content.items():
        if key == _SAMPLING and isinstance(value, dict):
            yield from ((f"{key}.{inner}", inner_value) for inner, inner_value in value.items())
        else:
            yield key, value


def _parsed(file: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):  # the latter where there can be none
        return {}
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}", "Check the file's permissions.") from error
    except (ValueError, RecursionError) as error:  # neither TOML nor, perhaps, UTF-8
        raise SettingsError(f"{file} is not valid TOML: {error}", "Mend or remove the file.") from error


def _known(name: str, file: Path) -> str:
    if name in SETTINGS:
        return name
    if name == _SAMPLING:
        raise SettingsError(f"{file}: {name} is no section", f"Write [{name}] on a line of its own.")
    nearest = _nearest(name)
    hint = f"Did you mean {nearest}?" if nearest else "Known are " + ", ".join(SETTINGS) + "."
    raise SettingsError(f"{file}: there is no setting {name!r}", hint)


def _nearest(name: str) -> str | None:
    """The setting whose name, wherever its section, is most like this one's."""
    import difflib

    by_key = {known.rpartition(".")[2]: known for known in SETTINGS}
    key = name.rpartition(".")[2].lower().replace("-", "_")
    close = difflib.get_close_matches(key, by_key, n=1)
    return by_key[close[0]] if close else None


def _as_toml(value: Value) -> str:
    if isinstance(value, str):
        return '"' + "".join(map(_toml_character, value)) + '"'
    return str(NONE if value is None else value)


def _toml_character(character: str) -> str:
    """A character in a basic string of TOML, where JSON's pairs of surrogates are no characters."""
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    if 0xD800 <= code < 0xE000:  # half of a pair, or a byte of a variable that is no text
        return "\ufffd"
    return f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"
