"""The screen's source of models, which finds, looks into, fetches and removes them. A test has another source."""

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Protocol

from tui_llama.engine.descriptions import ModelFacts
from tui_llama.models.downloads import DownloadEvent
from tui_llama.models.library import FoundModel
from tui_llama.models.machine import Machine


class ModelSource(Protocol):
    """Answers questions about models. `find`, `machine`, `was_pulled` and `remove` may take some time."""

    def find(self) -> list[FoundModel]:
        """Returns the model files on this machine."""
        ...

    def machine(self) -> Machine:
        """Returns what this machine has for a model."""
        ...

    def inspect(self, paths: Sequence[Path]) -> AsyncGenerator[ModelFacts, None]:
        """Yields what each file says of itself, in order."""
        ...

    def pull(self, name: str) -> AsyncGenerator[DownloadEvent, None]:
        """Fetches a model. A caller that stops iterating cancels the download."""
        ...

    def was_pulled(self, path: Path) -> bool:
        """Tells whether this program has fetched a file."""
        ...

    def remove(self, path: Path) -> int:
        """Removes a file that this program has fetched; returns the bytes that are free now.

        Raises:
            UserError: it is none of ours, or cannot be removed.
        """
        ...


class ThisMachine:
    """The `ModelSource` of the program. What it needs is imported when it is asked for, after the first frame."""

    def find(self) -> list[FoundModel]:
        """See `ModelSource`."""
        from tui_llama.models.library import find_models

        return find_models()

    def machine(self) -> Machine:
        """See `ModelSource`."""
        from tui_llama.models.machine import measured_machine

        return measured_machine()

    def inspect(self, paths: Sequence[Path]) -> AsyncGenerator[ModelFacts, None]:
        """See `ModelSource`."""
        from tui_llama.models.inspection import inspect_beside

        return inspect_beside(paths)

    def pull(self, name: str) -> AsyncGenerator[DownloadEvent, None]:
        """See `ModelSource`."""
        from tui_llama.models.pull import pull_beside

        return pull_beside(name)

    def was_pulled(self, path: Path) -> bool:
        """See `ModelSource`."""
        from tui_llama.models.record import was_pulled

        return was_pulled(path)

    def remove(self, path: Path) -> int:
        """See `ModelSource`."""
        from tui_llama.models.record import remove_pulled

        return remove_pulled(path)
