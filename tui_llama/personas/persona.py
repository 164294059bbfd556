"""A persona: a name for a system prompt, sampling, a model, thinking and the start of replies; and its form in TOML.

    description = "Answers like a pirate"
    system_prompt = "You are a pirate."
    model = "SmolLM2-135M-Instruct.Q4_1"
    thinking = "off"
    reply_start = "Arr, "

    [sampling]
    temperature = 0.9

Each key may be missing, and the name is that of the file. Files come from other people, so nothing in them is trusted.
"""

import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

import msgspec

from tui_llama.chat import ChatChoices, Thinking
from tui_llama.declarations import MOST, Value, as_toml
from tui_llama.errors import SettingsError
from tui_llama.settings import SAMPLING, SETTINGS

LONGEST_NAME: Final = 60
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Persona(msgspec.Struct, frozen=True):
    """What a persona chooses. What it does not choose is None or empty, and stays as the settings have it.

    `system_prompt` None leaves the chat's as it is; "" takes it away. `model` is a file, a model's name or an address.
    None of the texts is safe to print.
    """

    name: str
    description: str = ""
    system_prompt: str | None = None
    sampling: Mapping[str, Value] = {}
    model: str = ""
    thinking: Thinking | None = None
    thinking_tokens: int | None = None
    reply_start: str = ""

    def choices(self) -> ChatChoices:
        """Returns the choices of a chat that takes the persona."""
        return ChatChoices(self.sampling, self.thinking, self.thinking_tokens, self.reply_start, self.name)


_TEXTS: Final = ("description", "system_prompt", "model", "reply_start")
_KEYS: Final = (*_TEXTS, "thinking", "thinking_tokens", SAMPLING)


def read_persona(name: str, text: str) -> Persona:
    """Returns the persona that a file in TOML describes.

    Raises:
        SettingsError: it is no TOML, or has a key or a value that makes no sense; says which, in one line.
    """
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"not valid TOML: {' '.join(str(error).split())[:120]}") from error
    _check_names(content, _KEYS, "")
    texts = {key: _text(content, key) for key in _TEXTS if key in content}
    sampling = content.get(SAMPLING, {})
    if not isinstance(sampling, dict):
        raise SettingsError(f"{SAMPLING} is not a section")
    return Persona(
        name,
        **texts,
        sampling=_sampling(sampling),
        thinking=_thinking(content),
        thinking_tokens=_thinking_tokens(content),
    )


def persona_toml(persona: Persona) -> str:
    """Returns a persona as a file in TOML; `read_persona` reads the same from it."""
    values: dict[str, Value] = {
        "description": persona.description or None,
        "system_prompt": persona.system_prompt,
        "model": persona.model or None,
        "thinking": None if persona.thinking is None else persona.thinking.value,
        "thinking_tokens": persona.thinking_tokens,
        "reply_start": persona.reply_start or None,
    }
    lines = [f"{key} = {_toml_value(value)}" for key, value in values.items() if value is not None]
    if persona.sampling:
        lines += ["", f"[{SAMPLING}]"]
        lines += [f"{name} = {as_toml(value)}" for name, value in persona.sampling.items()]
    return "\n".join([*lines, ""])


def _toml_value(value: Value) -> str:
    """Returns a value in TOML; a text of several lines stays so, as people edit it."""
    if not isinstance(value, str) or "\n" not in value:
        return as_toml(value)
    return '"""\n' + "\n".join(as_toml(line)[1:-1] for line in value.split("\n")) + '"""'


def _check_names(found: Mapping[str, Any], known: tuple[str, ...], section: str) -> None:
    for key in found:
        if key not in known:
            near = next(iter(get_close_matches(key, known, 1)), "")
            meant = f"; did you mean {near}?" if near else ""
            raise SettingsError(f"unknown key {section}{_CONTROL.sub('?', key)[:40]}{meant}")


def _text(content: Mapping[str, Any], key: str) -> str:
    value = content[key]
    if not isinstance(value, str):
        raise SettingsError(f"{key} is not text")
    return value


def _sampling(section: Mapping[str, Any]) -> dict[str, Value]:
    settings = {name.partition(".")[2]: each for name, each in SETTINGS.items() if name.startswith(f"{SAMPLING}.")}
    _check_names(section, tuple(settings), f"{SAMPLING}.")
    chosen: dict[str, Value] = {}
    for name, value in section.items():
        chosen[name] = settings[name].check(value, f"{SAMPLING}.{name}")
    return chosen


def _thinking(content: Mapping[str, Any]) -> Thinking | None:
    value = content.get("thinking")
    if value is None:
        return None
    if value not in list(Thinking):
        raise SettingsError(f"thinking must be one of {', '.join(Thinking)}")
    return Thinking(value)


def _thinking_tokens(content: Mapping[str, Any]) -> int | None:
    value = content.get("thinking_tokens")
    if value is not None and (type(value) is not int or not 0 <= value <= MOST):
        raise SettingsError(f"thinking_tokens must be a whole number from 0 to {MOST}")
    return value
