"""Names of keys: as Textual writes them, "ctrl+pagedown", and as people do, "Ctrl+PgDn"."""

from typing import Final

from textual.keys import REPLACED_KEYS, Keys, key_to_character

MODIFIERS: Final = ("ctrl", "alt", "shift", "super", "hyper", "meta")
_WORDS: Final = {
    "escape": "Esc",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "delete": "Del",
    "insert": "Ins",
    "space": "Space",
}
_KNOWN: Final = frozenset(key.value for key in Keys)


def spelled(key: str) -> str:
    """Returns a key as people write it: "ctrl+n" is "Ctrl+N", "question_mark" is "?", "G" is "Shift+G"."""
    *modifiers, base = _parts(key)
    character = _character(base)
    if base in _WORDS:
        word = _WORDS[base]
    elif character is not None and character.isprintable():
        word = character.upper() if modifiers else character
    else:
        word = base.replace("_", " ").title().replace(" ", "")
    return "+".join([*(each.title() for each in modifiers), word])


def spelled_list(keys: str) -> str:
    """Returns the first of several keys with commas between them, as people write it; empty for none."""
    first = keys.partition(",")[0].strip()
    return spelled(first) if first else ""


def is_key(name: str) -> bool:
    """Tells whether this is the name of a key, such as "ctrl+n", "f2", "?" or "question_mark"."""
    *modifiers, base = _parts(name)
    if not all(each in MODIFIERS for each in modifiers) or len(set(modifiers)) < len(modifiers):
        return False
    if len(base) == 1:
        return base.isprintable()
    return base in _KNOWN or _character(base) is not None


def _parts(key: str) -> list[str]:
    """Returns the modifiers and the key itself, which may be a plus."""
    if key == "+" or key.endswith("++"):
        return [*filter(None, key[:-1].rstrip("+").split("+")), "+"]
    return key.split("+")


def _character(base: str) -> str | None:
    """Returns the character of a key without modifiers, None if it is no character."""
    return base if len(base) == 1 else key_to_character(REPLACED_KEYS.get(base, base))
