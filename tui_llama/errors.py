"""The root of the error tree, ordered by who must act.

The user acts on a `UserError`: its text says what is wrong, its `hint` what to try. Whoever called acts on a
`CallerError`: it is a mistake in the program. A stop is no error; it is a `StopReason`.
"""

from typing import Final

_MOST_CHARACTERS: Final = 1000


def shortened(words: str) -> str:
    """Words with their middle left out if they are long: they may repeat what a user gave, however long that was."""
    if len(words) <= _MOST_CHARACTERS:
        return words
    half = _MOST_CHARACTERS // 2
    return f"{words[:half]}…{words[-half:]}"


class TuiLlamaError(Exception):
    """Everything that this program raises on purpose."""


class UserError(TuiLlamaError):
    """Something that the user can put right.

    Args:
        message: One line, what is wrong and where; shortened.
        hint: One line, what to try; empty when there is nothing to try. Shortened too.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(shortened(message))
        self.hint = shortened(hint)


class ModelFileError(UserError):
    """A model file that cannot be used: damaged, hostile, or of a kind that the engine does not know."""


class StateFileError(UserError):
    """A file of stored keys and values that must not be used; the prompt is read again instead."""


class NoStateFileError(StateFileError):
    """A file of something else, whatever it is called; it is left alone."""


class StateVersionError(StateFileError):
    """A state file of another version; there is nothing wrong with it."""


class ResultFileError(UserError):
    """A file that the user has named for a result cannot be written, or must not be replaced."""


class StoreError(UserError):
    """The chats on disk cannot be read or written."""


class StoreConflictError(StoreError):
    """A chat on disk is not as it was left, by another running program; to try again is no use."""


class SettingsError(UserError):
    """A setting or an argument with a value that makes no sense."""


class EngineError(UserError):
    """The engine could not do what was asked."""


class EngineLostError(EngineError):
    """The engine's process ended while something was asked of it; it can be started again."""


class CallerError(TuiLlamaError):
    """A mistake of the calling code."""


class IllegalTransitionError(CallerError):
    """An event that the turn's state does not allow; nothing was changed."""


class ShapeMismatchError(CallerError):
    """An array whose shape or element type is not the one asked for."""
