"""From messages to the text that a model was trained on: the chat template of the model file, or a known one.

Jinja is imported when a template is first opened. What a template may do and cost is bounded in `template_sandbox`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.gguf_file import GgufFile
from tui_llama.engine.known_templates import (
    KNOWN_TEMPLATES,
    PLAIN_STOP_TEXTS,
    PLAIN_TEMPLATE,
    recognize_template,
)
from tui_llama.engine.prompt import RenderedPrompt
from tui_llama.engine.template_text import stored_template
from tui_llama.engine.tokenizer import Span, Tokenizer
from tui_llama.errors import EngineError, SettingsError

if TYPE_CHECKING:
    from tui_llama.engine.template_sandbox import SandboxedTemplate

_HINT = "Try another copy or a newer conversion of the model."
_PROBE = "a message to be found again"
# Noncharacters: no text has them, no template looks for them.
_USER_TEXT_BEGINS, _USER_TEXT_ENDS, _ANSWER_BEGINS = "\ufdd0", "\ufdd1", "\ufdd2"
_MARKS = re.compile(f"([{_USER_TEXT_BEGINS}{_USER_TEXT_ENDS}{_ANSWER_BEGINS}])")


class ChatTemplate:
    """Turns messages into one text.

    Args:
        text: The template, in Jinja.
        source: Where it is from, for the user to read.
        bos_text: The text of the token that begins a sequence; empty if there is none.
        eos_text: The text of the token that ends one.
        adds_bos: Whether the tokenizer adds the beginning itself; then the text goes without.
        adds_eos: The same for the end.
        notices: What the user should know, one line each.
        stop_texts: What ends an answer beside the model's own tokens.

    Raises:
        EngineError: the text is no template, or too large a one.
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
    ) -> None:
        self.source = source
        self.notices = tuple(notices)
        self.stop_texts = tuple(stop_texts)
        self._template = _compile(text)
        self._texts = {"bos_token": bos_text, "eos_token": eos_text}
        self._strip_front = bos_text if adds_bos else ""
        self._strip_back = eos_text if adds_eos else ""
        self._takes_system: bool | None = None
        self._blanks: bool | None = None

    def render(
        self, messages: Sequence[ChatMessage], *, add_generation_prompt: bool = True, now: datetime | None = None
    ) -> RenderedPrompt:
        """The text of a conversation.

        Args:
            messages: In their order. Where the template has no place for a system message, it becomes the beginning
                of the first message of the user.
            add_generation_prompt: Ends the text where the answer begins.
            now: What a template that asks for the date is told; by default the present.

        Returns:
            The text, which knows which parts of it the user wrote, and where the template writes a blank before an
            answer that the model may have left out.

        Raises:
            EngineError: the template refused these messages, failed, or took too much.
        """
        now = now or datetime.now()
        if any(message.role is Role.SYSTEM for message in messages) and not self._has_place_for_system(now):
            messages = _merge_system(messages)
        text = self._run(messages, add_generation_prompt, now)
        marks_answers = any(message.role is Role.ASSISTANT for message in messages) and self._writes_blanks(now)
        marked_messages = [_marked(message, marks_answers) for message in messages]
        try:
            marked = _take_out_marks(self._run(marked_messages, add_generation_prompt, now))
        except EngineError:
            return RenderedPrompt(text)
        if marked.text != text:
            return RenderedPrompt(text)
        return RenderedPrompt(text, marked.user_spans, [_space_before(text, answer) for answer in marked.answers])

    def _run(self, messages: Sequence[ChatMessage], add_generation_prompt: bool, now: datetime) -> str:
        from tui_llama.engine.template_sandbox import TemplateRefusalError

        variables = _variables(messages, add_generation_prompt, now) | self._texts
        try:
            text = self._template.render(variables, now)
        except TemplateRefusalError as error:
            raise EngineError(f"The model's chat template refused the messages: {error}", _HINT) from error
        except Exception as error:  # a template can make Python raise anything
            raise EngineError(f"The model's chat template failed: {_short(error)}", _HINT) from error
        return text.removeprefix(self._strip_front).removesuffix(self._strip_back)

    def _has_place_for_system(self, now: datetime) -> bool:
        """Whether a system message appears in the text; asked once."""
        if self._takes_system is None:
            probe = (ChatMessage(Role.SYSTEM, _PROBE), ChatMessage(Role.USER, "Hello"))
            try:
                self._takes_system = _PROBE in self._run(probe, True, now)
            except EngineError:
                self._takes_system = False
        return self._takes_system

    def _writes_blanks(self, now: datetime) -> bool:
        """Whether white space is written before an answer that is not there where an answer begins; asked once."""
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


