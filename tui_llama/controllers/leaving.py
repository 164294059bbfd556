"""Ends the program in order, whether the user ends it, a signal, or a terminal that is gone.

Nothing is lost unasked: where nobody can be asked, what the store does not have is left in a file.
"""

import asyncio
import contextlib
import signal
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from tui_llama.controllers.composing.draft import DraftController
from tui_llama.controllers.loading.models import ModelsController
from tui_llama.controllers.saving import SavingController
from tui_llama.controllers.turns.idle_prefill import IdlePrefillController
from tui_llama.controllers.views import HintView, RunAlone, ScreenView
from tui_llama.system.endings import endings
from tui_llama.turn.live_chats import LiveChats, OfShownChat

if TYPE_CHECKING:
    from textual.screen import Screen

QUIT_ARMED_SECONDS = 2.0
CLOSING_SECONDS = 5.0


class LeavingView(ScreenView, HintView, Protocol):
    """The app, as the controller uses it."""

    @property
    def has_lent_terminal(self) -> bool:
        """True while another program has the terminal."""
        ...

    @property
    def screen_stack(self) -> "Sequence[Screen[Any]]":
        """The screens that are open, the chat first."""
        ...

    def exit(self, *, message: str | None = None) -> None:
        """Ends the program; the message is left in the terminal."""
        ...


class LeavingController(OfShownChat):
    """The end of an app.

    Args:
        live_chats: Have the driver of the chat on the screen.
        saving: Knows what would be lost.
        draft: Is kept.
        idle_prefill: Is ended.
        models: Ends a download.
        view: The app.
        run: Runs a coroutine of a group in place of what is under way in it.

    Attributes:
        ending_status: The exit status that says which signal ended the program, or that its terminal is gone; else 0.
    """

    def __init__(
        self,
        live_chats: LiveChats,
        saving: SavingController,
        draft: DraftController,
        idle_prefill: IdlePrefillController,
        models: ModelsController,
        view: LeavingView,
        run: RunAlone,
    ) -> None:
        super().__init__(live_chats)
        self._saving = saving
        self._draft = draft
        self._idle_prefill = idle_prefill
        self._models = models
        self._view = view
        self._run = run
        self._armed_until = 0.0
        self.ending_status = 0

    # --- the user quits -------------------------------------------------------------------------------------------

    def quit(self) -> None:
        """Ends the program; what there is of an answer is kept."""
        from tui_llama.screens.dialogs.unsaved import AskUnsaved

        is_asking = any(isinstance(screen, AskUnsaved) for screen in self._view.screen_stack)
        if not is_asking:
            self._run("quit", self._quit)

    def quit_when_asked_twice(self) -> None:
        """Ends the program when this is called twice within a short time, without `disarm` in between."""
        if monotonic() < self._armed_until:
            self.quit()
        else:
            self._armed_until = monotonic() + QUIT_ARMED_SECONDS
            self._view.show_hint("Press Ctrl+C again to quit.", QUIT_ARMED_SECONDS)

    def disarm(self) -> None:
        """Forgets that the user asked once to quit: something else was pressed."""
        self._armed_until = 0.0

    async def _quit(self) -> None:
        """Asks first where something would be lost; once more if the last of an answer could not be stored."""
        self._live_chats.flush()
        self._draft.keep()
        if not await self._saving.may_end():
            return
        self.end_turn()
        await self._saving.may_end(can_stay=False)
        self._end()

    # --- nobody can be asked --------------------------------------------------------------------------------------

    def listen_for_signals(self) -> None:
        """Lets a terminal that is closed, or a shutdown, end the program as Ctrl+Q does."""
        loop = asyncio.get_running_loop()
        for number, status in endings():
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(number, self._end_by_signal, number, status)

    def _end_by_signal(self, number: int, status: int) -> None:
        if number == signal.SIGINT and self._view.has_lent_terminal:
            return  # it is meant for the program that has the terminal
        # A second interrupt breaks off whatever the first has begun, which is nothing before the screen is there.
        if number == signal.SIGINT and self._view.can_draw:
            asyncio.get_running_loop().remove_signal_handler(number)
        self.quit_unasked(status)

    def quit_unasked(self, status: int) -> None:
        """Ends the program with that exit status, but not before the screen is there: see `end_if_told`.

        The first reason counts: a second one would break off what the first has begun to save.
        """
        if not self.ending_status:
            self.ending_status = status
            if self._view.can_draw:
                self.end_if_told()

    def end_if_told(self) -> None:
        """Ends the program if it was told to end. Call it when the screen is there.

        Textual can wait for ever for widgets that are still being mounted when the program ends.
        """
        if self.ending_status:
            self._run("quit", self._quit_unasked)

    async def _quit_unasked(self) -> None:
        """Leaves what cannot be stored in a file beside the chats, since nobody can be asked."""
        self.end_turn()
        await self._saving.rescue()
        self._end()

    # --- the end --------------------------------------------------------------------------------------------------

    def end_turn(self) -> None:
        """Tells all turns that the program ends, unless they know."""
        self._live_chats.quit()

    def _end(self) -> None:
        saved, why_lost = self._saving.saved_file, self._saving.why_lost
        where = f"in {saved}" if saved is not None else f"lost: {why_lost}" if why_lost else ""
        self._view.exit(message=f"The part of your chats that could not be saved is {where}" if where else None)

    async def close(self) -> None:
        """Saves what is still to be saved and ends what runs, within a limit; the terminal is the user's again."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._close(), CLOSING_SECONDS)

    async def _close(self) -> None:
        self._live_chats.flush()
        self._idle_prefill.stop()
        # Side by side: a download that is slow to end must not take the time in which the engine saves.
        await asyncio.gather(self._models.close(), self._live_chats.host.close())
        await self._live_chats.close()
        self._draft.end()
        await self._saving.journal.close()
