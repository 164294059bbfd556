"""Decides how much a test tries: as CI has time for, or `make release-check` if TUI_LLAMA_RELEASE_CHECK is set."""

import os
from typing import Final, TypeVar

Quantity = TypeVar("Quantity")

RELEASE_CHECK_VARIABLE: Final = "TUI_LLAMA_RELEASE_CHECK"


def scaled(in_ci: Quantity, before_a_release: Quantity) -> Quantity:
    """Returns one of the two, which are numbers of tries or the tries themselves."""
    return before_a_release if os.environ.get(RELEASE_CHECK_VARIABLE) else in_ci
