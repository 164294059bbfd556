"""Asks the engine about the next prompt and shows the answer: the prompt word for word, the price of another date."""

from typing import Protocol

from tui_llama import conversation
from tui_llama.chats.chat_date import local_now
from tui_llama.controllers.composing.draft import DraftController
from tui_llama.controllers.composing.editing import EditingController
from tui_llama.controllers.turns.idle_prefill import IdlePrefillController
from tui_llama.controllers.views import DialogView, HintView, RunAlone
from tui_llama.conversation import State
from tui_llama.errors import UserError
from tui_llama.screens.presenting import no_model_hint, why_no_prompt
from tui_llama.turn.live_chats import LiveChats, OfShownChat


class PromptsView(DialogView, HintView, Protocol):
    """The app, as the controller uses it."""


class PromptsController(OfShownChat):
    """The prompts of an app.

    Args:
        live_chats: Have the driver of the chat on the screen.
        draft: What is written.
        editing: Knows which message the draft is to replace.
        idle_prefill: Reads the prompt again where it has become another one.
        view: The app.
        run: Runs a coroutine of a group in place of what is under way in it.
    """

    def __init__(
        self,
        live_chats: LiveChats,
        draft: DraftController,
        editing: EditingController,
        idle_prefill: IdlePrefillController,
        view: PromptsView,
        run: RunAlone,
    ) -> None:
        super().__init__(live_chats)
        self._draft = draft
        self._editing = editing
        self._idle_prefill = idle_prefill
        self._view = view
        self._run = run

    def show_prompt(self) -> None:
        """Shows what the model is given for the message that is being written, or was given for the last answer."""
        if self._turn_driver.state in (State.READY, State.FAILED):
            if not self._turn_driver.capabilities.can_estimate:
                self._view.show_hint(why_no_prompt(self._turn_driver.model))
                return
            if self._turn_driver.engine_is_taken:
                self._view.show_hint("The engine answers in another chat. Try again when it has ended.")
                return
            self._run("lists", self._show_prompt)
        elif self._turn_driver.state is State.NO_MODEL:
            self._view.show_hint(no_model_hint(self._turn_driver.model_path))
        elif self._turn_driver.state is State.LOST:
            self._view.show_hint("The engine has ended. Your next message starts it again.")
        else:
            self._view.show_hint("Wait until the model is ready; Esc stops an answer.")

    async def _show_prompt(self) -> None:
        from tui_llama.screens.dialogs.prompt_view import PromptView

        try:
            prompt = await self._turn_driver.questions.prompt(self._draft.sendable, self._editing.position)
        except UserError as error:
            self._view.show_hint(str(error))
            return
        if prompt is None:
            self._view.show_hint("There is no prompt yet. Write a message first.")
        else:
            await self._view.push_screen(PromptView(prompt))

    def begin_today(self) -> None:
        """Lets the model be told today's date from now on; asks first, since much may have to be read again for it."""
        chat = self._turn_driver.chat
        if chat.is_empty or chat.begun_at.date() == local_now().date():
            self._view.show_hint("The model is already told today's date.")
        elif self._turn_driver.allows(conversation.OpenChat):
            self._run("lists", self._ask_to_begin_today)
        else:
            self._view.show_hint("The engine is busy. Esc stops it.")

    async def _ask_to_begin_today(self) -> None:
        from tui_llama.screens.dialogs.ask_whether import AskWhether

        chat = self._turn_driver.chat
        driver = self._turn_driver
        can_tell = driver.capabilities.can_estimate and not driver.engine_is_taken  # by the answer of another chat
        cost = await self._cost_of_today() if can_tell else ""

        def begin_today(is_certain: bool | None) -> None:
            if is_certain and self._turn_driver.chat is chat:
                chat.begin_today()
                self._idle_prefill.start_if_at_rest()

        told = f"It was {chat.begun_at:%Y-%m-%d} so far.{cost}"
        self._view.push_screen(AskWhether("Tell the model today's date?", told, "Today", is_harmful=False), begin_today)

    async def _cost_of_today(self) -> str:
        """Says what the next answer would cost, as a sentence with a blank before it."""
        try:
            estimate = await self._turn_driver.questions.estimate_of_today(self._draft.sendable)
            price = "unknown" if estimate is None else self._turn_driver.meter.price(estimate)
        except UserError as error:
            price = f"unknown, because {error}"
        return f" Cost of the next answer: {price}"
