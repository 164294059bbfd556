"""What was chosen for the chat on the screen, in the few words that the status line has room for."""

from tui_llama.chat import AnswerBounds, ChatChoices
from tui_llama.controllers.choosing.reply_start import quoted
from tui_llama.controllers.choosing.set_argument import shown_value
from tui_llama.text_safety import sanitize_line
from tui_llama.turn.live_chats import LiveChats, OfShownChat


class ChosenWords(OfShownChat):
    """The words for the choices of the chat on the screen.

    Args:
        live_chats: Have the driver of the chat on the screen.
    """

    def __init__(self, live_chats: LiveChats) -> None:
        super().__init__(live_chats)
        self._made_of: tuple[ChatChoices, str, AnswerBounds, str, object] | None = None
        self._words = ""

    def words(self) -> str:
        """Returns what differs in this chat from what it would be without a choice; empty where nothing does."""
        driver = self._turn_driver
        chat, settings = driver.chat, driver.requests.of_model
        made_of = (chat.choices, chat.reply_start, chat.bounds, driver.model_path, settings)
        if made_of != self._made_of:
            self._made_of, self._words = made_of, self._chosen()
        return self._words

    def _chosen(self) -> str:
        chat = self._turn_driver.chat
        persona = sanitize_line(chat.choices.persona)
        start = f"begins {quoted(chat.reply_start)}" if chat.reply_start else ""
        parts = (persona, *self._sampling(), self._thinking(), start, self._bounds())
        return " · ".join(part for part in parts if part)

    def _bounds(self) -> str:
        chat = self._turn_driver.chat
        kind = "grammar" if chat.bounds.grammar else "JSON" if chat.bounds else ""
        return f"{kind} once" if chat.next_bounds and kind else kind

    def _thinking(self) -> str:
        choices, words = self._turn_driver.chat.choices, []
        thinking, most_tokens = self._turn_driver.requests.thinking(self._turn_driver.chat)
        if choices.thinking is not None:
            words.append(f"think {thinking}")
        if choices.thinking_tokens is not None:
            words.append(f"think ≤ {most_tokens}")
        return " · ".join(words)

    def _sampling(self) -> list[str]:
        chat = self._turn_driver.chat
        if not chat.choices.sampling:
            return []
        requests = self._turn_driver.requests
        now, without = requests.sampling(chat).sampling, requests.sampling_of_model().sampling
        names = [name for name in chat.choices.sampling if hasattr(now, name)]
        return [
            f"{name} {shown_value(getattr(now, name))}"
            for name in names
            if getattr(now, name) != getattr(without, name)
        ]
