"""The dialog that chooses a model: one on this machine, of a server, one that can be fetched, or one that is typed.

While a model is fetched, the dialog and the status line show the progress. The dialog may be closed meanwhile.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import msgspec
from textual.binding import BindingType
from textual.content import Content
from textual.message import Message

from tui_llama.errors import SettingsError
from tui_llama.paths import typed_file
from tui_llama.screens.dialogs.ask_whether import AskWhether
from tui_llama.screens.dialogs.pick import PickDialog, two_sides
from tui_llama.servers.address import is_server_address, typed_address
from tui_llama.text_safety import sanitize_line
from tui_llama.widgets.cutting import cut
from tui_llama.widgets.local_keys import MODELS, local_bindings

_ROOM_FOR_NOTES = 64
"""Cells. A wider line has room for more than a name and its most important note."""

_GAP = 2

HUB_NAMES = ("hf:", "https://huggingface.co/", "huggingface.co/", "hf.co/", "https://hf.co/")


class ListedModel(msgspec.Struct, frozen=True):
    """A model as the list takes it. None of its texts is trusted.

    Attributes:
        key: The path of a file on this machine, the address of a server's model, or the name by which it is fetched.
        title: The name that is shown.
        is_here: Whether it can be loaded as it is: it is on this machine or on a server.
        size: The size and the weight type in words.
        note: The speed, the progress of the download, or why the model cannot be used.
        details: Other facts, shown below the list.
        also_called: Other names by which the filter finds the model.
        is_dimmed: Whether the model cannot be used, or only with more memory.
        refusal: Why nothing can be done with the model; empty if something can.
        warning: The text to confirm before the model is loaded or fetched; empty for none.
        is_under_way: Whether the model is being fetched now.
        can_be_removed: Whether this program may remove the file.
        server: The name of the server that has the model; empty for none.
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
    server: str = ""


class ModelPicker(PickDialog[ListedModel, str | None]):
    """A dialog whose result is the path or address of the model to load, or None.

    Args:
        models: The models, or None while they are searched for. Then `replace_items` brings them.
        models_folder: The folder in which the program finds a model file.
    """

    HELP = """Models
    The models on this machine and on your servers, and those that can be fetched. Type a part of a name to find one.
    """
    TITLE_TEXT = "Models"
    PLACEHOLDER = "Search, a path, a URL or hf:OWNER/REPOSITORY"
    KEYS = "Enter load/get · {models_drop} cancel/remove · {dialog_close} close"
    BINDINGS: ClassVar[list[BindingType]] = [*local_bindings(MODELS)]

    class FetchWanted(Message):
        """Posted when a model should be fetched by its name."""

        def __init__(self, name: str, title: str) -> None:
            super().__init__()
            self.name = name
            self.title = title

    class CancelWanted(Message):
        """Posted when the download should be cancelled."""

    class RemoveWanted(Message):
        """Posted when the user has confirmed that a file should be removed."""

        def __init__(self, path: str) -> None:
            super().__init__()
            self.path = path

    class Refused(Message):
        """Posted when nothing can be done with a model. `reason` says why."""

        def __init__(self, reason: str) -> None:
            super().__init__()
            self.reason = reason

    def __init__(self, models: Sequence[ListedModel] | None, models_folder: Path) -> None:
        super().__init__(models or ())
        self._is_searching = models is None
        self._models_folder = models_folder

    def replace_items(self, items: Sequence[ListedModel]) -> None:
        """Shows the models that the search has found so far."""
        self._is_searching = False
        super().replace_items(items)

    def move_to(self, key: str) -> None:
        """Puts the cursor on the model with this key, if it is listed."""
        self.put_cursor(lambda item: item.key == key)

    def heading(self, item: ListedModel) -> str:
        """Returns the heading for models on this machine, of one server or to fetch, sanitized."""
        if item.server:
            return f"On {sanitize_line(item.server)}"
        return "On this machine" if item.is_here else "Get one"

    def line(self, item: ListedModel, width: int) -> Content:
        """Returns the name, and on the right the size and speed, or why the model cannot be used."""
        note, size = sanitize_line(item.note), sanitize_line(item.size)
        right = note or size
        if width > _ROOM_FOR_NOTES:
            right = f"{note}  {size:>15}" if note else size
        left = ("↓ " if item.is_under_way else "  ") + sanitize_line(item.title)
        # A long reason is cut, so that the name gets the room it needs, up to half of the line.
        right_width = width - _GAP - min(Content(left).cell_length, width // 2)
        right = cut(Content(right), right_width).plain
        return two_sides(left, right, width, is_dimmed=item.is_dimmed)

    def details(self, item: ListedModel) -> str:
        """Returns the details of the model, sanitized."""
        return sanitize_line(item.details)

    def words(self, item: ListedModel) -> str:
        """Returns the names, the key and the details of the model."""
        return f"{item.title} {item.key} {item.details} {item.also_called} {item.server}"

    def is_same(self, item: ListedModel, other: ListedModel | None) -> bool:
        """Tells whether two items are the same model. What is known of the model may differ."""
        return other is not None and item.key == other.key

    def choose(self, item: ListedModel) -> None:
        """Loads or fetches the model, asks first if there is a warning, or says why it cannot be used."""
        if item.refusal:
            self.post_message(self.Refused(f"{item.title}: {item.refusal}"))
        elif item.is_under_way:
            self.post_message(self.Refused("This model is being fetched; Del cancels the download."))
        elif item.warning:
            self._ask_first(item)
        else:
            self._load_or_fetch(item)

    def choose_typed(self, text: str) -> None:
        """Loads the file at a typed path or the model of a typed server, or fetches one of a Hugging Face name."""
        path = typed_file(text)
        if path is not None:
            self.dismiss(str(path))
        elif text.casefold().startswith(HUB_NAMES):
            self.post_message(self.FetchWanted(text, text))
        elif is_server_address(text):
            self._load_from_server(text)

    def _load_from_server(self, text: str) -> None:
        try:
            self.dismiss(typed_address(text))
        except SettingsError as error:
            self.post_message(self.Refused(f"{error}. {error.hint}"))

    def advice_when_empty(self, filter_text: str) -> str:
        """Says what to do when no model is listed."""
        if self._is_searching:
            return "Looking for models …"
        if filter_text.casefold().startswith(HUB_NAMES):
            return "Enter fetches this model from Hugging Face."
        if is_server_address(filter_text):
            return "Enter loads a model from this server."
        if filter_text:
            is_file = typed_file(filter_text) is not None
            return "Enter loads this file." if is_file else "There is no such model or file."
        return (
            f"No GGUF files were found on this machine.\n\nPut one into {self._models_folder}\nor type its path above."
        )

    def action_drop(self) -> None:
        """Cancels the download under the cursor, or asks whether to remove the file under the cursor."""
        item = self.highlighted
        if item is None:
            return
        if item.is_under_way:
            self.post_message(self.CancelWanted())
        elif item.can_be_removed:
            self._ask_whether_to_remove(item)
        elif item.server:
            self.post_message(self.Refused("Models of a server cannot be removed here."))
        elif item.is_here:
            self.post_message(self.Refused("Only models that this program has fetched can be removed here."))

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
        question = f"{verb} {sanitize_line(item.title)} anyway?"
        self.app.push_screen(AskWhether(question, item.warning, verb, is_harmful=False), go_on)

    def _ask_whether_to_remove(self, item: ListedModel) -> None:
        def remove(is_certain: bool | None) -> None:
            if is_certain:
                self.post_message(self.RemoveWanted(item.key))

        self.app.push_screen(AskWhether("Remove this file from the disk?", item.key, "Remove"), remove)
