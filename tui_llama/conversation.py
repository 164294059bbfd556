"""The turn as a state machine: which events are legal now, and which actions follow from them.

A chat is a sequence of turns. In one turn the user sends a message, and the engine reads the prompt and writes the
answer. Many things may happen at any time: the user stops, the model is still loading, a token arrives after the stop,
the engine's process dies. Each of them is an event here. A pair of state and event is either a row of one table or
illegal.

    machine.handle(event)   returns the actions to carry out, in order; carries out nothing itself
    machine.allows(Stop)    tells by the same table whether the user may stop now

Rules beside the table:

 *  A pair that is not in the table raises `IllegalTransitionError` and changes nothing.
 *  Loads and turns are numbered from 1. Each event from the engine carries the number of its load or turn. An event
    with an older number than the current one is looked up as `Late`, which every state accepts and ignores. A number
    that was never given out is illegal.
 *  An answer is open from `StartReply` to the `FinishAnswer` of the same turn. That is exactly while the state is
    `READING`, `ANSWERING` or `STOPPING`. Nothing else opens or closes an answer.
 *  Text that arrives after a stop is dropped, so that the answer keeps the text that the user saw when they stopped.
 *  The answer of a server fails for many causes. Each is a kind of `ReplyFailed` with rows of its own, which have the
    actions of `ReplyFailed`: the partial answer is kept, and `Retry` asks again.
 *  What the user changes of the path (`ChangePath`) is legal at rest and while a model loads, when no answer is open
    and none waits. After it, nothing has failed any more, because the failed answer may not be there.
 *  `StartReply` answers the user's last message, however the turn began: sent, edited, retried or regenerated. Only
    after `Continue` is the last message an answer, and then the engine continues that answer.
 *  Each chat that is alive has a machine, and all share one engine, which serves one reply at a time. A chat that wants
    it joins the queue of chats and is `QUEUED` until `EngineGranted`, which comes at once if the engine is free.
    `FreeEngine` lets the next one have it. What becomes of a load is told to all machines. While one of them has an
    open answer, none of them loads.
 *  A message that is sent while an answer is awaited or open is queued. It is sent when the answer ends, and goes back
    to where it was written when the answer is stopped or fails.

This module knows no engine, store, screen or clock. The page docs/state-machine.md is drawn from the table.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar

from msgspec import Struct

from tui_llama.chat import Attachment, StopReason, Usage
from tui_llama.errors import IllegalTransitionError


class State(StrEnum):
    """The state of the conversation. The value is its name on the screen and in the docs."""

    NO_MODEL = "no model"
    LOADING = "loading"
    WAITING = "waiting for the model"
    READY = "ready"
    QUEUED = "waiting for another chat's answer"
    READING = "reading the prompt"
    ANSWERING = "answering"
    STOPPING = "stopping"
    FAILED = "failed"
    LOST = "engine lost"
    CLOSED = "closed"


ANSWER_IS_OPEN = frozenset({State.READING, State.ANSWERING, State.STOPPING})
MODEL_IS_LOADING = frozenset({State.LOADING, State.WAITING})

STATE_BESIDE: Mapping[State, State] = MappingProxyType(
    {
        State.NO_MODEL: State.NO_MODEL,
        State.LOADING: State.LOADING,
        State.WAITING: State.LOADING,
        State.READY: State.READY,
        State.QUEUED: State.READY,
        State.READING: State.READY,
        State.ANSWERING: State.READY,
        State.STOPPING: State.READY,
        State.FAILED: State.READY,
        State.LOST: State.LOST,
        State.CLOSED: State.CLOSED,
    }
)
"""The state in which a chat begins that is opened beside one in this state: the engine is the same."""


# --- events -------------------------------------------------------------------------------------------------


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
    """The user takes back what is queued, to edit it."""


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
    """The user deletes message number `position` and all that follows it."""

    position: int


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


# --- actions ------------------------------------------------------------------------------------------------


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
    """Put what is queued, if anything is, back to where it was written."""


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


# --- the table ----------------------------------------------------------------------------------------------


class Numbers(Struct, frozen=True):
    """The numbers of the current load and turn, 0 before the first."""

    load: int = 0
    turn: int = 0


class Effect(Struct, frozen=True):
    """Makes one of a row's actions from the event. `name` is its name in the docs."""

    name: str
    make: Callable[[Numbers, Event], Action]


class Row(Struct, frozen=True):
    """The result of a legal pair of state and event."""

    next_state: State
    effects: tuple[Effect, ...] = ()
    remark: str = ""


def _start_loading(numbers: Numbers, event: Event) -> Action:
    return StartLoading(numbers.load, event.model_path if isinstance(event, LoadModel) else None)