def template_from_gguf(file: GgufFile, tokenizer: Tokenizer) -> ChatTemplate:
    """The chat template of a model file; a known or a plain one where it has none that works."""
    text, odd = stored_template(file)
    if not text:
        notice = f"{odd or 'The model file has no chat template'}; a plain one is used, and answers may be worse."
        return _open(PLAIN_TEMPLATE, "plain", tokenizer, notice, PLAIN_STOP_TEXTS)
    try:
        return _open(text, "model file", tokenizer, odd)
    except EngineError as error:
        name = recognize_template(text)
        notice = f"{error}; the {'plain' if name is None else name} template is used instead."
    if name is None:
        return _open(PLAIN_TEMPLATE, "plain", tokenizer, notice, PLAIN_STOP_TEXTS)
    return _open(KNOWN_TEMPLATES[name], f"built in: {name}", tokenizer, notice)


def known_template(name: str, tokenizer: Tokenizer) -> ChatTemplate:
    """A template that is known by name.

    Raises:
        SettingsError: nobody knows the name.
    """
    if name not in KNOWN_TEMPLATES:
        known = ", ".join(sorted(KNOWN_TEMPLATES))
        raise SettingsError(f"There is no chat template named {name[:40]!r}", f"Known are {known}.")
    return _open(KNOWN_TEMPLATES[name], f"built in: {name}", tokenizer)


def _open(
    text: str, source: str, tokenizer: Tokenizer, notice: str = "", stop_texts: Sequence[str] = ()
) -> ChatTemplate:
    return ChatTemplate(
        text,
        source,
        bos_text="" if tokenizer.bos_id is None else tokenizer.token_text(tokenizer.bos_id),
        eos_text="" if tokenizer.eos_id is None else tokenizer.token_text(tokenizer.eos_id),
        adds_bos=tokenizer.add_bos,
        adds_eos=tokenizer.add_eos,
        notices=(notice,) if notice else (),
        stop_texts=stop_texts,
    )


def _compile(text: str) -> "SandboxedTemplate":
    from jinja2 import TemplateError

    from tui_llama.engine.template_sandbox import SandboxedTemplate

    try:
        return SandboxedTemplate(text)
    except (TemplateError, ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise EngineError(f"The model's chat template cannot be read ({_short(error)})", _HINT) from error


def _variables(messages: Sequence[ChatMessage], add_generation_prompt: bool, now: datetime) -> dict[str, Any]:
    """What templates expect; `tools` stays undefined, as there are none."""
    return {
        "messages": [{"role": str(message.role), "content": message.text} for message in messages],
        "add_generation_prompt": add_generation_prompt,
        "enable_thinking": True,
        "datetime": now.strftime("%b %d %Y"),
        "date_string": now.strftime("%d %b %Y"),
    }


def _merge_system(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """System messages put before the next message of the user; at the end they become one."""
    merged: list[ChatMessage] = []
    waiting: list[str] = []
    for message in messages:
        if message.role is Role.SYSTEM:
            waiting.append(message.text)
        elif message.role is Role.USER and waiting:
            merged.append(ChatMessage(Role.USER, "\n".join([*waiting, message.text])))
            waiting = []
        else:
            merged.append(message)
    if waiting:
        merged.append(ChatMessage(Role.USER, "\n".join(waiting)))
    return merged


def _marked(message: ChatMessage, marks_answers: bool) -> ChatMessage:
    """The same with marks around the user's text, inside of the white space that templates take away.

    Of an answer, which templates may look into, the beginning is marked, and only if that is asked for.
    """
    text = message.text
    start, end = len(text) - len(text.lstrip()), len(text.rstrip())
    if start >= end:
        return message
    if message.role is Role.USER:
        text = f"{text[:start]}{_USER_TEXT_BEGINS}{text[start:end]}{_USER_TEXT_ENDS}{text[end:]}"
    elif message.role is Role.ASSISTANT and marks_answers:
        text = f"{text[:start]}{_ANSWER_BEGINS}{text[start:]}"
    return ChatMessage(message.role, text)


@dataclass(frozen=True, slots=True)
class _Marked:
    """A rendered text without its marks, and where they were in it."""

    text: str
    user_spans: tuple[Span, ...]
    answers: tuple[int, ...]


def _take_out_marks(marked: str) -> _Marked:
    plain: list[str] = []
    user_spans: list[Span] = []
    answers: list[int] = []
    begins: int | None = None
    length = 0
    for part in _MARKS.split(marked):
        if part == _USER_TEXT_BEGINS:
            begins = length
        elif part == _USER_TEXT_ENDS and begins is not None:
            user_spans.append((begins, length))
            begins = None
        elif part == _ANSWER_BEGINS:
            answers.append(length)
        elif part != _USER_TEXT_ENDS:
            plain.append(part)
            length += len(part)
    return _Marked("".join(plain), tuple(user_spans), tuple(answers))


def _space_before(text: str, place: int) -> Span:
    start = place
    while start and text[start - 1].isspace():
        start -= 1
    return start, place


def _short(error: BaseException) -> str:
    lines = str(error).splitlines()
    return (lines[0] if lines else type(error).__name__)[:120]
