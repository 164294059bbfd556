"""The commands of settings, colours and keys: the part of the app that passes them on."""

from typing import TYPE_CHECKING

from tui_llama.controllers.preferences.appearance import AppearanceController
from tui_llama.controllers.preferences.preferences import PreferencesController
from tui_llama.screens.readable_colours import readable_variables
from tui_llama.terminal.app import TerminalApp

if TYPE_CHECKING:
    from tui_llama.screens.settings.settings_screen import SettingsScreen
    from tui_llama.screens.settings.theme_picker import ThemePicker


class PreferenceActions(TerminalApp):
    """Passes on what concerns settings, colours and keys."""

    _appearance: AppearanceController
    _preferences: PreferencesController

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Returns the variables of the style sheets: readable colours, and settings once there are any."""
        texts = readable_variables(self.current_theme, has_colours=not self.no_color)
        return {**texts, **(self._appearance.variables() if hasattr(self, "_appearance") else {})}

    def action_settings(self) -> None:
        """Opens the settings."""
        self._preferences.open()

    def action_choose_theme(self, name: str = "") -> None:
        """Takes a theme, or lets the user choose one."""
        self._preferences.choose_theme(name)

    def action_leader(self) -> None:
        """Shows what may follow the leader key, and carries out what is chosen."""
        from tui_llama.screens.keys.leader_menu import LeaderMenu

        keymap = self._appearance.keymap
        if not keymap.letters:
            self.notify("The keymaps leader and vim have a leader key: F2, Keymap.")
            return

        def run(name: str | None) -> None:
            if name is not None:
                self.call_next(self.run_action, name)

        self.push_screen(LeaderMenu(keymap), run)

    def action_help(self) -> None:
        """Explains what has the focus, and shows the keys and commands; closes the help if it is open."""
        from tui_llama.screens.dialogs.help import HelpScreen, help_of_focus

        if isinstance(self.screen, HelpScreen):
            self.screen.dismiss()
        else:
            self.push_screen(HelpScreen(help_of_focus(self.screen), self._appearance.keymap))

    def on_theme_picker_looked(self, event: "ThemePicker.Looked") -> None:
        """Shows a theme that is not chosen yet."""
        self._preferences.look_at_theme(event.name)

    def on_settings_screen_change_wanted(self, event: "SettingsScreen.ChangeWanted") -> None:
        """Carries out what was changed."""
        self._preferences.change(event.row, event.scope, event.text, event.screen)

    def on_settings_screen_theme_wanted(self, event: "SettingsScreen.ThemeWanted") -> None:
        """Lets the user choose a theme."""
        self._preferences.choose_theme(screen=event.screen)
