"""Turns messages into the text format that a model was trained on, with a chat template.

Jinja is imported when a template is first opened. sandbox.py bounds what a template may do and cost.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.templates.given_values import GivenValuesError, message_fields
from tui_llama.engine.templates.manners import (
    MANNERS,
    NOTHING_GIVEN,
    Given,
    Manner,
    merge_system,
    template_variables,
)
from tui_llama.engine.templates.message_marks import space_before, without_marks
from tui_llama.engine.templates.others_places import others_places
from tui_llama.engine.templates.rendered_prompt import RenderedPrompt
from tui_llama.engine.templates.thinking.knowledge import TemplateThinking
from tui_llama.engine.templates.tool_places import (
    TOOL_TRIES,
    ToolPlaces,
    check_tool_places,
    find_tool_places,
    uses_tools,
)
from tui_llama.engine.tokenizer.tokenizer import Span
from tui_llama.errors import EngineError

if TYPE_CHECKING:
    from tui_llama.engine.templates.sandbox import SandboxedTemplate

KNOWN_MARKS: Final = (
    "<think>", "</think>", "<tool_call>", "[TOOL_CALLS]", "<|python_tag|>", "<|channel|>", "[THINK]"
)  # fmt: skip
"""Texts by which models of several families mark thoughts and tool calls."""

BUILT_IN: Final = "built in: "
"""Begins the source of a template of ours."""

_HINT = "Try another copy or a newer conversion of the model."
_PROBE = "a message to be found again"
_QUESTION = (ChatMessage(Role.USER, _PROBE),)
_TALK = (*_QUESTION, ChatMessage(Role.ASSISTANT, "Hello"), ChatMessage(Role.USER, "Hello again"))
_NO_SYSTEM = "The model's chat template has no place for a system prompt; your first message begins with it."


_WHOLE = 3
_TRIES = 2 * len(MANNERS)  # together they cost a hostile template no more than one text


class ChatTemplate:
    """Turns messages into one text.

    Args:
        text: The template, in Jinja.
        source: Where it is from, for the user to read.
        bos_text: The text of the token that begins a sequence; empty if there is none.
        eos_text: The text of the token that ends one.
        adds_bos: True: the tokenizer adds the beginning itself, so the text is returned without it.
        adds_eos: The same for the end.
        notices: Notices for the user, one line each.
        stop_texts: Texts that end an answer, beside the model's own tokens.
        fallback: Template for messages that this one fails on or refuses; None: there is none.
        control_spans: Returns where the names of control tokens are in a text; None: the vocabulary is unknown.

    Attributes:
        marks: Those of `KNOWN_MARKS` that the template writes.
        thinking: What the template knows of thinking.

    Raises:
        EngineError: the text is not a template, or is too large.
    """

    def __init__(
        self,
        text: str,
        source: str,
        *,
        bos_text: str = "",
        eos_text: str = "",
        adds_bos: bool = False,
        adds_eos: bool = False,
        notices: Sequence[str] = (),
        stop_texts: Sequence[str] = (),
        fallback: "ChatTemplate | None" = None,
        control_spans: Callable[[str], Sequence[Span]] | None = None,
    ) -> None:
        self.source = source
        self.notices = tuple(notices)
        self.marks = tuple(mark for mark in KNOWN_MARKS if mark in text)
        self.thinking = TemplateThinking(
            text, lambda messages, values, asks: self._run(messages, asks, datetime.now(), Given(values))
        )
        self._stop_texts = tuple(stop_texts)
        self._template = _compile(text)
        self._texts = {"bos_token": bos_text, "eos_token": eos_text}
        self._strip_front = bos_text if adds_bos else ""
        self._strip_back = eos_text if adds_eos else ""
        self._fallback = fallback
        self._has_fallen_back = False
        self._control_spans = control_spans or (lambda text: ())
        self._manner: Manner | None = None
        self._tool_places: ToolPlaces | None = None
        self._takes_system: bool | None = None
        self._blanks: bool | None = None
        self._told: set[str] = set()
        self._untold: list[str] = []

    def stop_texts_of(self, source: str) -> tuple[str, ...]:
        """Returns the texts that end an answer, beside the model's own tokens.

        Args:
            source: Where the template that wrote the prompt is from. If it is "", the prompt was written before; the
                fallback's texts then count if it has ever been needed.
        """
        fallback = self._fallback
        if fallback is not None and (source == fallback.source or (not source and self._has_fallen_back)):
            return (*self._stop_texts, *fallback.stop_texts_of(source))
        return self._stop_texts

    def without_fallback(self) -> "ChatTemplate":
        """Returns this template, but what it refuses is refused. Its notices are those of this one."""
        strict = copy(self)
        strict._fallback = None
        return strict

    def take_notices(self) -> tuple[str, ...]:
        """Returns the notices for the user since the last call, one line each; no notice is returned twice."""
        untold = tuple(self._untold)
        self._untold.clear()
        return untold

    def check(self) -> None:
        """Tries the template on a short conversation. A template that allows only a single question passes.

        Raises:
            EngineError: it cannot write one.
        """
        from tui_llama.engine.templates.sandbox import TemplateRefusalError

        now = datetime.now()
        try:
            self._run(_TALK, True, now)
        except EngineError as error:
            if not isinstance(error.__cause__, TemplateRefusalError):
                raise
        if _PROBE not in self._run(_QUESTION, True, now):
            raise EngineError("The model's chat template leaves out the user's messages", _HINT)

    def render(
        self,
        messages: Sequence[ChatMessage],
        *,
        add_generation_prompt: bool = True,
        now: datetime | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> RenderedPrompt:
        """Writes the text of a conversation.

        Args:
            messages: In their order, as from `prompt_messages`. If the template has no place for a system message, the
                message becomes the beginning of the user's first message.
            add_generation_prompt: Ends the text where the answer begins.
            now: The moment for a template that asks for the date; by default the present.
            values: Further variables, such as `tools`; they come before the template's usual ones.

        Returns:
            The text. It knows which parts of it the user wrote, and where the template writes a blank before an answer
            that the model may have left out.

        Raises:
            EngineError: the template refused these messages, failed, or cost too much, and there is no fallback; or it
                has no place for tools, or hides where it writes the name of a control token.
        """
        now = now or datetime.now()
        for message in messages:
            message_fields(message)  # what is wrong with them is wrong for any template
        messages = [msgspec.structs.replace(message, text=without_marks(message.text)) for message in messages]
        try:
            return self._render(messages, add_generation_prompt, now, values or {})
        except GivenValuesError:
            raise
        except EngineError as error:
            if self._fallback is None:
                raise
            return self._render_by_fallback(self._fallback, error, messages, add_generation_prompt, now, values)

    def _render_by_fallback(
        self,
        fallback: "ChatTemplate",
        error: EngineError,
        messages: Sequence[ChatMessage],
        add_generation_prompt: bool,
        now: datetime,
        values: Mapping[str, Any] | None,
    ) -> RenderedPrompt:
        """Writes the text with another template, because this one has failed with `error`; raises that if both fail."""
        try:
            rendered = fallback.render(messages, add_generation_prompt=add_generation_prompt, now=now, values=values)
        except GivenValuesError:
            raise error from None  # the reason is that the model's own template has failed
        self._tell(replaced_words(error, fallback))
        self._has_fallen_back = True
        return rendered

    def _render(
        self, messages: Sequence[ChatMessage], add_generation_prompt: bool, now: datetime, values: Mapping[str, Any]
    ) -> RenderedPrompt:
        given = self._given(messages, now, values)
        if any(message.role is Role.SYSTEM for message in messages) and not self._has_place_for_system(now):
            messages = merge_system(messages)
            self._tell(_NO_SYSTEM)
        text = self._run(messages, add_generation_prompt, now, given)
        marks_answers = any(message.role is Role.ASSISTANT for message in messages) and self._writes_blanks(now)
        found = others_places(
            text,
            messages,
            given,
            lambda some, beside: self._run(some, add_generation_prompt, now, beside),
            self._control_spans,
            marks_answers=marks_answers,
        )
        if found is None:
            return RenderedPrompt(text, source=self.source)
        blanks = [space_before(text, answer) for answer in found.answers]
        return RenderedPrompt(text, found.user_spans, blanks, self.source)

    def _given(self, messages: Sequence[ChatMessage], now: datetime, values: Mapping[str, Any]) -> Given:
        """Returns how the template is given what a request gives; checks that it has a place for tools."""
        tools = values.get("tools")
        if not uses_tools(messages, tools):
            return Given(values) if values else NOTHING_GIVEN
        if self._tool_places is None:
            manner = self._chosen_manner(now)
            self._tool_places = find_tool_places(
                lambda probe, given: self._run_so(manner, probe, True, now, TOOL_TRIES, given)
            )
        check_tool_places(messages, tools, places := self._tool_places)
        return Given(values, places.arguments_are_text, places.no_text_is_none)

    def _tell(self, notice: str) -> None:
        if notice not in self._told:
            self._told.add(notice)
            self._untold.append(notice)

    def _run(
        self, messages: Sequence[ChatMessage], add_generation_prompt: bool, now: datetime, given: Given = NOTHING_GIVEN
    ) -> str:
        return self._run_so(self._chosen_manner(now), messages, add_generation_prompt, now, given=given)

    def _run_so(
        self,
        manner: Manner,
        messages: Sequence[ChatMessage],
        add_generation_prompt: bool,
        now: datetime,
        part_of_budget: int = 1,
        given: Given = NOTHING_GIVEN,
    ) -> str:
        from tui_llama.engine.templates.sandbox import TemplateRefusalError, budget_for

        variables = template_variables(manner, messages, add_generation_prompt, now, given) | self._texts
        try:
            text = self._template.render(variables, now, budget_for(len(messages)) // part_of_budget)
        except TemplateRefusalError as error:
            raise EngineError(f"The model's chat template refused the messages: {error}", _HINT) from error
        except Exception as error:  # a template can make Python raise anything
            raise EngineError(f"The model's chat template failed: {_short(error)}", _HINT) from error
        return text.removeprefix(self._strip_front).removesuffix(self._strip_back)

    def _chosen_manner(self, now: datetime) -> Manner:
        """Returns the first manner in which a short conversation is written whole, else the best; chosen once."""
        if self._manner is None:
            best = -1
            for manner in MANNERS:
                if (success := self._success(manner, now)) > best:
                    self._manner, best = manner, success
                if best == _WHOLE:
                    break
        assert self._manner is not None
        return self._manner

    def _success(self, manner: Manner, now: datetime) -> int:
        """Rates how the template works in a manner: 0 if it fails at once, `_WHOLE` if it writes every message."""
        try:
            question = self._run_so(manner, _QUESTION, True, now, _TRIES)
        except EngineError:
            return 0
        try:
            talk = self._run_so(manner, _TALK, True, now, _TRIES)
        except EngineError:
            talk = ""
        return 1 + (_PROBE in question) + all(message.text in talk for message in _TALK)

    def _has_place_for_system(self, now: datetime) -> bool:
        """Tells whether a system message appears in the text; tried once."""
        if self._takes_system is None:
            probe = (ChatMessage(Role.SYSTEM, _PROBE), ChatMessage(Role.USER, "Hello"))
            try:
                self._takes_system = _PROBE in self._run(probe, True, now)
            except EngineError:
                self._takes_system = False
        return self._takes_system

    def _writes_blanks(self, now: datetime) -> bool:
        """Tells whether the template writes a blank before an answer that the generation prompt lacks; tried once."""
        if self._blanks is None:
            asked = (ChatMessage(Role.USER, "Hello"),)
            answered = (*asked, ChatMessage(Role.ASSISTANT, _PROBE))
            try:
                generation_prompt = self._run(asked, True, now)
                text = self._run(answered, False, now)
            except EngineError:
                generation_prompt = text = ""
            before, found, _ = text.partition(_PROBE)
            blank = before.removeprefix(generation_prompt)
            self._blanks = bool(found) and before.startswith(generation_prompt) and blank.isspace()
        return self._blanks


def replaced_words(error: EngineError, fallback: ChatTemplate) -> str:
    """Says that another template is used, because one has failed with `error`."""
    reason = str(error).rstrip(".")
    return f"{reason}; the {fallback.source.removeprefix(BUILT_IN)} template is used instead."


def _compile(text: str) -> "SandboxedTemplate":
    from jinja2 import TemplateError

    from tui_llama.engine.templates.sandbox import SandboxedTemplate

    try:
        return SandboxedTemplate(text)
    except (TemplateError, ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise EngineError(f"The model's chat template cannot be read ({_short(error)})", _HINT) from error


def _short(error: BaseException) -> str:
    lines = str(error).splitlines()
    return (lines[0] if lines else type(error).__name__)[:120]
