"""The name under which a model is served."""

from pathlib import PurePath

from tui_llama.engine.descriptions import ModelInfo
from tui_llama.files.model_parts import without_part


def served_name(model: ModelInfo) -> str:
    """Returns the name of the model's file without its ending, and of a split model without the number of a part.

    Users know it, and it tells the weight type. The name inside the file is often that of a training run. What is no
    text in a file's name is written with backslashes.
    """
    return (without_part(PurePath(model.path).stem) or model.name).encode(errors="backslashreplace").decode()


def is_called(model: ModelInfo, name: str) -> bool:
    """Tells whether a client that asks for `name` means this model: its file, or the name in the file."""
    return name in (served_name(model), model.name, PurePath(model.path).name)
