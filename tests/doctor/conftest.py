"""Fixtures of every test of the doctor."""

import pytest

from tests.patience import HANG_SECONDS


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits for children that are slow to begin."""
    monkeypatch.setattr("tui_llama.doctor.machine._CHILD_SECONDS", HANG_SECONDS)
    monkeypatch.setattr("tui_llama.models.machine._MEASURING_SECONDS", HANG_SECONDS)
