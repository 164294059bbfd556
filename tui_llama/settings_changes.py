"""Changes single settings in the settings file. Everything else in the file stays as it is, with its comments.

A new text is parsed before it is written. Where it says anything else than the old text and the change, the next way to
write the change is tried. If none is right, the file is left alone, and the user is told to change it by hand.
"""

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tui_llama.declarations import Setting, Value, as_toml
from tui_llama.errors import SettingsError
from tui_llama.files.toml_file import changing, parsed, parsed_or_none, read_text, write_text
from tui_llama.settings_sources import MODELS

_LINE: Final = re.compile(r"[^\n]*\n|[^\n]+")  # not `splitlines`, which knows more ends of lines than TOML
_HEADER: Final = re.compile(r"[ \t]*\[")
_EMPTY: Final = re.compile(r"[ \t\r\n]*(#.*)?\n?")
_MOST_VALUE_LINES: Final = 200


def set_value(file: Path, setting: Setting, value: Value, model_name: str = "") -> None:
    """Sets a setting in the settings file. Makes the file if there is none.

    Args:
        file: The settings file. If it is a link, the file to which it leads is replaced.
        setting: The setting.
        value: Its value, checked.
        model_name: The model for which alone it is set; empty for all.

    Raises:
        SettingsError: the file cannot be read or written, or the place of the setting in it cannot be found.
    """
    with changing(file):
        _change(file, setting, as_toml(value), model_name)


def remove_value(file: Path, setting: Setting, model_name: str = "") -> None:
    """Removes a setting from the settings file, so that it has its default again. Raises as `set_value`.

    Does nothing if it is not there.
    """
    with changing(file):
        _change(file, setting, None, model_name)


def _change(file: Path, setting: Setting, value: str | None, model_name: str) -> None:
    before = read_text(file)
    content = parsed(before, file)
    section = _section_of(setting, model_name)
    wanted = _wanted(content, section, setting.key, value, file)
    if _without_empty(wanted) == _without_empty(content):
        return
    for after in _texts(before, section, setting.key, value):
        if _without_empty(parsed_or_none(after)) == _without_empty(wanted):
            write_text(file, after)
            return
    place = ".".join((*section, setting.key))
    raise SettingsError(f"{file}: the place of {place} in it is not clear", "Change it there by hand.")


def _section_of(setting: Setting, model_name: str) -> tuple[str, ...]:
    own = tuple(filter(None, [setting.name.rpartition(".")[0]]))
    return (MODELS, model_name, *own) if model_name else own


def _wanted(
    content: dict[str, Any], section: tuple[str, ...], key: str, value: str | None, file: Path
) -> dict[str, Any]:
    """Returns what the file is to say."""
    wanted = copy.deepcopy(content)
    place = wanted
    for name in section:
        place = place.setdefault(name, {})
        if not isinstance(place, dict):
            raise SettingsError(f"{file}: {name} must be a section", "Correct the file.")
    if value is None:
        place.pop(key, None)
    else:
        place[key] = parsed(f"value = {value}", file)["value"]
    return wanted


def _without_empty(content: dict[str, Any] | None) -> dict[str, Any] | None:
    """Returns the content without empty sections, which say nothing."""
    if content is None:
        return None
    kept = {key: _without_empty(value) if isinstance(value, dict) else value for key, value in content.items()}
    return {key: value for key, value in kept.items() if value != {}}


def _texts(before: str, section: tuple[str, ...], key: str, value: str | None) -> Iterator[str]:
    """Yields the text with the change, in each way in which it may be right; the one that keeps most comes first."""
    lines = _LINE.findall(before)
    end = "\r\n" if "\r\n" in before else "\n"
    yield from _replaced(lines, key, value)
    if value is None:
        return
    line = f"{key} = {value}{end}"
    for start, stop in _blocks(lines, section):
        block = lines[start:stop]
        default = next((number for number, each in enumerate(block) if each.startswith(f"#{key} = ")), None)
        last = next((number for number in reversed(range(len(block))) if not _EMPTY.fullmatch(block[number])), -1)
        place = start + 1 + (last if default is None else default)
        yield "".join([*_ended(lines[:place], end), line, *lines[place:]])
    gap = [end] if before.strip() else []
    if section:
        yield "".join([*_ended(lines, end), *gap, f"[{'.'.join(map(_toml_key, section))}]{end}", line])
    else:
        yield "".join([line, *gap, *lines])


def _replaced(lines: list[str], key: str, value: str | None) -> Iterator[str]:
    """Yields the text with another value where a line may set the key."""
    setter = re.compile(rf"[ \t]*(?:[\w\"'.-]+[ \t]*\.[ \t]*)?[\"']?{re.escape(key)}[\"']?[ \t]*=")
    for number, line in enumerate(lines):
        match = setter.match(line)
        if match is None:
            continue
        for stop in range(number + 1, min(len(lines), number + _MOST_VALUE_LINES) + 1):
            old = "".join(lines[number:stop])
            if parsed_or_none(old) is not None:
                new = "" if value is None else f"{match[0]} {value}{_comment_of(old)}"
                yield "".join([*lines[:number], new, *lines[stop:]])
                break


def _comment_of(text: str) -> str:
    """Returns what stands behind the value: a comment, with the blanks before it, and the end of the line."""
    end = re.search(r"\r?\n?\Z", text)
    places = [match.start() for match in re.finditer("#", text)]
    for place in places:
        if parsed_or_none(text[:place]) is not None:
            return text[len(text[:place].rstrip()) :]
    return end[0] if end is not None else ""


def _blocks(lines: list[str], section: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """Yields the first and the last line, exclusive, of each part of the text that may be the section."""
    headers = [number for number, line in enumerate(lines) if _HEADER.match(line)]
    if not section:
        yield 0, headers[0] if headers else len(lines)
        return
    for position, start in enumerate(headers):
        if parsed_or_none(lines[start]) == _nested(section):
            yield start, headers[position + 1] if position + 1 < len(headers) else len(lines)


def _nested(section: tuple[str, ...]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for name in reversed(section):
        content = {name: content}
    return content


def _ended(lines: list[str], end: str) -> list[str]:
    """Returns the lines, the last of which ends."""
    return [*lines[:-1], lines[-1] + end] if lines and not lines[-1].endswith("\n") else lines


def _toml_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else as_toml(name)
