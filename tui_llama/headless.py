"""Answers without a screen: runs the engine in this process and prints as it comes.

The result goes to standard output through the same gate as on the screen, terminal or not: a control
sequence in a file is as harmful once somebody looks at the file. Everything else goes to standard error. On
a terminal the result ends in a newline; elsewhere nothing is added to it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from tui_llama.chat import ChatMessage, Role, StopReason
from tui_llama.engine.protocol import (
    CompleteRequest,
    Failed,
    Finished,
    LoadProgress,
    LoadRequest,
    ModelLoaded,
    Notice,
    PromptProgress,
    ReplyRequest,
    TextPiece,
)
from tui_llama.errors import EngineError, UserError
from tui_llama.text_safety import TextSanitizer, sanitize_line

if TYPE_CHECKING:
    from tui_llama.engine.local import LocalEngine
    from tui_llama.settings import Settings

_TURN = 1


def ask(model: str, settings: "Settings", question: str, stop_texts: tuple[str, ...]) -> None:
    """Prints the answer to one question.

    Args:
        model: Path of the model file.
        settings: What was set and given.
        question: The user's message.
        stop_texts: Texts that end the answer.

    Raises:
        UserError: the model cannot be loaded or the answer failed.
    """
    system = (ChatMessage(Role.SYSTEM, settings.system_prompt),) if settings.system_prompt else ()
    request = ReplyRequest(
        turn=_TURN,
        messages=(*system, ChatMessage(Role.USER, question)),
        sampling=settings.sampling,
        max_tokens=settings.max_tokens,
        stop_texts=stop_texts,
    )
    _run(settings.load_request(model), request)


def complete(model: str, settings: "Settings", text: str, stop_texts: tuple[str, ...]) -> None:
    """Prints how `text` goes on; the arguments are those of `ask`."""
    request = CompleteRequest(
        turn=_TURN,
        text=text,
        sampling=settings.sampling,
        max_tokens=settings.max_tokens,
        stop_texts=stop_texts,
    )
    _run(settings.load_request(model), request)


def _run(load: LoadRequest, request: ReplyRequest | CompleteRequest) -> None:
    from tui_llama.engine.local import LocalEngine

    engine = LocalEngine()
    output = _Output(sys.stdout, sys.stderr)
    with output.closing():
        _load(engine, load, output)
        _reply(engine, request, output)
    engine.close()


def _load(engine: "LocalEngine", request: LoadRequest, output: "_Output") -> None:
    for event in engine.load(request, _never):
        if isinstance(event, LoadProgress):
            output.progress(f"loading the model: {event.stage} {_percent(event.done, event.total)}")
        elif isinstance(event, ModelLoaded):
            for notice in event.notices:
                output.notice(notice)
        elif isinstance(event, Notice):
            output.notice(event.text)
        elif isinstance(event, Failed):
            raise EngineError(event.message, event.hint)


def _reply(engine: "LocalEngine", request: ReplyRequest | CompleteRequest, output: "_Output") -> None:
    for event in engine.reply(request, _never):
        if isinstance(event, PromptProgress):
            output.progress(f"reading the prompt: {event.done_tokens} of {event.total_tokens} tokens")
        elif isinstance(event, TextPiece):
            output.result(event.text)
        elif isinstance(event, Notice):
            output.notice(event.text)
        elif isinstance(event, Failed):
            raise EngineError(event.message, event.hint)
        elif isinstance(event, Finished) and event.stop_reason is StopReason.CONTEXT_FULL:
            output.notice(f"the context of {event.usage.context_size} tokens is full; the answer is cut off")


class _Output:
    """The result on one stream; on the other a line of progress that is written over, and notices."""

    def __init__(self, results: TextIO, messages: TextIO) -> None:
        self._results = results
        self._messages = messages
        self._sanitizer = TextSanitizer()
        self._shows_progress = messages.isatty()
        self._progress_is_shown = False
        self._at_line_start = True

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Leaves the terminal tidy whatever happens inside."""
        try:
            yield
            self._write(self._sanitizer.finish())
        finally:
            self._clear_progress()
            if self._results.isatty() and not self._at_line_start:
                self._write("\n")

    def progress(self, text: str) -> None:
        if self._shows_progress:
            self._messages.write(f"\r\x1b[K{text}")
            self._messages.flush()
            self._progress_is_shown = True

    def notice(self, text: str) -> None:
        self._clear_progress()
        self._messages.write(f"note: {sanitize_line(text)}\n")
        self._messages.flush()

    def result(self, text: str) -> None:
        self._write(self._sanitizer.push(text))

    def _write(self, text: str) -> None:
        if not text:
            return
        self._clear_progress()
        try:
            self._results.write(text)
            self._results.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise UserError(f"the result cannot be written: {error.strerror}") from error
        self._at_line_start = text.endswith("\n")

    def _clear_progress(self) -> None:
        if self._progress_is_shown:
            self._messages.write("\r\x1b[K")
            self._messages.flush()
            self._progress_is_shown = False


def _percent(done: int, total: int) -> str:
    return f"{100 * done // total} %" if total else ""


def _never() -> bool:
    """Ctrl+C ends the whole command, so nothing else asks for a stop."""
    return False
