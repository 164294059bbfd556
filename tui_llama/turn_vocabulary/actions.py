"""What is to be done: each is one instruction of the turn machine to whoever carries it out."""

from msgspec import Struct

from tui_llama.chat import Attachment, StopReason, Usage
from tui_llama.turn_vocabulary.events import ChangePath


class Action(Struct, frozen=True):
    """Something to be done."""


class StartLoading(Action, frozen=True):
    """Load the model at `model_path` as load number `load`. None means the model that was loaded before."""

    load: int
    model_path: str | None


class StopLoading(Action, frozen=True):
    """Stop the load that is under way."""


class SaveMessage(Action, frozen=True):
    """Save the user's message before anything else is done with it."""

    text: str
    attachments: tuple[Attachment, ...] = ()


class ReplaceMessage(Action, frozen=True):
    """Save another version of message number `position`. The old version and its answers stay in the store."""

    position: int
    text: str
    attachments: tuple[Attachment, ...] = ()


class ShowPath(Action, frozen=True):
    """Change the path as the user wants, and show it."""

    change: ChangePath


class QueueMessage(Action, frozen=True):
    """Keep the message until the answer ends, behind what is queued already."""

    text: str
    attachments: tuple[Attachment, ...] = ()


class SendQueued(Action, frozen=True):
    """Send what is queued, if anything is."""


class ReturnQueued(Action, frozen=True):
    """Put what is queued, if anything is, back to where it was written: message number `number`, or all of them."""

    number: int | None = None


class ChangeQueued(Action, frozen=True):
    """Move a message among those that are queued, or remove it where `place` is None."""

    number: int
    place: int | None


class JoinQueue(Action, frozen=True):
    """Wait for the engine behind the chats that wait for it; it may be free."""


class LeaveQueue(Action, frozen=True):
    """Wait for the engine no longer."""


class FreeEngine(Action, frozen=True):
    """Let the next chat that waits have the engine."""


class ReportLoss(Action, frozen=True):
    """Tell the other chats that the engine's process has ended."""


class SetAnswerAside(Action, frozen=True):
    """Remove the last answer, if there is one, from the conversation. It stays in the store."""


class StartReply(Action, frozen=True):
    """Open an answer to the last message and ask the engine for it, as turn number `turn`.

    If the last message is an answer, open that answer again and ask for more.
    """

    turn: int


class StopReply(Action, frozen=True):
    """Ask the engine to stop."""

    turn: int


class CloseThought(Action, frozen=True):
    """Ask the engine to close the thought of the answer, so that its text begins."""

    turn: int


class AppendText(Action, frozen=True):
    """Add a piece to the open answer; `thought` precedes `text`."""

    turn: int
    text: str
    token_ids: tuple[int, ...]
    thought: str = ""


class FinishAnswer(Action, frozen=True):
    """Close the open answer and keep its text. `usage` is None if the engine did not report it."""

    turn: int
    stop_reason: StopReason
    usage: Usage | None


class ShowFailure(Action, frozen=True):
    """Tell the user what went wrong."""

    message: str
    hint: str
