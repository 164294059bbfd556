"""What the first frame waits for."""

import subprocess
import sys

import pytest

HEAVY = ("numba", "numpy", "gguf", "tokenizers", "sentencepiece", "jinja2", "markdown_it", "pygments.lexers", "httpx")


@pytest.mark.parametrize("module", ["tui_llama.app", "tui_llama.conversation", "tui_llama.engine.scripted"])
def test_importing_it_imports_nothing_heavy(module: str) -> None:
    program = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_machine_imports_neither_textual_nor_asyncio() -> None:
    program = "import sys, tui_llama.conversation; print(*({'textual', 'asyncio', 'sqlite3'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
