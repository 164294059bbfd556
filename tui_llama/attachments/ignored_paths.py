"""Tells which paths .gitignore leaves out, as Git reads it: the deepest file that says something of a path counts."""

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

_NAME: Final = ".gitignore"
_LONGEST_BYTES: Final = 1 << 20


class IgnoredPaths:
    """What is left out in a folder and below it.

    Args:
        rules: The rules of each ignore file, with the folder that they are about; the deepest last.
    """

    def __init__(self, rules: "tuple[tuple[str, GitIgnoreSpec], ...]" = ()) -> None:
        self._rules = rules

    @classmethod
    def of(cls, folder: str) -> "IgnoredPaths":
        """Returns what is left out in an absolute folder: by the rules of its repository, if it lies in one."""
        above = [Path(folder), *Path(folder).parents]
        roots = [each for each in above if os.path.lexists(each / ".git")]
        if not roots:
            return cls().within(folder)
        repository = roots[0]
        folders = [each for each in reversed(above) if each.is_relative_to(repository)]
        paths = cls()._and(str(repository), repository / ".git" / "info" / "exclude")
        for each in folders:
            paths = paths.within(str(each))
        return paths

    def within(self, folder: str) -> "IgnoredPaths":
        """Returns what is left out in a folder below, whose own ignore file counts, too."""
        return self._and(folder, Path(folder, _NAME))

    def _and(self, folder: str, file: Path) -> "IgnoredPaths":
        rules = _rules_of(file)
        return self if rules is None else IgnoredPaths((*self._rules, (folder, rules)))

    def has(self, path: str, *, is_folder: bool) -> bool:
        """Tells whether an absolute path is left out."""
        for folder, rules in reversed(self._rules):
            relative = os.path.relpath(path, folder) + ("/" if is_folder else "")
            is_left_out = rules.check_file(relative).include
            if is_left_out is not None:
                return is_left_out
        return False


def _rules_of(file: Path) -> "GitIgnoreSpec | None":
    try:
        status = file.stat()
        if not 0 < status.st_size <= _LONGEST_BYTES or not file.is_file():
            return None
        return _read_rules(str(file), status.st_mtime_ns, status.st_size)
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=64)
def _read_rules(file: str, _mtime_ns: int, _size_bytes: int) -> "GitIgnoreSpec | None":
    """Returns the rules of a file as it was at that time; None where it has none, or one that is no pattern."""
    from pathspec import GitIgnoreSpec  # here, because only a path that is completed needs it
    from pathspec.patterns.gitignore import GitIgnorePatternError

    lines = Path(file).read_text(encoding="utf-8", errors="replace").splitlines()
    try:
        return GitIgnoreSpec.from_lines(lines)
    except GitIgnorePatternError:
        return None
