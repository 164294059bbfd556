"""The hints at the edge of the composer: which keys are useful now, of what has the focus, with the user's own keys."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from textual.screen import Screen

from tui_llama.screens.keys.keymap import NO_KEY, Keymap
from tui_llama.screens.keys.names import is_key, spelled


class Hint(NamedTuple):
    """A key, or the name of a command whose key it is, and what it does in a word or two."""

    key: str
    words: str


IDLE: Final = (Hint("enter", "send"), Hint("ctrl+j", "new line"), Hint("help", "help"))
BUSY: Final = (Hint("enter", "queue"), Hint("stop", "stop"), Hint("help", "help"))
EDITING: Final = (Hint("enter", "send"), Hint("stop", "leave"))
EDITING_ANSWER: Final = (
    Hint("enter", "keep as a version"),
    Hint("continue_answer", "go on"),
    Hint("stop", "leave"),
)
"""What is useful in the composer: at rest, while there is something to stop, in an earlier message, in an answer."""

RUN: Final = Hint("enter", "run")
"""What Enter does with a command."""

TAKING: Final = (Hint("enter", "take"), Hint("down", "next"), Hint("escape", "close"))
SUGGESTING: Final = (Hint("tab", "take"), Hint("down", "next"), Hint("escape", "close"))
"""What is useful while suggestions are shown: where Enter takes one, and behind what Enter does where it takes none."""

WRITE: Final = Hint("i", "write")
NORMAL_MODE: Final = "normal mode"
"""With modes, as vim has them, while letters move and change: how to write again, and what the mode is called."""

_GENERAL_ACTIONS: Final = frozenset(
    {"app.focus_next", "app.focus_previous", "screen.copy_text", "page_left", "page_right"}
)
_SEPARATOR: Final = " · "


def written(hints: Sequence[Hint], keymap: Keymap, width: int) -> str:
    """Returns the hints on one line. Where there is no room for all, the last ones but the very last are left out.

    Args:
        hints: The hints, the most useful first. One whose command has no key is left out.
        keymap: The keys.
        width: The cells that there are.
    """
    return fitting([f"{key} {hint.words}" for hint in hints if (key := _shown(hint.key, keymap))], width)


def fitting(parts: Sequence[str], width: int) -> str:
    """Returns the parts on one line of `width` cells; where needed, the last ones but the very last are left out."""
    kept = list(parts)
    while len(kept) > 1 and len(_SEPARATOR.join(kept)) > width:
        del kept[-2]
    return _SEPARATOR.join(kept)


def hints_of_focus(screen: Screen[Any]) -> list[Hint]:
    """Returns the keys that what has the focus shows: bindings with `show`, in the order of their declaration."""
    return [Hint(key, words.lower()) for key, words in bindings_of_focus(screen, shown_only=True)]


def bindings_of_focus(screen: Screen[Any], *, shown_only: bool = False) -> Iterator[tuple[str, str]]:
    """Yields a key of each binding that what has the focus has besides the screen, and what it does."""
    from textual.widgets import Input, OptionList, TextArea  # here: the first frame does without the first

    of_any_text_or_list = (Input, OptionList, TextArea)
    seen: set[tuple[str, str]] = set()
    for key, (node, binding, is_enabled, _) in screen.active_bindings.items():
        what = (binding.action, binding.description)
        is_general = node is screen.app or isinstance(node, of_any_text_or_list) or binding.action in _GENERAL_ACTIONS
        is_own = not is_general and (node is not screen or screen.is_modal)
        is_wanted = is_own and is_enabled and binding.description and (binding.show or not shown_only)
        if is_wanted and what not in seen and not key.startswith(NO_KEY):
            seen.add(what)
            yield key, binding.description


def _shown(key: str, keymap: Keymap) -> str:
    return keymap.shown_name(key) or (spelled(key) if is_key(key) else "")
