"""How a chat template is told whether, and how hard, the model is to think: found by trying.

Templates know variables of several names, and a few look for a word in the system prompt. A value that changes nothing
in the prompt is not known to the template, and is not offered.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from tui_llama.chat import ChatMessage, Role, Thinking
from tui_llama.errors import EngineError

_NO_THINK: Final = "/no_think"
_THINK: Final = "/think"
_BUDGET: Final = "thinking_budget"
"""Seed-OSS: tokens of a thought; -1 is any number."""
_WORDS: Final = ("enable_thinking", "thinking", "reasoning_effort", _NO_THINK)
_EFFORTS: Final = (Thinking.LOW, Thinking.MEDIUM, Thinking.HIGH)
_TALK: Final = (ChatMessage(Role.SYSTEM, "Be brief."), ChatMessage(Role.USER, "Hello"))
_QUESTION: Final = _TALK[1:]


class ThinkingSwitch(msgspec.Struct, frozen=True):
    """What tells a template one choice: variables, and a word at the end of the system prompt ("" for none)."""

    values: Mapping[str, Any] = {}
    system_word: str = ""

    def told(self, messages: Sequence[ChatMessage]) -> Sequence[ChatMessage]:
        """Returns the messages with the word in the system prompt; there is one then if there was none."""
        if not self.system_word:
            return messages
        if messages and messages[0].role is Role.SYSTEM:
            text = f"{messages[0].text}\n{self.system_word}"
            return (msgspec.structs.replace(messages[0], text=text), *messages[1:])
        return (ChatMessage(Role.SYSTEM, self.system_word), *messages)


Run = Callable[[Sequence[ChatMessage], Mapping[str, Any]], str]
"""Renders messages with further variables."""

_ON: Final = {"enable_thinking": True, "thinking": True}
_OFF: Final = {"enable_thinking": False, "thinking": False}
_SWITCHES: Final = (
    (ThinkingSwitch(_OFF), ThinkingSwitch(_ON), ("thinking",)),
    (
        ThinkingSwitch({**_OFF, "reasoning_effort": "none"}),
        ThinkingSwitch({**_ON, "reasoning_effort": "high"}),
        ("'none'", '"none"'),
    ),
    (ThinkingSwitch({_BUDGET: 0}), ThinkingSwitch({_BUDGET: -1}), (_BUDGET,)),
    (ThinkingSwitch(system_word=_NO_THINK), ThinkingSwitch(system_word=_THINK), (_NO_THINK,)),
)
"""What switches thinking off and on, and words of which a template that knows it has one."""


def thinking_switches(template: str, run: Run) -> dict[Thinking, ThinkingSwitch]:
    """Returns what tells a template each choice that it knows beside the default.

    Args:
        template: The text of the template.
        run: Renders with it; may raise `EngineError`.
    """
    if not any(word in template for word in _WORDS):
        return {}
    switches: dict[Thinking, ThinkingSwitch] = {}
    for off, on, words in _SWITCHES:
        if not any(word in template for word in words):
            continue
        silent, thinking = _prompt(run, off), _prompt(run, on)
        if silent is not None and thinking is not None and silent != thinking:
            switches = {Thinking.OFF: off, Thinking.ON: on}
            break
    efforts = {effort: ThinkingSwitch({**_ON, "reasoning_effort": str(effort)}) for effort in _EFFORTS}
    prompts_of = {effort: _prompt(run, switch) for effort, switch in efforts.items()}
    if len({prompt for prompt in prompts_of.values() if prompt is not None}) > 1:
        switches |= {effort: efforts[effort] for effort, prompt in prompts_of.items() if prompt is not None}
    return switches


def _prompt(run: Run, switch: ThinkingSwitch) -> str | None:
    """Returns what the template writes where it is told a choice; None if it refuses that."""
    for messages in (_TALK, _QUESTION):  # some templates have no place for a system prompt
        try:
            return run(switch.told(messages), switch.values)
        except EngineError:
            continue
    return None
