"""Leaving the chat's screen at every point of an answer: nothing draws on it any more, and what was said is kept."""

import asyncio
from unittest.mock import patch

import pytest
from textual.css.query import NoMatches

from tests.fakes.chat_app import MODEL, Driver, opened, spoken
from tui_llama.chat import StopReason
from tui_llama.chats.store import MessageState, Store
from tui_llama.controllers.composing.draft import NEW_CHAT
from tui_llama.controllers.leaving import LeavingController
from tui_llama.engine.events import LoadProgress, LoadStage, ModelLoaded, Notice, PromptProgress
from tui_llama.engine.scripted import AfterCancel, Gate, ScriptedEngine, Step, demo_model
from tui_llama.screens.chat import ChatScreen
from tui_llama.widgets.composer import Composer

ENCODED, *PIECES, FINISHED = spoken("One", " two")
REPLY: list[Step] = [
    Notice("before anything"),
    ENCODED,
    PromptProgress(0, 0, 3, 3),
    PIECES[0],
    Notice("in between"),
    PIECES[1],
    FINISHED,
]
LOAD: list[Step] = [
    LoadProgress(LoadStage.READ, 1, 2),
    Notice("while it loads"),
    LoadProgress(LoadStage.REPACK, 1, 2),
    ModelLoaded(demo_model(MODEL), ("of the model",)),
]
REPLY_POINTS = range(len(REPLY) + 1)
LOAD_POINTS = range(len(LOAD) + 1)


def cut_at(steps: list[Step], point: int) -> tuple[list[Step], Gate]:
    """The steps with a gate in them, at which what was cancelled says that it has not noticed yet."""
    gate = Gate()
    return [*steps[:point], gate, AfterCancel(Notice("too late")), *steps[point:]], gate


