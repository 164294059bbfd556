"""Gives the screen its colours, its room and its keys, at the start and whenever the user changes them."""

from typing import TYPE_CHECKING, Final

from tui_llama import paths
from tui_llama.screens.keys.keymap import Keymap, read_keymap
from tui_llama.screens.themes import own_themes, user_themes
from tui_llama.terminal.app import TerminalApp
from tui_llama.text_safety import sanitize_line

if TYPE_CHECKING:
    from textual.theme import Theme

    from tui_llama.screens.settings.theme_picker import ListedTheme
    from tui_llama.settings import Settings

DEFAULT_THEME: Final = "llama-dusk"


class AppearanceController:
    """How the program looks, and which keys it has.

    Args:
        app: Textual's app, whose theme, animation and keymap are set.
        settings: As the user set them.

    Attributes:
        keymap: The keys as they are now.
        problems: What is wrong in the user's themes and keymap, safe to print, to be told once there is a screen.
    """

    def __init__(self, app: TerminalApp, settings: "Settings") -> None:
        self._app = app
        self._settings = settings
        self._own = own_themes()
        self._users: list[Theme] = []
        self.problems: list[str] = []
        self._read_themes()
        self._animation_level = app.animation_level
        self.keymap = self._read_keymap()
        self._apply()

    @property
    def theme(self) -> str:
        """The name of the theme that the user has chosen, or the program's own."""
        return self._chosen_theme()

    def variables(self) -> dict[str, str]:
        """Returns what style sheets use of the settings."""
        return {"text-width": str(self._settings.text_width)}

    def show_screen(self) -> None:
        """Gives the chat's screen, which is there now, its room and keys."""
        from tui_llama.screens.chat import ChatScreen

        screen = self._app.screen_stack[0]
        assert isinstance(screen, ChatScreen)
        screen.set_class(self._settings.density == "compact", "-compact")
        screen.use_keymap(self.keymap)

    def use(self, settings: "Settings") -> list[str]:
        """Looks like these settings from now on; returns what is wrong in the user's files, safe to print."""
        had_width = self._settings.text_width
        self._settings = settings
        self.problems = []
        self._read_themes()
        self.keymap = self._read_keymap()
        self._apply()
        self.show_screen()
        if had_width != settings.text_width:
            self._app._invalidate_css()
            self._app.refresh_css(animate=False)
        return self.problems

    def preview(self, name: str) -> None:
        """Shows a theme that is not chosen yet."""
        if name in self._app.available_themes:
            self._app.theme = name

    def end_preview(self) -> None:
        """Shows the chosen theme again."""
        self._app.theme = self._chosen_theme()

    def listed_themes(self) -> "list[ListedTheme]":
        """Returns all themes, in the order of the list: ours, the user's, the terminal's colours, Textual's."""
        from tui_llama.screens.settings.theme_picker import ListedTheme

        themes = self._app.available_themes
        own, users = [each.name for each in self._own], [each.name for each in self._users]
        terminal = [name for name, theme in themes.items() if theme.ansi]
        others = sorted(name for name in themes if name not in {*own, *users, *terminal})
        groups = (
            ("This program's", own),
            (f"Yours, in {paths.themes_folder()}", users),
            ("The terminal's own 16 colours", terminal),
            ("Textual's", others),
        )
        return [
            ListedTheme(name, sanitize_line(heading), "" if themes[name].dark else "light")
            for heading, names in groups
            for name in names
        ]

    def _chosen_theme(self) -> str:
        name = self._settings.theme
        return name if name in self._app.available_themes else DEFAULT_THEME

    def _apply(self) -> None:
        self._app.animation_level = self._animation_level if self._settings.animation == "on" else "none"
        name = self._settings.theme
        if name and name not in self._app.available_themes:
            self.problems.append(sanitize_line(f"There is no theme {name}; F2 lists all. This is {DEFAULT_THEME}."))
        if self._app.theme != self._chosen_theme():
            self._app.theme = self._chosen_theme()

    def _read_themes(self) -> None:
        """Reads the user's themes again, of which some may be new and some gone."""
        for theme in self._users:
            self._app.unregister_theme(theme.name)
        self._users, problems = user_themes(paths.themes_folder())
        self.problems += problems
        for theme in (*self._own, *self._users):
            self._app.register_theme(theme)

    def _read_keymap(self) -> Keymap:
        keymap, problems = read_keymap(self._settings.keymap, paths.keymap_file())
        self.problems += map(sanitize_line, problems)
        return keymap