def _save_message(_numbers: Numbers, event: Event) -> Action:
    assert isinstance(event, SendMessage)
    return SaveMessage(event.text, event.attachments)


def _replace_message(_numbers: Numbers, event: Event) -> Action:
    assert isinstance(event, EditMessage)
    return ReplaceMessage(event.position, event.text, event.attachments)


def _show_path(_numbers: Numbers, event: Event) -> Action:
    assert isinstance(event, ChangePath)
    return ShowPath(event)


def _queue_message(_numbers: Numbers, event: Event) -> Action:
    assert isinstance(event, SendMessage)
    return QueueMessage(event.text, event.attachments)


def _append_text(numbers: Numbers, event: Event) -> Action:
    assert isinstance(event, TextArrived)
    return AppendText(numbers.turn, event.text, event.token_ids, event.thought)


def _finish_as_reported(numbers: Numbers, event: Event) -> Action:
    assert isinstance(event, ReplyFinished)
    return FinishAnswer(numbers.turn, event.stop_reason, event.usage)


def _finish_as_stopped(numbers: Numbers, event: Event) -> Action:
    usage = event.usage if isinstance(event, ReplyFinished) else None
    return FinishAnswer(numbers.turn, StopReason.STOPPED, usage)


def _finish_as_failed(numbers: Numbers, _event: Event) -> Action:
    return FinishAnswer(numbers.turn, StopReason.FAILED, None)


def _show_failure(_numbers: Numbers, event: Event) -> Action:
    assert isinstance(event, LoadFailed | EngineLostInLoad | ReplyFailed | EngineLostInTurn)
    return ShowFailure(event.message, event.hint)


START_LOADING = Effect("StartLoading", _start_loading)
STOP_LOADING = Effect("StopLoading", lambda _numbers, _event: StopLoading())
SAVE_MESSAGE = Effect("SaveMessage", _save_message)
REPLACE_MESSAGE = Effect("ReplaceMessage", _replace_message)
SHOW_PATH = Effect("ShowPath", _show_path)
SET_ANSWER_ASIDE = Effect("SetAnswerAside", lambda _numbers, _event: SetAnswerAside())
QUEUE_MESSAGE = Effect("QueueMessage", _queue_message)
SEND_QUEUED = Effect("SendQueued", lambda _numbers, _event: SendQueued())
RETURN_QUEUED = Effect("ReturnQueued", lambda _numbers, _event: ReturnQueued())
JOIN_QUEUE = Effect("JoinQueue", lambda _numbers, _event: JoinQueue())
LEAVE_QUEUE = Effect("LeaveQueue", lambda _numbers, _event: LeaveQueue())
FREE_ENGINE = Effect("FreeEngine", lambda _numbers, _event: FreeEngine())
REPORT_LOSS = Effect("ReportLoss", lambda _numbers, _event: ReportLoss())
START_REPLY = Effect("StartReply", lambda numbers, _event: StartReply(numbers.turn))
STOP_REPLY = Effect("StopReply", lambda numbers, _event: StopReply(numbers.turn))
CLOSE_THOUGHT = Effect("CloseThought", lambda numbers, _event: CloseThought(numbers.turn))
APPEND_TEXT = Effect("AppendText", _append_text)
FINISH_AS_REPORTED = Effect("FinishAnswer (as reported)", _finish_as_reported)
FINISH_AS_STOPPED = Effect("FinishAnswer (stopped)", _finish_as_stopped)
FINISH_AS_FAILED = Effect("FinishAnswer (failed)", _finish_as_failed)
SHOW_FAILURE = Effect("ShowFailure", _show_failure)

_TOO_LATE = "too late: nothing happens"
_TableKey = tuple[State, type[Event]]


def _rows(state: State, rows: Mapping[type[Event], Row]) -> dict[_TableKey, Row]:
    return {(state, event_type): row for event_type, row in rows.items()}


def _queueing(states: Iterable[State]) -> dict[_TableKey, Row]:
    """Returns rows for a message that is sent while an answer is awaited or open."""
    rows: dict[_TableKey, Row] = {}
    for state in states:
        rows[state, SendMessage] = Row(state, (QUEUE_MESSAGE,), "sent when the answer ends")
        rows[state, TakeBack] = Row(state, (RETURN_QUEUED,))
    return rows


def _too_late(states: Iterable[State], event_types: Iterable[type[Event]]) -> dict[_TableKey, Row]:
    """Returns rows for reports that arrive after their load or reply is over: they are accepted and have no effect."""
    event_types = tuple(event_types)
    return {(state, kind): Row(state, remark=_TOO_LATE) for state in states for kind in event_types}


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


