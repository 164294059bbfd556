"""The turn machine, walked over every pair of state and event, and driven at random."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from scripts.draw_state_machine import PAGE, page
from tui_llama.chat import StopReason, Usage
from tui_llama.conversation import (
    SERVER_FAILURES,
    TRANSITIONS,
    Action,
    AnswerNow,
    AppendText,
    Branch,
    ChangePath,
    ChangeQueue,
    ChangeQueued,
    Continue,
    DeleteMessage,
    EditAnswer,
    EditMessage,
    EngineGranted,
    EngineLostAtRest,
    EngineLostInLoad,
    EngineLostInTurn,
    Event,
    FinishAnswer,
    FreeEngine,
    JoinQueue,
    Late,
    LeaveQueue,
    LoadAdvanced,
    LoadBegan,
    LoadEvent,
    LoadFailed,
    LoadModel,
    ModelReady,
    OpenChat,
    PromptAdvanced,
    QueueMessage,
    Quit,
    Regenerate,
    ReplaceMessage,
    ReplyFailed,
    ReplyFinished,
    ReportLoss,
    Retry,
    ReturnQueued,
    SaveMessage,
    SendMessage,
    SendQueued,
    SetAnswerAside,
    ShowFailure,
    ShowMessage,
    ShowPath,
    StartLoading,
    StartReply,
    State,
    Stop,
    StopLoading,
    StopReply,
    TakeBack,
    TextArrived,
    TurnEvent,
    TurnMachine,
    Undo,
)
from tui_llama.errors import IllegalTransitionError

USAGE = Usage(read_tokens=5, generated_tokens=3)

# How to get to each state by legal events; the numbers in the events are those of the state reached.
PATHS: dict[State, tuple[Event, ...]] = {
    State.NO_MODEL: (),
    State.LOADING: (LoadModel("m"),),
    State.WAITING: (LoadModel("m"), SendMessage("hi")),
    State.READY: (LoadModel("m"), ModelReady(1)),
    State.QUEUED: (LoadModel("m"), ModelReady(1), SendMessage("hi")),
    State.READING: (LoadModel("m"), ModelReady(1), SendMessage("hi"), EngineGranted(1)),
    State.ANSWERING: (LoadModel("m"), ModelReady(1), SendMessage("hi"), EngineGranted(1), TextArrived(1, "a")),
    State.STOPPING: (LoadModel("m"), ModelReady(1), SendMessage("hi"), EngineGranted(1), Stop()),
    State.FAILED: (LoadModel("m"), ModelReady(1), SendMessage("hi"), EngineGranted(1), ReplyFailed(1, "no")),
    State.LOST: (LoadModel("m"), ModelReady(1), SendMessage("hi"), EngineGranted(1), EngineLostInTurn(1, "gone")),
    State.CLOSED: (Quit(),),
}

# What the user may do, written down once more and by hand: the table must say the same.
USER_MAY: dict[State, set[type[Event]]] = {
    State.NO_MODEL: {LoadModel, Retry, ChangePath, OpenChat, Quit},
    State.LOADING: {LoadModel, SendMessage, EditMessage, Regenerate, Continue, ChangePath, OpenChat, Quit},
    State.WAITING: {LoadModel, SendMessage, TakeBack, ChangeQueue, Stop, Quit},
    State.READY: {LoadModel, SendMessage, EditMessage, Regenerate, Continue, ChangePath, OpenChat, Quit},
    State.QUEUED: {LoadModel, SendMessage, TakeBack, ChangeQueue, Stop, Quit},
    State.READING: {SendMessage, TakeBack, ChangeQueue, Stop, Quit},
    State.ANSWERING: {SendMessage, TakeBack, ChangeQueue, Stop, AnswerNow, Quit},
    State.STOPPING: {SendMessage, TakeBack, ChangeQueue, Stop, Quit},
    State.FAILED: {LoadModel, SendMessage, EditMessage, Regenerate, Retry, Continue, ChangePath, OpenChat, Quit},
    State.LOST: {LoadModel, SendMessage, EditMessage, Regenerate, Retry, Continue, ChangePath, OpenChat, Quit},
    State.CLOSED: set(),
}
# The engine may report anything at any time, but for a prompt that is read after the answer has begun.
ENGINE_MAY_NOT = {(State.ANSWERING, PromptAdvanced)}
USER_EVENTS = (
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
)


def machine_in(state: State) -> TurnMachine:
    machine = TurnMachine()
    for event in PATHS[state]:
        machine.handle(event)
    assert machine.state is state
    return machine


def example(event_type: type[Event], machine: TurnMachine) -> Event:
    """An event of this kind with the numbers that count now."""
    load, turn = machine.numbers.load, machine.numbers.turn
    examples: dict[type[Event], Event] = {
        LoadModel: LoadModel("other"),
        SendMessage: SendMessage("hello"),
        EditMessage: EditMessage(0, "hello there"),
        Regenerate: Regenerate(),
        Retry: Retry(),
        Continue: Continue(),
        TakeBack: TakeBack(),
        ChangeQueue: ChangeQueue(0, None),
        Stop: Stop(),
        AnswerNow: AnswerNow(),
        ChangePath: ShowMessage(3),
        OpenChat: OpenChat(),
        Quit: Quit(),
        LoadBegan: LoadBegan(load + 1),
        EngineGranted: EngineGranted(turn + 1),
        LoadAdvanced: LoadAdvanced(load),
        ModelReady: ModelReady(load),
        LoadFailed: LoadFailed(load, "bad file", "try another"),
        EngineLostInLoad: EngineLostInLoad(load, "gone"),
        PromptAdvanced: PromptAdvanced(turn),
        TextArrived: TextArrived(turn, "text", (7,)),
        ReplyFinished: ReplyFinished(turn, StopReason.END_OF_GENERATION, USAGE),
        ReplyFailed: ReplyFailed(turn, "no memory", "smaller context"),
        EngineLostInTurn: EngineLostInTurn(turn, "gone"),
        EngineLostAtRest: EngineLostAtRest(),
        Late: TextArrived(turn - 1, "old"),
        **{kind: kind(turn, "the server failed", "try again") for kind in SERVER_FAILURES},
    }
    return examples[event_type]


def is_expected_legal(state: State, event_type: type[Event]) -> bool:
    if event_type in USER_EVENTS:
        return event_type in USER_MAY[state]
    if event_type is EngineLostAtRest:
        return state in (State.READY, State.QUEUED, State.FAILED)
    if event_type is LoadBegan:
        return state not in (State.READING, State.ANSWERING, State.STOPPING, State.CLOSED)
    if event_type is EngineGranted:
        return state is State.QUEUED
    return (state, event_type) not in ENGINE_MAY_NOT


def test_every_event_of_the_table_is_walked_below() -> None:
    assert {event_type for _, event_type in TRANSITIONS} == set(TurnMachine.EVENT_TYPES)


@pytest.mark.parametrize("event_type", TurnMachine.EVENT_TYPES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("state", State)
def test_every_pair_is_legal_or_raises_and_changes_nothing(state: State, event_type: type[Event]) -> None:
    machine = machine_in(state)
    event = example(event_type, machine)
    numbers = machine.numbers

    assert machine.allows(event_type) == is_expected_legal(state, event_type)
    if is_expected_legal(state, event_type):
        machine.handle(event)
        assert machine.state is TRANSITIONS[state, event_type].next_state
    else:
        with pytest.raises(IllegalTransitionError, match=type(event).__name__):
            machine.handle(event)
        assert (machine.state, machine.numbers) == (state, numbers)


@pytest.mark.parametrize("change", [EditAnswer(1, "x"), DeleteMessage(0), Branch(1), ShowMessage(3), Undo()])
def test_every_change_of_the_path_is_legal_when_no_answer_is_open_or_waits(change: ChangePath) -> None:
    for state in State:
        machine = machine_in(state)
        is_legal = state in (State.NO_MODEL, State.LOADING, State.READY, State.FAILED, State.LOST)
        assert machine.allows(type(change)) == is_legal
        if is_legal:
            assert machine.handle(change) == (ShowPath(change),)
            assert machine.state is (State.READY if state is State.FAILED else state)


@pytest.mark.parametrize("kind", SERVER_FAILURES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("state", [State.READING, State.ANSWERING, State.STOPPING])
def test_the_answer_of_a_server_fails_as_one_of_an_engine_and_can_be_tried_again(
    state: State, kind: type[ReplyFailed]
) -> None:
    machine, other = machine_in(state), machine_in(state)
    assert machine.handle(kind(1, "no answer", "try")) == other.handle(ReplyFailed(1, "no answer", "try"))
    assert machine.state is other.state
    assert TRANSITIONS[state, kind].remark.endswith(SERVER_FAILURES[kind])
    again = Regenerate if state is State.STOPPING else Retry
    assert machine.handle(again()) == (SetAnswerAside(), JoinQueue())


@pytest.mark.parametrize("state", State)
def test_what_is_late_changes_nothing(state: State) -> None:
    machine = machine_in(state)
    numbers = machine.numbers
    assert machine.handle(TextArrived(numbers.turn - 1, "old")) == ()
    assert machine.handle(ReplyFinished(numbers.turn - 1, StopReason.LENGTH, USAGE)) == ()
    assert machine.handle(ModelReady(numbers.load - 1)) == ()
    assert (machine.state, machine.numbers) == (state, numbers)


@pytest.mark.parametrize("state", State)
def test_a_number_that_was_never_given_out_is_illegal(state: State) -> None:
    machine = machine_in(state)
    with pytest.raises(IllegalTransitionError, match="never started"):
        machine.handle(TextArrived(machine.numbers.turn + 1, "from nowhere"))
    with pytest.raises(IllegalTransitionError, match="never started"):
        machine.handle(ModelReady(machine.numbers.load + 1))


STEPS: list[tuple[str, State, list[tuple[Event, tuple[Action, ...]]]]] = [
    (
        "a turn from the message to the end",
        State.READY,
        [
            (SendMessage("hi"), (SaveMessage("hi"), JoinQueue())),
            (EngineGranted(1), (StartReply(1),)),
            (PromptAdvanced(1), ()),
            (TextArrived(1, "a", (5,)), (AppendText(1, "a", (5,)),)),
            (TextArrived(1, "b", (6,)), (AppendText(1, "b", (6,)),)),
            (
                ReplyFinished(1, StopReason.LENGTH, USAGE),
                (FinishAnswer(1, StopReason.LENGTH, USAGE), FreeEngine(), SendQueued()),
            ),
            (SendMessage("more"), (SaveMessage("more"), JoinQueue())),
            (EngineGranted(2), (StartReply(2),)),
        ],
    ),
    (
        "a stop keeps what was shown and drops what comes after",
        State.ANSWERING,
        [
            (Stop(), (StopReply(1), ReturnQueued())),
            (TextArrived(1, "late"), ()),
            (Stop(), (ReturnQueued(),)),
            (
                ReplyFinished(1, StopReason.END_OF_GENERATION, USAGE),
                (FinishAnswer(1, StopReason.STOPPED, USAGE), FreeEngine(), SendQueued()),
            ),
            (TextArrived(1, "later still"), ()),
        ],
    ),
    (
        "a message that is sent early waits for the model",
        State.LOADING,
        [
            (SendMessage("hi"), (SaveMessage("hi"),)),
            (LoadAdvanced(1), ()),
            (ModelReady(1), (JoinQueue(),)),
            (EngineGranted(1), (StartReply(1),)),
        ],
    ),
    (
        "a message that waits can be taken back, and asked for again",
        State.WAITING,
        [
            (Stop(), (ReturnQueued(),)),
            (Regenerate(), (SetAnswerAside(),)),
            (ModelReady(1), (JoinQueue(),)),
            (EngineGranted(1), (StartReply(1),)),
        ],
    ),
    (
        "a model whose load failed is loaded again, and an answer may wait for it",
        State.WAITING,
        [
            (LoadFailed(1, "refused", "start it"), (ShowFailure("refused", "start it"), ReturnQueued())),
            (Retry(), (StartLoading(2, None),)),
            (Regenerate(), (SetAnswerAside(),)),
            (ModelReady(2), (JoinQueue(),)),
            (EngineGranted(1), (StartReply(1),)),
        ],
    ),
    (
        "another model while one loads",
        State.WAITING,
        [
            (LoadModel("other"), (StopLoading(), StartLoading(2, "other"))),
            (LoadFailed(1, "stopped"), ()),
            (ModelReady(2), (JoinQueue(),)),
            (EngineGranted(1), (StartReply(1),)),
        ],
    ),
    (
        "a failed answer is kept and can be tried again",
        State.ANSWERING,
        [
            (
                ReplyFailed(1, "bad", "try"),
                (FinishAnswer(1, StopReason.FAILED, None), ShowFailure("bad", "try"), FreeEngine(), ReturnQueued()),
            ),
            (Retry(), (SetAnswerAside(), JoinQueue())),
            (EngineGranted(2), (StartReply(2),)),
            (TextArrived(1, "of the failed one"), ()),
            (TextArrived(2, "good", (1,)), (AppendText(2, "good", (1,)),)),
        ],
    ),
    (
        "a lost engine starts again with the next message",
        State.ANSWERING,
        [
            (
                EngineLostInTurn(1, "gone"),
                (FinishAnswer(1, StopReason.FAILED, None), ShowFailure("gone", ""), ReturnQueued(), ReportLoss()),
            ),
            (SendMessage("still there?"), (SaveMessage("still there?"), StartLoading(2, None))),
            (ModelReady(2), (JoinQueue(),)),
            (EngineGranted(2), (StartReply(2),)),
        ],
    ),
    (
        "a lost engine while stopping is still a stop",
        State.STOPPING,
        [
            (
                EngineLostInTurn(1, "gone"),
                (FinishAnswer(1, StopReason.STOPPED, None), ShowFailure("gone", ""), ReturnQueued(), ReportLoss()),
            ),
            (Retry(), (SetAnswerAside(), StartLoading(2, None))),
        ],
    ),
    (
        "another version of an answer",
        State.READY,
        [(Regenerate(), (SetAnswerAside(), JoinQueue()))],
    ),
    (
        "an answer that was cut off goes on in a turn of its own",
        State.READY,
        [
            (Continue(), (JoinQueue(),)),
            (EngineGranted(1), (StartReply(1),)),
            (PromptAdvanced(1), ()),
            (TextArrived(1, "more", (8,)), (AppendText(1, "more", (8,)),)),
            (
                ReplyFinished(1, StopReason.LOOP, USAGE),
                (FinishAnswer(1, StopReason.LOOP, USAGE), FreeEngine(), SendQueued()),
            ),
            (Continue(), (JoinQueue(),)),
            (EngineGranted(2), (StartReply(2),)),
        ],
    ),
    (
        "a failed answer can go on",
        State.FAILED,
        [(Continue(), (JoinQueue(),)), (EngineGranted(2), (StartReply(2),))],
    ),
    (
        "an answer waits for the model before it goes on, and that can be taken back",
        State.LOADING,
        [
            (Continue(), ()),
            (Stop(), (ReturnQueued(),)),
            (Continue(), ()),
            (ModelReady(1), (JoinQueue(),)),
            (EngineGranted(1), (StartReply(1),)),
        ],
    ),
    (
        "an answer goes on with an engine that was lost",
        State.LOST,
        [(Continue(), (StartLoading(2, None),)), (ModelReady(2), (JoinQueue(),)), (EngineGranted(2), (StartReply(2),))],
    ),
    (
        "an edited message is answered like a new one",
        State.READY,
        [(EditMessage(2, "rather"), (ReplaceMessage(2, "rather"), JoinQueue()))],
    ),
    (
        "an edited message waits for an engine that was lost",
        State.LOST,
        [
            (EditMessage(0, "rather"), (ReplaceMessage(0, "rather"), StartLoading(2, None))),
            (ModelReady(2), (JoinQueue(),)),
            (EngineGranted(2), (StartReply(2),)),
        ],
    ),
    (
        "quitting keeps the partial answer",
        State.ANSWERING,
        [
            (Quit(), (StopReply(1), FinishAnswer(1, StopReason.STOPPED, None), ReturnQueued())),
            (TextArrived(1, "late"), ()),
            (ReplyFinished(1, StopReason.STOPPED, USAGE), ()),
        ],
    ),
    (
        "a message that is sent during an answer is queued, and sent when the answer ends",
        State.ANSWERING,
        [
            (SendMessage("and"), (QueueMessage("and"),)),
            (TextArrived(1, "a", (5,)), (AppendText(1, "a", (5,)),)),
            (
                ReplyFinished(1, StopReason.LENGTH, USAGE),
                (FinishAnswer(1, StopReason.LENGTH, USAGE), FreeEngine(), SendQueued()),
            ),
            (SendMessage("and"), (SaveMessage("and"), JoinQueue())),
            (EngineGranted(4), (StartReply(4),)),
        ],
    ),
    (
        "a queued message can be taken back, and one that is sent after the stop is sent when that is done",
        State.READING,
        [
            (SendMessage("and"), (QueueMessage("and"),)),
            (ChangeQueue(1, 0), (ChangeQueued(1, 0),)),
            (TakeBack(0), (ReturnQueued(0),)),
            (TakeBack(), (ReturnQueued(),)),
            (Stop(), (StopReply(1), ReturnQueued())),
            (SendMessage("rather"), (QueueMessage("rather"),)),
            (
                ReplyFinished(1, StopReason.STOPPED, USAGE),
                (FinishAnswer(1, StopReason.STOPPED, USAGE), FreeEngine(), SendQueued()),
            ),
        ],
    ),
    (
        "a chat that waits for another one's answer can be taken back",
        State.QUEUED,
        [(Stop(), (LeaveQueue(), ReturnQueued())), (Regenerate(), (SetAnswerAside(), JoinQueue()))],
    ),
    (
        "a chat that waits for another one's answer goes on with the engine that was lost there",
        State.QUEUED,
        [
            (EngineLostAtRest(), (LeaveQueue(), StartLoading(2, None))),
            (ModelReady(2), (JoinQueue(),)),
            (EngineGranted(7), (StartReply(7),)),
        ],
    ),
    (
        "a chat that waits for another one's answer waits for the model that is loaded there",
        State.QUEUED,
        [(LoadBegan(5), (LeaveQueue(),)), (ModelReady(1), ()), (ModelReady(5), (JoinQueue(),))],
    ),
    (
        "another branch forgets the failure",
        State.FAILED,
        [(OpenChat(), ()), (SendMessage("new"), (SaveMessage("new"), JoinQueue()))],
    ),
    (
        "a file that cannot be loaded leaves no model",
        State.WAITING,
        [
            (LoadFailed(1, "bad", "try"), (ShowFailure("bad", "try"), ReturnQueued())),
            (LoadModel("good"), (StartLoading(2, "good"),)),
        ],
    ),
]


@pytest.mark.parametrize(("state", "steps"), [step[1:] for step in STEPS], ids=[step[0] for step in STEPS])
def test_story(state: State, steps: list[tuple[Event, tuple[Action, ...]]]) -> None:
    machine = machine_in(state)
    for event, actions in steps:
        assert machine.handle(event) == actions


@st.composite
def wishes(draw: st.DrawFn) -> tuple[type[Event], int]:
    """A kind of event, and how far its number lags behind the current one."""
    return draw(st.sampled_from(TurnMachine.EVENT_TYPES)), draw(st.integers(0, 2))


def made(event_type: type[Event], lag: int, machine: TurnMachine) -> Event:
    event = example(event_type, machine)
    if isinstance(event, TurnEvent):
        return replace(event, turn=machine.numbers.turn - lag)
    if isinstance(event, LoadEvent):
        return replace(event, load=machine.numbers.load - lag)
    return event


@given(st.lists(wishes(), max_size=60))
def test_in_any_sequence_of_events_answers_open_and_close_in_pairs(
    sequence: list[tuple[type[Event], int]],
) -> None:
    machine = TurnMachine()
    open_turns: list[int] = []
    started: list[int] = []
    for event_type, lag in sequence:
        if not machine.allows(event_type):
            continue
        actions = machine.handle(made(event_type, lag, machine))
        for action in actions:
            match action:
                case StartReply(turn=turn):
                    assert not open_turns
                    assert event_type is EngineGranted
                    open_turns.append(turn)
                    started.append(turn)
                case SendQueued() | JoinQueue() | FreeEngine() | ReportLoss():
                    assert not open_turns
                case AppendText(turn=turn) | StopReply(turn=turn):
                    assert open_turns == [turn]
                case FinishAnswer(turn=turn):
                    assert open_turns == [turn]
                    open_turns.clear()
                case StartLoading() | SetAnswerAside() | SaveMessage() | ReplaceMessage():
                    assert not open_turns
        assert machine.answer_is_open == bool(open_turns)
        assert machine.allows(EditMessage) <= (not open_turns)
        assert machine.allows(TakeBack) >= bool(open_turns)
    assert started == list(range(1, len(started) + 1))
    assert machine.numbers.turn == len(started)


@given(st.lists(st.sampled_from(["token", "stop", "progress"]), max_size=20))
def test_after_a_stop_every_end_leads_back_to_ready(noise: list[str]) -> None:
    machine = machine_in(State.STOPPING)
    events: dict[str, Event] = {"token": TextArrived(1, "x"), "stop": Stop(), "progress": PromptAdvanced(1)}
    for name in noise:
        assert machine.handle(events[name]) == ((ReturnQueued(),) if name == "stop" else ())
    machine.handle(ReplyFinished(1, StopReason.END_OF_GENERATION, USAGE))
    assert machine.state is State.READY


def test_the_page_in_docs_is_drawn_from_this_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("state", State)
def test_a_chat_that_is_opened_beside_another_one_knows_the_engine_and_has_no_turn(state: State) -> None:
    machine = TurnMachine.beside(machine_in(state))
    assert machine.allows(Stop) is False
    assert machine.model_is_loading == (state in (State.LOADING, State.WAITING))
    assert machine.numbers == machine_in(state).numbers


def test_numbers_that_were_given_out_before_are_illegal() -> None:
    machine = machine_in(State.FAILED)
    with pytest.raises(IllegalTransitionError, match="began before"):
        machine.handle(LoadBegan(1))
    machine.handle(Retry())
    with pytest.raises(IllegalTransitionError, match="given out before"):
        machine.handle(EngineGranted(1))
