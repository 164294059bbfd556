"""How the states of the chat and its dialogs look at a narrow, a usual and a wide size.

After a wanted change: `pytest tests/test_app_state_snapshots.py --snapshot-update`.
"""

import pytest
from textual.command import CommandPalette
from textual.pilot import Pilot
from textual.widgets import OptionList, Static

from tests.fakes.chat_app import spoken, wait_until
from tests.test_app_snapshots import Compare, app, ask, still_cursor, until_status
from tui_llama.app import ChatApp
from tui_llama.chat import StopReason, Thinking, Usage
from tui_llama.chats.store import Store
from tui_llama.conversation import State
from tui_llama.engine.events import Finished, PromptEncoded, PromptEstimate, TextPiece
from tui_llama.engine.scripted import Gate, Step
from tui_llama.personas.folder import save_persona
from tui_llama.personas.persona import Persona
from tui_llama.screens.dialogs.choosing.persona_list import PersonaList
from tui_llama.screens.dialogs.messages.answer_again import AnswerAgain
from tui_llama.screens.dialogs.messages.delete_message import DeleteMessage
from tui_llama.screens.dialogs.pick import PickDialog
from tui_llama.screens.settings.settings_screen import SettingsScreen
from tui_llama.screens.settings.theme_picker import ThemePicker
from tui_llama.turn.meter import TurnMeter
from tui_llama.widgets.completion.suggestion_list import SuggestionList

NARROW, USUAL, WIDE = (60, 20), (100, 30), (160, 45)
SYSTEM_PROMPT = "You are a careful teacher of biology.\nYou answer in short sentences, with one example for each claim."
THOUGHT = "The user asks why the sky is blue. Air scatters short waves more than long ones."


