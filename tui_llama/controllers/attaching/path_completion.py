"""Suggests paths behind "@"; a file that is taken is attached, and its name stays in the text."""

import re
from collections.abc import Callable
from functools import partial

from tui_llama.attachments.path_completion import FoundPath
from tui_llama.controllers.attaching.path_lookup import PathLookup
from tui_llama.screens.commands import Choice
from tui_llama.widgets.completion.suggestion import Completion, CursorPlace, Suggestion

_MENTION = re.compile(r"(?:^|(?<=[\s(\[{\"']))@([^\s@]*)$")


class PathCompletion:
    """A provider of suggestions.

    Args:
        lookup: Knows the paths.
        attach: Attaches the file at a path.
    """

    def __init__(self, lookup: PathLookup, attach: Callable[[str], None]) -> None:
        self._lookup = lookup
        self._attach = attach

    def choices(self, typed: str) -> list[Choice]:
        """Returns the paths that the argument of a command may be, as `SlashCompletion` takes them."""
        return [Choice(found.text) for found in self._lookup(typed)]

    def __call__(self, place: CursorPlace) -> Completion | None:
        """Returns the paths that may be meant, or None where none is typed."""
        mention = _MENTION.search(place.before)
        if mention is None or (place.after and not place.after[0].isspace()):
            self._lookup.forget()
            return None
        typed = mention[1]
        found = self._lookup(typed)
        is_meant = bool(typed and found) and _begins_so(found[0], typed)
        return Completion(len(typed) + 1, [self._suggestion(each) for each in found], chooses_first=is_meant)

    def _suggestion(self, found: FoundPath) -> Suggestion:
        if found.is_folder:
            return Suggestion(f"@{found.text}", found.text)
        return Suggestion(f"@{found.text} ", found.text, on_taken=partial(self._attach, found.text))


def _begins_so(found: FoundPath, typed: str) -> bool:
    """Tells whether a path or its last part begins with what is typed: then Enter takes it, and sends nothing."""
    wanted = typed.rpartition("/")[2].lower()
    return found.text.rstrip("/").rpartition("/")[2].lower().startswith(wanted)
