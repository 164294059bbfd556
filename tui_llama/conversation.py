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

The states, events and actions are told in `turn_vocabulary`, and can be imported from here too. No engine, store,
screen or clock is known here. The page docs/state-machine.md is drawn from the table.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from tui_llama.errors import IllegalTransitionError
from tui_llama.turn_vocabulary.actions import *
from tui_llama.turn_vocabulary.events import *
from tui_llama.turn_vocabulary.rows import (
    APPEND_TEXT,
    CLOSE_THOUGHT,
    FINISH_AS_FAILED,
    FINISH_AS_REPORTED,
    FINISH_AS_STOPPED,
    FREE_ENGINE,
    JOIN_QUEUE,
    LEAVE_QUEUE,
    REPLACE_MESSAGE,
    REPORT_LOSS,
    RETURN_QUEUED,
    SAVE_MESSAGE,
    SEND_QUEUED,
    SET_ANSWER_ASIDE,
    SHOW_FAILURE,
    SHOW_PATH,
    START_LOADING,
    START_REPLY,
    STOP_LOADING,
    STOP_REPLY,
    TOO_LATE,
    Numbers,
    Row,
    TableKey,
    queueing,
    rows_of,
    server_failures,
    too_late,
)
from tui_llama.turn_vocabulary.states import *

_END_FAILED = (FINISH_AS_FAILED, SHOW_FAILURE, FREE_ENGINE, RETURN_QUEUED)
_END_LOST = (FINISH_AS_FAILED, SHOW_FAILURE, RETURN_QUEUED, REPORT_LOSS)
_FAILED_READING = Row(State.FAILED, _END_FAILED)
_FAILED_ANSWERING = Row(State.FAILED, _END_FAILED, "the partial answer is kept")
_FAILED_STOPPING = Row(State.READY, (FINISH_AS_STOPPED, SHOW_FAILURE, FREE_ENGINE, RETURN_QUEUED))
_NOT_LOADING = tuple(state for state in State if state not in MODEL_IS_LOADING)
_NOT_REPLYING = tuple(state for state in State if state not in ANSWER_IS_OPEN)

TRANSITIONS: Mapping[TableKey, Row] = MappingProxyType(
    too_late(State, (Late,))
    | too_late(_NOT_LOADING, LOAD_REPORTS)
    | too_late(_NOT_REPLYING, TURN_REPORTS)
    | queueing((State.WAITING, State.QUEUED, State.READING, State.ANSWERING, State.STOPPING))
    | rows_of(
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
    | rows_of(
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
    | rows_of(
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
    | rows_of(
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
    | rows_of(
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
    | rows_of(
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
    | rows_of(
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
    | rows_of(
        State.STOPPING,
        {
            Stop: Row(State.STOPPING, (RETURN_QUEUED,), "already stopping"),
            Quit: Row(State.CLOSED, (FINISH_AS_STOPPED, RETURN_QUEUED)),
            PromptAdvanced: Row(State.STOPPING, remark=TOO_LATE),
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
    | server_failures(State.READING, _FAILED_READING)
    | server_failures(State.ANSWERING, _FAILED_ANSWERING)
    | server_failures(State.STOPPING, _FAILED_STOPPING)
    | rows_of(
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
    | rows_of(
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
        ChangeQueue,
        Stop,
        AnswerNow,
        ChangePath,
        OpenChat,
        Quit,
        LoadBegan,
        EngineGranted,
        *LOAD_REPORTS,
        *TURN_REPORTS,
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
