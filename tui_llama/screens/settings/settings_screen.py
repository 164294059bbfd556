"""The settings: all of them in one list, by groups, for everywhere, for this model or for this chat."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from tui_llama.screens.dialogs.pick import PickDialog
from tui_llama.screens.settings.ask_value import ask_for, other_value
from tui_llama.screens.settings.rows import Scope, SettingRow, shown_value
from tui_llama.text_safety import sanitize_line
from tui_llama.widgets.cutting import cut
from tui_llama.widgets.local_keys import SETTINGS, local_bindings

_THEME = "theme"
_NARROW = 56
_TAB_GAP = "   "


class ScopeTabs(Widget):
    """The scopes side by side, the chosen one marked, with the name of what it is about."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"scope-tabs--chosen", "scope-tabs--other"}

    class Clicked(Message):
        """Posted when a scope is clicked."""

        def __init__(self, scope: Scope) -> None:
            super().__init__()
            self.scope = scope

    def __init__(self, scopes: Sequence[Scope]) -> None:
        super().__init__()
        self._scopes = scopes
        self._chosen = scopes[0]
        self._subject = ""

    def show(self, chosen: Scope, subject: str) -> None:
        """Marks a scope, and names what it is about; `subject` is not trusted."""
        self._chosen, self._subject = chosen, sanitize_line(subject)
        self.refresh()

    def render(self) -> Content:
        """Returns the line."""
        tabs = [
            (scope.value, ".scope-tabs--chosen" if scope is self._chosen else ".scope-tabs--other")
            for scope in self._scopes
        ]
        line = Content.assemble(*(part for tab in tabs for part in (tab, _TAB_GAP)))
        room = max(0, self.content_size.width - line.cell_length)
        subject = cut(Content.styled(self._subject, ".scope-tabs--other"), room)
        return Content.assemble(line, " " * (room - subject.cell_length), subject)

    def on_click(self, event: events.Click) -> None:
        """Finds the scope under the mouse."""
        place = 0
        for scope in self._scopes:
            place += len(scope.value) + len(_TAB_GAP)
            if event.x < place:
                self.post_message(self.Clicked(scope))
                return


class SettingsScreen(PickDialog[SettingRow, None]):
    """A dialog that lists settings and lets the user change them.

    Args:
        rows: The settings of each scope; a scope without any is not offered.
        subjects: What each scope is about, such as the model's name; not trusted.
        file: The settings file, for the advice.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"pick--mark", "pick--value"}
    HELP = """Settings
    All settings by what they are about. A dot marks what somebody has set, and behind the value stands where. Tab goes
    from those of everything to those of the loaded model and of the open chat. Changes are written into the settings
    file, whose comments stay. Type to find a setting.
    """
    TITLE_TEXT = "Settings"
    PLACEHOLDER = "Type to search; “set” finds what you have set"
    KEYS = "Enter change · {settings_reset} reset · {settings_next_scope} scope · {dialog_close} close"
    BINDINGS: ClassVar[list[BindingType]] = [
        *local_bindings(SETTINGS),
    ]

    class ChangeWanted(Message):
        """Posted when the user has chosen a value: a text that the setting allows, or None for the default."""

        def __init__(self, screen: "SettingsScreen", row: SettingRow, scope: Scope, text: str | None) -> None:
            super().__init__()
            self.screen = screen
            self.row = row
            self.scope = scope
            self.text = text

    class ThemeWanted(Message):
        """Posted when the user wants the list of themes."""

        def __init__(self, screen: "SettingsScreen") -> None:
            super().__init__()
            self.screen = screen

    def __init__(self, rows: Mapping[Scope, Sequence[SettingRow]], subjects: Mapping[Scope, str], file: str) -> None:
        super().__init__(rows[Scope.ALL])
        self._rows_by_scope = rows
        self._subjects = subjects
        self._scopes = [scope for scope in Scope if rows.get(scope)]
        self._scope = Scope.ALL
        self._file = file

    def above(self) -> ComposeResult:
        """Yields the scopes."""
        yield ScopeTabs(self._scopes)

    def on_mount(self) -> None:
        """Marks the scope, and fills the list when its width is known."""
        super().on_mount()
        self._show_scope()

    def show_rows(self, rows: Mapping[Scope, Sequence[SettingRow]]) -> None:
        """Lists the settings as they are now."""
        self._rows_by_scope = rows
        self.replace_items(rows[self._scope])

    def _show_scope(self) -> None:
        subject = self._subjects.get(self._scope, "")
        self.query_one(ScopeTabs).show(self._scope, subject)

    # --- the list -----------------------------------------------------------------------------------------------

    def line(self, item: SettingRow, width: int) -> Content:
        """Returns the name on the left; on the right the value, and where it comes from where it is not the default."""
        origin = sanitize_line(item.origin) if width >= _NARROW else ""
        value = shown_value(item.setting, item.value)
        mark = "● " if item.is_set else "  "
        room = max(8, width - len(item.title) - 5 - (len(origin) + 3 if origin else 0))
        shown = cut(Content(value), room).plain
        tail = f" · {origin}" if origin else ""
        blank = width - Content(mark + item.title + shown + tail).cell_length
        return Content.assemble(
            (mark, ".pick--mark"),
            item.title,
            " " * max(1, blank),
            (shown, ".pick--value" if item.is_set else ".pick--detail"),
            (tail, ".pick--detail"),
        )

    def heading(self, item: SettingRow) -> str:
        """Returns the group."""
        return item.setting.group.value

    def details(self, item: SettingRow) -> str:
        """Returns what the setting does and allows, and where it is set."""
        return f"{item.about}\n{sanitize_line(item.note or item.places)}"

    def words(self, item: SettingRow) -> str:
        """Returns all by which people may look for the setting."""
        setting = item.setting
        parts = (item.title, setting.name, setting.explanation, setting.group.value, setting.variable, *setting.flags)
        return " ".join([*parts, "set changed" if item.is_set else ""])

    def is_same(self, item: SettingRow, other: SettingRow | None) -> bool:
        """Tells whether both are the same setting."""
        return other is not None and item.setting.name == other.setting.name

    def advice_when_empty(self, filter_text: str) -> str:
        """Says where all settings stand."""
        return f"No setting has this text. All of them: tui-llama settings. The file: {self._file}"

    # --- what the user does -------------------------------------------------------------------------------------

    def choose(self, item: SettingRow) -> None:
        """Takes the other of two values at once; asks for any other."""
        if item.setting.name == _THEME:
            self.post_message(self.ThemeWanted(self))
        elif item.is_toggle:
            self._want(item, str(other_value(item)))
        else:
            self.app.push_screen(ask_for(item), lambda text: None if text is None else self._want(item, text))

    def action_reset(self) -> None:
        """Sets the setting under the cursor back."""
        item = self.highlighted
        if item is None:
            return
        if item.is_set:
            self._want(item, None)
        else:
            self.say("This is not set here, so there is nothing to set back.")

    def action_scope(self, step: int) -> None:
        """Shows the settings for something else."""
        self._choose_scope(self._scopes[(self._scopes.index(self._scope) + step) % len(self._scopes)])

    def on_scope_tabs_clicked(self, event: ScopeTabs.Clicked) -> None:
        """Shows the settings for what was clicked."""
        self._choose_scope(event.scope)

    def _choose_scope(self, scope: Scope) -> None:
        self._scope = scope
        self.say("")
        self._show_scope()
        self.replace_items(self._rows_by_scope[scope])

    def _want(self, item: SettingRow, text: str | None) -> None:
        self.post_message(self.ChangeWanted(self, item, self._scope, text))
