"""How the main screens look. After a wanted change: `pytest tests/test_app_snapshots.py --snapshot-update`."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Tree

from tests.fakes.chat_app import MODEL, spoken, wait_until
from tests.fakes.models import FakeModels, found_models
from tests.fakes.served_models import ADDRESS, HOME, served_model
from tui_llama.app import ChatApp
from tui_llama.chat import Role, StopReason, Usage
from tui_llama.chats.store import Store
from tui_llama.chats.stored import ChatSummary, TreeMessage
from tui_llama.engine.events import (
    Failed,
    FailureCause,
    Finished,
    LoadProgress,
    LoadStage,
    ModelLoaded,
    PromptEncoded,
    PromptProgress,
    TextPiece,
)
from tui_llama.engine.prompt_cache.stored_tree import Stored
from tui_llama.engine.remote.models import ServerModel
from tui_llama.engine.scripted import EstimateScript, Gate, LoadScript, ReplyScript, ScriptedEngine, Step
from tui_llama.errors import EngineError
from tui_llama.models.library import FoundModel
from tui_llama.screens.dialogs.chat_list import ChatList, ListedChat
from tui_llama.screens.dialogs.messages.chat_tree import ChatTree
from tui_llama.screens.dialogs.model_picker import ModelPicker
from tui_llama.servers.address import Server
from tui_llama.settings import Settings
from tui_llama.widgets.attached.chip import Chip
from tui_llama.widgets.message_view import AnswerView

SIZE = (80, 24)
Compare = Callable[..., bool]
NOON = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)


def app(
    store: Store,
    *,
    load: Sequence[Step] | LoadScript | None = None,
    replies: Sequence[Sequence[Step]] | ReplyScript | None = None,
    model_path: str | None = MODEL,
    models: Sequence[FoundModel] | FakeModels = (),
    theme: str = "",
    servers: tuple[Server, ...] = (),
    system_prompt: str = "",
    estimate: EstimateScript | None = None,
) -> ChatApp:
    """The app with nothing that moves by itself."""
    engine = ScriptedEngine(load=load, replies=replies, estimate=estimate)
    chat = ChatApp(
        engine_factory=lambda: engine,
        store=store,
        settings=Settings(theme=theme, servers=servers, system_prompt=system_prompt),
        model_path=model_path,
        models=models if isinstance(models, FakeModels) else FakeModels(models),
    )
    chat.animation_level = "none"
    return chat


async def until_status(pilot: Pilot[None], words: str) -> None:
    chat = pilot.app
    assert isinstance(chat, ChatApp)
    await wait_until(pilot, lambda: words in chat.chat_screen.status.render().plain)
    chat.chat_screen.composer.rest()


async def ask(pilot: Pilot[None], text: str, status: str = "ready") -> None:
    await until_status(pilot, "ready")
    await pilot.press(*text, "enter")
    await wait_until(pilot, lambda: len(pilot.app.query(AnswerView)) == 1)
    await wait_until(pilot, lambda: status != "ready" or not pilot.app.query_one(AnswerView).is_live)
    await until_status(pilot, status)


def listed(chat_id: str, title: str, count: int, moment: datetime, *, is_open: bool = False) -> ListedChat:
    return ListedChat(ChatSummary(chat_id, title, "small.gguf", count, moment), is_open)


def still_cursor(pilot: Pilot[None]) -> None:
    for each in pilot.app.screen.query(Input):
        each.cursor_blink = False
        each._cursor_visible = True


def test_empty_chat(store: Store, snap_compare: Compare) -> None:
    async def before(pilot: Pilot[None]) -> None:
        await until_status(pilot, "ready")

    assert snap_compare(app(store), terminal_size=SIZE, run_before=before)


def test_loading(store: Store, snap_compare: Compare) -> None:
    load: list[Step] = [LoadProgress(LoadStage.REPACK, 45, 100), Gate()]

    async def before(pilot: Pilot[None]) -> None:
        await until_status(pilot, "repack 45 %")

    assert snap_compare(app(store, load=load), terminal_size=SIZE, run_before=before)


@pytest.mark.parametrize("size", [(80, 40), (60, 20), (40, 12), (160, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_chat_with_markdown(store: Store, snap_compare: Compare, size: tuple[int, int]) -> None:
    async def before(pilot: Pilot[None]) -> None:
        await ask(pilot, "What is a llama?")

    assert snap_compare(app(store), terminal_size=size, run_before=before)


@pytest.mark.parametrize("theme", ["llama-dawn", "ansi-dark"])
def test_chat_in_another_theme(store: Store, snap_compare: Compare, theme: str) -> None:
    async def before(pilot: Pilot[None]) -> None:
        await ask(pilot, "What is a llama?")

    assert snap_compare(app(store, theme=theme), terminal_size=(80, 40), run_before=before)


def test_reading_a_prompt(store: Store, snap_compare: Compare) -> None:
    steps: list[Step] = [PromptEncoded(0, 0, (1,)), PromptProgress(0, 1200, 1200, 5000), Gate()]

    async def before(pilot: Pilot[None]) -> None:
        await ask(pilot, "And now?", "reading 1,200 / 5,000")

    assert snap_compare(app(store, replies=[steps]), terminal_size=SIZE, run_before=before)


def test_editing(store: Store, snap_compare: Compare) -> None:
    chat = app(store, replies=[spoken("Llamas are camelids."), spoken("Alpacas are smaller.")])

    async def before(pilot: Pilot[None]) -> None:
        await ask(pilot, "What is a llama?")
        await pilot.press("up")
        await until_status(pilot, "keeps")

    assert snap_compare(chat, terminal_size=SIZE, run_before=before)


def test_attachments(store: Store, snap_compare: Compare) -> None:
    chat = app(store, replies=[spoken("A list of numbers.")])

    async def paste(pilot: Pilot[None], count: int) -> None:
        pilot.app.post_message(events.Paste("".join(f"{number}\n" for number in range(count))))
        await wait_until(pilot, lambda: any(f"{count} lines" in each.render().plain for each in pilot.app.query(Chip)))

    async def before(pilot: Pilot[None]) -> None:
        await until_status(pilot, "ready")
        await paste(pilot, 100)
        await ask(pilot, "What is this?")
        await paste(pilot, 200)
        await paste(pilot, 300)
        await wait_until(pilot, lambda: all("tokens" in each.render().plain for each in pilot.app.query(Chip)))
        await pilot.press(*"And these?", "shift+tab")
        await wait_until(pilot, lambda: "draft 459" in str(chat.chat_screen.composer.border_title))

    assert snap_compare(chat, terminal_size=SIZE, run_before=before)


def test_tree(store: Store, snap_compare: Compare) -> None:
    said = (
        (1, None, Role.USER, "What is a llama?"),
        (2, 1, Role.ASSISTANT, "A camelid of the Andes."),
        (3, 2, Role.USER, "And an alpaca, with all that one should know of it, its wool and its temper included?"),
        (4, 3, Role.ASSISTANT, "Smaller."),
        (5, 2, Role.USER, "And a vicuña?"),
        (6, 5, Role.ASSISTANT, "Smaller still, and wild."),
        (7, 5, Role.ASSISTANT, "The wild one of them."),
        (8, 7, Role.USER, "Where does it live?"),
    )

    async def before(pilot: Pilot[None]) -> None:
        await until_status(pilot, "ready")
        versions = {3: (1, 2), 5: (2, 2), 6: (1, 2), 7: (2, 2)}
        messages = [
            TreeMessage(number, parent, role, text, NOON, *versions.get(number, (1, 1)))
            for number, parent, role, text in said
        ]
        tree = ChatTree(messages, [1, 2, 5, 7, 8])
        tree.show_stored({1: Stored.ALL, 2: Stored.ALL, 3: Stored.ALL, 5: Stored.ALL, 6: Stored.PART})
        await pilot.app.push_screen(tree)
        await wait_until(pilot, lambda: pilot.app.screen.query_one(Tree).cursor_line == 7)

    assert snap_compare(app(store), terminal_size=SIZE, run_before=before)


def test_message_in_focus(store: Store, snap_compare: Compare) -> None:
    async def before(pilot: Pilot[None]) -> None:
        await ask(pilot, "What is a llama?")
        await pilot.press("alt+up")
        await wait_until(pilot, lambda: pilot.app.screen.query(".-in-focus"))

    assert snap_compare(app(store), terminal_size=SIZE, run_before=before)


def test_chat_list(store: Store, snap_compare: Compare) -> None:
    async def before(pilot: Pilot[None]) -> None:
        await until_status(pilot, "ready")
        chats = [
            listed("a", "What is a llama?", 12, NOON, is_open=True),
            listed("b", "A haiku about rain in the mountains, with a very long title indeed", 2, NOON),
            listed("c", "Last year", 240, NOON.replace(year=2025)),
        ]
        await pilot.app.push_screen(ChatList(chats, NOON))
        await wait_until(pilot, lambda: pilot.app.screen.query_one(OptionList).option_count)
        still_cursor(pilot)

    assert snap_compare(app(store), terminal_size=SIZE, run_before=before)


def test_model_picker(store: Store, snap_compare: Compare) -> None:
    async def before(pilot: Pilot[None]) -> None:
        # With a model: without one, what lies behind the list names a folder, which is another one in every run.
        await until_status(pilot, "ready")
        await pilot.press("ctrl+l")
        await wait_until(
            pilot,
            lambda: (
                isinstance(picker := pilot.app.screen, ModelPicker)
                and picker.query(OptionList)
                and picker.highlighted is not None
                and "tok/s" in picker.highlighted.note
            ),
        )
        await pilot.pause()  # what is said below the list takes rows from it, which is laid out with the next refresh
        await pilot.pause()
        still_cursor(pilot)

    chat = app(store, models=found_models(9))
    assert snap_compare(chat, terminal_size=SIZE, run_before=before)


def test_model_picker_with_servers(store: Store, snap_compare: Compare) -> None:
    lab = Server("lab", "https://lab.example/v1")
    models = FakeModels(found_models(2))
    models.on_servers = {
        "home": [ServerModel("qwen3-8b", 32_768), ServerModel("qwen3-32b", 32_768, is_loaded=False)],
        "lab": EngineError("lab does not answer (https://lab.example/v1)", "Start it, or check its URL."),
    }

    async def before(pilot: Pilot[None]) -> None:
        await until_status(pilot, "ready")
        await pilot.press("ctrl+l")

        def is_complete() -> bool:
            picker = pilot.app.screen
            items = picker._items if isinstance(picker, ModelPicker) else []
            return bool(items) and "tok/s" in items[0].note and any("lab does" in item.title for item in items)

        await wait_until(pilot, is_complete)
        await pilot.press(*["down"] * 4)
        await pilot.pause()
        await pilot.pause()
        still_cursor(pilot)

    chat = app(store, models=models, servers=(HOME, lab))
    assert snap_compare(chat, terminal_size=SIZE, run_before=before)


def test_an_answer_that_a_server_cut_off(store: Store, snap_compare: Compare) -> None:
    cut: list[Step] = [
        TextPiece(0, "A llama is a domesticated", ()),
        Failed(0, "home ended the answer in the middle", "Ctrl+R asks again, F5 continues.", FailureCause.CUT_OFF),
    ]
    chat = app(store, load=[ModelLoaded(served_model())], replies=[cut], model_path=ADDRESS, servers=(HOME,))

    async def before(pilot: Pilot[None]) -> None:
        await ask(pilot, "What is a llama?", "failed")

    assert snap_compare(chat, terminal_size=SIZE, run_before=before)


def test_a_folded_thought(store: Store, snap_compare: Compare) -> None:
    usage = Usage(generated_tokens=345, generate_seconds=20.0, thought_tokens=340, thought_seconds=12.2)
    reply: list[Step] = [
        TextPiece(0, "", (1,), thought="Let me see."),
        TextPiece(0, "Blue light is scattered most.", (2,)),
        Finished(0, StopReason.END_OF_GENERATION, usage),
    ]

    async def before(pilot: Pilot[None]) -> None:
        await ask(pilot, "Why?")

    assert snap_compare(app(store, replies=[reply]), terminal_size=(60, 20), run_before=before)


def test_help(store: Store, snap_compare: Compare) -> None:
    async def before(pilot: Pilot[None]) -> None:
        await until_status(pilot, "ready")
        await pilot.press("f1")

    assert snap_compare(app(store), terminal_size=(60, 20), run_before=before)
