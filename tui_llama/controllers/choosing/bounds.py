"""`/json` and `/grammar`: what binds the answers of the chat on the screen, or the next one alone."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from tui_llama.attachments.reading import read_attachment
from tui_llama.chat import AnswerBounds
from tui_llama.chats.open_chat import OpenChat
from tui_llama.controllers.attaching.attachments import READ_SECONDS
from tui_llama.controllers.views import HintView, StateView
from tui_llama.errors import UserError
from tui_llama.system.daemon_threads import in_daemon_thread
from tui_llama.turn.live_chats import LiveChats, OfShownChat

_ONCE: Final = "once"
_OFF: Final = "off"
_ANY_OBJECT: Final = '{"type": "object"}'

MakeBounds = Callable[[str], AnswerBounds]


class BoundsView(HintView, StateView, Protocol):
    """The app, as the controller uses it."""

    def run_beside(self, work: Callable[[], Coroutine[Any, Any, None]], group: str) -> object:
        """Runs work beside others of its group."""
        ...


class BoundsController(OfShownChat):
    """What binds the answers.

    Args:
        live_chats: Have the driver of the chat on the screen.
        view: The app.
    """

    def __init__(self, live_chats: LiveChats, view: BoundsView) -> None:
        super().__init__(live_chats)
        self._view = view

    def choose_json(self, argument: str = "") -> None:
        """Takes a schema, or a file with one, for all answers or behind "once" for the next; "off" takes it back.

        Without a schema, an answer may be any object.
        """
        is_once, rest = _parted(argument)
        if rest == _OFF:
            self._take_back()
        elif not rest or rest.startswith("{"):
            self._bind(self._turn_driver.chat, rest or _ANY_OBJECT, _json_bounds, is_once=is_once)
        else:
            self._bind_to_file(rest, _json_bounds, is_once=is_once)

    def choose_grammar(self, argument: str = "") -> None:
        """Takes a grammar, or a file with one, as `choose_json` does; without one, tells what is in effect."""
        is_once, rest = _parted(argument)
        model = self._turn_driver.model
        if rest == _OFF:
            self._take_back()
        elif not rest:
            self._view.show_hint(self._in_effect())
        elif model is not None and not model.capabilities.has_grammars:
            self._view.show_hint(f"{model.server or 'The engine'} knows no grammars; /json may do.")
        elif "::=" in rest:
            self._bind(self._turn_driver.chat, rest, _grammar_bounds, is_once=is_once)
        else:
            self._bind_to_file(rest, _grammar_bounds, is_once=is_once)

    def _bind_to_file(self, path: str, make: MakeBounds, *, is_once: bool) -> None:
        chat = self._turn_driver.chat

        async def read() -> None:
            try:
                reading = in_daemon_thread(partial(read_attachment, Path(path).expanduser()))
                text = (await asyncio.wait_for(reading, READ_SECONDS)).text
            except TimeoutError:
                self._view.show_hint(f"{path} cannot be read: the disk does not answer.")
            except UserError as error:
                self._view.show_hint(str(error))
            else:
                self._bind(chat, text, make, is_once=is_once)

        self._view.run_beside(read, "bounds")

    def _bind(self, chat: OpenChat, text: str, make: MakeBounds, *, is_once: bool) -> None:
        try:
            bounds = make(text)
        except UserError as error:
            self._view.show_hint(f"{str(error)[:1].upper()}{str(error)[1:]}.")
            return
        kind = "fit the grammar" if bounds.grammar else "are JSON"
        if is_once:
            chat.next_bounds = bounds
            kind = "fits the grammar" if bounds.grammar else "is JSON"
            self._tell(f"The next answer {kind}.")
        else:
            chat.next_bounds = None
            chat.bind_question(None)
            chat.set_choices(msgspec.structs.replace(chat.choices, bounds=bounds))
            off = "/grammar off" if bounds.grammar else "/json off"
            self._tell(f"Answers in this chat {kind} from now on. {off} takes it back.")

    def _take_back(self) -> None:
        chat = self._turn_driver.chat
        chat.next_bounds = None
        chat.bind_question(None)
        if chat.choices.bounds is not None:
            chat.set_choices(msgspec.structs.replace(chat.choices, bounds=None))
        self._tell("Answers are as the model likes.")

    def _in_effect(self) -> str:
        bounds = self._turn_driver.chat.bounds
        now = (
            "Answers fit a grammar." if bounds.grammar else "Answers are JSON." if bounds else "Nothing binds answers."
        )
        return f'{now} /grammar takes a file or a text such as root ::= "yes" | "no", and off.'

    def _tell(self, words: str) -> None:
        self._view.show_hint(words)
        self._view.show_state()


def _parted(argument: str) -> tuple[bool, str]:
    """Returns whether an argument is for the next answer only, and the rest of it."""
    word, _, rest = argument.strip().partition(" ")
    return (True, rest.strip()) if word.lower() == _ONCE else (False, argument.strip())


def _json_bounds(text: str) -> AnswerBounds:
    from tui_llama.engine.generation.grammar.schema import read_schema  # only who asks for it needs it

    read_schema(text)
    return AnswerBounds(json_schema=text)


def _grammar_bounds(text: str) -> AnswerBounds:
    from tui_llama.engine.generation.grammar.gbnf import read_gbnf  # as above

    read_gbnf(text, lambda name: 0)  # which tokens there are only the model knows
    return AnswerBounds(grammar=text)
