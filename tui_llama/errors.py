"""The root of the error tree, ordered by who must act on an error.

The user acts on a `UserError`: its text says what is wrong, and its `hint` what to try. A programmer acts on a
`CallerError`, because it is a mistake in the calling code. A stop is not an error, but a `StopReason`.
"""

from typing import Final

_MOST_CHARACTERS: Final = 1000


def shortened(words: str) -> str:
    """Returns the words, without their middle if they are long, because they may repeat a long text of the user."""
    if len(words) <= _MOST_CHARACTERS:
        return words
    half = _MOST_CHARACTERS // 2
    return f"{words[:half]}…{words[-half:]}"


class TuiLlamaError(Exception):
    """The base of all errors that this program raises on purpose."""


class UserError(TuiLlamaError):
    """An error that the user can put right.

    Args:
        message: One line that says what is wrong and where; shortened if it is long.
        hint: One line that says what to try; empty if there is nothing to try. Also shortened.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(shortened(message))
        self.hint = shortened(hint)


class ModelFileError(UserError):
    """A model file cannot be used: it is damaged or hostile, or the engine does not know its kind."""


class StateFileError(UserError):
    """A file of stored keys and values must not be used. The prompt is read again instead."""


class NoStateFileError(StateFileError):
    """A file is not a state file, whatever its name. It is left alone."""


class StateVersionError(StateFileError):
    """A state file has another version. It is not damaged."""


class ResultFileError(UserError):
    """A file that the user has named for a result cannot be written or must not be replaced."""


class StoreError(UserError):
    """The chats on the disk cannot be read or written."""


class StoreConflictError(StoreError):
    """Another running program has changed a chat on the disk. Trying again does not help."""


class SettingsError(UserError):
    """A setting or an argument has a wrong value."""


class AttachmentError(UserError):
    """A file cannot be attached to a message."""


class EngineError(UserError):
    """The engine could not carry out a request."""


class PromptTooLongError(EngineError):
    """A prompt does not fit into the context.

    Args:
        message: As for every `UserError`.
        hint: As for every `UserError`.
        prompt_tokens: The tokens of the prompt.
    """

    def __init__(self, message: str, hint: str, prompt_tokens: int) -> None:
        super().__init__(message, hint)
        self.prompt_tokens = prompt_tokens


class EngineLostError(EngineError):
    """The engine's process ended during a request. It can be started again."""


class CallerError(TuiLlamaError):
    """A mistake in the calling code."""


class IllegalTransitionError(CallerError):
    """The state of the turn does not allow an event. Nothing was changed."""


class ShapeMismatchError(CallerError):
    """An array has another shape or element type than required."""
