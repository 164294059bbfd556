"""Counts the tokens of what is being written, as soon as it rests for a moment and nobody else needs the engine."""

import asyncio
from typing import Protocol

from tui_llama.chat import Role
from tui_llama.controllers.composing.draft import DraftController
from tui_llama.controllers.turns.idle_prefill import IdlePrefillController
from tui_llama.controllers.views import RunAlone, ScreenView
from tui_llama.conversation import State
from tui_llama.errors import EngineLostError, UserError
from tui_llama.text_safety import sanitize_line
from tui_llama.turn.draft_count import DraftCount, count_of
from tui_llama.turn.idle_prefill import REST_SECONDS
from tui_llama.turn.live_chats import LiveChats, OfShownChat

COUNT_SECONDS = 0.15
"""The rest of the draft after which it is counted; a longer one where the engine would stop reading ahead for it."""


class CountsView(ScreenView, Protocol):
    """The app, as the controller uses it."""

    @property
    def is_editing(self) -> bool:
        """True while the user edits an earlier message, whose price is shown instead."""
        ...


class TokenCountsController(OfShownChat):
    """The figures of the draft.

    Args:
        live_chats: Have the driver of the chat on the screen.
        draft: Has what is written.
        idle_prefill: Gives way, and goes on afterwards.
        view: The app.
        run: Runs a coroutine of a group in place of what is under way in it.
    """

    def __init__(
        self,
        live_chats: LiveChats,
        draft: DraftController,
        idle_prefill: IdlePrefillController,
        view: CountsView,
        run: RunAlone,
    ) -> None:
        super().__init__(live_chats)
        self._draft = draft
        self._idle_prefill = idle_prefill
        self._view = view
        self._run = run
        self._counted: tuple[object, ...] = ()

    def follow(self) -> None:
        """Counts the draft again if it, or what it is added to, is another one now."""
        if not self._view.can_draw:
            return
        if not self._can_count:
            self._counted = ()
            self._show(DraftCount())
            return
        driver = self._turn_driver
        counted = (driver.chat, len(driver.chat.entries), driver.chat.system_prompt, driver.model, self._draft.sendable)
        if counted != self._counted:
            self._counted = counted
            self._run("counts", self._count)

    @property
    def _can_count(self) -> bool:
        driver = self._turn_driver
        can_tell = driver.capabilities.can_estimate and driver.capabilities.has_exact_tokens
        is_at_rest = driver.state is State.READY and not self._view.is_editing
        text = self._draft.sendable.strip()
        return can_tell and is_at_rest and bool(text) and text != "/"  # which begins a command

    async def _count(self) -> None:
        await asyncio.sleep(REST_SECONDS if self._idle_prefill.is_reading else COUNT_SECONDS)
        driver, text = self._turn_driver, self._draft.sendable
        if not self._can_count:
            return
        try:
            estimate = await self._idle_prefill.give_way(driver.questions.estimate(len(driver.chat.entries), text))
        except EngineLostError:
            return  # told when the message is sent, which starts the engine again
        except UserError as error:
            self._show(DraftCount(sanitize_line(str(error)), is_warning=True))
            return
        if estimate is not None and driver.model is not None and self._can_count:
            texts = [entry.text for entry in driver.chat.entries if entry.role is not Role.SYSTEM]
            self._show(count_of(estimate, driver.model.context_size, texts))

    def _show(self, count: DraftCount) -> None:
        if self._view.can_draw:
            self._view.chat_screen.show_count(count.words, is_warning=count.is_warning)
