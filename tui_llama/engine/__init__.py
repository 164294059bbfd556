"""The inference engine. Importing it is cheap: what is heavy is imported when it is first asked for.

from tui_llama.engine import open_model, open_tokenizer
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tui_llama.engine.model.model import Model, open_model
    from tui_llama.engine.model.sequence import Sequence
    from tui_llama.engine.tokenizer.tokenizer import Tokenizer, open_tokenizer

__all__ = ["Model", "Sequence", "Tokenizer", "open_model", "open_tokenizer"]

_HOMES = {
    "Model": "model.model",
    "Sequence": "model.sequence",
    "open_model": "model.model",
    "Tokenizer": "tokenizer.tokenizer",
    "open_tokenizer": "tokenizer.tokenizer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