def _server_failures(state: State, failed: Row) -> dict[_TableKey, Row]:
    """Returns a row for each cause of a server's failure in this state: that of `ReplyFailed`, and what can be done."""
    return {
        (state, kind): Row(
            failed.next_state, failed.effects, "; ".join(part for part in (failed.remark, remedy) if part)
        )
        for kind, remedy in SERVER_FAILURES.items()
    }


_LOAD_REPORTS: tuple[type[LoadEvent], ...] = (LoadAdvanced, ModelReady, LoadFailed, EngineLostInLoad)
_TURN_REPORTS: tuple[type[TurnEvent], ...] = (
    PromptAdvanced,
    TextArrived,
    ReplyFinished,
    ReplyFailed,
    *SERVER_FAILURES,
    EngineLostInTurn,
)
_END_FAILED = (FINISH_AS_FAILED, SHOW_FAILURE, FREE_ENGINE, RETURN_QUEUED)
_END_LOST = (FINISH_AS_FAILED, SHOW_FAILURE, RETURN_QUEUED, REPORT_LOSS)
_FAILED_READING = Row(State.FAILED, _END_FAILED)
_FAILED_ANSWERING = Row(State.FAILED, _END_FAILED, "the partial answer is kept")
_FAILED_STOPPING = Row(State.READY, (FINISH_AS_STOPPED, SHOW_FAILURE, FREE_ENGINE, RETURN_QUEUED))
_NOT_LOADING = tuple(state for state in State if state not in MODEL_IS_LOADING)
_NOT_REPLYING = tuple(state for state in State if state not in ANSWER_IS_OPEN)

