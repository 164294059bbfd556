"""What every test of the doctor gets."""

import pytest

from tests.patience import HANG_SECONDS


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children that are slow to begin are waited for."""
    monkeypatch.setattr("tui_llama.doctor.machine._CHILD_SECONDS", HANG_SECONDS)
    monkeypatch.setattr("tui_llama.models.machine._MEASURING_SECONDS", HANG_SECONDS)
