"""Lets the engine do idle prefill while there is nothing else to do, and ends it when there is."""

from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from tui_llama.controllers.composing.draft import DraftController
from tui_llama.controllers.views import Result, RunAlone, ScreenView
from tui_llama.conversation import State
from tui_llama.engine.protocol import Engine
from tui_llama.engine.requests import IdlePrefillRequest
from tui_llama.turn.idle_prefill import IdlePrefillScheduler
from tui_llama.turn.live_chats import LiveChats, OfShownChat

if TYPE_CHECKING:
    from tui_llama.settings import Settings


class IdlePrefillView(ScreenView, Protocol):
    """The app, as the controller uses it."""

    @property
    def is_editing(self) -> bool:
        """True while the user edits an earlier message."""
        ...

    def show_figures(self) -> None:
        """Shows the figures a little later."""
        ...


class IdlePrefillController(OfShownChat):
    """Idle prefill is no state of the turn: it begins when there is nothing else to do, and ends with that.

    Args:
        live_chats: Have the driver of the chat on the screen.
        draft: Has the text in the composer.
        settings: Whether the user wants it at all.
        view: The app.
        run: Runs a coroutine of a group in place of what is under way in it.
    """

    def __init__(
        self, live_chats: LiveChats, draft: DraftController, settings: "Settings", view: IdlePrefillView, run: RunAlone
    ) -> None:
        super().__init__(live_chats)
        self._draft = draft
        self.settings = settings
        self._view = view
        self._reading = IdlePrefillScheduler(
            self._make_request,
            partial(run, "read ahead"),
            self._note_ready,
            self._tell,
        )

    async def _make_request(self, draft: str) -> tuple[Engine, IdlePrefillRequest] | None:
        return await self._turn_driver.questions.idle_prefill_request(draft)

    def _tell(self, notice: str) -> None:
        self._turn_driver.tell(notice)

    def start_if_at_rest(self) -> None:
        """Begins idle prefill if the turn is ready and the user edits no message; otherwise ends it."""
        driver = self._turn_driver
        is_at_rest = driver.state is State.READY and not driver.engine_is_taken and not self._view.is_editing
        is_wanted = self.settings.read_ahead == "on" and driver.capabilities.can_prefill_idle
        if is_at_rest and is_wanted and self._view.can_draw:
            self._reading.rest(self._draft.sendable)
        else:
            self._reading.stop()

    def go_on(self) -> None:
        """Follows the draft, which has changed."""
        self._reading.edit(self._draft.sendable)

    @property
    def is_reading(self) -> bool:
        """True while the engine reads ahead."""
        return self._reading.is_reading

    async def give_way(self, work: Awaitable[Result]) -> Result:
        """Returns what other work of the engine returns; goes on reading ahead afterwards."""
        return await self._reading.give_way(work)

    def hold(self) -> None:
        """Ends it until the draft is another one, or there was something else to do."""
        self._reading.hold()

    def stop(self) -> None:
        """Ends it: there is something else to do."""
        self._reading.stop()

    def _note_ready(self, ready_tokens: int, certain_tokens: int) -> None:
        self._turn_driver.meter.note_ready(ready_tokens, certain_tokens)
        if self._turn_driver.state is State.READY:
            self._view.show_figures()
