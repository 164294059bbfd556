"""The driver of the turn by itself: what it asks the engine, what it stores, what it has shown, and in which order."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.fakes.chat_app import MODEL, USAGE, spoken
from tui_llama import conversation
from tui_llama.chat import ChatMessage, Role, StopReason
from tui_llama.chats.database.file import IN_MEMORY
from tui_llama.chats.journal import Journal
from tui_llama.chats.open_chat import Entry, OpenChat
from tui_llama.chats.store import LAST_MODEL, Store, StoredMessage
from tui_llama.conversation import State
from tui_llama.engine.events import (
    TOKENISED_AGAIN,
    Failed,
    FailureCause,
    Finished,
    ModelLoaded,
    Notice,
    PromptEncoded,
    TextPiece,
)
from tui_llama.engine.requests import CompleteRequest, ReplyRequest
from tui_llama.engine.scripted import AfterCancel, Gate, Loss, ScriptedEngine, Step, demo_model
from tui_llama.errors import IllegalTransitionError
from tui_llama.sampling.settings import SamplingSettings
from tui_llama.settings import Settings
from tui_llama.turn.driver import TurnDriver
from tui_llama.turn.engine_host import EngineHost
from tui_llama.turn.live_chats import LiveChats
from tui_llama.turn.reply import REPLY_FAILURES

OTHER_MODEL = "/models/other.gguf"


class RecordingView:
    """A `TurnView` that writes down what it is told; the state and the figures it does not."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def add_message(self, entry: Entry) -> None:
        self.told.append(f"user: {entry.text}")

    def replace_message(self, position: int, entry: Entry) -> None:
        self.told.append(f"user, as message {position}: {entry.text}")

    def show_path(self, entries: Sequence[Entry]) -> None:
        self.told.append(f"path: {', '.join(entry.text for entry in entries)}")

    def remove_last_answer(self) -> None:
        self.told.append("answer removed")

    def begin_answer(self, entry: Entry) -> None:
        self.told.append(f"answer begins{': ' * bool(entry.text)}{entry.text}")

    def reopen_answer(self, entry: Entry) -> None:
        self.told.append(f"answer goes on: {entry.text}")

    def append(self, text: str, thought: str) -> None:
        self.told.append(f"+{text}")

    def finish_answer(self, entry: Entry) -> None:
        self.told.append(f"answer ends: {entry.stop_reason}")

    def show_queued(self, texts: Sequence[str]) -> None:
        self.told.append(f"queued: {' | '.join(texts)}")

    def return_message(self, message: conversation.SendMessage) -> None:
        self.told.append(f"returned: {message.text}")

    def add_notice(self, text: str) -> None:
        self.told.append(f"notice: {text}")

    def add_failure(self, message: str, hint: str) -> None:
        self.told.append(f"failure: {message}")

    def show_state(self) -> None:
        pass

    def show_figures(self) -> None:
        pass


