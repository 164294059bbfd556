"""Takes out of a text what tells who somebody is, so that the page can be shown to everybody."""

import os
import pwd
import re
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

_LONGEST: Final = 300  # characters; a row is a line
# Up to the last @, since a password may hold a slash or another @; rather too much than a part of one.
_PASSWORD_IN_ADDRESS: Final = re.compile(r"(?<=://)[^\s@]\S*(?=@)")
_TOKEN: Final = re.compile(r"\b(?:hf|sk|ghp|gho|github_pat)[_-][A-Za-z0-9_-]{16,}")
# All up to the next slash: nobody can tell where a name with a space in it ends, and where the text goes on.
_FOLDER_OF_SOMEBODY: Final = re.compile(r"(?<=/home/)[^/]+|(?<=/Users/)[^/]+|(?<=/run/media/)[^/]+")
_NOBODY_IN_PARTICULAR: Final = frozenset({"", "root", "user", "localhost"})
_NAME_ENDS: Final = r"(?![\w.-])"
_WORD_BEGINS, _WORD_ENDS = r"(?<![^\W_])", r"(?![^\W_])"  # an underscore is a border too


class Privacy:
    """Knows what to hide.

    Args:
        homes: The user's home folders, which are shown as `~`.
        names: Of the user and the machine; hidden in a text that has a path, as whole words, however written.
    """

    def __init__(self, homes: Iterable[str], names: Iterable[str]) -> None:
        # A home that is the root, as of some services, is in every path.
        kept = sorted({home.rstrip("/") for home in homes} - {""}, key=len, reverse=True)
        self._homes = [re.compile(rf"(?<![\w.~/-]){re.escape(home)}{_NAME_ENDS}") for home in kept]
        told = sorted({name.lower() for name in names} - _NOBODY_IN_PARTICULAR, key=len, reverse=True)
        self._names = [re.compile(rf"{_WORD_BEGINS}{re.escape(name)}{_WORD_ENDS}", re.IGNORECASE) for name in told]

    def hide(self, text: str) -> str:
        """The text without homes, names, passwords and tokens, and not endless."""
        for home in self._homes:
            text = home.sub("~", text)
        text = _FOLDER_OF_SOMEBODY.sub("…", text)
        text = _TOKEN.sub("…", _PASSWORD_IN_ADDRESS.sub("…", text))
        for name in self._names if "/" in text else ():
            text = name.sub("…", text)
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def privacy_of_this_user(environment: Mapping[str, str]) -> Privacy:
    """For whoever runs the program."""
    homes = {os.path.expanduser("~")}  # noqa: PTH111 - unlike Path.home(), it never raises
    names = {environment.get(variable, "") for variable in ("USER", "LOGNAME", "SUDO_USER")}
    try:
        entry = pwd.getpwuid(os.getuid())
        homes.add(entry.pw_dir)
        names.add(entry.pw_name)
    except KeyError:  # a user without an entry, as in some containers
        pass
    homes |= {str(Path(home).resolve()) for home in homes if home.startswith("/")}
    host = socket.gethostname()
    return Privacy(homes, names | {host, host.partition(".")[0]})
