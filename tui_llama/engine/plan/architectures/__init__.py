"""The architectures that the engine knows: one small declaration each."""

from tui_llama.engine.plan.architectures.decoder import Architecture
from tui_llama.engine.plan.architectures.llama import LLAMA
from tui_llama.engine.plan.architectures.qwen2 import QWEN2
from tui_llama.engine.plan.architectures.qwen3 import QWEN3
from tui_llama.errors import ModelFileError

ARCHITECTURES = {architecture.name: architecture for architecture in (LLAMA, QWEN2, QWEN3)}


def architecture_named(name: str) -> Architecture:
    """Returns the declaration of an architecture by its name in GGUF.

    Raises:
        ModelFileError: the architecture is not known.
    """
    if name not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise ModelFileError(f"the architecture {name!r} is not supported", f"Supported architectures: {known}.")
    return ARCHITECTURES[name]


__all__ = ["ARCHITECTURES", "Architecture", "architecture_named"]