TRANSITIONS: Mapping[_TableKey, Row] = MappingProxyType(
    _too_late(State, (Late,))
    | _too_late(_NOT_LOADING, _LOAD_REPORTS)
    | _too_late(_NOT_REPLYING, _TURN_REPORTS)
    | _queueing((State.WAITING, State.QUEUED, State.READING, State.ANSWERING, State.STOPPING))
    | _rows(
        State.NO_MODEL,
        {
            LoadBegan: Row(State.LOADING),
            LoadModel: Row(State.LOADING, (START_LOADING,)),
            Retry: Row(State.LOADING, (START_LOADING,), "the model whose load failed"),
            ChangePath: Row(State.NO_MODEL, (SHOW_PATH,)),
            OpenChat: Row(State.NO_MODEL),
            Quit: Row(State.CLOSED),
        },
    )
    | _rows(
        State.LOADING,
        {
            LoadBegan: Row(State.LOADING, remark="another model instead"),
            LoadModel: Row(State.LOADING, (STOP_LOADING, START_LOADING), "another model instead"),
            SendMessage: Row(State.WAITING, (SAVE_MESSAGE,), "the message waits for the model"),
            EditMessage: Row(State.WAITING, (REPLACE_MESSAGE,)),
            Regenerate: Row(State.WAITING, (SET_ANSWER_ASIDE,)),
            Continue: Row(State.WAITING, remark="the answer waits for the model"),
            ChangePath: Row(State.LOADING, (SHOW_PATH,)),
            OpenChat: Row(State.LOADING),
            Quit: Row(State.CLOSED, (STOP_LOADING,)),
            LoadAdvanced: Row(State.LOADING),
            ModelReady: Row(State.READY),
            LoadFailed: Row(State.NO_MODEL, (SHOW_FAILURE,)),
            EngineLostInLoad: Row(State.LOST, (SHOW_FAILURE,)),
        },
    )
    | _rows(
        State.WAITING,
        {
            LoadModel: Row(State.WAITING, (STOP_LOADING, START_LOADING), "the answer now waits for this model"),
            LoadBegan: Row(State.WAITING, remark="the answer now waits for this model"),
            Stop: Row(State.LOADING, (RETURN_QUEUED,), "the message stays, unanswered"),
            Quit: Row(State.CLOSED, (STOP_LOADING, RETURN_QUEUED)),
            LoadAdvanced: Row(State.WAITING),
            ModelReady: Row(State.QUEUED, (JOIN_QUEUE,), "the waiting answer begins"),
            LoadFailed: Row(State.NO_MODEL, (SHOW_FAILURE, RETURN_QUEUED), "the message stays, unanswered"),
            EngineLostInLoad: Row(State.LOST, (SHOW_FAILURE, RETURN_QUEUED), "the message stays, unanswered"),
        },
    )
    | _rows(
        State.READY,
        {
            LoadBegan: Row(State.LOADING),
            LoadModel: Row(State.LOADING, (START_LOADING,)),
            SendMessage: Row(State.QUEUED, (SAVE_MESSAGE, JOIN_QUEUE)),
            EditMessage: Row(State.QUEUED, (REPLACE_MESSAGE, JOIN_QUEUE)),
            Regenerate: Row(State.QUEUED, (SET_ANSWER_ASIDE, JOIN_QUEUE)),
            Continue: Row(State.QUEUED, (JOIN_QUEUE,), "the last answer goes on"),
            ChangePath: Row(State.READY, (SHOW_PATH,)),
            OpenChat: Row(State.READY),
            Quit: Row(State.CLOSED),
            EngineLostAtRest: Row(State.LOST, remark="the engine starts again when it is needed"),
        },
    )
    | _rows(
        State.QUEUED,
        {
            LoadModel: Row(State.WAITING, (LEAVE_QUEUE, START_LOADING), "the answer now waits for this model"),
            LoadBegan: Row(State.WAITING, (LEAVE_QUEUE,), "the answer now waits for this model"),
            Stop: Row(State.READY, (LEAVE_QUEUE, RETURN_QUEUED), "the message stays, unanswered"),
            Quit: Row(State.CLOSED, (LEAVE_QUEUE, RETURN_QUEUED)),
            EngineGranted: Row(State.READING, (START_REPLY,)),
            EngineLostAtRest: Row(State.WAITING, (LEAVE_QUEUE, START_LOADING), "the engine starts again"),
        },
    )
    | _rows(
        State.READING,
        {
            Stop: Row(State.STOPPING, (STOP_REPLY, RETURN_QUEUED)),
            Quit: Row(State.CLOSED, (STOP_REPLY, FINISH_AS_STOPPED, RETURN_QUEUED)),
            PromptAdvanced: Row(State.READING),
            TextArrived: Row(State.ANSWERING, (APPEND_TEXT,), "the first token"),
            ReplyFinished: Row(State.READY, (FINISH_AS_REPORTED, FREE_ENGINE, SEND_QUEUED), "an empty answer"),
            ReplyFailed: _FAILED_READING,
            EngineLostInTurn: Row(State.LOST, _END_LOST),
        },
    )
    | _rows(
        State.ANSWERING,
        {
            AnswerNow: Row(State.ANSWERING, (CLOSE_THOUGHT,), "nothing happens outside a thought"),
            Stop: Row(State.STOPPING, (STOP_REPLY, RETURN_QUEUED)),
            Quit: Row(State.CLOSED, (STOP_REPLY, FINISH_AS_STOPPED, RETURN_QUEUED), "the partial answer is kept"),
            TextArrived: Row(State.ANSWERING, (APPEND_TEXT,)),
            ReplyFinished: Row(State.READY, (FINISH_AS_REPORTED, FREE_ENGINE, SEND_QUEUED)),
            ReplyFailed: _FAILED_ANSWERING,
            EngineLostInTurn: Row(State.LOST, _END_LOST, "the partial answer is kept"),
        },
    )
    | _rows(
        State.STOPPING,
        {
            Stop: Row(State.STOPPING, (RETURN_QUEUED,), "already stopping"),
            Quit: Row(State.CLOSED, (FINISH_AS_STOPPED, RETURN_QUEUED)),
            PromptAdvanced: Row(State.STOPPING, remark=_TOO_LATE),
            TextArrived: Row(State.STOPPING, remark="a token after the stop: dropped"),
            ReplyFinished: Row(
                State.READY,
                (FINISH_AS_STOPPED, FREE_ENGINE, SEND_QUEUED),
                "counts as stopped, whatever the engine reports",
            ),
            ReplyFailed: _FAILED_STOPPING,
            EngineLostInTurn: Row(State.LOST, (FINISH_AS_STOPPED, SHOW_FAILURE, RETURN_QUEUED, REPORT_LOSS)),
        },
    )
    | _server_failures(State.READING, _FAILED_READING)
    | _server_failures(State.ANSWERING, _FAILED_ANSWERING)
    | _server_failures(State.STOPPING, _FAILED_STOPPING)
    | _rows(
        State.FAILED,
        {
            LoadBegan: Row(State.LOADING),
            LoadModel: Row(State.LOADING, (START_LOADING,)),
            SendMessage: Row(State.QUEUED, (SAVE_MESSAGE, JOIN_QUEUE)),
            EditMessage: Row(State.QUEUED, (REPLACE_MESSAGE, JOIN_QUEUE)),
            Regenerate: Row(State.QUEUED, (SET_ANSWER_ASIDE, JOIN_QUEUE)),
            Retry: Row(State.QUEUED, (SET_ANSWER_ASIDE, JOIN_QUEUE)),
            Continue: Row(State.QUEUED, (JOIN_QUEUE,), "the last answer goes on"),
            ChangePath: Row(State.READY, (SHOW_PATH,)),
            OpenChat: Row(State.READY),
            Quit: Row(State.CLOSED),
            EngineLostAtRest: Row(State.LOST, remark="the engine starts again when it is needed"),
        },
    )
    | _rows(
        State.LOST,
        {
            LoadBegan: Row(State.LOADING),
            LoadModel: Row(State.LOADING, (START_LOADING,)),
            SendMessage: Row(State.WAITING, (SAVE_MESSAGE, START_LOADING), "the engine starts again"),
            EditMessage: Row(State.WAITING, (REPLACE_MESSAGE, START_LOADING)),
            Regenerate: Row(State.WAITING, (SET_ANSWER_ASIDE, START_LOADING)),
            Retry: Row(State.WAITING, (SET_ANSWER_ASIDE, START_LOADING)),
            Continue: Row(State.WAITING, (START_LOADING,), "the answer waits for the engine"),
            ChangePath: Row(State.LOST, (SHOW_PATH,)),
            OpenChat: Row(State.LOST),
            Quit: Row(State.CLOSED),
        },
    )
)


