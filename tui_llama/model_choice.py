"""Which model file a command means: a path, the name of a model on this machine, the one last used, the starter."""

from pathlib import Path
from typing import TYPE_CHECKING

from tui_llama import paths

if TYPE_CHECKING:
    from tui_llama.models.library import FoundModel


def named_model(name: str) -> str:
    """The path that somebody means: the file of that path, else the one model on this machine that is called so.

    A name that fits no model, or several, is taken for a path; whoever opens it says that there is no such file.
    """
    path = Path(name).expanduser()
    if path.exists() or path.suffix.lower() == ".gguf":
        return str(path.absolute())
    fitting = models_called(name)
    return str(fitting[0].path if len(fitting) == 1 else path.absolute())


def last_model() -> str | None:
    """The model last used in the chat, if its file is still there."""
    if not paths.database_file().exists():
        return None
    from tui_llama.store import Store

    with Store(paths.database_file()) as store:
        model = store.preference("last_model")
    return model if model and Path(model).is_file() else None


def starter_model() -> str | None:
    """The starter, if it is on this machine."""
    from tui_llama.models.starter_file import STARTER_FILE

    path = paths.models_folder() / STARTER_FILE
    return str(path) if path.is_file() else None


def plain(name: str) -> str:
    """A name by which models are compared: letters and digits alone."""
    return "".join(character for character in name.casefold() if character.isalnum())


def models_called(name: str) -> "list[FoundModel]":
    """The models on this machine that are called so, or else have it in their names, by the names of their files."""
    from tui_llama.models.catalogue import entry_for_file, find_entry
    from tui_llama.models.library import find_models

    found, wanted, entry = find_models(), plain(name), find_entry(name)
    exact = [model for model in found if plain(model.name) == wanted]
    known = [model for model in found if entry is not None and entry_for_file(model.name) is entry]
    return exact or known or [model for model in found if wanted and wanted in plain(model.name)]
