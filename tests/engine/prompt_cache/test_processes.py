"""The prompt cache between processes: killed at any moment, and several in one chat at once."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.scale import scaled

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[3]
KILLS = scaled(150, 10_000)
PROCESSES = scaled(4, 8)
TURNS = scaled(200, 20_000)


def outcome_of(kind: str, folder: Path, *arguments: int) -> dict[str, Any]:
    """What the processes report; nobody may have a word to say on standard error."""
    command = [sys.executable, "-m", "tests.fakes.prompt_cache_processes", kind, str(folder), *map(str, arguments)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    print(done.stdout)
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


def test_a_kill_at_any_moment_loses_no_committed_turn_and_leaves_nothing_wrong(tmp_path: Path) -> None:
    outcome = outcome_of("kill", tmp_path, KILLS, 0)
    assert (outcome["kills"], outcome["lost"]) == (KILLS, 0)
    assert outcome["beginning"] >= KILLS  # nobody was killed before there was something to do
    assert outcome["committed"] > KILLS / 2
    assert outcome["found_tokens"] > 0


@pytest.mark.parametrize("kills", [0, scaled(20, 3000)])
def test_processes_in_one_chat_never_get_or_leave_anything_wrong(tmp_path: Path, kills: int) -> None:
    outcome = outcome_of("share", tmp_path, PROCESSES, TURNS, kills)
    assert (outcome["wrong"], outcome["damaged_files"], outcome["kills"]) == (0, 0, kills)
    # No room can be made while all that is stored is being read and written by others.
    assert set(outcome["problems"]) <= {"the disk quota is used up"}
    assert outcome["turns"] >= PROCESSES * TURNS
    assert outcome["restored_tokens"] > 0
