"""The options that several commands have; most are settings, made of the declarations and checked by them.

The parameter names are those of the settings, so that what is given here replaces what is set there. What makes no
sense is wrong usage, in the words in which the settings file and a variable are refused.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import click

from tui_llama.declarations import NONE, OneOf, Setting, TextForm
from tui_llama.errors import SettingsError
from tui_llama.settings import SAMPLING, SETTINGS

Command = TypeVar("Command", bound=Callable[..., Any])

ENGINE: Final = ("context_size", "threads", "batch_threads", "batch_tokens", "cache_type", "experts")
PLACEMENT: Final = ("cpu_mask", "cpu_range", "priority", "poll", "numa")
CHOOSING: Final = tuple(setting.name for setting in SETTINGS.values() if setting.name.startswith(f"{SAMPLING}."))
OVERFLOW: Final = ("context_overflow", "keep_tokens", "group_size", "group_width")
GENERATING: Final = (*CHOOSING, "draft_max", *OVERFLOW, "loop_guard")
THINKING: Final = ("thinking", "thinking_tokens")


def setting_options(*names: str) -> Callable[[Command], Command]:
    """Gives a command the options of these settings."""
    return with_options(option for name in names for option in _options_of(SETTINGS[name]))


def with_options(options: Iterable[Callable[[Command], Command]]) -> Callable[[Command], Command]:
    """Gives a command options, in the order in which the help is to show them."""
    in_order = tuple(options)

    def add(command: Command) -> Command:
        for option in reversed(in_order):
            command = option(command)
        return command

    return add


MODEL_OPTION: Final = click.option(
    "-m", "--model", metavar="MODEL", help="GGUF file, or name of a model; default: the model last used."
)
SERVER_OPTION: Final = click.option(
    "--server", metavar="SERVER", help="Name or URL of a server; -m then names a model that it offers."
)
SAMPLERS_OPTION: Final = click.option(
    *("--print-samplers", "shows_samplers"),
    is_flag=True,
    default=None,
    help="First print the samplers at work, in their order, on standard error.",
)
STOP_OPTIONS: Final = with_options(
    (
        click.option(
            *("-r", "--stop", "stop_texts"),
            multiple=True,
            metavar="TEXT",
            help="End before this text. May be repeated.",
        ),
        click.option("--ignore-eos", is_flag=True, default=None, help="Never let the model end the answer."),
    )
)


def given(options: Mapping[str, object]) -> dict[str, object]:
    """Returns the options that were written on the command line."""
    return {name: value for name, value in options.items() if value not in (None, ())}


def list_option(setting: Setting, **details: Any) -> Callable[[Command], Command]:
    """Makes an option that takes several values of a setting."""
    return _value_option(setting, SeveralOf(setting), f"{setting.metavar},…", **details)


def value_option(setting: Setting, **details: Any) -> Callable[[Command], Command]:
    """Makes an option that takes one value of a setting.

    Args:
        setting: Its declaration.
        details: As `click.option` takes them.
    """
    return _value_option(setting, ValueOf(setting), setting.metavar, **details)


class ValueOf(click.ParamType[Any]):
    """A value of a setting, checked by its declaration; `NONE` stays what it is."""

    name = "value"

    def __init__(self, setting: Setting) -> None:
        self._setting = setting

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns the value of a text; checks again what click has converted already."""
        setting = self._setting
        try:
            checked = setting.parse(value, "") if isinstance(value, str) else setting.check(value, "")
        except SettingsError as error:
            self.fail(f"{str(error).removeprefix(': ')}. {error.hint}", param, ctx)
        return NONE if checked is None else checked


class SeveralOf(click.ParamType[tuple[Any, ...]]):
    """Values of a setting with commas between them."""

    name = "several"

    def __init__(self, setting: Setting) -> None:
        self._kind = ValueOf(setting)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        """Returns the values of a text."""
        parts = value if isinstance(value, tuple) else str(value).split(",")
        return tuple(self._kind.convert(part, param, ctx) for part in parts)


def _options_of(setting: Setting) -> Iterable[Callable[[Command], Command]]:
    if setting.flags and isinstance(setting.range, TextForm) and setting.range.join is not None:
        yield _repeated_option(setting, setting.range.join)
    elif setting.flags:
        yield value_option(setting)
    for switch in setting.switches:
        yield click.option(switch.flag, setting.key, flag_value=switch.value, default=None, help=switch.explanation)


def _repeated_option(setting: Setting, join: Callable[[Sequence[str]], str]) -> Callable[[Command], Command]:
    """Makes an option that may be repeated; its values make one text, which is checked."""

    def joined(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> str | None:
        return ValueOf(setting).convert(join(values), option, context) if values else None

    words = f"{setting.explanation} May be repeated."
    return click.option(
        *setting.flags, setting.key, multiple=True, metavar=setting.metavar, help=words, callback=joined
    )


def _value_option(setting: Setting, kind: Any, metavar: str, **details: Any) -> Callable[[Command], Command]:
    words = setting.explanation if isinstance(setting.range, OneOf) else _with_range(setting)
    return click.option(*setting.flags, setting.key, type=kind, metavar=metavar, help=words, **details)


def _with_range(setting: Setting) -> str:
    """Returns the explanation, with the numbers that are allowed where not all are."""
    allowed = setting.allowed_range
    return f"{setting.explanation}  [{allowed}]" if allowed else setting.explanation
