"""How the replies of the chat on the screen begin: the next one, or every one."""

from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from tui_llama.controllers.views import DialogView, HintView, StateView
from tui_llama.text_safety import sanitize_line
from tui_llama.turn.live_chats import LiveChats, OfShownChat

if TYPE_CHECKING:
    from tui_llama.screens.dialogs.choosing.write_text import Written

_ONCE: Final = "once"
_ALWAYS: Final = "always"
_LONGEST_SHOWN: Final = 30


class ReplyStartView(DialogView, HintView, StateView, Protocol):
    """The app, as the controller uses it."""


class ReplyStartController(OfShownChat):
    """The start of the replies.

    Args:
        live_chats: Have the driver of the chat on the screen.
        view: The app.
    """

    def __init__(self, live_chats: LiveChats, view: ReplyStartView) -> None:
        super().__init__(live_chats)
        self._view = view

    def start(self, text: str = "") -> None:
        """Lets the next reply begin with the text; without one, asks for it."""
        why_not = self._why_not()
        if why_not:
            self._view.show_hint(why_not)
        elif text:
            self._begin_once(text)
        else:
            self._ask()

    def _why_not(self) -> str:
        """Returns why the loaded model can be given no start of a reply; empty if it can."""
        model = self._turn_driver.model
        if model is None or model.capabilities.can_continue:
            return ""
        reason = model.capabilities.why_not_continue or f"{model.server or 'The engine'} cannot do that."
        return f"A reply cannot be begun for this model. {reason}"

    def _ask(self) -> None:
        from tui_llama.screens.dialogs.choosing.write_text import WriteText

        chat = self._turn_driver.chat

        def written(result: "Written | None") -> None:
            if result is None or self._turn_driver.chat is not chat:
                return
            if result.button == _ALWAYS:
                self._begin_always(result.text)
            else:
                self._begin_once(result.text)

        explanation = "The model goes on behind this text. Leave it empty for replies that begin as the model likes."
        buttons = ((_ONCE, "Next reply"), (_ALWAYS, "Every reply in this chat"))
        self._view.push_screen(WriteText("Start the reply with", explanation, chat.reply_start, buttons), written)

    def _begin_once(self, text: str) -> None:
        chat = self._turn_driver.chat
        chat.next_reply_start = text
        if not text and chat.choices.reply_start:  # else the next reply would still begin as all do
            self._begin_always("")
            return
        self._tell(f"The next reply begins with {quoted(text)}." if text else "Replies begin as the model likes.")

    def _begin_always(self, text: str) -> None:
        chat = self._turn_driver.chat
        chat.next_reply_start = ""
        chat.set_choices(msgspec.structs.replace(chat.choices, reply_start=text))
        where = "Every reply in this chat begins with"
        self._tell(f"{where} {quoted(text)}." if text else "Replies begin as the model likes.")

    def _tell(self, words: str) -> None:
        self._view.show_hint(words)
        self._view.show_state()


def quoted(text: str) -> str:
    """Returns the beginning of a text, safe to draw, in quotation marks."""
    line = sanitize_line(" ".join(text.split()) or "white space")
    return f"“{line if len(line) <= _LONGEST_SHOWN else line[: _LONGEST_SHOWN - 1] + '…'}”"
