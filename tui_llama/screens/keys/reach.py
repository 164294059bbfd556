"""Which keys of the program a terminal cannot send, or sends as another key."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from tui_llama.screens.commands import COMMANDS
from tui_llama.screens.keys.keymap import Keymap
from tui_llama.screens.keys.names import spelled
from tui_llama.widgets.local_keys import LOCAL_KEYS

_OTHER_KEYS: Final = (("shift+enter", "New line"), ("alt+enter", "New line"))
_SAME: Final = {"ctrl+i": "Tab", "ctrl+m": "Enter", "ctrl+left_square_bracket": "Esc", "ctrl+h": "Backspace"}
_PLAIN_CONTROL: Final = frozenset(
    {"space", "underscore", "backslash", "right_square_bracket", "at", "circumflex_accent", "slash"}
)
_NAMED: Final = frozenset(
    {"up", "down", "left", "right", "home", "end", "pageup", "pagedown", "insert", "delete"}
    | {f"f{number}" for number in range(1, 13)}
)


class OutOfReach(NamedTuple):
    """A key that does not arrive: what it would do, and why it does not."""

    key: str
    title: str
    reason: str


def out_of_reach(keymap: Keymap, *, has_kitty_protocol: bool) -> list[OutOfReach]:
    """Returns the keys of the keymap and of the composer that cannot arrive, as people write them.

    Args:
        keymap: The keys of the commands.
        has_kitty_protocol: Whether the terminal knows kitty's keyboard protocol, with which every key has its own name.
    """
    if has_kitty_protocol:
        return []
    return [
        OutOfReach(spelled(key), title, reason) for key, title in _bound(keymap) if (reason := why_not(key)) is not None
    ]


def why_not(key: str) -> str | None:
    """Says why a terminal without kitty's protocol does not send a key as itself; None if it does."""
    *modifiers, base = key.split("+")
    is_control = "ctrl" in modifiers
    reason = None
    if key in _SAME:
        reason = f"is sent as {_SAME[key]}"
    elif {"super", "hyper", "meta"} & set(modifiers):
        reason = "is not sent"
    elif base in _NAMED or modifiers in ([], ["alt"]) or key == "shift+tab":
        pass
    elif base in ("enter", "tab", "escape", "backspace"):
        reason = f"is sent as {spelled(base)}"
    elif is_control and ("shift" in modifiers or not (base in _PLAIN_CONTROL or (base.isalpha() and len(base) == 1))):
        reason = "is sent as another key, or not at all"
    return reason


def _bound(keymap: Keymap) -> Iterator[tuple[str, str]]:
    yield from _OTHER_KEYS
    declared = [(each.name, each.keys, each.title) for each in COMMANDS]
    declared += [(each.name, each.keys, f"{each.title}, {each.place}") for each in LOCAL_KEYS]
    for name, keys, title in declared:
        for key in filter(None, keymap.keys.get(name, keys).split(",")):
            yield key.strip(), title
