"""A machine on which no program has any model."""

from pathlib import Path

import pytest

from tui_llama.models import library

_PLACES = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "LLAMA_CACHE", "OLLAMA_MODELS")


def hide_models(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Gives the user an empty home, and no other place for the models of other programs."""
    monkeypatch.setattr(library, "OLLAMA_SERVICE_FOLDER", home / "service")
    monkeypatch.setenv("HOME", str(home))
    for variable in _PLACES:
        monkeypatch.delenv(variable, raising=False)
