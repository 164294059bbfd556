"""The view of an empty chat: the model, how far it has loaded, and advice on what to do next."""

from collections.abc import Sequence
from typing import ClassVar

import msgspec
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from tui_llama.text_safety import sanitize_line

_BAR_WIDTH = 20
_LABEL_WIDTH = 9


class Stage(msgspec.Struct, frozen=True):
    """A stage of loading; `fraction` goes from 0 to 1."""

    label: str
    fraction: float


class EmptyState(Vertical):
    """The program's name, a line about the model, the stages of loading, and advice."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"empty-state--done", "empty-state--todo"}

    def compose(self) -> ComposeResult:
        """Yields the lines from top to bottom."""
        yield Static("tui_llama", classes="wordmark")
        yield Static("", classes="model", markup=False)
        yield Static("", classes="stages", markup=False)
        yield Static("", classes="advice", markup=False)

    def show_model(self, model: str, advice: Sequence[str], stages: Sequence[Stage] = ()) -> None:
        """Shows these lines from now on; `stages` is empty if nothing is loading."""
        self.query_one(".model", Static).update(sanitize_line(model))
        lines = self.query_one(".stages", Static)
        lines.display = bool(stages)
        lines.update(Content("\n").join(map(_stage_line, stages)))
        self.query_one(".advice", Static).update("\n".join(advice))


def _stage_line(stage: Stage) -> Content:
    done = round(stage.fraction * _BAR_WIDTH)
    return Content.assemble(
        f"{stage.label:>{_LABEL_WIDTH}}  ",
        ("━" * done, ".empty-state--done"),
        ("━" * (_BAR_WIDTH - done), ".empty-state--todo"),
        f" {stage.fraction:4.0%}".replace("%", " %"),
    )
