"""What a row of the turn table is made of, and rows that many states have alike.

An effect makes one action of an event. It is named apart from the action, because one action has several causes.
"""

from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct

from tui_llama.chat import StopReason
from tui_llama.turn_vocabulary.actions import (
    Action,
    AppendText,
    ChangeQueued,
    CloseThought,
    FinishAnswer,
    FreeEngine,
    JoinQueue,
    LeaveQueue,
    QueueMessage,
    ReplaceMessage,
    ReportLoss,
    ReturnQueued,
    SaveMessage,
    SendQueued,
    SetAnswerAside,
    ShowFailure,
    ShowPath,
    StartLoading,
    StartReply,
    StopLoading,
    StopReply,
)
from tui_llama.turn_vocabulary.events import (
    SERVER_FAILURES,
    ChangePath,
    ChangeQueue,
    EditMessage,
    EngineLostInLoad,
    EngineLostInTurn,
    Event,
    LoadFailed,
    LoadModel,
    ReplyFailed,
    ReplyFinished,
    SendMessage,
    TakeBack,
    TextArrived,
)
from tui_llama.turn_vocabulary.states import State


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


def _return_queued(_numbers: Numbers, event: Event) -> Action:
    return ReturnQueued(event.number if isinstance(event, TakeBack) else None)


def _change_queued(_numbers: Numbers, event: Event) -> Action:
    assert isinstance(event, ChangeQueue)
    return ChangeQueued(event.number, event.place)


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
RETURN_QUEUED = Effect("ReturnQueued", _return_queued)
CHANGE_QUEUED = Effect("ChangeQueued", _change_queued)
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

TOO_LATE = "too late: nothing happens"
TableKey = tuple[State, type[Event]]


def rows_of(state: State, rows: Mapping[type[Event], Row]) -> dict[TableKey, Row]:
    """Returns the rows of one state, each with its place in the table."""
    return {(state, event_type): row for event_type, row in rows.items()}


def queueing(states: Iterable[State]) -> dict[TableKey, Row]:
    """Returns rows for a message that is sent while an answer is awaited or open."""
    rows: dict[TableKey, Row] = {}
    for state in states:
        rows[state, SendMessage] = Row(state, (QUEUE_MESSAGE,), "sent when the answer ends")
        rows[state, TakeBack] = Row(state, (RETURN_QUEUED,))
        rows[state, ChangeQueue] = Row(state, (CHANGE_QUEUED,))
    return rows


def too_late(states: Iterable[State], event_types: Iterable[type[Event]]) -> dict[TableKey, Row]:
    """Returns rows for reports that arrive after their load or reply is over: they are accepted and have no effect."""
    event_types = tuple(event_types)
    return {(state, kind): Row(state, remark=TOO_LATE) for state in states for kind in event_types}


def server_failures(state: State, failed: Row) -> dict[TableKey, Row]:
    """Returns a row for each cause of a server's failure in this state: that of `ReplyFailed`, and what can be done."""
    return {
        (state, kind): Row(
            failed.next_state, failed.effects, "; ".join(part for part in (failed.remark, remedy) if part)
        )
        for kind, remedy in SERVER_FAILURES.items()
    }