def go_on_without_a_screen(driver: Driver, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What waits at the gate will go on when the screens are gone, and have the time to draw.

    Returns:
        Filled when that has happened.
    """
    take_down = driver.app._close_all
    happened: list[str] = []

    async def take_down_and_go_on() -> None:
        await take_down()
        gate.open()
        for _ in range(100):
            await asyncio.sleep(0)
        happened.append("went on")

    monkeypatch.setattr(driver.app, "_close_all", take_down_and_go_on)
    return happened


def stored(store: Store) -> tuple[str, MessageState, StopReason | None]:
    """The answer on the disk."""
    answer = store.messages(store.list_chats()[0].chat_id)[-1]
    return answer.text, answer.state, answer.stop_reason


def kept(point: int) -> tuple[str, MessageState, StopReason | None]:
    """What is kept of an answer that was left at that point."""
    if point == len(REPLY):
        return "One two", MessageState.COMPLETE, StopReason.END_OF_GENERATION
    return "".join(("One" * (point > 3), " two" * (point > 5))), MessageState.COMPLETE, StopReason.STOPPED


# --- the screen goes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("way_out", "dialog"), [("", ""), ("ctrl+q", ""), ("exit", ""), ("ctrl+q", "ctrl+s")])
@pytest.mark.parametrize("point", REPLY_POINTS)
async def test_nothing_draws_when_the_screen_is_gone_in_mid_answer(
    store: Store, monkeypatch: pytest.MonkeyPatch, point: int, way_out: str, dialog: str
) -> None:
    steps, gate = cut_at(REPLY, point)
    async with opened(store=store, replies=[steps]) as driver:
        await driver.send("hi")
        await gate.reached()
        if dialog:
            await driver.pilot.press(dialog)
        if way_out == "ctrl+q":
            await driver.pilot.press("ctrl+q")
        if way_out == "exit":  # as whatever ends the program, while the screens are still there
            driver.app.exit()
            gate.open()
        went_on = go_on_without_a_screen(driver, gate, monkeypatch)
    assert went_on
    assert driver.engine.is_closed
    assert stored(store) == kept(point)


@pytest.mark.parametrize("way_out", ["", "ctrl+q", "exit"])
@pytest.mark.parametrize("point", LOAD_POINTS)
async def test_nothing_draws_when_the_screen_is_gone_while_a_model_loads(
    store: Store, monkeypatch: pytest.MonkeyPatch, point: int, way_out: str
) -> None:
    steps, gate = cut_at(LOAD, point)
    engine = ScriptedEngine(load=steps, replies=[REPLY])
    async with opened(store=store, engine=engine, until_ready=False) as driver:
        await gate.reached()
        if point < len(LOAD):
            await driver.send("early")
        if way_out == "ctrl+q":
            await driver.pilot.press("ctrl+q")
        if way_out == "exit":  # as whatever ends the program, while the screens are still there
            driver.app.exit()
            gate.open()
        went_on = go_on_without_a_screen(driver, gate, monkeypatch)
    assert went_on
    assert engine.is_closed
    assert [chat.title for chat in store.list_chats()] == (["early"] if point < len(LOAD) else [])


async def test_nothing_draws_when_the_screen_is_gone_while_the_message_is_saved(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(store=store, replies=[REPLY]) as driver:
        await driver.send("hi")
        went_on = go_on_without_a_screen(driver, Gate(), monkeypatch)
        await driver.pilot.press("ctrl+q")
    assert went_on
    assert store.messages(store.list_chats()[0].chat_id)[0].text == "hi"


async def test_nothing_draws_when_the_screen_is_gone_while_another_chat_is_opened(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, gate = cut_at(REPLY, 4)
    async with opened(store=store, replies=[steps]) as driver:
        await driver.send("hi")
        await gate.reached()
        went_on = go_on_without_a_screen(driver, gate, monkeypatch)
        driver.app.action_new_chat()
        driver.app.action_list_chats()
    driver.app.transcript.show_trouble("told too late", "")
    assert went_on
    assert stored(store)[0] == "One"


@pytest.mark.parametrize("report", ["changed", "submitted"])
async def test_a_report_of_the_composer_that_comes_too_late_means_nothing(
    monkeypatch: pytest.MonkeyPatch, report: str
) -> None:
    came: list[str] = []
    async with opened() as driver:
        composer, take_down = driver.app.chat_screen.composer, driver.app._close_all

        async def take_down_and_report() -> None:
            await take_down()
            late = Composer.Changed(composer) if report == "changed" else Composer.Submitted("hi")
            await driver.app._on_message(late)
            came.append(report)

        monkeypatch.setattr(driver.app, "_close_all", take_down_and_report)
    assert came == [report]


# --- another chat -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["ctrl+n", "ctrl+pagedown"])
@pytest.mark.parametrize("point", REPLY_POINTS)
async def test_another_chat_can_be_opened_at_every_point(store: Store, point: int, key: str) -> None:
    older = store.create_chat(title="older")
    store.add_user_message(older, "long ago")
    steps, gate = cut_at(REPLY, point)
    async with opened(store=store, replies=[steps, spoken("yes")]) as driver:
        await driver.send("hi")
        await gate.reached()
        if point == len(REPLY):
            gate.open()
            await driver.until(lambda: not driver.views[-1].is_live)
        await driver.pilot.press(key)
        there = [] if key == "ctrl+n" else ["long ago"]
        await driver.until(lambda: driver.questions == there and driver.app.turn_driver.chat.title != "hi")
        assert driver.answers == []
        gate.open()  # the answer of the chat that was left goes on, and the next one comes after it
        await driver.ask("still there?")
        assert driver.answers == ["yes"]
    chats = {chat.title: chat.chat_id for chat in store.list_chats()}
    answer = store.messages(chats["hi"])[-1]
    assert (answer.text, answer.state, answer.stop_reason) == kept(len(REPLY))


async def test_work_that_waits_for_a_removal_may_be_ended() -> None:
    async with opened() as driver:
        await driver.ask("hello")
        transcript = driver.app.chat_screen.transcript
        is_waiting = asyncio.Event()

        async def remove() -> None:
            removal = transcript.remove()
            asyncio.get_running_loop().call_soon(is_waiting.set)
            await removal

        driver.app.run_worker(remove())
        await is_waiting.wait()
    assert not driver.app.is_running


async def test_a_draft_stays_kept_when_the_composer_is_gone_before_the_end() -> None:
    async with opened() as driver:
        await driver.write("a draft")
        driver.app._draft.keep()
        with patch.object(ChatScreen, "has_composer", False), patch.object(ChatScreen, "composer", property(_gone)):
            driver.app._draft.keep()
        await driver.at_rest()
        assert driver.store.draft(NEW_CHAT).text == "a draft"


def _gone(_screen: object) -> Composer:
    raise NoMatches


async def test_an_interrupt_that_finds_the_widgets_gone_draws_nothing() -> None:
    async with opened() as driver:
        await driver.ask("hello")
        await driver.app.chat_screen.query("*").remove()
        driver.app.exit()
    assert driver.app._exception is None


async def test_a_program_that_was_ended_while_it_came_up_does_not_begin() -> None:
    async with opened() as driver:
        driver.app._leave_screen()
        driver.app.chat_screen.post_message(ChatScreen.Ready())
        await driver.pilot.pause()
        assert not driver.app.can_draw


async def test_a_signal_before_the_screen_is_there_ends_the_program_once_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    can_draw: list[bool] = []
    end = LeavingController.end_if_told

    def end_if_told(self: LeavingController) -> None:
        can_draw.append(self._view.can_draw)
        end(self)

    monkeypatch.setattr(LeavingController, "listen_for_signals", lambda self: self.quit_unasked(143))
    monkeypatch.setattr(LeavingController, "end_if_told", end_if_told)
    async with opened(until_ready=False) as driver:
        await driver.until(lambda: driver.app._exit)
    assert (driver.app.ending_status, can_draw) == (143, [True])
