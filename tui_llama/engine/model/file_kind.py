"""What a file of the GGUF format is: a model that writes text, of which architecture, or something that goes with one.

Adapters, projectors of images, statistics of quantizers and embedding models lie beside the models that people chat
with, and end in `.gguf`, too.
"""

from typing import Final

from tui_llama.engine.gguf.file import GgufFile
from tui_llama.engine.plan.architectures import Architecture, architecture_named

_TYPE: Final = "general.type"
_ARCHITECTURE: Final = "general.architecture"
_OTHER_TYPES: Final = {
    "adapter": "an adapter, which changes another model",
    "mmproj": "the part of a model that reads images or sounds",
    "imatrix": "an importance matrix, which helps to quantize a model",
}
_MARKS_OF_TYPES: Final = {"adapter.type": "adapter", "imatrix.chunk_count": "imatrix"}
_OTHER_ARCHITECTURES: Final = {
    "clip": _OTHER_TYPES["mmproj"],
    "controlvector": "a control vector, which changes another model",
}
_EMBEDDING_ARCHITECTURES: Final = frozenset({
    "bert", "eurobert", "gemma-embedding", "jina-bert-v2", "jina-bert-v3", "llama-embed", "modern-bert", "neo-bert",
    "nomic-bert", "nomic-bert-moe", "t5encoder",
})  # fmt: skip


def architecture_of(file: GgufFile) -> Architecture:
    """Returns the architecture of a model that writes text.

    Raises:
        ModelFileError: the file is no such model, or its architecture is not known.
    """
    name = file.get_str(_ARCHITECTURE, "")
    kind = _kind_of(file, name)
    if kind:
        raise file.refuse(f"this is {kind}, and no model that writes text", "Choose the model itself.")
    if name in _EMBEDDING_ARCHITECTURES:
        raise file.refuse("this model computes embeddings and writes no text", "Choose a model that chats.")
    return architecture_named(name)


def _kind_of(file: GgufFile, architecture: str) -> str:
    """Returns what a file is that is no model; empty for a model."""
    types = [name for mark, name in _MARKS_OF_TYPES.items() if mark in file.metadata]
    kinds = (_OTHER_TYPES[name] for name in (*types, str(file.metadata.get(_TYPE))) if name in _OTHER_TYPES)
    return next(kinds, _OTHER_ARCHITECTURES.get(architecture, ""))
