"""Names of the files of a split model: `NAME-00001-of-00003.gguf`, `NAME-00002-of-00003.gguf` and so on.

The number counts from 1 and both have five digits. All parts are in one folder; the first stands for the model. A name
is all that is looked at here: whether a file is the part that its name says is for engine/gguf/parts.py to find out.

Source: llama.cpp, src/llama.cpp (`llama_split_path`, `llama_split_prefix`).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tui_llama import paths

MOST_PARTS: Final = 512
"""Files with a larger count are no parts for this program; the largest models have a few dozen."""

_PART: Final = re.compile(r"(?P<stem>.*)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})(?P<ending>\.gguf)?", re.I | re.S)


@dataclass(frozen=True, slots=True)
class PartName:
    """The name of a part, with what may be in front of it in a path.

    Args:
        stem: The name before the numbers.
        number: From 1 to `count`.
        count: At least 2.
        ending: ".gguf" as it is written, or nothing.
    """

    stem: str
    number: int
    count: int
    ending: str

    def of(self, number: int) -> str:
        """Returns the name of another part."""
        return f"{self.stem}-{number:05}-of-{self.count:05}{self.ending}"


def part_name(name: str) -> PartName | None:
    """Returns what a file's name says of a part; None for the name of a model in one file."""
    match = _PART.fullmatch(name)
    if match is None:
        return None
    number, count = int(match["number"]), int(match["count"])
    is_part = 2 <= count <= MOST_PARTS and 1 <= number <= count
    return PartName(match["stem"], number, count, match["ending"] or "") if is_part else None


def first_part(path: Path) -> Path:
    """Returns the path of the first part of a model, which is `path` itself for a model in one file."""
    part = part_name(path.name)
    return path if part is None or part.number == 1 else path.with_name(part.of(1))


def known_by(path: Path) -> Path:
    """Returns the path by which a model is known: that of its first part, if that is there, for any other part."""
    first = first_part(path)
    return first if paths.is_file(first) else path


def all_parts(path: Path) -> tuple[Path, ...]:
    """Returns the paths that the parts of a model must have, the first in front: `path` alone if it is in one file."""
    part = part_name(path.name)
    if part is None:
        return (path,)
    return tuple(path.with_name(part.of(number)) for number in range(1, part.count + 1))


def without_part(stem: str) -> str:
    """Returns a file name without the numbers of a part at its end, and without ".gguf" if it has those."""
    match = _PART.fullmatch(stem)
    return stem if match is None else match["stem"]
