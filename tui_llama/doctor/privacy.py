"""Removes personal data from texts, so that the page can be shown to everybody."""

import os
import pwd
import re
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

_LONGEST: Final = 300  # characters, because a row is one line
# Up to the last @, because a password may hold a slash or another @. Better hide too much than show a part of one.
_PASSWORD_IN_ADDRESS: Final = re.compile(r"(?<=://)[^\s@]\S*(?=@)")
_TOKEN: Final = re.compile(r"\b(?:hf|sk|ghp|gho|github_pat)[_-][A-Za-z0-9_-]{16,}")
# Everything up to the next slash, because a name may contain spaces and its end cannot be known.
_FOLDER_OF_SOMEBODY: Final = re.compile(r"(?<=/home/)[^/]+|(?<=/Users/)[^/]+|(?<=/run/media/)[^/]+")
_NOBODY_IN_PARTICULAR: Final = frozenset({"", "root", "user", "localhost"})
_NAME_ENDS: Final = r"(?![\w.-])"
_WORD_BEGINS, _WORD_ENDS = r"(?<![^\W_])", r"(?![^\W_])"  # an underscore also separates words


class Privacy:
    """Hides personal data in texts.

    Args:
        homes: The user's home folders, which are shown as `~`.
        names: The names of the user and of the machine. They are hidden only in texts with a path, as whole words, in
            upper or lower case.
    """

    def __init__(self, homes: Iterable[str], names: Iterable[str]) -> None:
        # Some services have the root as their home, which begins every path. It is not hidden.
        kept = sorted({home.rstrip("/") for home in homes} - {""}, key=len, reverse=True)
        self._homes = [re.compile(rf"(?<![\w.~/-]){re.escape(home)}{_NAME_ENDS}") for home in kept]
        told = sorted({name.lower() for name in names} - _NOBODY_IN_PARTICULAR, key=len, reverse=True)
        self._names = [re.compile(rf"{_WORD_BEGINS}{re.escape(name)}{_WORD_ENDS}", re.IGNORECASE) for name in told]

    def hide(self, text: str) -> str:
        """Returns the text without homes, names, passwords and tokens, cut after 300 characters."""
        for home in self._homes:
            text = home.sub("~", text)
        text = _FOLDER_OF_SOMEBODY.sub("…", text)
        text = _TOKEN.sub("…", _PASSWORD_IN_ADDRESS.sub("…", text))
        for name in self._names if "/" in text else ():
            text = name.sub("…", text)
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def privacy_of_this_user(environment: Mapping[str, str]) -> Privacy:
    """Returns the `Privacy` of the user who runs the program."""
    homes = {os.path.expanduser("~")}  # noqa: PTH111 - unlike Path.home(), it never raises
    names = {environment.get(variable, "") for variable in ("USER", "LOGNAME", "SUDO_USER")}
    try:
        entry = pwd.getpwuid(os.getuid())
        homes.add(entry.pw_dir)
        names.add(entry.pw_name)
    except KeyError:  # a user without an entry in the password database, as in some containers
        pass
    homes |= {str(Path(home).resolve()) for home in homes if home.startswith("/")}
    host = socket.gethostname()
    return Privacy(homes, names | {host, host.partition(".")[0]})
