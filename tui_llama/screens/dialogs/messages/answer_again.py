"""The menu of the ways to answer again."""

from collections.abc import Sequence

import msgspec
from textual.content import Content

from tui_llama.screens.dialogs.pick import PickDialog, two_sides


class Way(msgspec.Struct, frozen=True):
    """One way to answer again: its name for the program, what it is called, and what it means in a few words."""

    name: str
    title: str
    meaning: str


class AnswerAgain(PickDialog[Way, str | None]):
    """A menu whose result is the name of the chosen way, or None.

    Args:
        ways: The ways, the most usual first.
    """

    HELP = """Answer again
    The ways in which the model can answer the message once more. The old answer stays as a version.
    """
    TITLE_TEXT = "Answer again"
    PLACEHOLDER = "Enter answers again as before"
    KEYS = "Enter choose · {dialog_close} close · the old answer is kept"

    def __init__(self, ways: Sequence[Way]) -> None:
        super().__init__(ways)

    def line(self, item: Way, width: int) -> Content:
        """Returns what the way is called, and on the right what it means."""
        return two_sides(item.title, item.meaning, width)

    def words(self, item: Way) -> str:
        """Returns both."""
        return f"{item.title} {item.meaning}"

    def choose(self, item: Way) -> None:
        """Closes the menu with this way."""
        self.dismiss(item.name)

    def choose_typed(self, text: str) -> None:
        """Takes what is typed for values, such as temperature=1.2."""
        if "=" in text:
            self.dismiss(text)

    def advice_when_empty(self, filter_text: str) -> str:
        """Says what can be typed."""
        return "Values for this answer: temperature=1.2 top_p=0.9 top_k=40 min_p=0.05 seed=1 …"
