"""How much a test tries: what CI has time for, or with TUI_LLAMA_RELEASE_CHECK set what `make release-check` has."""

import os
from typing import Final

RELEASE_CHECK_VARIABLE: Final = "TUI_LLAMA_RELEASE_CHECK"


def scaled(in_ci: int, before_a_release: int) -> int:
    """One of the two numbers."""
    return before_a_release if os.environ.get(RELEASE_CHECK_VARIABLE) else in_ci
