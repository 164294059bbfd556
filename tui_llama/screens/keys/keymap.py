"""The keymap: which key gives which command. A preset comes first, then what the user's keymap file says.

The keymap file, in TOML:

    leader = "ctrl+x"            # the leader key; the letters of [after_leader] follow it

    [keys]                       # the name of a command, then its keys with commas between them; "" for none
    new_chat = "ctrl+t"
    chats_rename = "ctrl+e"      # what counts in one place only: see widgets/local_keys.py

    [after_leader]
    n = "new_chat"

A wrong line is told and left out, and so is a file that cannot be read: nobody is to be without keys.
"""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import msgspec

from tui_llama.screens.commands import COMMANDS, Command
from tui_llama.screens.keys.names import is_key, spelled, spelled_list
from tui_llama.widgets.local_keys import LOCAL_KEYS

NO_KEY: Final = "no-key-"
"""Begins the names of keys that no terminal sends; a command without a key is bound to one of these."""
LEADER: Final = "leader"

_LETTERS: Final = {
    "n": "new_chat",
    "l": "list_chats",
    "m": "choose_model",
    "r": "regenerate",
    "c": "continue_answer",
    "e": "edit_message",
    "y": "copy_answer",
    "p": "show_prompt",
    "b": "show_tree",
    "t": "rename_chat",
    "s": "settings",
    "h": "help",
    "q": "quit",
}


class Keymap(msgspec.Struct, frozen=True):
    """Keys in place of those with which the commands are declared.

    Attributes:
        keys: The keys of commands and local keys by their names, with commas between them; empty for none.
        letters: The commands by the letters that follow the leader key.
        name: The preset that it began with.
    """

    keys: Mapping[str, str] = {}
    letters: Mapping[str, str] = {}
    name: str = "default"

    def bound(self) -> dict[str, str]:
        """Returns the keys as Textual takes them: the name of a binding, and its keys."""
        return {name: keys or f"{NO_KEY}{name}" for name, keys in self.keys.items()}

    def shown(self, command: Command) -> str:
        """Returns the first key of a command as people write it; the leader and a letter; or an empty text."""
        own = self.keys.get(command.name)
        if own:
            return spelled_list(own)
        letter = next((letter for letter, name in self.letters.items() if name == command.name), "")
        by_leader = f"{spelled_list(self.keys.get(LEADER, ''))} {spelled(letter)}" if letter else ""
        return by_leader if own == "" or not command.shown_keys else command.shown_keys

    def shown_name(self, name: str) -> str:
        """Returns the first key of the command with this name; empty if there is none."""
        return next((self.shown(command) for command in COMMANDS if command.name == name), "")


PRESETS: Final = {
    "default": Keymap(),
    "leader": Keymap({LEADER: "ctrl+x"}, _LETTERS, "leader"),
    "vim": Keymap({LEADER: "ctrl+w"}, _LETTERS, "vim"),
}
"""The keymaps to begin with. Those of the user's file replace single keys of them."""


def read_keymap(preset: str, file: Path) -> tuple[Keymap, list[str]]:
    """Returns the keymap, and what is wrong in the file, in words for the user that are not safe to print.

    Args:
        preset: The name of the preset.
        file: The user's keymap file, in TOML. It need not exist.
    """
    content, problem = _content(file)
    found = list(_lines(content))
    keymap = PRESETS[preset]
    keys = dict(keymap.keys) | {name: value for section, name, value in _right(found) if section == "keys"}
    letters = dict(keymap.letters) | {name: value for section, name, value in _right(found) if section == "letters"}
    own = {name for section, name, _ in _right(found) if section == "keys"}
    problems = [problem] if problem else []
    problems += [f"{file.name}: {each}" for each in found if isinstance(each, str)]
    problems += [f"{file.name}: {each}" for each in _clashes(keys, own)]
    return Keymap(keys, {letter: name for letter, name in letters.items() if name}, preset), problems


def _right(found: Iterable[tuple[str, str, str] | str]) -> Iterator[tuple[str, str, str]]:
    return (each for each in found if not isinstance(each, str))


def _content(file: Path) -> tuple[Mapping[str, Any], str]:
    """Returns what the file says, and why it cannot be read; an empty text if it can, or if there is none."""
    try:
        text = file.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}, ""
    except OSError as error:
        return {}, f"{file.name} cannot be read: {error.strerror}."
    except ValueError:
        return {}, f"{file.name} is not UTF-8 text."
    import tomllib  # here: the first frame does without

    try:
        return tomllib.loads(text), ""
    except (ValueError, RecursionError) as error:
        return {}, f"{file.name} is not valid TOML: {error}."


def _lines(content: Mapping[str, Any]) -> Iterator[tuple[str, str, str] | str]:
    """Yields the section, the name and the value of each line that is right, and what is wrong in the others."""
    for name, value in content.items():
        if name == LEADER and isinstance(value, str):
            yield _checked_keys(LEADER, value)
        elif name == "keys" and isinstance(value, dict):
            yield from (_checked_keys(command, keys) for command, keys in value.items())
        elif name == "after_leader" and isinstance(value, dict):
            yield from (_checked_letter(letter, command) for letter, command in value.items())
        else:
            yield f"{name} is not known here. Known are {LEADER}, [keys] and [after_leader]."


def _checked_keys(name: str, keys: object) -> tuple[str, str, str] | str:
    if name not in _names():
        return _unknown(name)
    if not isinstance(keys, str):
        return f"{name}: the keys must be a text."
    each = [key.strip() for key in keys.split(",")] if keys.strip() else []
    wrong = next((key for key in each if not is_key(key)), None)
    if wrong is not None:
        return f"{name}: there is no key {wrong!r}. tui-llama keys shows the names."
    return "keys", name, ",".join(each)


def _checked_letter(letter: str, name: object) -> tuple[str, str, str] | str:
    if not is_key(letter):
        return f"after_leader: there is no key {letter!r}. tui-llama keys shows the names."
    if name and name not in {command.name for command in COMMANDS}:
        return _unknown(str(name))
    return "letters", letter, str(name)


def _unknown(name: str) -> str:
    nearest = get_close_matches(name, _names(), n=1)
    hint = f"Did you mean {nearest[0]}?" if nearest else "tui-llama keys --names lists all."
    return f"there is no command {name!r}. {hint}"


def _names() -> set[str]:
    return {command.name for command in COMMANDS} | {each.name for each in LOCAL_KEYS}


def _clashes(keys: Mapping[str, str], own: set[str]) -> Iterator[str]:
    """Yields what the user has given to two commands, or taken from another one: the other has no such key then."""
    users: dict[tuple[str, str], str] = {}
    everywhere = ((each.name, each.keys, "") for each in COMMANDS)
    in_places = ((each.name, each.keys, each.place) for each in LOCAL_KEYS)
    for name, declared, place in (*everywhere, *in_places):
        for key in filter(None, keys.get(name, declared).split(",")):
            other = users.setdefault((place, key), name)
            if other != name and {other, name} & own:
                yield f"{spelled(key)} is the key of {other} and of {name}; only one of them gets it."
