"""The README keeps its word: what it says to type works."""

import re
import subprocess
import sys
from pathlib import Path

from tests.fakes.tiny_model import make_tiny_model

REPOSITORY = Path(__file__).resolve().parents[1]


def readme() -> str:
    return (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_its_python_runs_as_printed(tmp_path: Path) -> None:
    make_tiny_model(tmp_path / "model.gguf")
    (tmp_path / "vocab_or_model.gguf").hardlink_to(tmp_path / "model.gguf")
    blocks = re.findall(r"```python\n(.*?)```", readme(), flags=re.DOTALL)
    assert len(blocks) == 1
    checks = "assert logits.shape == (len(ids), model.vocab_size) and (last == logits[-1]).all()\n"
    checks += "assert tokenizer.tokenize('text') == model.tokenize('text') and text.endswith('text')\n"
    command = [sys.executable, "-c", blocks[0] + checks]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_its_make_targets_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"(?:^    |`)make (\w+)", readme(), flags=re.MULTILINE))
    assert targets >= {"chat", "check"}
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_its_files_exist() -> None:
    for name in re.findall(r"\]\(((?!http)[^)]+)\)", readme()):
        assert (REPOSITORY / name).is_file(), name
