"""The system prompt of the chat on the screen: edited in a dialog, which says first what changing it would cost."""

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Protocol

from tui_llama.controllers.composing.draft import DraftController
from tui_llama.controllers.turns.idle_prefill import IdlePrefillController
from tui_llama.controllers.views import DialogView, HintView, RunAlone, ScreenView, StateView
from tui_llama.errors import UserError
from tui_llama.turn.idle_prefill import REST_SECONDS
from tui_llama.turn.live_chats import LiveChats, OfShownChat

if TYPE_CHECKING:
    from tui_llama.screens.dialogs.choosing.write_text import WriteText, Written


class SystemPromptView(ScreenView, DialogView, HintView, StateView, Protocol):
    """The app, as the controller uses it."""


class SystemPromptController(OfShownChat):
    """The system prompt of the chat on the screen.

    Args:
        live_chats: Have the driver of the chat on the screen.
        draft: What is written, and may be the next message.
        idle_prefill: Reads the prompt again where it has become another one.
        view: The app.
        run: Runs a coroutine of a group in place of what is under way in it.
    """

    def __init__(
        self,
        live_chats: LiveChats,
        draft: DraftController,
        idle_prefill: IdlePrefillController,
        view: SystemPromptView,
        run: RunAlone,
    ) -> None:
        super().__init__(live_chats)
        self._draft = draft
        self._idle_prefill = idle_prefill
        self._view = view
        self._run = run
        self._counted: tuple[object, ...] = ()

    def follow(self) -> None:
        """Shows how many tokens the text has, if it or the model is another one now."""
        driver = self._turn_driver
        counted = (driver.chat.system_prompt, driver.model)
        if counted != self._counted and self._view.can_draw:
            self._counted = counted
            self._view.chat_screen.system_prompt.show_tokens(None)
            if all(counted):
                self._run("system tokens", partial(self._count, driver.chat.system_prompt))

    async def _count(self, text: str) -> None:
        count = None
        with suppress(UserError):  # told when something is asked
            count = await self._turn_driver.questions.token_count(text)
        if self._view.can_draw and self._turn_driver.chat.system_prompt == text:
            self._view.chat_screen.system_prompt.show_tokens(count)

    def edit(self, text: str = "") -> None:
        """Lets the user write another system prompt, beginning with `text` or with the one that there is.

        In an empty chat, where it costs nothing, a given text is taken at once.
        """
        chat = self._turn_driver.chat
        if text and chat.is_empty:
            self.set(text)
            return
        from tui_llama.screens.dialogs.choosing.write_text import WriteText

        def written(result: "Written | None") -> None:
            if result is not None and self._turn_driver.chat is chat:
                self.set(result.text)

        explanation = "What the model is told before all messages of this chat. Empty: nothing."
        dialog = WriteText(
            "System prompt",
            explanation,
            text or chat.system_prompt,
            (("save", "Save"),),
            lambda new: self._ask_price(dialog, new),
        )
        self._view.push_screen(dialog, written)

    def set(self, text: str) -> None:
        """Takes the text from the next answer on."""
        chat = self._turn_driver.chat
        if text.strip() == chat.system_prompt.strip():
            self._view.show_hint("The system prompt is the same.")
            return
        chat.set_system_prompt(text.strip())
        self._idle_prefill.stop()  # what it reads is no longer what the next answer needs
        self._view.show_hint("The system prompt counts from the next answer on." if text.strip() else "It is gone.")
        self._view.show_state()

    def _ask_price(self, dialog: "WriteText", text: str) -> None:
        """Says in the dialog what the next answer would cost with this text."""
        chat = self._turn_driver.chat
        if chat.is_empty or text.strip() == chat.system_prompt.strip():
            dialog.say("")
            self._run("system price", _nothing)
        elif not self._turn_driver.capabilities.can_estimate:
            dialog.say("The server tells what it has cost when it has answered.")
        else:
            self._run("system price", partial(self._tell_price, dialog, text))

    async def _tell_price(self, dialog: "WriteText", text: str) -> None:
        await asyncio.sleep(REST_SECONDS)
        dialog.say(f"The next answer {await self.price(text)}")

    async def price(self, text: str) -> str:
        """Returns what the next answer would cost with this system prompt, such as "keeps 30 · reads 900"."""
        try:
            estimate = await self._turn_driver.questions.estimate_of_system_prompt(self._draft.sendable, text.strip())
        except UserError as error:
            return f"cannot be given: {error}"
        return "costs nobody knows what" if estimate is None else self._turn_driver.meter.price(estimate)


async def _nothing() -> None:
    """Takes the place of a price that is no longer wanted."""
