"""How families of models write a thought before an answer. A chat template tells its family.

Think:    `<think>` thought `</think>` text; Qwen3, DeepSeek R1, SmolLM3 and many others
Mistral:  `[THINK]` thought `[/THINK]` text
Gemma 4:  `<|channel>thought` line end, thought `<channel|>` text
gpt-oss:  `<|channel|>analysis<|message|>` thought `<|end|><|start|>assistant<|channel|>final<|message|>` text

A family that is not known is found by what the template writes around the thought of an earlier answer. A template that
shows none of this knows no thoughts, and then nothing in an answer is one.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from tui_llama.chat import ChatMessage, Role
from tui_llama.errors import EngineError

HARMONY_CHANNEL: Final = "<|channel|>"
HARMONY_MESSAGE: Final = "<|message|>"
HARMONY_START: Final = "<|start|>"
HARMONY_END: Final = "<|end|>"
HARMONY_THOUGHT: Final = "analysis"

_MOST_MARK_CHARACTERS: Final = 64


class ThoughtForm(msgspec.Struct, frozen=True):
    """The texts by which a family marks a thought.

    Attributes:
        opening: What stands before a thought.
        closing: What ends it.
        between: What stands between a thought and the text that follows it: the closing mark and white space.
        has_channels: The answer has parts with headers, and the name of the channel in a header makes a part a thought.
    """

    opening: str
    closing: str
    between: str = ""
    has_channels: bool = False

    @property
    def beginning(self) -> str:
        """What begins a thought that the prompt has not begun."""
        has_line = not self.has_channels and self.between.startswith("\n")
        return f"{self.opening}\n" if has_line else self.opening

    @property
    def text_opening(self) -> str:
        """What stands before the text of an answer without a thought."""
        return f"{HARMONY_CHANNEL}final{HARMONY_MESSAGE}" if self.has_channels else ""

    @property
    def ending(self) -> str:
        """What ends a thought before its own end, so that the text of the answer follows."""
        return self.between or self.closing


HARMONY: Final = ThoughtForm(
    f"{HARMONY_CHANNEL}{HARMONY_THOUGHT}{HARMONY_MESSAGE}",
    HARMONY_END,
    f"{HARMONY_END}{HARMONY_START}assistant{HARMONY_CHANNEL}final{HARMONY_MESSAGE}",
    has_channels=True,
)
THINK: Final = ThoughtForm("<think>", "</think>", "\n</think>\n\n")
_FORMS: Final = (
    ThoughtForm("<|channel>thought", "<channel|>"),
    ThoughtForm("[THINK]", "[/THINK]"),
    ThoughtForm("<seed:think>", "</seed:think>"),
    ThoughtForm("<|START_THINKING|>", "<|END_THINKING|>"),
    ThoughtForm("<|inner_prefix|>", "<|inner_suffix|>"),
    ThoughtForm("◁think▷", "◁/think▷"),
    THINK,
)

_QUESTION: Final = ChatMessage(Role.USER, "a question to be found")
_THOUGHT, _ANSWER = "a thought to be found", "an answer to be found"

Run = Callable[[Sequence[ChatMessage], bool], str]
"""Renders messages with a template; true: up to where an answer begins."""


def thought_form(template: str, run: Run) -> ThoughtForm | None:
    """Returns how the model of a template writes thoughts; None if the template knows none.

    Args:
        template: The text of the template.
        run: Renders with it; may raise `EngineError`.
    """
    if HARMONY_CHANNEL in template and HARMONY_MESSAGE in template:
        return HARMONY
    named = next((form for form in _FORMS if form.opening in template or form.closing in template), None)
    shown = _shown_form(run) if named or any(name in template for name in THOUGHT_NAMES) else None
    if named is None or (shown is not None and named.closing in shown.between):
        return shown if named is None else msgspec.structs.replace(named, between=shown.between if shown else "")
    return named


THOUGHT_NAMES: Final = ("reasoning_content", "reasoning", "thinking")
"""The names under which templates look for the thought of an earlier answer."""


def _shown_form(run: Run) -> ThoughtForm | None:
    """Returns what the template writes around the thought of an answer; None if it leaves thoughts out."""
    try:
        untold = run((_QUESTION, ChatMessage(Role.ASSISTANT, _ANSWER)), False)
        told = run((_QUESTION, ChatMessage(Role.ASSISTANT, _ANSWER, thought=_THOUGHT)), False)
    except EngineError:
        return None
    before, found, after = told.partition(_THOUGHT)
    between, is_answered, _ = after.partition(_ANSWER)
    if not found or not is_answered or not between.strip() or len(between) > _MOST_MARK_CHARACTERS:
        return None
    begun = before.rpartition(_QUESTION.text)[2]
    usual = untold.partition(_ANSWER)[0].rpartition(_QUESTION.text)[2]
    differing = (place for place, pair in enumerate(zip(begun, usual, strict=False)) if pair[0] != pair[1])
    opening = begun[_mark_begin(begun, next(differing, min(len(begun), len(usual)))) :].strip()
    if not opening:
        return None
    return ThoughtForm(opening, between.strip(), between) if len(opening) <= _MOST_MARK_CHARACTERS else None


def _mark_begin(text: str, place: int) -> int:
    """Returns where the mark begins within which the place is, as in `<think>`; the place itself if it is in none."""
    begin = text.rfind("<", 0, place)
    return place if begin < 0 or ">" in text[begin:place] else begin
