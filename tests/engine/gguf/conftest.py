"""Files of given bytes: written, opened, or refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.gguf.small_files import Refusal
from tui_llama.engine.gguf.file import GgufFile, open_gguf
from tui_llama.errors import ModelFileError


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes], Path]:
    def write_bytes(content: bytes) -> Path:
        path = tmp_path / "model.gguf"
        path.write_bytes(content)
        return path

    return write_bytes


@pytest.fixture
def opened(write: Callable[[bytes], Path]) -> Callable[[bytes], GgufFile]:
    return lambda content: open_gguf(write(content))


@pytest.fixture
def refusal(opened: Callable[[bytes], GgufFile]) -> Refusal:
    """Opens bytes that must be refused and gives the error, which must say what to try."""

    def refuse(content: bytes) -> ModelFileError:
        with pytest.raises(ModelFileError) as raised:
            opened(content)
        assert raised.value.hint
        assert "\n" not in str(raised.value)
        return raised.value

    return refuse