class Driven:
    """A driver, and what a test does with it."""

    def __init__(self, engine: ScriptedEngine, journal: Journal) -> None:
        self.engine = engine
        self.journal = journal
        self.view = RecordingView()
        self.engines_made = 0
        self.tasks: list[asyncio.Task[None]] = []
        host = EngineHost(self._make_engine, Settings(), journal, self._spawn)
        self.chats = LiveChats(host, OpenChat(journal), self.view, self._spawn)

    def _make_engine(self) -> ScriptedEngine:
        self.engines_made += 1
        return self.engine

    def _spawn(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        self.tasks.append(asyncio.create_task(work(), name=name))

    async def rest(self) -> None:
        """Returns when all loads and replies have ended, those that they began as well."""
        while pending := [task for task in self.tasks if not task.done()]:
            await asyncio.gather(*pending)

    @property
    def driver(self) -> TurnDriver:
        """What drives the turns of the chat on the screen."""
        return self.chats.shown

    def open_chat(self) -> TurnDriver:
        """Opens an empty chat, and returns its driver."""
        self.chats.bring_to_front(self.chats.begin(OpenChat(self.journal)))
        self.chats.draw_on_screen(answer_was_open=False)
        return self.driver

    def state(self) -> State:
        """Where the conversation stands."""
        return self.driver.state

    async def load(self, path: str = MODEL) -> None:
        self.driver.dispatch(conversation.LoadModel(path))
        await self.rest()

    async def ask(self, text: str) -> None:
        assert self.driver.wish(conversation.SendMessage(text))
        await self.rest()

    async def told_of(self, act: Callable[[], object]) -> list[str]:
        """What the view is told of what `act` begins, to its end."""
        before = len(self.view.told)
        act()
        await self.rest()
        return self.view.told[before:]

    async def stored(self) -> list[StoredMessage]:
        """The path of the chat, as it is in the store."""
        chat_id = self.driver.chat.chat_id
        assert chat_id is not None
        return await self.journal.read(lambda store: store.messages(chat_id))


@asynccontextmanager
async def driven(
    *replies: Iterable[Step], engine: ScriptedEngine | None = None, is_loaded: bool = True
) -> AsyncIterator[Driven]:
    """A driver with a chat in a store in memory, and an engine that replays the replies."""
    failures: list[Exception] = []
    store = Store(IN_MEMORY)
    journal = Journal(store, failures.append)
    harness = Driven(engine or ScriptedEngine(replies=replies), journal)
    if is_loaded:
        await harness.load()
    yield harness
    await harness.chats.host.close()
    await harness.rest()
    await journal.close()
    store.close()
    assert failures == []


def texts(messages: Iterable[StoredMessage]) -> list[str]:
    return [message.text for message in messages]


# --- loading ------------------------------------------------------------------------------------------------------


async def test_a_load_opens_the_engine_once_and_remembers_the_model() -> None:
    async with driven(is_loaded=False) as it:
        assert it.engines_made == 0
        await it.load()
        await it.load(OTHER_MODEL)
        assert it.engines_made == 1
        assert [request.model_path for request in it.engine.load_requests] == [MODEL, OTHER_MODEL]
        assert it.state() is State.READY
        assert it.driver.model == demo_model(OTHER_MODEL)
        assert it.driver.model_path == OTHER_MODEL
        assert await it.journal.read(lambda store: store.preference(LAST_MODEL)) == OTHER_MODEL


async def test_what_comes_of_a_load_that_another_one_replaced_counts_for_nothing() -> None:
    gate = Gate()
    loads: list[list[Step]] = [
        [gate, ModelLoaded(demo_model(MODEL), ("of the first",))],
        [ModelLoaded(demo_model("b"))],
    ]
    async with driven(engine=ScriptedEngine(load=lambda _request: loads.pop(0)), is_loaded=False) as it:
        it.driver.dispatch(conversation.LoadModel(MODEL))
        await gate.reached()
        it.driver.dispatch(conversation.LoadModel("b"))
        await it.rest()
        assert it.driver.model == demo_model("b")
        assert it.view.told == []


async def test_a_load_that_fails_is_told_and_the_message_that_waited_stays() -> None:
    loads: list[list[Step]] = [[Failed(None, "no such file")], []]
    async with driven(engine=ScriptedEngine(load=lambda _request: loads.pop(0)), is_loaded=False) as it:
        it.driver.dispatch(conversation.LoadModel(MODEL))
        it.driver.dispatch(conversation.SendMessage("hi"))
        assert it.state() is State.WAITING
        await it.rest()
        assert it.view.told == ["user: hi", "failure: no such file"]
        assert it.state() is State.NO_MODEL
        assert texts(await it.stored()) == ["hi"]
        await it.load(OTHER_MODEL)
        assert it.view.told[2:] == ["failure: The engine ended without saying why."]


# --- a server that fails ------------------------------------------------------------------------------------------


def test_every_cause_of_a_failure_has_an_event_of_its_own() -> None:
    assert set(REPLY_FAILURES) == set(FailureCause)
    assert {REPLY_FAILURES[cause] for cause in FailureCause if cause is not FailureCause.ENGINE} == set(
        conversation.SERVER_FAILURES
    )


@pytest.mark.parametrize("cause", FailureCause)
async def test_an_answer_that_a_server_cuts_off_is_kept_and_can_be_asked_for_again(cause: FailureCause) -> None:
    broken: list[Step] = [TextPiece(0, "One", ()), Failed(0, "the server failed", "Try again.", cause)]
    async with driven(broken, spoken("Two")) as it:
        await it.ask("hi")
        assert it.state() is State.FAILED
        assert it.view.told[-2:] == ["answer ends: failed", "failure: the server failed"]
        assert texts(await it.stored()) == ["hi", "One"]
        assert it.driver.wish(conversation.Retry())
        await it.rest()
        assert texts(await it.stored()) == ["hi", "Two"]


# --- what is asked for --------------------------------------------------------------------------------------------


async def test_a_request_names_the_sampling_settings_that_the_user_has_set() -> None:
    async with driven(spoken("One")) as it:
        it.chats.host.settings = Settings(
            sampling=SamplingSettings(top_k=7), given=frozenset({"sampling.top_k", "theme", "max_tokens"})
        )
        await it.ask("hi")
        request = it.engine.reply_requests[-1]
        assert (request.given_sampling, request.sampling.top_k) == (("top_k",), 7)


# --- a turn -------------------------------------------------------------------------------------------------------


async def test_a_message_is_shown_stored_and_answered() -> None:
    async with driven(spoken("One", " two")) as it:
        await it.ask("hi")
        assert it.view.told == [
            "user: hi",
            "answer begins",
            "+One",
            "+ two",
            f"answer ends: {StopReason.END_OF_GENERATION}",
        ]
        question, answer = await it.stored()
        assert (question.text, answer.text) == ("hi", "One two")
        assert (answer.stop_reason, answer.usage) == (StopReason.END_OF_GENERATION, USAGE)
        assert it.state() is State.READY
        (request,) = it.engine.reply_requests
        assert isinstance(request, ReplyRequest)
        assert request.messages == (ChatMessage(Role.USER, "hi"),)


async def test_a_message_that_is_sent_early_is_answered_when_the_model_is_there() -> None:
    gate = Gate()
    engine = ScriptedEngine(load=[gate, ModelLoaded(demo_model(MODEL))], replies=[spoken("yes")])
    async with driven(engine=engine, is_loaded=False) as it:
        it.driver.dispatch(conversation.LoadModel(MODEL))
        await gate.reached()
        it.driver.dispatch(conversation.SendMessage("hi"))
        assert it.view.told == ["user: hi"]
        assert not it.driver.wish(conversation.Regenerate())
        gate.open()
        await it.rest()
        assert it.view.told[1:3] == ["answer begins", "+yes"]


async def test_the_ledger_of_the_next_turn_is_what_was_fed_before() -> None:
    async with driven(spoken("One", " two"), spoken("three")) as it:
        await it.ask("hi")
        await it.ask("and")
        request = it.engine.reply_requests[1]
        assert tuple(request.ledger) == (1, 2, 3, 10, 11)
        assert isinstance(request, ReplyRequest)
        assert [message.text for message in request.messages] == ["hi", "One two", "and"]


async def test_a_reply_that_ends_without_an_end_fails_and_the_next_message_is_answered() -> None:
    async with driven(spoken("Half")[:2], spoken("whole")) as it:
        await it.ask("hi")
        assert it.view.told[-2:] == [
            f"answer ends: {StopReason.FAILED}",
            "failure: The engine ended without saying why.",
        ]
        assert it.state() is State.FAILED
        await it.ask("again")
        assert texts(await it.stored()) == ["hi", "Half", "again", "whole"]


# --- stopping -----------------------------------------------------------------------------------------------------


async def test_what_was_seen_before_the_stop_is_kept_and_what_comes_late_is_dropped() -> None:
    gate = Gate()
    encoded, first, second, finished = spoken("One", " two")
    late = [
        AfterCancel(TextPiece(0, " too late", (99,))),
        AfterCancel(Finished(0, StopReason.END_OF_GENERATION, USAGE)),
    ]
    async with driven([encoded, first, gate, *late, second, finished], spoken("yes")) as it:
        it.driver.dispatch(conversation.SendMessage("hi"))
        await gate.reached()
        it.driver.dispatch(conversation.Stop())
        assert it.state() is State.STOPPING
        await it.rest()
        assert it.view.told[-2:] == ["+One", f"answer ends: {StopReason.STOPPED}"]
        assert it.state() is State.READY
        await it.ask("and")
        assert texts(await it.stored()) == ["hi", "One", "and", "yes"]


async def test_whoever_waits_for_the_stop_goes_on_when_no_answer_is_open() -> None:
    gate = Gate()
    async with driven([*spoken("One")[:2], gate]) as it:
        it.driver.dispatch(conversation.SendMessage("hi"))
        await gate.reached()
        with pytest.raises(IllegalTransitionError):
            it.driver.follow_path()
        await it.driver.stop_and_wait()
        assert it.state() is State.READY
        assert it.view.told[-1] == f"answer ends: {StopReason.STOPPED}"
        it.driver.follow_path()
        assert it.state() is State.READY


async def test_a_turn_that_is_stopped_before_the_engine_was_asked_asks_nothing() -> None:
    async with driven(spoken("never")) as it:
        it.driver.dispatch(conversation.SendMessage("hi"))
        it.driver.dispatch(conversation.Stop())
        await it.rest()
        assert it.engine.reply_requests == []
        assert it.view.told == ["user: hi", "answer begins", f"answer ends: {StopReason.STOPPED}"]


# --- a lost engine ------------------------------------------------------------------------------------------------


async def test_an_engine_that_is_lost_in_a_turn_starts_again_with_the_next_message() -> None:
    engine = ScriptedEngine(
        load=[ModelLoaded(demo_model(MODEL), ("of the model",))],
        replies=[[*spoken("Half")[:2], Loss("it crashed")], spoken("whole")],
    )
    async with driven(engine=engine) as it:
        await it.ask("hi")
        assert it.view.told[-2:] == [f"answer ends: {StopReason.FAILED}", "failure: it crashed"]
        assert it.state() is State.LOST
        await it.ask("again")
        assert len(engine.load_requests) == 2
        assert engine.load_requests[0] == engine.load_requests[1]
        assert texts(await it.stored()) == ["hi", "Half", "again", "whole"]
        assert it.view.told.count("notice: of the model") == 1


async def test_an_engine_that_was_lost_at_rest_is_started_by_the_next_wish() -> None:
    async with driven(spoken("yes")) as it:
        it.engine.is_alive = False
        await it.ask("hi")
        assert it.view.told[:3] == ["notice: The engine had ended; it is started again.", "user: hi", "answer begins"]
        assert it.state() is State.READY


# --- the last answer and earlier messages -------------------------------------------------------------------------


async def test_another_answer_is_asked_for_in_place_of_the_last_one_which_is_kept() -> None:
    async with driven(spoken("first"), spoken("second")) as it:
        await it.ask("hi")
        told = await it.told_of(lambda: it.driver.wish(conversation.Regenerate()))
        assert told[:3] == ["answer removed", "answer begins", "+second"]
        assert texts(await it.stored()) == ["hi", "second"]
        assert it.driver.chat.entries[-1].version_count == 2
        assert await it.driver.chat.turn_to_version(-1)
        assert texts(await it.stored()) == ["hi", "first"]


async def test_an_answer_that_was_cut_off_goes_on_from_its_tokens() -> None:
    cut_off = [*spoken("One", " two")[:-1], Finished(0, StopReason.LENGTH, USAGE)]
    more: list[Step] = [TextPiece(0, " three", (12,)), Finished(0, StopReason.END_OF_GENERATION, USAGE)]
    async with driven(cut_off, more) as it:
        await it.ask("hi")
        told = await it.told_of(lambda: it.driver.wish(conversation.Continue()))
        assert told == ["answer goes on: One two", "+ three", f"answer ends: {StopReason.END_OF_GENERATION}"]
        request = it.engine.reply_requests[1]
        assert isinstance(request, CompleteRequest)
        assert (request.answer, request.answer_tokens, tuple(request.ledger)) == ("One two", 2, (1, 2, 3, 10, 11))
        assert texts(await it.stored()) == ["hi", "One two three"]


async def test_an_edited_message_takes_the_place_of_the_old_one() -> None:
    async with driven(spoken("a"), spoken("b"), spoken("c")) as it:
        await it.ask("one")
        await it.ask("two")
        told = await it.told_of(lambda: it.driver.wish(conversation.EditMessage(0, "other")))
        assert told[:3] == ["user, as message 0: other", "answer begins", "+c"]
        assert texts(await it.stored()) == ["other", "c"]
        request = it.engine.reply_requests[2]
        assert isinstance(request, ReplyRequest)
        assert request.messages == (ChatMessage(Role.USER, "other"),)
        assert len(await it.driver.chat.branches()) == 2


# --- what is told and asked beside the turn -----------------------------------------------------------------------


async def test_what_is_left_out_is_told_when_it_changes() -> None:
    _encoded, *rest = spoken("yes")
    counts = (0, 1, 1, 3)
    async with driven(*([PromptEncoded(0, 0, (1,), left_out_messages=count), *rest] for count in counts)) as it:
        for count in counts:
            await it.ask(f"with {count}")
        assert [line for line in it.view.told if line.startswith("notice")] == [
            "notice: The oldest message no longer fits and is left out.",
            "notice: 3 older messages no longer fit and are left out.",
        ]


async def test_what_lasts_is_told_once_for_each_model_and_what_happens_each_time_it_does() -> None:
    unknown, busy = Notice("home does not know top_k; it is not sent.", is_lasting=True), Notice("home is busy.")
    async with driven(*([unknown, busy, *spoken("yes")] for _ in range(3))) as it:
        await it.ask("one")
        await it.ask("two")
        await it.load(OTHER_MODEL)
        await it.ask("three")
        told = [line for line in it.view.told if line.startswith("notice")]
        first, each = f"notice: {unknown.text}", f"notice: {busy.text}"
        assert told == [first, each, each, first, each]


async def test_that_a_chat_is_tokenised_again_is_told_once_for_each_model_and_chat() -> None:
    async with driven() as it:
        for _ in range(2):
            it.driver.tell(TOKENISED_AGAIN)
        await it.load(OTHER_MODEL)
        it.driver.tell(TOKENISED_AGAIN)
        it.open_chat()
        it.driver.tell(TOKENISED_AGAIN)
        told = [line for line in it.view.told if line.startswith("notice")]
        assert told == [f"notice: {TOKENISED_AGAIN}"] * 3
        for _ in range(2):
            it.driver.tell("anything else")
        assert it.view.told[-2:] == ["notice: anything else"] * 2


async def test_the_price_of_a_message_is_that_of_what_stands_before_it() -> None:
    async with driven(spoken("a"), spoken("b"), is_loaded=False) as it:
        assert await it.driver.questions.estimate(0, "hi") is None  # there is no model to ask
        await it.load()
        await it.ask("one")
        await it.ask("two")
        assert await it.driver.questions.estimate(2, "  ") is None
        assert await it.driver.questions.estimate(2, "other") is not None
        (request,) = it.engine.estimate_requests
        assert [message.text for message in request.messages] == ["one", "a", "other"]
        assert tuple(request.ledger) == (1, 2, 3, 10)
        assert not request.shows_prompt
