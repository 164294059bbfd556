"""Finds the files that somebody means who types something after a command: one path, several, or a pattern.

    notes.txt               a path, with or without quotes, backslashes and ~
    a.txt 'b c.txt'         several paths, where there is something at each of them
    src/*.py, **/*.md       a pattern: the files that fit, without hidden ones and those that .gitignore leaves out

Waits for the disk.
"""

import glob
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Final

import msgspec

from tui_llama.attachments.ignored_paths import IgnoredPaths
from tui_llama.attachments.reading import read_attachment
from tui_llama.attachments.typed_paths import typed_paths, typed_words
from tui_llama.chat import Attachment
from tui_llama.errors import AttachmentError

MOST_FILES: Final = 50
LONGEST_SECONDS: Final = 5.0


class ReadFiles(msgspec.Struct, frozen=True):
    """What was read, and why the rest of what was meant was not."""

    attachments: tuple[Attachment, ...] = ()
    refusals: tuple[AttachmentError, ...] = ()


def read_typed(text: str) -> ReadFiles:
    """Returns the files that are meant.

    Raises:
        AttachmentError: one path is meant, at which there is nothing or no text; or a pattern that fits nothing, or
            more than can be attached.
    """
    paths = typed_paths(text)
    there = next((path for path in paths if os.path.lexists(path)), None)
    if there is not None:
        return ReadFiles((read_attachment(there),))
    words = typed_words(text)
    if len(words) > 1 and all(os.path.lexists(word) or glob.has_magic(str(word)) for word in words):
        return _read_all([path for word in words for path in _meant_by(word)])
    pattern = next((path for path in reversed(paths) if glob.has_magic(str(path))), None)
    return ReadFiles((read_attachment(paths[-1]),)) if pattern is None else _read_all(_meant_by(pattern))


def _meant_by(path: Path) -> list[Path]:
    """Returns the path if there is something, else the files that fit the pattern that it is.

    Raises:
        AttachmentError: none fits, or too many do.
    """
    if os.path.lexists(path):
        return [path]
    found = list(islice(_fitting(str(path)), MOST_FILES + 1))
    if not found:
        raise AttachmentError(f"No file fits {path}.", "Check the pattern; hidden and ignored files do not count.")
    if len(found) > MOST_FILES:
        raise AttachmentError(f"More than {MOST_FILES} files fit {path}.", "Name fewer of them.")
    return sorted(found)


def _fitting(pattern: str) -> Iterator[Path]:
    ends_at = monotonic() + LONGEST_SECONDS
    ignored: dict[Path, IgnoredPaths] = {}
    for name in glob.iglob(pattern, recursive=True):  # noqa: PTH207 - `Path.glob` takes no absolute pattern
        if monotonic() > ends_at:
            raise AttachmentError(f"{pattern} takes too long to look up.", "Name a folder in it.")
        path = Path(os.path.abspath(name))  # noqa: PTH100 - follows no links
        rules = ignored.setdefault(path.parent, IgnoredPaths.of(str(path.parent)))
        if path.is_file() and not _is_left_out(path, rules):
            yield Path(name)


def _is_left_out(path: Path, rules: IgnoredPaths) -> bool:
    return rules.has(str(path), is_folder=False) or rules.has(str(path.parent), is_folder=True)


def _read_all(paths: Sequence[Path]) -> ReadFiles:
    attachments, refusals = [], []
    for path in dict.fromkeys(paths):
        try:
            attachments.append(read_attachment(path))
        except AttachmentError as error:
            refusals.append(error)
    return ReadFiles(tuple(attachments), tuple(refusals))
