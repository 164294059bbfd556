"""What one chat template knows of thinking, found when it is first asked for."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from tui_llama.chat import ChatMessage, Thinking
from tui_llama.engine.templates.thinking.forms import ThoughtForm, thought_form
from tui_llama.engine.templates.thinking.switches import ThinkingSwitch, thinking_switches

_NOTHING: Final = ThinkingSwitch()


class TemplateThinking:
    """What a template knows of thinking.

    Args:
        template: The text of the template.
        run: Renders messages with further variables; true: up to where an answer begins. May raise `EngineError`.
    """

    def __init__(self, template: str, run: Callable[[Sequence[ChatMessage], Mapping[str, Any], bool], str]) -> None:
        self._template = template
        self._run = run

    @cached_property
    def form(self) -> ThoughtForm | None:
        """How the model writes a thought; None if the template knows none."""
        return thought_form(self._template, lambda messages, asks: self._run(messages, {}, asks))

    @property
    def choices(self) -> tuple[Thinking, ...]:
        """What can be chosen beside the default."""
        return tuple(choice for choice in Thinking if choice in self._switches)

    def switch(self, choice: Thinking) -> ThinkingSwitch:
        """Returns what tells the template a choice; nothing where it does not know that one."""
        return self._switches.get(choice, _NOTHING)

    @cached_property
    def _switches(self) -> dict[Thinking, ThinkingSwitch]:
        return thinking_switches(self._template, lambda messages, values: self._run(messages, values, True))
