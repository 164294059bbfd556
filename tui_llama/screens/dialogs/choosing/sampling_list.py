"""The list of the sampling settings that are in effect for a chat."""

from collections.abc import Sequence

import msgspec
from textual.content import Content

from tui_llama.screens.dialogs.pick import PickDialog, two_sides


class ListedSetting(msgspec.Struct, frozen=True):
    """A setting as a line of the list; its texts are the program's own. `allowed` says which values it may have."""

    name: str
    value: str
    source: str
    explanation: str
    allowed: str


class SamplingList(PickDialog[ListedSetting, str | None]):
    """A dialog whose result is the name of the setting to change, or None."""

    HELP = """Sampling
    How tokens are chosen in this chat, and where each value comes from. What is set here holds for this chat only.
    """
    TITLE_TEXT = "Sampling in this chat"

    def __init__(self, settings: Sequence[ListedSetting], chain: str) -> None:
        super().__init__(settings)
        self._chain = chain

    KEYS = "Enter change · {dialog_close} close"

    def line(self, item: ListedSetting, width: int) -> Content:
        """Returns the name and the value, and on the right where the value comes from."""
        return two_sides(f"{item.name:<22} {item.value}", item.source, width)

    def details(self, item: ListedSetting) -> str:
        """Returns what the setting does, which values it may have, and the samplers that are at work now."""
        return f"{item.explanation} It must be {item.allowed}.\nAt work: {self._chain}"

    def words(self, item: ListedSetting) -> str:
        """Returns the name and what the setting does."""
        return f"{item.name} {item.explanation}"

    def choose(self, item: ListedSetting) -> None:
        """Closes the list with this setting as the one to change."""
        self.dismiss(item.name)

    def advice_when_empty(self, filter_text: str) -> str:
        """Says why no setting is listed."""
        return "No sampling setting is called so."
