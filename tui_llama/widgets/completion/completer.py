"""Joins an editor, those who suggest something for its cursor, and the list that shows it."""

from typing import Protocol

from tui_llama.widgets.completion.suggestion import Completion, CursorPlace, Provider
from tui_llama.widgets.completion.suggestion_list import SuggestionList

_STEPS = {"up": -1, "down": 1}


class CompletedEditor(Protocol):
    """The editor whose text is completed."""

    @property
    def cursor_place(self) -> CursorPlace | None:
        """The line of the cursor; None while a text is selected."""
        ...

    def replace_before_cursor(self, count: int, text: str) -> None:
        """Replaces the `count` characters before the cursor by a text."""
        ...


class Completer:
    """Shows suggestions as soon as there are any for what the user types, and lets keys choose from them.

    Args:
        editor: Has the text.

    Attributes:
        providers: Asked in this order; the first that returns something is shown.
        popup: Shows the suggestions; None until there is one.
    """

    def __init__(self, editor: CompletedEditor) -> None:
        self._editor = editor
        self._completion: Completion | None = None
        self._left_place: CursorPlace | None = None  # where the user wants none
        self.providers: list[Provider] = []
        self.popup: SuggestionList | None = None

    @property
    def is_open(self) -> bool:
        """True if suggestions are on the screen."""
        return self.popup is not None and self.popup.is_open

    @property
    def enter_takes(self) -> bool:
        """True if Enter takes a suggestion: one is chosen, and not written already. Else Enter is for the text."""
        chosen = self.popup.chosen if self.popup is not None else None
        completion, place = self._completion, self._editor.cursor_place
        if not self.is_open or chosen is None or completion is None or place is None:
            return False
        written = place.before[len(place.before) - completion.replaced :]
        return chosen.on_taken is not None or written.rstrip() != chosen.insert.rstrip()

    def update(self) -> None:
        """Shows what is suggested for the cursor now."""
        popup = self.popup
        if popup is None:
            return
        place = self._editor.cursor_place
        if place != self._left_place:
            self._left_place = None
        completion = None if place is None or self._left_place is not None else self._ask(place)
        self._completion = completion
        if completion is None or not completion.suggestions:
            popup.close()
        else:
            popup.open(completion.suggestions, chooses_first=completion.chooses_first)

    def _ask(self, place: CursorPlace) -> Completion | None:
        answers = (provider(place) for provider in self.providers)
        return next((answer for answer in answers if answer is not None), None)

    def leave(self) -> None:
        """Closes the list, until something else is written."""
        self._left_place = self._editor.cursor_place
        if self.popup is not None:
            self.popup.close()

    def press(self, key: str) -> bool:
        """Lets a key choose from the list; returns whether it did."""
        if key not in ("tab", "enter", "escape", *_STEPS) or self.popup is None:
            return False
        self.update()  # the key may come before the report of what was typed before it
        if not self.popup.is_open:
            return False
        if key in _STEPS:
            self.popup.move(_STEPS[key])
        elif key == "escape":
            self.leave()
        elif key == "tab":
            if self.popup.chosen is None:
                self.popup.move(1)
            self.take()
        elif not self.enter_takes:
            return False
        else:
            self.take()
        return True

    def take(self) -> None:
        """Puts the suggestion under the cursor into the text."""
        chosen = self.popup.chosen if self.popup is not None else None
        if chosen is not None and self._completion is not None:
            self._editor.replace_before_cursor(self._completion.replaced, chosen.insert)
            if chosen.on_taken is not None:
                chosen.on_taken()
            self.update()
