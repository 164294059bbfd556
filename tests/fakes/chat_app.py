"""Opens the chat without a terminal, with an engine that replays a script and a store of its own."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from unittest.mock import patch

from textual.pilot import Pilot
from textual.widgets import Static

from tests.fakes.models import FakeModels
from tests.patience import HANG_SECONDS
from tui_llama import paths
from tui_llama.app import ChatApp
from tui_llama.chat import StopReason, Usage
from tui_llama.chats.store import Store
from tui_llama.engine.events import Finished, PromptEncoded, TextPiece
from tui_llama.engine.protocol import Engine, ReplyEvent
from tui_llama.engine.scripted import ScriptedEngine, Step
from tui_llama.models.library import FoundModel
from tui_llama.settings import Settings
from tui_llama.widgets.message_view import AnswerView, Remark, UserMessage

MODEL = "/models/small.gguf"
USAGE = Usage(reused_tokens=3, read_tokens=5, generated_tokens=2, generate_seconds=0.1, context_used=10)


def spoken(*pieces: str) -> list[Step]:
    """Returns the script of a whole reply: a short prompt, then these pieces, one token each."""
    events: list[ReplyEvent] = [PromptEncoded(0, 0, (1, 2, 3))]
    events += [TextPiece(0, piece, (10 + index,)) for index, piece in enumerate(pieces)]
    return [*events, Finished(0, StopReason.END_OF_GENERATION, USAGE)]


async def wait_until(pilot: Pilot[None], condition: Callable[[], object], what: str = "") -> None:
    """Waits until `condition` holds and its consequences are done. Fails if it never holds."""
    end = monotonic() + HANG_SECONDS
    while not condition():
        assert monotonic() < end, f"never happened: {what or condition}"
        await pilot.pause(0.01)
    await pilot.pause()


@dataclass
class ScreenDriver:
    """A running app, with the steps and checks of a test. Works with any engine."""

    app: ChatApp
    pilot: Pilot[None]
    store: Store

    async def until(self, condition: Callable[[], object], what: str = "") -> None:
        """Waits until `condition` holds. Fails with the text of the screen if it never holds."""
        try:
            await wait_until(self.pilot, condition, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n\n{self.screen_text()}") from error

    async def until_state(self, words: str) -> None:
        """Waits until the status line says `words`, perhaps behind a hint, and the store has saved everything."""
        line = self.app.chat_screen.status
        await self.until(lambda: words in self.status or words in line._status.words, f"status {words!r}")
        await self.app.journal.settle()

    async def at_rest(self) -> None:
        """Waits until the program and its store have nothing left to do. Then nothing more will happen."""
        await self.pilot.pause()
        await self.app.journal.settle()
        await self.pilot.pause()

    async def write(self, text: str) -> None:
        """Inserts text at the cursor, as typing would."""
        self.app.chat_screen.composer.insert(text)
        await self.pilot.pause()

    async def send(self, text: str) -> None:
        """Writes a message and presses Enter."""
        await self.write(text)
        await self.pilot.press("enter")

    async def ask(self, text: str) -> None:
        """Sends a message and waits for the whole answer."""
        answers = len(self.answers)
        await self.send(text)
        await self.until(lambda: len(self.answers) > answers and not self.views[-1].is_live, "an answer")
        await self.until_state("ready")

    # --- what is on the screen ----------------------------------------------------------------------------------

    @property
    def status(self) -> str:
        """The text of the status line."""
        return str(self.app.chat_screen.status.render().plain)

    @property
    def written(self) -> str:
        """The text in the composer."""
        return self.app.chat_screen.composer.text

    @property
    def views(self) -> list[AnswerView]:
        """The answers' widgets, without any that has no parts yet, or is being removed and has lost them already."""
        return [view for view in self.app.chat_screen.query(AnswerView) if not view._pruning and view.query(".note")]

    @property
    def answers(self) -> list[str]:
        """The answers' Markdown, oldest first."""
        return [view.markdown.source for view in self.views]

    @property
    def notes(self) -> list[str]:
        """The note below each answer."""
        return [str(view.query_one(".note", Static).content) for view in self.views]

    @property
    def questions(self) -> list[str]:
        """The user's messages, as they are shown."""
        return [str(view.content) for view in self.app.chat_screen.query(UserMessage)]

    @property
    def remarks(self) -> list[str]:
        """The program's own lines in the conversation."""
        return [str(view.content) for view in self.app.chat_screen.query(Remark)]

    def screen_text(self) -> str:
        """Returns all lines as a terminal would show them."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)


@dataclass
class Driver(ScreenDriver):
    """A running app whose engine replays a script."""

    engine: ScriptedEngine


@asynccontextmanager
async def unhurried() -> AsyncIterator[None]:
    """Removes time limits in the block: what the program limits to a few seconds may take `HANG_SECONDS` in a test."""
    with ExitStack() as patches:
        for limit in ("leaving.CLOSING_SECONDS", "leaving.QUIT_ARMED_SECONDS", "showing.status.HINT_SECONDS"):
            patches.enter_context(patch(f"tui_llama.controllers.{limit}", HANG_SECONDS))
        yield


@asynccontextmanager
async def opened(
    *,
    engine: ScriptedEngine | None = None,
    replies: Iterable[Iterable[Step]] | None = None,
    model_path: str | None = MODEL,
    size: tuple[int, int] = (80, 24),
    store: Store | None = None,
    models: Sequence[FoundModel] | FakeModels = (),
    settings: Settings | None = None,
    until_ready: bool = True,
    is_incognito: bool = False,
    notice: str = "",
) -> AsyncIterator[Driver]:
    """Opens the chat, and closes it at the end. Closes the store only if it was not given."""
    engine = engine or ScriptedEngine(replies=replies)
    opened_store = store or Store(paths.database_file())
    made: list[Engine] = []

    def make_engine() -> Engine:
        made.append(engine)
        return engine

    app = ChatApp(
        engine_factory=make_engine,
        store=opened_store,
        settings=settings or Settings(theme="llama-dusk"),
        model_path=model_path,
        models=models if isinstance(models, FakeModels) else FakeModels(models),
        is_incognito=is_incognito,
        notice=notice,
    )
    app.animation_level = "none"
    try:
        async with unhurried(), app.run_test(size=size) as pilot:
            driver = Driver(app, pilot, opened_store, engine)
            if until_ready:
                await driver.until_state("ready")
            yield driver
    finally:
        if store is None:
            opened_store.close()
    assert len(made) <= 1
