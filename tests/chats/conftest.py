"""The file that the fixture `store` has its chats in."""

from pathlib import Path

import pytest

from tui_llama import paths


@pytest.fixture
def path() -> Path:
    return paths.database_file()
