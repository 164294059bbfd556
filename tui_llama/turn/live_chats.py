"""The chats that are alive: the one on the screen, and those whose answers go on while the user reads another one.

A chat leaves the screen, and stays alive until its answers have ended and everything that the user has to see of it was
shown. All of them share one engine; the turn table says who has it and who waits.
"""

from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tui_llama import conversation
from tui_llama.chats.open_chat import OpenChat
from tui_llama.conversation import SendMessage, State
from tui_llama.turn.driver import TurnDriver
from tui_llama.turn.engine_host import EngineHost
from tui_llama.turn.hidden_view import HiddenView
from tui_llama.turn.view import TurnView

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tui_llama.settings import Settings


class Mark(StrEnum):
    """What goes on in a chat that is not on the screen. The value is its word on the screen."""

    ANSWERING = "answering"
    WAITING = "waiting"
    FAILED = "failed"
    FINISHED = "finished"


class LiveChats:
    """The drivers of the chats that are alive.

    Args:
        host: Has the engine that they share.
        chat: The chat on the screen.
        screen_view: Shows the turns of the chat on the screen.
        spawn: Runs work that has a name; work that is ended at once may never begin.

    Attributes:
        host: Has the engine that they share.
        shown: The driver of the chat on the screen.
        keep_queued: Keeps what is queued in a chat.
        put_back: Keeps a message that was queued in a chat that does not draw on the screen, and is not sent.
    """

    def __init__(
        self,
        host: EngineHost,
        chat: OpenChat,
        screen_view: TurnView,
        spawn: Callable[[Callable[[], Coroutine[Any, Any, None]], str], object],
    ) -> None:
        self.host = host
        self._screen_view = screen_view
        self._spawn = spawn
        self._hidden: dict[TurnDriver, HiddenView] = {}
        self._finished: set[str] = set()
        self.keep_queued: Callable[[OpenChat, SendMessage | None], None] = lambda _chat, _message: None
        self.put_back: Callable[[OpenChat, SendMessage], None] = lambda _chat, _message: None
        self.shown = self._watched(TurnDriver(host, chat, screen_view, spawn))
        host.bring_to_front(self.shown)

    # --- which there are ----------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[TurnDriver]:
        """Yields the drivers of all chats, the one on the screen first."""
        yield self.shown
        yield from tuple(driver for driver in self._hidden if driver is not self.shown)

    def find(self, chat_id: str | None) -> TurnDriver | None:
        """Returns the driver of the chat of that id; None if it is not alive."""
        return next((driver for driver in self if chat_id is not None and driver.chat.chat_id == chat_id), None)

    def marks(self) -> dict[str, Mark]:
        """Returns what goes on in chats that are not on the screen, by their ids."""
        marks = dict.fromkeys(self._finished, Mark.FINISHED)
        for driver, view in self._hidden.items():
            if driver is not self.shown and driver.chat.chat_id is not None:
                mark = _mark(driver, view)
                if mark is not None:
                    marks[driver.chat.chat_id] = mark
        return marks

    # --- coming and going ---------------------------------------------------------------------------------------

    def begin(self, chat: OpenChat) -> TurnDriver:
        """Returns a driver for another chat, which is not on the screen yet."""
        view = self._hidden_view(chat)
        driver = self._watched(TurnDriver(self.host, chat, view, self._spawn, beside=self.shown))
        self._hidden[driver] = view
        return driver

    def _hidden_view(self, chat: OpenChat) -> HiddenView:
        def note_news() -> None:
            chat.set_unread(is_unread=True)

        return HiddenView(self._note_change, lambda message: self.put_back(chat, message), note_news)

    def _watched(self, driver: TurnDriver) -> TurnDriver:
        driver.queued.on_change = lambda: self.keep_queued(driver.chat, driver.queued.message)
        return driver

    def bring_to_front(self, driver: TurnDriver) -> None:
        """Makes this the chat on the screen; `draw_on_screen` lets it draw there."""
        left = self.shown
        if left is not driver and left not in self._hidden:
            left.view = self._hidden[left] = self._hidden_view(left.chat)
        self.shown = driver
        self._finished.discard(driver.chat.chat_id or "")
        driver.chat.set_unread(is_unread=False)
        self.host.bring_to_front(driver)

    @property
    def is_drawn(self) -> bool:
        """True if the chat on the screen draws there."""
        return self.shown not in self._hidden

    def draw_on_screen(self, *, answer_was_open: bool) -> None:
        """Lets the chat on the screen draw there, where its messages are drawn; begins with what had to wait.

        Args:
            answer_was_open: Whether the last of these messages was an answer that grew, or has grown since.
        """
        entries, view = self.shown.chat.entries, self._screen_view
        if answer_was_open or self.shown.answer_is_open:
            view.reopen_answer(entries[-1])
            if not self.shown.answer_is_open:
                view.finish_answer(entries[-1])
        view.show_queued(self.shown.queued.shown)
        hidden = self._hidden.pop(self.shown, None)
        self.shown.view = view
        self.shown.chat.set_unread(is_unread=False)  # its answer may have ended while it was drawn
        if hidden is not None:
            hidden.show_in(self._screen_view)

    async def let_go_of_idle(self) -> None:
        """Lets the chats go that are not on the screen and have nothing more to do or to tell."""
        for driver, view in tuple(self._hidden.items()):
            is_idle = driver is not self.shown and not driver.is_busy and not view.has_to_be_shown
            if is_idle and driver in self._hidden:
                if view.has_news and driver.chat.chat_id is not None:
                    self._finished.add(driver.chat.chat_id)
                await self._let_go(driver)

    async def end(self, driver: TurnDriver) -> None:
        """Ends what goes on in a chat that is not on the screen, and lets it go."""
        await driver.stop_and_wait()
        if driver in self._hidden:
            await self._let_go(driver)

    async def end_incognito(self) -> None:
        """Ends the incognito chats that are not on the screen: nobody can come back to them."""
        for driver in tuple(self._hidden):
            if driver.chat.is_incognito and driver is not self.shown:
                await self.end(driver)

    def note_unread(self, chat_ids: Iterable[str]) -> None:
        """Marks chats in which an answer had ended that nobody had seen when the program ended the last time."""
        self._finished |= {chat_id for chat_id in chat_ids if self.find(chat_id) is None}

    def forget(self, chat_id: str) -> None:
        """Forgets that an answer has ended in this chat, which is deleted."""
        self._finished.discard(chat_id)

    async def _let_go(self, driver: TurnDriver) -> None:
        if driver.state is State.CLOSED:
            return  # a request may still be made of its messages; `close` comes when nothing runs any more
        del self._hidden[driver]
        self.host.let_go(driver)
        await driver.chat.leave()

    def _note_change(self) -> None:
        """Shows that something has changed in a chat that is not on the screen; lets it go if it was the last."""
        self._screen_view.show_state()
        if any(driver is not self.shown and not driver.is_busy for driver in self._hidden):
            self._spawn(self.let_go_of_idle, "let go")

    # --- all of them --------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Writes what has come of answers since the last time."""
        for driver in self:
            driver.chat.flush()

    @asynccontextmanager
    async def engine_cleared(self) -> "AsyncIterator[None]":
        """Stops and keeps all answers; in the block, none begins."""
        with self.host.held():
            for driver in self:
                if driver.answer_is_open:
                    driver.dispatch(conversation.Stop())
                    await driver.answer_ended()
            yield

    def use_settings(self, settings: "Settings") -> None:
        """Lets all chats go on with other settings."""
        self.host.settings = settings

    def quit(self) -> None:
        """Tells all turns that the program ends."""
        self.host.hold()
        for driver in self:
            if driver.allows(conversation.Quit):
                driver.dispatch(conversation.Quit())

    async def close(self) -> None:
        """Lets all chats go."""
        for driver in self:
            await driver.chat.leave()


def _mark(driver: TurnDriver, view: HiddenView) -> Mark | None:
    """Returns what goes on in a chat that is not on the screen; None if nothing does."""
    if driver.answer_is_open:
        return Mark.ANSWERING
    if driver.is_busy:
        return Mark.WAITING
    if driver.state in (State.FAILED, State.LOST, State.NO_MODEL) and view.has_to_be_shown:
        return Mark.FAILED
    return Mark.FINISHED if view.has_news else None


class OfShownChat:
    """A part of the program that works on the chat on the screen, whichever that is.

    Args:
        live_chats: The chats that are alive.
    """

    def __init__(self, live_chats: LiveChats) -> None:
        self._live_chats = live_chats

    @property
    def _turn_driver(self) -> TurnDriver:
        """The driver of the chat that is on the screen now."""
        return self._live_chats.shown