# --- the machine --------------------------------------------------------------------------------------------


class TurnMachine:
    """The state and the numbers of one chat that is alive.

    Attributes:
        state: The current state.
        numbers: The numbers of the current load and turn.
    """

    EVENT_TYPES: ClassVar[tuple[type[Event], ...]] = (
        LoadModel,
        SendMessage,
        EditMessage,
        Regenerate,
        Retry,
        Continue,
        TakeBack,
        Stop,
        ChangePath,
        OpenChat,
        Quit,
        LoadBegan,
        EngineGranted,
        *_LOAD_REPORTS,
        *_TURN_REPORTS,
        EngineLostAtRest,
        Late,
    )

    def __init__(self) -> None:
        self.state = State.NO_MODEL
        self.numbers = Numbers()

    @classmethod
    def beside(cls, other: "TurnMachine") -> "TurnMachine":
        """Returns the machine of a chat that is opened beside another one, with the same engine."""
        machine = cls()
        machine.state, machine.numbers = STATE_BESIDE[other.state], other.numbers
        return machine

    @property
    def answer_is_open(self) -> bool:
        """True while a reply is under way."""
        return self.state in ANSWER_IS_OPEN

    @property
    def model_is_loading(self) -> bool:
        """True while a load is under way."""
        return self.state in MODEL_IS_LOADING

    def allows(self, event_type: type[Event]) -> bool:
        """Tells whether an event of this type is legal now."""
        return (self.state, ChangePath if issubclass(event_type, ChangePath) else event_type) in TRANSITIONS

    def handle(self, event: Event) -> tuple[Action, ...]:
        """Changes the state by `event` and returns the actions to carry out, in order.

        Raises:
            IllegalTransitionError: the state has no row for the event. Nothing has changed.
        """
        row = TRANSITIONS.get((self.state, self._kind(event)))
        if row is None:
            raise IllegalTransitionError(f"{type(event).__name__} makes no sense while {self.state.value}")
        numbers = self._numbers_after(event, starts_loading=START_LOADING in row.effects)
        actions = tuple(effect.make(numbers, event) for effect in row.effects)
        self.state, self.numbers = row.next_state, numbers
        return actions

    def _numbers_after(self, event: Event, *, starts_loading: bool) -> Numbers:
        """Returns the numbers of the load and turn that the event leaves current."""
        load, turn = self.numbers.load, self.numbers.turn
        match event:
            case LoadBegan(load=number) if number <= load:
                raise IllegalTransitionError(f"Load number {number} began before")
            case EngineGranted(turn=number) if number <= turn:
                raise IllegalTransitionError(f"Turn number {number} was given out before")
            case LoadBegan(load=number):
                return Numbers(number, turn)
            case EngineGranted(turn=number):
                return Numbers(load, number)
        return Numbers(load + starts_loading, turn)

    def _kind(self, event: Event) -> type[Event]:
        """Returns the event's own type, or `Late` if its load or turn is over."""
        match event:
            case LoadEvent(load=number):
                current = self.numbers.load
            case TurnEvent(turn=number):
                current = self.numbers.turn
            case ChangePath():
                return ChangePath
            case _:
                return type(event)
        if number > current:
            raise IllegalTransitionError(f"{type(event).__name__} is of number {number}, which was never started")
        return type(event) if number == current else Late
