"""Chooses a model file: one that was found on this machine, or a path typed by hand."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from textual.content import Content

from tui_llama.screens.pick import PickDialog, two_sides
from tui_llama.text_safety import sanitize_line


class ListedModel(msgspec.Struct, frozen=True):
    """A model file as a line of the list. The name is not trusted."""

    path: Path
    name: str
    size_bytes: int
    origin: str


class ModelPicker(PickDialog[ListedModel, str | None]):
    """Returns the path of the model to load, or None.

    Args:
        models: None while they are looked for; `replace_items` brings them.
        models_folder: Where to put a file so that it is found.
    """

    TITLE_TEXT = "Models"
    PLACEHOLDER = "Type to search, or the path of a .gguf file"
    KEYS = "Enter load · Esc close"

    def __init__(self, models: Sequence[ListedModel] | None, models_folder: Path) -> None:
        super().__init__(models or ())
        self._is_searching = models is None
        self._models_folder = models_folder

    def replace_items(self, items: Sequence[ListedModel]) -> None:
        """The search is over."""
        self._is_searching = False
        super().replace_items(items)

    def line(self, item: ListedModel, width: int) -> Content:
        """Name, and on the right size and origin."""
        detail = _size(item.size_bytes)
        if width > 50:
            detail = f"{detail:>8}  {item.origin:>12}"
        return two_sides(sanitize_line(item.name), detail, width)

    def words(self, item: ListedModel) -> str:
        """Name, origin and path."""
        return f"{item.name} {item.origin} {item.path}"

    def choose(self, item: ListedModel) -> None:
        """Loads it."""
        self.dismiss(str(item.path))

    def choose_typed(self, text: str) -> None:
        """A path, if it is one."""
        path = Path(text).expanduser()
        if text and path.is_file():
            self.dismiss(str(path))

    def advice_when_empty(self, filter_text: str) -> str:
        """What to do about it."""
        if self._is_searching:
            return "Looking for models …"
        if filter_text:
            path = Path(filter_text).expanduser()
            return "Enter loads this file." if path.is_file() else "There is no such model or file."
        return (
            "No GGUF files were found on this machine.\n\n"
            f"Put one into {self._models_folder}\n"
            "or type the path of one above."
        )


def _size(size_bytes: int) -> str:
    gigabytes = size_bytes / 1e9
    return f"{gigabytes:.1f} GB" if gigabytes >= 1 else f"{size_bytes / 1e6:.0f} MB"