@pytest.fixture(autouse=True)
def no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the speed out of the status line, which is another one in each run."""
    monkeypatch.setattr(TurnMeter, "figures", lambda _meter, state: "24 generated" if state is State.ANSWERING else "")


def begun(gate: Gate, text: str) -> list[Step]:
    """A reply that stands at the gate behind its text."""
    steps = spoken(text)
    return [*steps[:-1], gate, steps[-1]]


async def send(pilot: Pilot[None], text: str) -> None:
    chat = pilot.app
    assert isinstance(chat, ChatApp)
    chat.chat_screen.composer.insert(text)
    await pilot.press("enter")


async def until_dialog(pilot: Pilot[None], dialog: type[object]) -> None:
    """Waits until a dialog is drawn, with the details below its list."""
    await wait_until(pilot, lambda: isinstance(pilot.app.screen, dialog) and pilot.app.screen.is_mounted)
    screen = pilot.app.screen
    if isinstance(screen, PickDialog):
        await wait_until(pilot, lambda: screen.query(OptionList) and screen.highlighted is not None)
    for _ in range(3):  # what is said below a list takes rows from it
        await pilot.pause()
    still_cursor(pilot)


# --- the conversation -------------------------------------------------------------------------------------------


def test_queue_and_another_chat_that_answers(store: Store, snap_compare: Compare) -> None:
    gate = Gate()
    chat = app(store, replies=[begun(gate, "Llamas are camelids."), begun(Gate(), "Smaller.")])

    async def before(pilot: Pilot[None]) -> None:
        await until_status(pilot, "ready")
        await send(pilot, "What is a llama?")
        await until_status(pilot, "answering")
        await pilot.press("ctrl+n")
        await wait_until(pilot, lambda: "◐ 1 answering" in chat.chat_screen.titles.render().plain)
        await send(pilot, "And an alpaca?")
        await until_status(pilot, "waiting for another chat")
        await send(pilot, "And what have the two in common, apart from the long necks?")
        await wait_until(pilot, lambda: chat.chat_screen.composer.up_takes_back)
        chat.chat_screen.composer.rest()

    assert snap_compare(chat, terminal_size=NARROW, run_before=before)


def test_a_thought_under_way(store: Store, snap_compare: Compare) -> None:
    pieces = [TextPiece(0, "", (number,), thought=f"{word} ") for number, word in enumerate(THOUGHT.split(), 1)]
    chat = app(store, replies=[[PromptEncoded(0, 0, (1, 2, 3)), *pieces, Gate()]])

    async def before(pilot: Pilot[None]) -> None:
        await until_status(pilot, "ready")
        await send(pilot, "Why is the sky blue?")
        await wait_until(pilot, lambda: chat.turn_driver.chat.entries[-1].thought.endswith("ones. "))
        await until_status(pilot, "thinking")

    assert snap_compare(chat, terminal_size=NARROW, run_before=before)


def test_a_wide_screen_with_a_system_prompt(store: Store, snap_compare: Compare) -> None:
    usage = Usage(generated_tokens=345, generate_seconds=20.0, thought_tokens=340, thought_seconds=12.2)
    thinking: list[Step] = [
        PromptEncoded(0, 0, (1, 2, 3)),
        TextPiece(0, "", (4,), thought=THOUGHT),
        TextPiece(0, "Because air scatters **blue** light most.", (5,)),
        Finished(0, StopReason.END_OF_GENERATION, usage),
    ]
    chat = app(store, replies=[thinking], system_prompt=SYSTEM_PROMPT)

    async def before(pilot: Pilot[None]) -> None:
        await ask(pilot, "Why is the sky blue?")
        await pilot.press("alt+up")
        await wait_until(pilot, lambda: pilot.app.screen.query(".-in-focus"))
        line = chat.chat_screen.system_prompt.query_one(Static)
        await wait_until(pilot, lambda: "tokens" in str(line.content))
        await pilot.pause()

    assert snap_compare(chat, terminal_size=WIDE, run_before=before)


# --- the composer -----------------------------------------------------------------------------------------------


def test_more_than_the_context_holds(store: Store, snap_compare: Compare) -> None:
    full = PromptEstimate(0, 9000, None, message_tokens=2140, left_out_messages=4)
    chat = app(store, estimate=lambda _request: full)

    async def before(pilot: Pilot[None]) -> None:
        await until_status(pilot, "ready")
        chat.chat_screen.composer.insert("A long text")
        await wait_until(pilot, lambda: chat.chat_screen.composer.has_class("-overflowing"))
        chat.chat_screen.composer.rest()

    assert snap_compare(chat, terminal_size=NARROW, run_before=before)


def test_suggestions(store: Store, snap_compare: Compare) -> None:
    async def before(pilot: Pilot[None]) -> None:
        await until_status(pilot, "ready")
        await pilot.press("/")
        await wait_until(pilot, lambda: pilot.app.screen.query_one(SuggestionList).option_count)
        await until_status(pilot, "ready")

    assert snap_compare(app(store), terminal_size=NARROW, run_before=before)


# --- the dialogs ------------------------------------------------------------------------------------------------


def _personas() -> None:
    prompt = "You are a pirate. You answer every question in the voice of an old sea dog who has seen all seas."
    save_persona(
        Persona(
            "Pirate",
            description="Talks like one",
            system_prompt=f"{prompt} You never say where the treasure is.",
            sampling={"temperature": 0.9},
            thinking=Thinking.OFF,
            reply_start="Arr, ",
        )
    )
    save_persona(Persona("Poet", system_prompt="Rhyme."))


LISTS = (
    pytest.param("/settings", SettingsScreen, NARROW, id="settings"),
    pytest.param("/theme", ThemePicker, USUAL, id="themes"),
    pytest.param("/persona", PersonaList, NARROW, id="personas"),
)


@pytest.mark.parametrize(("command", "dialog", "size"), LISTS)
def test_lists(store: Store, snap_compare: Compare, command: str, dialog: type[object], size: tuple[int, int]) -> None:
    _personas()

    async def before(pilot: Pilot[None]) -> None:
        await until_status(pilot, "ready")
        await send(pilot, command)
        await until_dialog(pilot, dialog)

    assert snap_compare(app(store), terminal_size=size, run_before=before)


@pytest.mark.parametrize(("key", "dialog"), [("r", AnswerAgain), ("d", DeleteMessage)], ids=["again", "delete"])
def test_what_is_asked_of_a_message(store: Store, snap_compare: Compare, key: str, dialog: type[object]) -> None:
    async def before(pilot: Pilot[None]) -> None:
        await ask(pilot, "What is a llama?")
        await pilot.press("alt+up", "up")
        await wait_until(pilot, lambda: pilot.app.screen.query("UserMessage.-in-focus"))
        await pilot.press(key)
        await until_dialog(pilot, dialog)
        if dialog is DeleteMessage:  # what it costs is asked while the dialog is shown
            details = pilot.app.screen.query_one(".details", Static)
            await wait_until(pilot, lambda: "reads" in str(details.content))
            await pilot.pause()

    assert snap_compare(app(store, replies=[spoken("A camelid.")]), terminal_size=NARROW, run_before=before)


def test_palette(store: Store, snap_compare: Compare) -> None:
    async def before(pilot: Pilot[None]) -> None:
        await until_status(pilot, "ready")
        await pilot.press("ctrl+p")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, CommandPalette))
        lists = pilot.app.screen.query(OptionList)
        await wait_until(pilot, lambda: lists and lists.first().option_count > 10 and lists.first().highlighted == 0)
        still_cursor(pilot)

    assert snap_compare(app(store), terminal_size=USUAL, run_before=before)
