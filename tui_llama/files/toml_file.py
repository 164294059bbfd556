"""A file in TOML that the user writes and the program changes in places. Everything else in it stays byte for byte.

A library for TOML is no help here: those there are lose comments, or move keys to another section. So whoever changes
the text proves the change by parsing the text before and after it.
"""

import os
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tui_llama import paths
from tui_llama.errors import SettingsError
from tui_llama.files.one_at_a_time import alone_in
from tui_llama.files.own_files import replace_own_file


def read_text(file: Path) -> str:
    """Returns the text of the file with the ends of its lines as they are; an empty text if there is no file.

    Raises:
        SettingsError: the file cannot be read.
    """
    if not paths.is_there(file) and not paths.is_link(file):
        return ""
    try:
        return file.read_bytes().decode()
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}", "Check the file's permissions.") from error
    except ValueError as error:
        raise SettingsError(f"{file} is not UTF-8 text", "Correct the file.") from error


def parsed(text: str, file: Path) -> dict[str, Any]:
    """Returns what the text of a file says.

    Raises:
        SettingsError: it is no TOML.
    """
    content = parsed_or_none(text)
    if content is None:
        raise SettingsError(f"{file} is not valid TOML", "tui-llama settings says where. Correct it first.")
    return content


def parsed_or_none(text: str) -> dict[str, Any] | None:
    """Returns what a text in TOML says, None if it is none. Numbers with a fraction stay text, since NaN is no NaN."""
    try:
        return tomllib.loads(text, parse_float=str)
    except (ValueError, RecursionError):
        return None


@contextmanager
def changing(file: Path) -> Iterator[None]:
    """Keeps other programs that change the file waiting, from before it is read until it is written.

    Raises:
        SettingsError: the folder of the file cannot be made or opened.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(alone_in(file.resolve().parent))
        except OSError as error:
            raise _not_writable(file, error) from error
        yield


def write_text(file: Path, text: str) -> None:
    """Replaces the file in one step. If it is a link, the file to which it leads is replaced.

    Raises:
        SettingsError: the user has protected the file, or it cannot be written.
    """
    try:
        replace_own_file(_writable_target(file), text.encode())
    except OSError as error:
        raise _not_writable(file, error) from error


def check_writable(file: Path) -> None:
    """Checks that `write_text` would work; the disk may still fail. Raises its errors."""
    try:
        _writable_target(file)
    except OSError as error:
        raise _not_writable(file, error) from error


def _writable_target(file: Path) -> Path:
    """Returns the file to which a link leads, or the file itself, unless the user has protected it."""
    target = file.resolve()
    if paths.is_there(target) and not os.access(target, os.W_OK):
        raise SettingsError(f"{file} is protected from changes", "Change it there by hand.")
    return target


def _not_writable(file: Path, error: OSError) -> SettingsError:
    return SettingsError(f"{file} cannot be written: {error.strerror}", "Check the folder and its disk.")
