"""The machines of several chats that share an engine, driven at random through the host: what must always hold."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tui_llama import conversation as c
from tui_llama.chat import StopReason, Usage
from tui_llama.chats.database.file import IN_MEMORY
from tui_llama.chats.journal import Journal
from tui_llama.chats.store import Store
from tui_llama.conversation import State, TurnMachine
from tui_llama.engine.descriptions import ModelInfo
from tui_llama.engine.events import LoadProgress
from tui_llama.engine.scripted import ScriptedEngine
from tui_llama.settings import Settings
from tui_llama.turn.engine_host import EngineHost

ENGINE_IS_THERE = {State.READY, State.QUEUED, State.READING, State.ANSWERING, State.STOPPING, State.FAILED}


class Chat:
    """An `EngineUser` with a machine and nothing else; it counts what is queued."""

    def __init__(self, host: EngineHost, beside: "Chat | None" = None) -> None:
        self.host = host
        self.machine: TurnMachine = TurnMachine() if beside is None else TurnMachine.beside(beside.machine)
        self.queued = self.returned = 0

    @property
    def state(self) -> State:
        return self.machine.state

    @property
    def model_is_loading(self) -> bool:
        return self.machine.model_is_loading

    def allows(self, event_type: type[c.Event]) -> bool:
        return self.machine.allows(event_type)

    def dispatch(self, event: c.Event) -> None:
        for action in self.machine.handle(event):
            self._perform(action)

    def _perform(self, action: c.Action) -> None:
        match action:
            case c.StartLoading(load=load, model_path=path):
                self.host.start_loading(self, load, path)
            case c.JoinQueue():
                self.host.join(self)
            case c.LeaveQueue():
                self.host.leave(self)
            case c.FreeEngine():
                self.host.free()
            case c.ReportLoss():
                self.host.report_loss()
            case c.QueueMessage():
                self.queued += 1
            case c.SendQueued() if self.queued:
                self.queued = 0
                self.dispatch(c.SendMessage("queued"))
            case c.ReturnQueued():
                self.returned += self.queued
                self.queued = 0

    def note_load_began(self, server: str) -> None:
        pass

    def note_load_progress(self, load: int, event: LoadProgress) -> None:
        pass

    def note_model(self, model: ModelInfo) -> None:
        pass

    def tell_of_model(self, notices: Sequence[str]) -> None:
        pass

    def add_notice(self, text: str) -> None:
        pass

    def add_failure(self, message: str, hint: str) -> None:
        pass


class Chats:
    """Some chats with one host, whose engine is played by the test."""

    def __init__(self) -> None:
        with Store(IN_MEMORY) as store:
            journal = Journal(store, lambda error: None)
        self.host = EngineHost(ScriptedEngine, Settings(), journal, self._spawn)
        self.chats: list[Chat] = []
        self.open()

    @staticmethod
    def _spawn(work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Begins nothing: what becomes of a load is what the test says."""

    def open(self) -> None:
        self.chats.append(Chat(self.host, self.chats[-1] if self.chats else None))
        self.host.bring_to_front(self.chats[-1])

    @property
    def answering(self) -> Chat | None:
        answering = [chat for chat in self.chats if chat.machine.answer_is_open]
        assert len(answering) <= 1, "two answers are open"
        return answering[0] if answering else None

    def wish(self, chat: Chat, event: c.Event) -> None:
        """What the user does in a chat; another model is loaded when no answer is open."""
        if chat.allows(type(event)) and not (isinstance(event, c.LoadModel) and self.answering):
            chat.dispatch(event)

    def report(self, make: Callable[[int], c.TurnEvent]) -> None:
        """What the engine reports of the answer that is open."""
        chat = self.answering
        if chat is not None:
            event = make(chat.machine.numbers.turn)
            if chat.allows(type(event)):
                chat.dispatch(event)

    def report_load(self, event: c.LoadEvent) -> None:
        if any(chat.model_is_loading for chat in self.chats):
            for chat in tuple(self.chats):
                chat.dispatch(event)

    def lose_at_rest(self) -> None:
        if not self.host.is_answering and self.chats[-1].allows(c.EngineLostAtRest):
            self.host.report_loss()

    def check(self) -> None:
        answering = self.answering
        assert self.host.is_answering == (answering is not None)
        assert len({chat.machine.numbers.load for chat in self.chats}) == 1, "all know of the same load"
        assert len({chat.model_is_loading for chat in self.chats}) == 1, "all know whether it is under way"
        assert len({chat.state in ENGINE_IS_THERE for chat in self.chats}) == 1, "all know whether there is a model"
        if answering is None:
            assert State.QUEUED not in [chat.state for chat in self.chats], "whoever waits has somebody to wait for"
        for chat in self.chats:
            assert not chat.queued or chat.allows(c.TakeBack), "what is queued is sent or comes back"


