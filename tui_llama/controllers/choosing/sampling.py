"""`/set`: sampling for the chat on the screen, checked by the declarations of the settings."""

from typing import Protocol

import msgspec

from tui_llama.controllers.choosing.set_argument import DEFAULT, read_set_argument, shown_value, with_choice
from tui_llama.controllers.views import DialogView, HintView, ScreenView, StateView
from tui_llama.declarations import Value
from tui_llama.errors import SettingsError
from tui_llama.sampling.chain import chain_words
from tui_llama.servers.address import is_server_address
from tui_llama.turn.live_chats import LiveChats, OfShownChat


class SamplingView(ScreenView, DialogView, HintView, StateView, Protocol):
    """The app, as the controller uses it."""


class SamplingController(OfShownChat):
    """What was chosen of sampling for the chat on the screen.

    Args:
        live_chats: Have the driver of the chat on the screen.
        view: The app.
    """

    def __init__(self, live_chats: LiveChats, view: SamplingView) -> None:
        super().__init__(live_chats)
        self._view = view

    def set(self, argument: str = "") -> None:
        """Sets what the argument says from the next answer on; without one, lists what is in effect."""
        if not argument:
            self._list()
            return
        chat = self._turn_driver.chat
        try:
            setting, value = read_set_argument(argument)
        except SettingsError as error:
            self._view.show_hint(f"{error}. {error.hint}")
            return
        chosen = with_choice(chat.choices.sampling, setting, value)
        chat.set_choices(msgspec.structs.replace(chat.choices, sampling=chosen))
        self._view.show_hint(self._words(setting.key, value))
        self._view.show_status()

    def _words(self, name: str, value: Value | str) -> str:
        decision = self._turn_driver.requests.sampling(self._turn_driver.chat)
        shown = shown_value(getattr(decision.sampling, name))
        if value == DEFAULT:
            return f"{name} is {shown} again: {decision.sources[name]}."
        return f"{name} is {shown} in this chat. /set {name} {DEFAULT} takes it back."

    def _chain(self) -> str:
        """Returns the samplers that are at work in this chat; on a server, only the server knows them."""
        driver = self._turn_driver
        if is_server_address(driver.model_path):
            return "the server's own samplers, with the values that you have set"
        return chain_words(driver.requests.sampling(driver.chat).sampling)

    def _list(self) -> None:
        """Lists all sampling settings; a chosen one goes into the composer, to be changed there."""
        from tui_llama.screens.dialogs.choosing.sampling_list import ListedSetting, SamplingList
        from tui_llama.settings import SAMPLING, SETTINGS

        decision = self._turn_driver.requests.sampling(self._turn_driver.chat)
        listed = [
            ListedSetting(
                name,
                shown_value(getattr(decision.sampling, name)),
                str(source),
                SETTINGS[f"{SAMPLING}.{name}"].explanation,
                SETTINGS[f"{SAMPLING}.{name}"].allowed,
            )
            for name, source in decision.sources.items()
        ]

        def chosen(name: str | None) -> None:
            composer = self._view.chat_screen.composer
            if name is not None and not composer.text:
                composer.replace_text(f"/set {name} ")
            elif name is not None:
                self._view.show_hint(f"/set {name} VALUE changes it.")

        self._view.push_screen(SamplingList(listed, self._chain()), chosen)
