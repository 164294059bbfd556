"""What may happen in a chat: what the user wants, what the engine reports, what other chats do."""

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct

from tui_llama.chat import Attachment, StopReason, Usage


class Event(Struct, frozen=True):
    """Something that happened."""


class LoadEvent(Event, frozen=True):
    """A report of load number `load`."""

    load: int


class TurnEvent(Event, frozen=True):
    """A report of the reply of turn number `turn`."""

    turn: int


class LoadModel(Event, frozen=True):
    """The user chose a model."""

    model_path: str


class SendMessage(Event, frozen=True):
    """The user sent a message."""

    text: str
    attachments: tuple[Attachment, ...] = ()


class EditMessage(Event, frozen=True):
    """The user replaces message number `position` of the conversation, counted from 0, by another text."""

    position: int
    text: str
    attachments: tuple[Attachment, ...] = ()


class Regenerate(Event, frozen=True):
    """The user wants another answer to their last message."""


class Retry(Event, frozen=True):
    """The user wants the failed answer again, or the model whose load failed. Whether one did is not known here."""


class Continue(Event, frozen=True):
    """The user wants more of the last answer, which was cut off. Whether there can be more is not known here."""


class TakeBack(Event, frozen=True):
    """The user takes back message number `number` of those that are queued, to edit it; all where it is None."""

    number: int | None = None


class ChangeQueue(Event, frozen=True):
    """The user moves message number `number` of those that are queued to place `place`, or removes it: None."""

    number: int
    place: int | None


class Stop(Event, frozen=True):
    """The user stops the answer, or cancels an answer that waits for the model."""


class AnswerNow(Event, frozen=True):
    """The user wants the thought that the model is in to end, and the text of its answer to begin."""


class ChangePath(Event, frozen=True):
    """The user changes which messages are shown, and asks for no answer. Its kinds share the rows of this event."""


class EditAnswer(ChangePath, frozen=True):
    """The user replaces the answer that is message number `position` by a text; the same text makes a copy."""

    position: int
    text: str


class DeleteMessage(ChangePath, frozen=True):
    """The user deletes message number `position`, alone or with all that follows it."""

    position: int
    is_alone: bool = False


class Branch(ChangePath, frozen=True):
    """The user wants to say something else after message number `position`."""

    position: int


class ShowMessage(ChangePath, frozen=True):
    """The user goes to another message of the chat: another version, or a place in the tree."""

    message_id: int


class Undo(ChangePath, frozen=True):
    """The user undoes their last change. Whether there is one is not known here."""


class OpenChat(Event, frozen=True):
    """The user goes to another branch or version of the chat. Another chat has a machine of its own."""


class Quit(Event, frozen=True):
    """The program ends."""


class LoadBegan(Event, frozen=True):
    """Another chat has a model loaded, as load number `load`."""

    load: int


class EngineGranted(Event, frozen=True):
    """The engine is this chat's for an answer, as turn number `turn`."""

    turn: int


class LoadAdvanced(LoadEvent, frozen=True):
    """Loading has made progress."""


class ModelReady(LoadEvent, frozen=True):
    """The model is loaded and can answer."""


class LoadFailed(LoadEvent, frozen=True):
    """The model cannot be used. The engine still runs."""

    message: str
    hint: str = ""


class EngineLostInLoad(LoadEvent, frozen=True):
    """The engine's process ended while it was loading."""

    message: str
    hint: str = ""


class PromptAdvanced(TurnEvent, frozen=True):
    """More of the prompt is known, or has been read."""


class TextArrived(TurnEvent, frozen=True):
    """A piece of the answer has arrived, with its tokens; `thought` precedes `text`."""

    text: str
    token_ids: tuple[int, ...] = ()
    thought: str = ""


class ReplyFinished(TurnEvent, frozen=True):
    """The engine has ended the answer."""

    stop_reason: StopReason
    usage: Usage


class ReplyFailed(TurnEvent, frozen=True):
    """The engine could not answer. It still runs."""

    message: str
    hint: str = ""


class ServerNotFound(ReplyFailed, frozen=True):
    """The name of the server has no address."""


class ConnectionRefused(ReplyFailed, frozen=True):
    """No server answers at this address."""


class ServerNotTrusted(ReplyFailed, frozen=True):
    """The certificate of the server is not trusted."""


class KeyRefused(ReplyFailed, frozen=True):
    """The server wants a key, or another one."""


class NoSuchModel(ReplyFailed, frozen=True):
    """The server does not have the model."""


class ServerBusy(ReplyFailed, frozen=True):
    """The server takes no more requests for now, or is loading the model."""


class ServerError(ReplyFailed, frozen=True):
    """The server refused the request, or could not answer it."""


class StreamCutOff(ReplyFailed, frozen=True):
    """The connection ended in the middle of the answer."""


class ErrorInStream(ReplyFailed, frozen=True):
    """The server reported an error in the middle of the answer."""


class StreamWithoutEnd(ReplyFailed, frozen=True):
    """The answer stopped without a word on why."""


class ServerSilent(ReplyFailed, frozen=True):
    """The server sent nothing for too long."""


class EngineLostInTurn(TurnEvent, frozen=True):
    """The engine's process ended while it was answering."""

    message: str
    hint: str = ""


class EngineLostAtRest(Event, frozen=True):
    """The engine's process ended while it had nothing to do."""


class Late(Event, frozen=True):
    """Stands in the table for any event of an older load or turn."""


SERVER_FAILURES: Mapping[type[ReplyFailed], str] = MappingProxyType(
    {
        ServerNotFound: "check the server's name and the network",
        ConnectionRefused: "start the server, or check the port",
        ServerNotTrusted: "check the address, or install the server's certificate",
        KeyRefused: "give the server another key",
        NoSuchModel: "choose another model",
        ServerBusy: "retry a little later",
        ServerError: "retry, change the request, or look at the server's log",
        StreamCutOff: "retry, or continue",
        ErrorInStream: "retry, or continue",
        StreamWithoutEnd: "retry, or continue",
        ServerSilent: "retry, or look at the server",
    }
)
"""The causes for which a server's answer fails, and what can be done about each. A server fails as an engine does."""

LOAD_REPORTS: tuple[type[LoadEvent], ...] = (LoadAdvanced, ModelReady, LoadFailed, EngineLostInLoad)
TURN_REPORTS: tuple[type[TurnEvent], ...] = (
    PromptAdvanced,
    TextArrived,
    ReplyFinished,
    ReplyFailed,
    *SERVER_FAILURES,
    EngineLostInTurn,
)