STEPS: dict[str, Callable[[Chats, Chat], None]] = {
    "send": lambda it, chat: it.wish(chat, c.SendMessage("hi")),
    "stop": lambda it, chat: it.wish(chat, c.Stop()),
    "take back": lambda it, chat: it.wish(chat, c.TakeBack()),
    "regenerate": lambda it, chat: it.wish(chat, c.Regenerate()),
    "retry": lambda it, chat: it.wish(chat, c.Retry()),
    "continue": lambda it, chat: it.wish(chat, c.Continue()),
    "load": lambda it, chat: it.wish(chat, c.LoadModel("m")),
    "branch": lambda it, chat: it.wish(chat, c.OpenChat()),
    "open": lambda it, _chat: it.open() if len(it.chats) < 5 else None,
    "text": lambda it, _chat: it.report(lambda turn: c.TextArrived(turn, "a", (1,))),
    "finish": lambda it, _chat: it.report(lambda turn: c.ReplyFinished(turn, StopReason.LENGTH, Usage())),
    "fail": lambda it, _chat: it.report(lambda turn: c.ReplyFailed(turn, "no")),
    "crash": lambda it, _chat: it.report(lambda turn: c.EngineLostInTurn(turn, "gone")),
    "crash at rest": lambda it, _chat: it.lose_at_rest(),
    "loaded": lambda it, _chat: it.report_load(c.ModelReady(it.host.load)),
    "not loaded": lambda it, _chat: it.report_load(c.LoadFailed(it.host.load, "no")),
    "crash in load": lambda it, _chat: it.report_load(c.EngineLostInLoad(it.host.load, "gone")),
    "late": lambda it, _chat: it.report_load(c.ModelReady(max(0, it.host.load - 1))),
}

steps = st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 4)), max_size=80)


@given(steps)
def test_in_any_sequence_one_chat_is_answered_and_all_know_the_same_engine(sequence: list[tuple[str, int]]) -> None:
    it = Chats()
    it.wish(it.chats[0], c.LoadModel("m"))
    for name, number in sequence:
        STEPS[name](it, it.chats[number % len(it.chats)])
        it.check()


@given(steps)
def test_whoever_waits_is_answered_once_the_engine_does_nothing_but_answer(sequence: list[tuple[str, int]]) -> None:
    it = Chats()
    it.wish(it.chats[0], c.LoadModel("m"))
    for name, number in sequence:
        STEPS[name](it, it.chats[number % len(it.chats)])
    it.report_load(c.ModelReady(it.host.load))
    for _ in range(2 * len(it.chats)):  # each has an answer to come, and one to what is queued
        it.report(lambda turn: c.ReplyFinished(turn, StopReason.LENGTH, Usage()))
    assert it.answering is None
    assert {chat.state for chat in it.chats} <= {State.READY, State.FAILED, State.NO_MODEL, State.LOST}
    assert not any(chat.queued for chat in it.chats)


def test_while_the_queue_is_held_nobody_has_the_engine() -> None:
    it = Chats()
    it.open()
    first, second = it.chats
    first.dispatch(c.LoadModel("m"))
    it.report_load(c.ModelReady(1))
    with it.host.held():
        first.dispatch(c.SendMessage("hi"))
        second.dispatch(c.SendMessage("hi"))
        assert (first.state, second.state) == (State.QUEUED, State.QUEUED)
    assert (first.state, second.state) == (State.READING, State.QUEUED)
