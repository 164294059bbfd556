"""Shows the settings, carries their changes out, and says when they apply."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from tui_llama.controllers.preferences.appearance import AppearanceController
from tui_llama.controllers.views import DialogView, HintView, ScreenView, StateView
from tui_llama.errors import SettingsError
from tui_llama.settings import SETTINGS, Settings, model_name
from tui_llama.settings_place import SettingsPlace
from tui_llama.text_safety import sanitize_line
from tui_llama.turn.live_chats import LiveChats, OfShownChat

if TYPE_CHECKING:  # the first frame does without the screen of settings
    from tui_llama.declarations import Setting, Value
    from tui_llama.screens.settings.rows import Scope, SettingRow
    from tui_llama.screens.settings.settings_screen import SettingsScreen


class SettingsUser(Protocol):
    """Works by the settings, and looks them up each time."""

    settings: Settings


class PreferencesView(ScreenView, HintView, DialogView, StateView, Protocol):
    """The app, which the controller draws on."""


class PreferencesController(OfShownChat):
    """The settings of the running program.

    Args:
        place: Has the settings file, and reads it.
        appearance: Shows what settings say of colours, room and keys.
        live_chats: The chats that are alive.
        users: What works by the settings besides the chats.
        view: The app.
    """

    def __init__(
        self,
        place: SettingsPlace,
        appearance: AppearanceController,
        live_chats: LiveChats,
        users: Sequence[SettingsUser],
        view: PreferencesView,
    ) -> None:
        super().__init__(live_chats)
        self._place = place
        self._appearance = appearance
        self._users = users
        self._view = view

    def open(self) -> None:
        """Opens the screen of settings."""
        from tui_llama.screens.settings.rows import Scope
        from tui_llama.screens.settings.settings_screen import SettingsScreen

        try:
            rows = self._rows()
        except SettingsError as error:
            self._view.show_hint(f"{error}. {error.hint}")
            return
        driver = self._turn_driver
        model = model_name(driver.model.path) if driver.model is not None else ""
        subjects = {Scope.MODEL: model, Scope.CHAT: driver.chat.title or "New chat"}
        self._view.push_screen(SettingsScreen(rows, subjects, str(self._place.file)))

    def choose_theme(self, name: str = "", screen: "SettingsScreen | None" = None) -> None:
        """Takes the theme of this name, or lets the user choose one, who sees each before it is chosen."""
        from tui_llama.screens.settings.theme_picker import ThemePicker

        themes = self._appearance.listed_themes()
        if name and name not in (theme.name for theme in themes):
            self._view.show_hint(f"There is no theme {name}.")
        elif name:
            self._change_theme(name, screen)
        else:
            current = self._appearance.theme
            self._view.push_screen(ThemePicker(themes, current), lambda chosen: self._end_look(chosen, screen))

    def look_at_theme(self, name: str) -> None:
        """Shows a theme that is not chosen yet."""
        self._appearance.preview(name)

    def _end_look(self, chosen: str | None, screen: "SettingsScreen | None") -> None:
        if chosen is None:
            self._appearance.end_preview()
        else:
            self._change_theme(chosen, screen)

    def _change_theme(self, name: str, screen: "SettingsScreen | None") -> None:
        from tui_llama.screens.settings.rows import Scope, SettingRow

        self.change(SettingRow(SETTINGS["theme"], ""), Scope.ALL, name, screen)
        self._appearance.preview(name)  # also where it could not be written

    def change(self, row: "SettingRow", scope: "Scope", text: str | None, screen: "SettingsScreen | None") -> None:
        """Carries a change out: writes it where it belongs, and lets it apply.

        Args:
            row: The setting.
            scope: For what it is set.
            text: The value; None sets it back.
            screen: The settings screen, if it is open; it is told what came of it, and shows it.
        """
        from tui_llama.screens.settings.rows import Scope

        setting = row.setting
        try:
            value = None if text is None else setting.parse(text, setting.name)
            if scope is Scope.CHAT:
                self._choose_for_chat(setting, value, is_reset=text is None)
            else:
                driver = self._turn_driver
                of = model_name(driver.model.path) if scope is Scope.MODEL and driver.model is not None else ""
                if text is None:
                    self._place.reset(setting, of)
                else:
                    self._place.change(setting, value, of)
            said = self._take_over(setting, scope)
        except SettingsError as error:
            said = f"{error}. {error.hint}"
        self._say(said, screen)
        if screen is not None:
            try:
                screen.show_rows(self._rows())
            except SettingsError:
                return  # as was said

    def _choose_for_chat(self, setting: "Setting", value: "Value", *, is_reset: bool) -> None:
        from tui_llama.controllers.preferences.chat_rows import choose_for_chat

        choose_for_chat(self._turn_driver.chat, self._place.settings(), setting, value, is_reset=is_reset)
        self._view.show_state()

    def _take_over(self, setting: "Setting", scope: "Scope") -> str:
        """Works by the settings as they are now; returns what to say of it."""
        from tui_llama.declarations import Applies
        from tui_llama.screens.settings.rows import Scope
        from tui_llama.settings_sources import Source

        settings = self._place.settings()
        self._live_chats.use_settings(settings)
        for user in self._users:
            user.settings = settings
        problems = self._appearance.use(settings)
        if problems:
            return problems[0]
        if scope is Scope.CHAT:
            return f"This chat has it so; applies {setting.applies.value}."
        value = next(each for each in self._place.values() if each.setting.name == setting.name)
        if value.source in (Source.VARIABLE, Source.OPTION):
            return f"Saved, but {value.source_words} wins over it as long as it is there."
        return "Saved." if setting.applies is Applies.AT_ONCE else f"Saved; applies {setting.applies.value}."

    def _say(self, text: str, screen: "SettingsScreen | None") -> None:
        if screen is not None:
            screen.say(sanitize_line(text))
        else:
            self._view.show_hint(text)

    def _rows(self) -> "dict[Scope, list[SettingRow]]":
        from tui_llama.controllers.preferences.setting_rows import setting_rows

        driver = self._turn_driver
        models = {each.model_name: dict(each.values) for each in self._place.models()}
        settings = self._place.settings()
        return setting_rows(self._place.values(), settings, models, driver.model, driver.chat)
