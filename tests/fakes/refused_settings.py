"""What a settings file is refused for."""

from pathlib import Path

import pytest

from tui_llama.errors import SettingsError
from tui_llama.settings_sources import load_settings


def refused(file: Path, content: str) -> SettingsError:
    """Writes a settings file that cannot be read, and returns what is said about it."""
    file.write_text(content)
    with pytest.raises(SettingsError) as caught:
        load_settings(file, {})
    return caught.value
