"""Nothing that fails keeps the rest from being looked at."""

import pytest

from tui_llama.doctor.examination import examine, examine_all
from tui_llama.doctor.report import Section
from tui_llama.engine.descriptions import ReadSpeed
from tui_llama.errors import SettingsError

SOUND = Section("Sound")


def failing(error: Exception) -> Section:
    raise error


@pytest.mark.parametrize(
    ("error", "text", "remedy"),
    [
        (SettingsError("x is wrong", "Mend it."), "Place: x is wrong.", "Mend it."),
        (SettingsError("x is wrong."), "Place: x is wrong.", ""),
        (ImportError("No module named 'y'"), "Place: a package is missing or broken (No module named 'y').", "Install"),
        (ZeroDivisionError("z"), "Place: this could not be examined (ZeroDivisionError: z).", "Please report"),
        (OSError(5, "I/O"), "Place: this could not be read ([Errno 5] I/O).", "Check the permissions"),
    ],
)
def test_what_fails_is_wrong_and_the_rest_goes_on(error: Exception, text: str, remedy: str) -> None:
    said: list[str] = []
    failed, sound = examine_all([("Place", lambda: failing(error)), ("Sound", lambda: SOUND)], said.append)

    (problem,) = failed.problems
    assert problem.text == text and problem.remedy.startswith(remedy) and not problem.is_advice
    assert (failed.title, failed.rows[0].name, sound) == ("Place", "failed", SOUND)
    assert said == ["examining: place", "examining: sound"]


def test_everything_is_looked_at_and_the_program_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_llama.models.machine._measured_speed", lambda: ReadSpeed(1e10, was_disturbed=False))
    sections = examine({"TERM": "dumb", "LANG": "C.UTF-8"})

    assert [section.title for section in sections] == [
        *("Program", "Machine code", "Processor and memory", "Terminal", "Folders"),
        *("Stored prompts", "Models", "Chats", "Settings"),
    ]
    assert all(row.name != "failed" for section in sections for row in section.rows)
