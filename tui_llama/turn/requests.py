"""Makes the engine's requests of a chat, of the user's settings and of the model that is loaded."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from tui_llama.chat import ChatMessage, Role, Thinking
from tui_llama.chats.chat_date import date_text
from tui_llama.chats.ledger import UNKNOWN_VOCABULARY, FedTokens, Ledger
from tui_llama.chats.open_chat import OpenChat
from tui_llama.declarations import Value
from tui_llama.engine.descriptions import ModelInfo
from tui_llama.engine.events import TOKENISED_AGAIN
from tui_llama.engine.requests import (
    CompleteRequest,
    EstimateRequest,
    IdlePrefillRequest,
    ReplyRequest,
)
from tui_llama.sampling.settings import SamplingSettings

if TYPE_CHECKING:
    from tui_llama.chosen_sampling import ChosenSampling
    from tui_llama.settings import Settings


class RequestMaker:
    """Makes requests; asks nobody.

    Args:
        settings: Returns the settings as the user set them.
        loaded_model: Returns the model that is loaded, or None.
        tell: Learns what the user should know of a request.

    Attributes:
        once: How the next answer alone chooses its tokens, by the names of `SamplingSettings`.
    """

    def __init__(
        self,
        settings: "Callable[[], Settings]",
        loaded_model: Callable[[], ModelInfo | None],
        tell: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._loaded_model = loaded_model
        self._tell = tell
        self.once: Mapping[str, Value] = {}

    @property
    def of_model(self) -> "Settings":
        """The settings for the loaded model."""
        model, settings = self._loaded_model(), self._settings()
        return settings if model is None else settings.for_model(model.path)

    async def reply(self, number: int, chat: OpenChat) -> ReplyRequest:
        """Returns what asks for an answer, the one that is open, as turn `number`."""
        settings, reply_start = self.of_model, chat.entries[-1].text
        fed = self._fed(await chat.ledger())
        sampling, given_sampling = self.sampling(chat).sampling, self._given_sampling(chat)
        self.once = {}
        bounds = chat.entries[-1].bounds = chat.answer_bounds
        return ReplyRequest(
            turn=number,
            messages=chat.prompt_messages(),
            ledger=fed.token_ids,
            vocabulary=fed.vocabulary,
            begun_at=date_text(chat.begun_at),
            sampling=sampling,
            given_sampling=given_sampling,
            max_tokens=settings.max_tokens,
            chat_id=chat.stored_owner_id,
            draft_max=settings.draft_max,
            overflow=settings.overflow(),
            loop_guard=settings.loop_guard == "on",
            thinking=self.thinking(chat)[0],
            thinking_tokens=self.thinking(chat)[1],
            reply_start=reply_start,
            json_schema=bounds.json_schema,
            grammar=bounds.grammar,
        )

    async def continuation(self, number: int, chat: OpenChat) -> CompleteRequest:
        """Returns what asks for more of the open answer as turn `number`, token by token from where it was cut off.

        One whose tokens are of another vocabulary, or of one that nobody knows, goes on from its text. So does one that
        a server wrote, or is to write.
        """
        settings, may_repeat = self.of_model, chat.entries[-1].may_repeat
        ledger, answer_tokens = await chat.ledger_to_go_on()
        fed = self._fed(ledger)
        bounds = chat.answer_bounds if chat.entries[-1].bounds is None else chat.entries[-1].bounds
        has_tokens = self._has_exact_tokens and ledger.writes_end_in(self._vocabulary)
        return CompleteRequest(
            turn=number,
            text="",
            sampling=self.sampling(chat).sampling,
            given_sampling=self._given_sampling(chat),
            max_tokens=settings.max_tokens,
            chat_id=chat.stored_owner_id,
            draft_max=settings.draft_max,
            overflow=settings.overflow(),
            ledger=fed.token_ids,
            vocabulary=fed.vocabulary,
            begun_at=date_text(chat.begun_at),
            loop_guard=settings.loop_guard == "on" and not may_repeat,
            answer=chat.entries[-1].text,
            answer_thought=chat.entries[-1].thought,
            thinking=self.thinking(chat)[0],
            thinking_tokens=self.thinking(chat)[1],
            answer_tokens=answer_tokens if fed.token_ids and not fed.lacks_newest and not ledger.lacks_end else 0,
            messages=() if has_tokens else chat.messages(),
            json_schema=bounds.json_schema,
            grammar=bounds.grammar,
        )

    async def idle_prefill(self, chat: OpenChat, draft: str) -> IdlePrefillRequest:
        """Returns the request for idle prefill of the next prompt; `draft` is the beginning of the next message."""
        settings = self.of_model
        fed = self._fed(await chat.whole_ledger())
        return IdlePrefillRequest(
            messages=chat.messages(),
            draft=draft,
            ledger=fed.token_ids,
            vocabulary=fed.vocabulary,
            begun_at=date_text(chat.begun_at),
            max_tokens=settings.max_tokens,
            chat_id=chat.owner_id,
            overflow=settings.overflow(),
            thinking=self.thinking(chat)[0],
            reply_start=chat.reply_start,
        )

    async def estimate(
        self,
        chat: OpenChat,
        position: int,
        text: str,
        begun_at: datetime | None = None,
        system_prompt: str | None = None,
        without: int | None = None,
        *,
        shows_prompt: bool = False,
    ) -> EstimateRequest:
        """Returns the request for the price of a prompt, and for the prompt itself if `shows_prompt`.

        The prompt has the conversation before message number `position`, but not message number `without`, and `text`
        behind it if there is any. A moment and a system prompt stand in place of the chat's own.
        """
        settings = self.of_model
        fed = self._fed_in(await chat.ledger_before(position))
        question = (ChatMessage(Role.USER, text),) if text else ()
        return EstimateRequest(
            messages=(*chat.messages_before(position, system_prompt, without), *question),
            ledger=fed.token_ids,
            vocabulary=fed.vocabulary,
            begun_at=date_text(begun_at or chat.begun_at),
            max_tokens=settings.max_tokens,
            chat_id=chat.owner_id,
            overflow=settings.overflow(),
            shows_prompt=shows_prompt,
            thinking=self.thinking(chat)[0],
            reply_start=chat.reply_start,
        )

    def thinking(self, chat: OpenChat) -> tuple[Thinking, int | None]:
        """Returns whether the model is to think in a chat, and the most tokens of a thought; None for no limit."""
        settings, choices = self.of_model, chat.choices
        thinking = Thinking(settings.thinking) if choices.thinking is None else choices.thinking
        most_tokens = settings.thinking_tokens if choices.thinking_tokens is None else choices.thinking_tokens
        return thinking, most_tokens

    @property
    def _vocabulary(self) -> str:
        """The fingerprint of the loaded model's vocabulary."""
        model = self._loaded_model()
        return UNKNOWN_VOCABULARY if model is None else model.vocabulary

    def _fed(self, ledger: Ledger) -> FedTokens:
        """Returns what the loaded model may go on from; says so if it is not all that was fed."""
        fed = self._fed_in(ledger)
        if fed.lacks_newest:
            self._tell(TOKENISED_AGAIN)
        return fed

    def _fed_in(self, ledger: Ledger) -> FedTokens:
        """Returns the ids that the loaded model may go on from; none for a server, which gets the text."""
        return ledger.fed_in(self._vocabulary) if self._has_exact_tokens else FedTokens()

    @property
    def _has_exact_tokens(self) -> bool:
        """True if the engine of the loaded model takes token ids back."""
        model = self._loaded_model()
        return model is None or model.capabilities.has_exact_tokens

    def _given_sampling(self, chat: OpenChat) -> tuple[str, ...]:
        """The names of the sampling settings that the user has set, for this chat or at all."""
        names, given = SamplingSettings.__struct_fields__, self.of_model.given
        return tuple(name for name in names if name in self._chosen(chat) or f"sampling.{name}" in given)

    def sampling(self, chat: OpenChat) -> "ChosenSampling":
        """Returns how the next answer of a chat chooses its tokens, and where each value comes from.

        That is what was chosen for the chat, then the user's settings, and those recommended for a model file where the
        user has set none.
        """
        from tui_llama.chosen_sampling import choose_sampling  # here: the first frame does without the catalogue

        return choose_sampling(self.of_model, self._loaded_model(), self._chosen(chat))

    def _chosen(self, chat: OpenChat) -> Mapping[str, Value]:
        """Returns what was chosen for the next answer of the chat, or for all of them."""
        names = SamplingSettings.__struct_fields__
        return {name: value for name, value in {**chat.choices.sampling, **self.once}.items() if name in names}

    def sampling_of_model(self) -> "ChosenSampling":
        """Returns the same for a chat for which nothing was chosen."""
        from tui_llama.chosen_sampling import choose_sampling

        return choose_sampling(self.of_model, self._loaded_model())
