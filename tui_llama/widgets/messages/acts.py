"""What can be done with the message in focus, each declared once: for its key, the hints below it, and the help."""

from enum import StrEnum
from typing import Final

import msgspec


class Act(StrEnum):
    """One thing to do with a message."""

    EDIT = "edit"
    CONTINUE = "continue"
    COPY = "copy"
    COPY_CODE = "copy code"
    RAW = "raw"
    REGENERATE = "regenerate"
    BRANCH = "branch"
    DELETE = "delete"
    OLDER = "older version"
    NEWER = "newer version"
    UNDO = "undo"


class ActKey(msgspec.Struct, frozen=True):
    """The keys of an act: by Textual's names, as people write them, and one line for the help."""

    act: Act
    keys: str
    shown_keys: str
    explanation: str


ACT_KEYS: Final = (
    ActKey(Act.EDIT, "e", "e", "Edit the message; the old text stays as a version"),
    ActKey(Act.CONTINUE, "c", "c", "Go on with an answer that was cut off or edited"),
    ActKey(Act.COPY, "y", "y", "Copy the message"),
    ActKey(Act.COPY_CODE, "Y,shift+y", "Y", "Copy the last code in the message"),
    ActKey(Act.RAW, "m", "m", "Show the message as it was written"),
    ActKey(Act.REGENERATE, "r", "r", "Answer again: the same way, or another"),
    ActKey(Act.BRANCH, "b", "b", "Go on from here: what follows stays as a branch"),
    ActKey(Act.DELETE, "d,delete", "d", "Delete the message, alone or with what follows it"),
    ActKey(Act.OLDER, "left", "←", "The version before"),
    ActKey(Act.NEWER, "right", "→", "The version after"),
    ActKey(Act.UNDO, "u", "u", "Undo the last edit, deletion, branch or title"),
)

MOVE_KEYS: Final = (
    ("↑ ↓, k j", "The message before, after; also Alt+↑ Alt+↓"),
    ("{ }", "Your own message before, after"),
    ("Home, End, g G", "The first message, the last"),
    ("Ctrl+U, Ctrl+D", "Half a page up, down"),
    ("Enter, Space", "Fold or show what is folded: the thought, what is attached, the rest of a long message"),
    ("1 … 9", "Copy the code block of that number in the message"),
    ("Esc", "Back to what is written"),
)


def hints(*, is_answer: bool, version: int, version_count: int, folded: str = "") -> list[str]:
    """Returns the keys that are useful for a message, by the names of `local_keys`, for the line below the composer.

    `folded` says what is folded in it, in a word; empty if nothing is.
    """
    turn = "{message_older}{message_newer}"
    versions = [f"{turn} {version}/{version_count}"] if version_count > 1 else []
    go_on = ["{message_continue} continue"] if is_answer else []
    folds = [f"{{message_unfold}} {folded}"] if folded else []
    usual = ("regenerate again", "copy copy", "branch branch", "delete delete", "raw raw", "undo undo", "leave back")
    acts = [f"{{message_{act}}} {word}" for act, word in (each.split() for each in usual)]
    return [*versions, *folds, "{message_edit} edit", *go_on, *acts]
