"""The keys that clients need: from a variable or a file, never from the command line, which all users can see."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tui_llama.errors import UserError

KEY_VARIABLE: Final = "TUI_LLAMA_SERVE_KEY"
_LARGEST_FILE_BYTES: Final = 64 * 1024
_LONGEST_KEY: Final = 1024


def read_keys(environment: Mapping[str, str], file: Path | None) -> tuple[str, ...]:
    """Returns all keys: that of the variable, and those of the file, one a line; lines with # before them are comments.

    Raises:
        UserError: the file cannot be read, others may read it, or has no key; or a key has characters that no header
            can have.
    """
    keys = [environment[KEY_VARIABLE].strip()] if environment.get(KEY_VARIABLE, "").strip() else []
    if file is not None:
        keys += _keys_in(file)
    for key in keys:
        if not (key.isascii() and key.isprintable()) or " " in key or len(key) > _LONGEST_KEY:
            raise UserError(
                "a key has characters that a header cannot have, or is too long",
                "Use letters, digits and signs of ASCII without blanks, such as the output of: openssl rand -hex 32",
            )
    return tuple(dict.fromkeys(keys))


def _keys_in(file: Path) -> list[str]:
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            content = opened.read(_LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise UserError(f"{file}: the keys cannot be read: {error.strerror}") from error
    if stat.S_ISREG(mode) and mode & (stat.S_IRGRP | stat.S_IROTH):
        raise UserError(f"{file}: other users may read the keys", f"chmod 600 {file}")
    if len(content) > _LARGEST_FILE_BYTES:
        raise UserError(f"{file}: this is too large for a file of keys", "It has one key on each line.")
    lines = [line.strip() for line in content.decode("utf-8", "replace").splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise UserError(f"{file}: there is no key in it", "Write one key on each line.")
    return keys
