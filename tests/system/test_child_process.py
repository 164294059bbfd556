"""A child process runs this package, wherever it was started from."""

import subprocess
from pathlib import Path

from tui_llama.system.child_process import child_command


def test_a_child_runs_the_same_package_from_any_folder(tmp_path: Path) -> None:
    (tmp_path / "tui_llama").mkdir()
    (tmp_path / "tui_llama" / "__init__.py").write_text("raise SystemExit('the wrong package')")
    command = child_command("tests.system.printing_child", "one two", "'three'")

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == ["one two", "'three'", str(Path(__file__).resolve().parents[2])]
