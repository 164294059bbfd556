"""Lets the user choose how to answer again: the same way, with other sampling, or with another model."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from tui_llama.controllers.choosing.set_argument import SAMPLING_SETTINGS
from tui_llama.controllers.loading.models import ModelsController
from tui_llama.controllers.turns.turn import TurnController
from tui_llama.controllers.views import DialogView, HintView, ScreenView
from tui_llama.declarations import Value
from tui_llama.errors import SettingsError
from tui_llama.turn.live_chats import LiveChats, OfShownChat

if TYPE_CHECKING:
    from tui_llama.chats.open_chat import OpenChat

AGAIN: Final = ("again", "same")
_VARIED: Final = ("hotter", "varied")
_FOCUSED: Final = ("colder", "focused")
_TEMPERATURE_STEP: Final = 0.4


class OtherAnswersView(ScreenView, DialogView, HintView, Protocol):
    """The app, as the controller uses it."""


class OtherAnswers(OfShownChat):
    """The ways to answer again.

    Args:
        live_chats: Have the driver of the chat on the screen.
        turn: Answers again.
        models: Chooses another model.
        view: The app.
    """

    def __init__(
        self, live_chats: LiveChats, turn: TurnController, models: ModelsController, view: OtherAnswersView
    ) -> None:
        super().__init__(live_chats)
        self._turn = turn
        self._models = models
        self._view = view

    def choose(self, position: int | None = None) -> None:
        """Shows the ways in a small menu, for the answer to message number `position`; None for the last."""
        from tui_llama.screens.dialogs.messages.answer_again import AnswerAgain, Way

        temperature = self._temperature
        varied, focused = temperature + _TEMPERATURE_STEP, max(0.0, temperature - _TEMPERATURE_STEP)
        ways = (
            Way("again", "Again", f"temperature {temperature:g}"),
            Way("hotter", "More varied", f"temperature {varied:g}"),
            Way("colder", "More focused", f"temperature {focused:g}" if focused else "always the likeliest token"),
            Way("sampling", "Other sampling …", "type values for this answer"),
            Way("model", "Another model …", "answers when it is loaded"),
        )

        chat = self._turn_driver.chat

        def chosen(way: str | None) -> None:
            if way is not None and self._turn_driver.chat is chat:
                self._view.chat_screen.composer.focus()
                self.answer(way, position)

        self._view.push_screen(AnswerAgain(ways), chosen)

    def answer(self, way: str, position: int | None = None) -> None:
        """Answers again in the way that is named, which may be values such as "temperature=1.2 top_p=0.9"."""
        word = way.strip().lower()
        if word in ("", *AGAIN):
            self._turn.regenerate(position)
        elif word in _VARIED:
            self._turn.regenerate(position, {"temperature": self._temperature + _TEMPERATURE_STEP})
        elif word in _FOCUSED:
            self._turn.regenerate(position, {"temperature": max(0.0, self._temperature - _TEMPERATURE_STEP)})
        elif word == "sampling":
            self._ask_for_sampling(position)
        elif word == "model":
            self._models.open_picker(partial(self._regenerate_in, self._turn_driver.chat, position))
        elif word == "menu":
            self.choose(position)
        else:
            self._answer_with(way, position)

    def _regenerate_in(self, chat: "OpenChat", position: int | None) -> None:
        """Answers again with the model that loads now, unless the user has gone to another chat meanwhile."""
        if self._turn_driver.chat is chat:
            self._turn.regenerate(position)

    @property
    def _temperature(self) -> float:
        driver = self._turn_driver
        return driver.requests.sampling(driver.chat).sampling.temperature

    def _ask_for_sampling(self, position: int | None) -> None:
        from tui_llama.screens.dialogs.ask_text import AskText

        chat = self._turn_driver.chat

        def answer(values: str | None) -> None:
            if values and self._turn_driver.chat is chat:
                self._answer_with(values, position)

        before = f"temperature={self._temperature:g}"
        self._view.push_screen(AskText("Sampling of this answer", before), answer)

    def _answer_with(self, values: str, position: int | None) -> None:
        try:
            sampling = sampling_from(values)
        except SettingsError as error:
            self._view.show_hint(str(error))
        else:
            self._turn.regenerate(position, sampling)


def sampling_from(values: str) -> Mapping[str, Value]:
    """Reads values such as "temp=1.2 top-p=0.9"; the names may be those of the command line.

    Raises:
        SettingsError: a name is unknown, or a value is out of its range.
    """
    sampling: dict[str, Value] = {}
    for word in values.replace(",", " ").split():
        name, sign, value = word.partition("=")
        setting = SAMPLING_SETTINGS.get(name.strip("-").replace("-", "_").lower())
        if setting is None or not sign:
            raise SettingsError("Write values such as temperature=1.2 top_p=0.9, or again, hotter, colder, model.")
        try:
            number = setting.kind(value)
        except ValueError:
            raise SettingsError(f"{name} must be a number, not {value[:20]!r}.") from None
        sampling[setting.key] = setting.check(number, name)
    return sampling
