"""`/think`: whether, and how hard, the model thinks before it answers in this chat; and "answer now"."""

from typing import Final, Protocol

import msgspec

from tui_llama import conversation
from tui_llama.chat import Thinking
from tui_llama.controllers.views import HintView, ScreenView, StateView
from tui_llama.conversation import State
from tui_llama.turn.live_chats import LiveChats, OfShownChat

_MOST_TOKENS: Final = 2**31 - 1
_DEFAULT: Final = "default"
_NO_THOUGHT_YET: Final = {
    State.WAITING: "The model is still loading and has no thought to end yet; Esc stops.",
    State.QUEUED: "Another chat has the engine; there is no thought to end yet. Esc stops.",
    State.READING: "The model still reads and has no thought to end yet. Alt+A ends it once it thinks; Esc stops.",
}


class ThinkingView(ScreenView, HintView, StateView, Protocol):
    """The app, as the controller uses it."""


class ThinkingController(OfShownChat):
    """What was chosen of thinking for the chat on the screen.

    Args:
        live_chats: Have the driver of the chat on the screen.
        view: The app.
    """

    def __init__(self, live_chats: LiveChats, view: ThinkingView) -> None:
        super().__init__(live_chats)
        self._view = view

    def choose(self, argument: str = "") -> None:
        """Takes "on", "off", an effort, "default", or a limit in tokens; without one, tells what is in effect."""
        chat = self._turn_driver.chat
        word = argument.lower().removesuffix("tokens").strip()
        if not word:
            self._view.show_hint(self._in_effect())
        elif word.isdecimal() and int(word) <= _MOST_TOKENS:
            chat.set_choices(msgspec.structs.replace(chat.choices, thinking_tokens=int(word)))
            self._view.show_hint(f"A thought in this chat ends after {int(word)} tokens. /think default takes it back.")
        elif word == _DEFAULT:
            chat.set_choices(msgspec.structs.replace(chat.choices, thinking=None, thinking_tokens=None))
            self._view.show_hint("The settings decide again whether the model thinks.")
        elif word in list(Thinking):
            chat.set_choices(msgspec.structs.replace(chat.choices, thinking=Thinking(word)))
            self._view.show_hint(self._chosen(Thinking(word)))
        else:
            self._view.show_hint(f"/think takes {self._known_words()}, default, or a number of tokens.")
        self._view.show_status()

    def answer_now(self) -> None:
        """Ends the thought that the model is in, so that it answers."""
        driver = self._turn_driver
        if not driver.capabilities.can_answer_now:
            self._view.show_hint("This model's server cannot end a thought; Esc stops the answer.")
        elif driver.allows(conversation.AnswerNow) and self.is_thinking:
            driver.dispatch(conversation.AnswerNow())
            self._view.show_hint("The thought ends; the answer begins.")
        else:
            self._view.show_hint(_NO_THOUGHT_YET.get(driver.state, "The model is not thinking now."))

    @property
    def is_thinking(self) -> bool:
        """True while the open answer has a thought and no text yet."""
        entries = self._turn_driver.chat.entries
        return bool(entries) and bool(entries[-1].thought) and not entries[-1].text

    def fold_all(self) -> None:
        """Folds all thoughts, or unfolds them."""
        self._view.chat_screen.transcript.fold_thoughts()

    def _choices(self) -> tuple[Thinking, ...]:
        model = self._turn_driver.model
        return () if model is None else model.thinking

    def _known_words(self) -> str:
        return ", ".join(self._choices() or tuple(each for each in Thinking if each is not Thinking.DEFAULT))

    def _chosen(self, choice: Thinking) -> str:
        model = self._turn_driver.model
        if model is None or choice in model.thinking:
            return f"Thinking is {choice} in this chat, from the next answer on. /think default takes it back."
        if model.thinking:
            return f"Thinking is {choice} in this chat, but this model knows only {self._known_words()}."
        return f"Thinking is {choice} in this chat, but this model's template has no such choice."

    def _in_effect(self) -> str:
        thinking, most_tokens = self._turn_driver.requests.thinking(self._turn_driver.chat)
        limit = "" if most_tokens is None else f", at most {most_tokens} tokens"
        return f"Thinking: {thinking}{limit}. /think takes {self._known_words()}, default, or a number of tokens."
