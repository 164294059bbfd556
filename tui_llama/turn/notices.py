"""Tells the user what is worth knowing of models and prompts, each notice once."""

from collections.abc import Callable, Sequence
from typing import Final

from tui_llama.chats.open_chat import OpenChat
from tui_llama.engine.events import TOKENISED_AGAIN

LOAD_AGAIN: Final = "Ctrl+R tries it again"
"""What to do when a model could not be loaded; no whole sentence yet."""


class Notices:
    """The notices that the user was given so far.

    Args:
        add_notice: Shows one line.
        told_of_models: The notices of models that were told, each with the model; shared by all chats.
    """

    def __init__(self, add_notice: Callable[[str], None], told_of_models: set[tuple[str, str]]) -> None:
        self._add_notice = add_notice
        self._told_of_models = told_of_models
        self._models_told_of_tokens: set[str] = set()

    def tell(self, notice: str, model_path: str, *, is_lasting: bool = False) -> None:
        """Shows a notice of a turn or of idle prefill.

        One that lasts, such as which settings a server does not know, is shown once for each model. That the chat is
        tokenised again is found out in more than one place and more than one turn; it is shown once for each model
        and chat.
        """
        if is_lasting:
            self.tell_of_model(model_path, (notice,))
            return
        if notice == TOKENISED_AGAIN:
            if model_path in self._models_told_of_tokens:
                return
            self._models_told_of_tokens.add(model_path)
        self._add_notice(notice)

    def tell_of_model(self, model_path: str, notices: Sequence[str]) -> None:
        """Shows what loading a model has to say.

        A model that is loaded again, after its engine was lost, has nothing new to tell.
        """
        for notice in notices:
            if (model_path, notice) not in self._told_of_models:
                self._add_notice(notice)
            self._told_of_models.add((model_path, notice))

    def tell_what_is_left_out(self, chat: OpenChat, message_count: int) -> None:
        """Says when more or fewer of the chat's messages are left out of the prompt than so far."""
        if message_count not in (0, chat.left_out_messages):
            self._add_notice(_left_out_words(message_count))
        chat.left_out_messages = message_count


def load_failure_hint(hint: str, server: str) -> str:
    """Returns what to do about a load that failed: a server may be there the next time, and a file stays as it is."""
    return f"{hint} {LOAD_AGAIN}.".lstrip() if server else hint


def _left_out_words(message_count: int) -> str:
    """Says that so many of the oldest messages are not shown to the model."""
    if message_count == 1:
        return "The oldest message no longer fits and is left out."
    return f"{message_count} older messages no longer fit and are left out."
