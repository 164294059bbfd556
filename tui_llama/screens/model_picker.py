"""Chooses a model: one on this machine, one that can be fetched, or a path or name typed by hand.

A model that is fetched shows how far it is, here as in the status line; the dialog may be closed meanwhile.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import msgspec
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message

from tui_llama.paths import typed_file
from tui_llama.screens.ask_whether import AskWhether
from tui_llama.screens.pick import PickDialog, two_sides
from tui_llama.text_safety import sanitize_line
from tui_llama.widgets.cutting import cut

_ROOM_FOR_NOTES = 64
"""From this width on, a line has room for more than a name and its most important note."""

_GAP = 2

HUB_NAMES = ("hf:", "https://huggingface.co/", "huggingface.co/", "hf.co/", "https://hf.co/")


class ListedModel(msgspec.Struct, frozen=True):
    """A model as a line of the list. No text of it is trusted.

    Attributes:
        key: The path of a file on this machine, or the name by which a model is fetched.
        title: What it is called.
        is_here: Whether it is on this machine.
        size: Size and type in words.
        note: How fast it is, how far the download is, or why it cannot be used.
        details: Everything else worth a line.
        also_called: Other names by which it is found in the list.
        is_dimmed: Whether it cannot be used, or only with more memory.
        refusal: Why nothing can be done with it at all; empty where something can.
        warning: What is to be said before it is loaded or fetched; empty for nothing.
        is_under_way: Whether it is being fetched now.
        can_be_removed: Whether this program may remove the file.
    """

    key: str
    title: str
    is_here: bool = True
    size: str = ""
    note: str = ""
    details: str = ""
    also_called: str = ""
    is_dimmed: bool = False
    refusal: str = ""
    warning: str = ""
    is_under_way: bool = False
    can_be_removed: bool = False


class ModelPicker(PickDialog[ListedModel, str | None]):
    """Returns the path of the model to load, or None.

    Args:
        models: None while they are looked for; `replace_items` brings them.
        models_folder: Where to put a file so that it is found.
    """

    TITLE_TEXT = "Models"
    PLACEHOLDER = "Type to search, a path, or hf:OWNER/REPOSITORY"
    KEYS = "Enter load/get · Del cancel/remove · Esc close"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("delete,ctrl+x", "drop", "Cancel, remove", show=False, priority=True)
    ]

    class FetchWanted(Message):
        """A model should be fetched by its name."""

        def __init__(self, name: str, title: str) -> None:
            super().__init__()
            self.name = name
            self.title = title

    class CancelWanted(Message):
        """The download should end."""

    class RemoveWanted(Message):
        """A file should be removed; the user was asked."""

        def __init__(self, path: str) -> None:
            super().__init__()
            self.path = path

    class Refused(Message):
        """Nothing can be done with a model, and why."""

        def __init__(self, reason: str) -> None:
            super().__init__()
            self.reason = reason

    def __init__(self, models: Sequence[ListedModel] | None, models_folder: Path) -> None:
        super().__init__(models or ())
        self._is_searching = models is None
        self._models_folder = models_folder

    def replace_items(self, items: Sequence[ListedModel]) -> None:
        """The search has found these so far."""
        self._is_searching = False
        super().replace_items(items)

    def move_to(self, key: str) -> None:
        """Puts the cursor on a model, if it is listed."""
        self.put_cursor(lambda item: item.key == key)

    def heading(self, item: ListedModel) -> str:
        """Here, or to be fetched."""
        return "On this machine" if item.is_here else "Get one"

    def line(self, item: ListedModel, width: int) -> Content:
        """Name, and on the right size and speed, or why it cannot be used."""
        note, size = sanitize_line(item.note), sanitize_line(item.size)
        right = note or size
        if width > _ROOM_FOR_NOTES:
            right = f"{note}  {size:>15}" if note else size
        left = ("↓ " if item.is_under_way else "  ") + sanitize_line(item.title)
        # A long reason leaves room for the name, half of the line at most.
        right_width = width - _GAP - min(Content(left).cell_length, width // 2)
        right = cut(Content(right), right_width).plain
        return two_sides(left, right, width, is_dimmed=item.is_dimmed)

    def details(self, item: ListedModel) -> str:
        """The rest of what is known of it."""
        return sanitize_line(item.details)

    def words(self, item: ListedModel) -> str:
        """Everything that is said of it."""
        return f"{item.title} {item.key} {item.details} {item.also_called}"

    def is_same(self, item: ListedModel, other: ListedModel | None) -> bool:
        """Whether it is the same model, whatever is known of it by now."""
        return other is not None and item.key == other.key

    def choose(self, item: ListedModel) -> None:
        """Loads or fetches it."""
        if item.refusal:
            self.post_message(self.Refused(f"{item.title}: {item.refusal}"))
        elif item.is_under_way:
            self.post_message(self.Refused("It is on its way; Del cancels that."))
        elif item.warning:
            self._ask_first(item)
        else:
            self._load_or_fetch(item)

    def choose_typed(self, text: str) -> None:
        """A path or a name of Hugging Face, if it is one."""
        path = typed_file(text)
        if path is not None:
            self.dismiss(str(path))
        elif text.casefold().startswith(HUB_NAMES):
            self.post_message(self.FetchWanted(text, text))

    def advice_when_empty(self, filter_text: str) -> str:
        """What to do about it."""
        if self._is_searching:
            return "Looking for models …"
        if filter_text.casefold().startswith(HUB_NAMES):
            return "Enter fetches this model from Hugging Face."
        if filter_text:
            is_file = typed_file(filter_text) is not None
            return "Enter loads this file." if is_file else "There is no such model or file."
        return (
            "No GGUF files were found on this machine.\n\n"
            f"Put one into {self._models_folder}\n"
            "or type the path of one above."
        )

    def action_drop(self) -> None:
        """Cancels the download under the cursor, or asks whether to remove the file."""
        item = self.highlighted
        if item is None:
            return
        if item.is_under_way:
            self.post_message(self.CancelWanted())
        elif item.can_be_removed:
            self._ask_whether_to_remove(item)
        elif item.is_here:
            self.post_message(self.Refused("Only what this program has fetched can be removed here."))

    def _load_or_fetch(self, item: ListedModel) -> None:
        if item.is_here:
            self.dismiss(item.key)
        else:
            self.post_message(self.FetchWanted(item.key, item.title))

    def _ask_first(self, item: ListedModel) -> None:
        def go_on(is_certain: bool | None) -> None:
            if is_certain:
                self._load_or_fetch(item)

        verb = "Load" if item.is_here else "Get"
        question = f"{verb} {sanitize_line(item.title)} all the same?"
        self.app.push_screen(AskWhether(question, item.warning, verb), go_on)

    def _ask_whether_to_remove(self, item: ListedModel) -> None:
        def remove(is_certain: bool | None) -> None:
            if is_certain:
                self.post_message(self.RemoveWanted(item.key))

        self.app.push_screen(AskWhether("Remove this file from the disk?", item.key, "Remove"), remove)
