"""Shows what stands around the messages: title bar, status line with its hints, and what an empty chat shows."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from tui_llama import conversation
from tui_llama.controllers.choosing.chosen_words import ChosenWords
from tui_llama.controllers.composing.editing import EditingController
from tui_llama.controllers.loading.models import ModelsController
from tui_llama.controllers.saving import SavingController
from tui_llama.controllers.views import ScreenView
from tui_llama.conversation import State
from tui_llama.screens.marks import marks_words
from tui_llama.screens.presenting import advice, chat_title, download_words, model_line, stages
from tui_llama.text_safety import sanitize_line
from tui_llama.turn.live_chats import LiveChats, OfShownChat
from tui_llama.widgets.status_line import Mood, Status

STATUS_SECONDS: Final = 0.25  # quick enough to read; each time costs a frame
HINT_SECONDS = 4.0

_MOODS: Final = {
    State.LOADING: Mood.BUSY,
    State.WAITING: Mood.BUSY,
    State.QUEUED: Mood.BUSY,
    State.READING: Mood.BUSY,
    State.ANSWERING: Mood.BUSY,
    State.STOPPING: Mood.BUSY,
    State.NO_MODEL: Mood.TROUBLED,
    State.FAILED: Mood.TROUBLED,
    State.LOST: Mood.TROUBLED,
}


class StatusView(ScreenView, Protocol):
    """The app, which the controller draws on."""

    def set_timer(self, delay: float, callback: Callable[[], None]) -> object:
        """Calls back once, after `delay` seconds."""
        ...


class StatusController(OfShownChat):
    """The state of the program in words and figures.

    Args:
        live_chats: Have the driver of the chat on the screen.
        models: Knows what is looked for and fetched.
        editing: Knows what is edited, and the price of it.
        saving: Knows what cannot be saved.
        view: The app.
    """

    def __init__(
        self,
        live_chats: LiveChats,
        models: ModelsController,
        editing: EditingController,
        saving: SavingController,
        view: StatusView,
    ) -> None:
        super().__init__(live_chats)
        self._chosen = ChosenWords(live_chats)
        self._models = models
        self._editing = editing
        self._saving = saving
        self._view = view
        self._is_due = False

    def show_hint(self, text: str, seconds: float | None = None) -> None:
        """Shows one line of advice in the status line, for some seconds or until the next key."""
        if not self._view.can_draw:
            return
        picker = self._models.picker
        if picker is not None:
            picker.say(sanitize_line(text))
        self._view.chat_screen.status.show_hint(text, HINT_SECONDS if seconds is None else seconds)

    def show(self) -> None:
        """Shows everything around the messages as it is now."""
        if not self._view.can_draw:
            return  # what takes its time may come back while the screen is taken down
        driver, screen = self._turn_driver, self._view.chat_screen
        marks = marks_words(self._live_chats.marks().values())
        screen.titles.show_titles(chat_title(driver.chat), model_line(driver.model), marks)
        screen.show_busy(driver.allows(conversation.Stop), is_editing=self._editing.is_editing)
        screen.system_prompt.show_text(driver.chat.system_prompt)
        self._show_status()

    def show_soon(self) -> None:
        """Shows the status a little later: once in a while is enough for what changes with every token."""
        if not self._is_due and self._view.can_draw:
            self._is_due = True
            self._view.set_timer(STATUS_SECONDS, self._show_status)

    def _show_status(self) -> None:
        self._is_due = False
        if not self._view.can_draw:
            return  # the timer may ring once more while the screen is taken down
        driver, screen = self._turn_driver, self._view.chat_screen
        screen.status.show_status(self._status())
        if driver.chat.is_empty:
            fetch = self._models.fetch
            is_coming = fetch is not None or self._models.is_looking
            lines = advice(driver.state, driver.chat, driver.model, is_coming=is_coming, failed_path=driver.model_path)
            first_download = fetch.meter if fetch is not None else None
            screen.empty_state.show_model(
                self._model_words(), lines, stages(driver.state, driver.meter, first_download)
            )

    def _status(self) -> Status:
        state, meter, fetch = self._turn_driver.state, self._turn_driver.meter, self._models.fetch
        mood = _MOODS.get(state, Mood.CALM)
        words = meter.words(state)
        figures = " · ".join(part for part in (self._chosen.words(), meter.figures(state)) if part)
        last = self._turn_driver.chat.entries[-1:]
        if state is State.ANSWERING and last and last[0].thought and not last[0].text:
            words = "thinking · Alt+A answers now" if self._turn_driver.capabilities.can_answer_now else "thinking"
        if state is State.NO_MODEL and self._models.is_looking:
            words, mood = "looking for models", Mood.BUSY
        if state is State.NO_MODEL and fetch is not None:
            mood = Mood.BUSY
        if self._editing.is_editing:
            words, figures = "editing", self._editing.price
        if self._saving.is_in_trouble:
            words, mood = f"{words} · not saved", Mood.TROUBLED
        download, short_download = download_words(fetch.title, fetch.meter) if fetch is not None else ("", "")
        return Status(sanitize_line(words), figures, meter.context(), mood, download, short_download)

    def _model_words(self) -> str:
        """Names the model, or the one that is loading, or says that there is none; not safe to print."""
        driver = self._turn_driver
        if driver.model_is_loading and driver.meter.server:
            return f"Connecting to {driver.meter.server}"
        if driver.model_is_loading:
            return f"Loading {Path(driver.model_path).name}"
        if driver.state is State.NO_MODEL or driver.model is None:
            if self._models.fetch is not None:
                return f"Fetching {self._models.fetch.title}"
            if self._models.is_looking:
                return "Looking for models …"
            return self._models.missing_words or "No model is loaded."
        return model_line(driver.model)
