"""How much a test tries: what CI has time for, or with TUI_LLAMA_RELEASE_CHECK set what `make release-check` has."""

import os
from typing import Final, TypeVar

Quantity = TypeVar("Quantity")

RELEASE_CHECK_VARIABLE: Final = "TUI_LLAMA_RELEASE_CHECK"


def scaled(in_ci: Quantity, before_a_release: Quantity) -> Quantity:
    """One of the two, which are numbers of tries or what is tried."""
    return before_a_release if os.environ.get(RELEASE_CHECK_VARIABLE) else in_ci
