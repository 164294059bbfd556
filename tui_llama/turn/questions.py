"""What the engine is asked beside the turns of a chat: to prefill ahead, and what a prompt would cost.

None of this changes the chat. A question waits until no reply has the engine.
"""

from collections.abc import Callable
from datetime import datetime

from tui_llama.chats.chat_date import local_now
from tui_llama.chats.open_chat import OpenChat
from tui_llama.engine.events import PromptEstimate
from tui_llama.engine.protocol import Engine
from tui_llama.engine.requests import IdlePrefillRequest, TokenizeRequest
from tui_llama.turn.engine_host import EngineHost
from tui_llama.turn.requests import RequestMaker

_ANY_MESSAGE = "And?"
"""Stands for what will be said next, where nothing is written yet."""


class Questions:
    """What is asked for one chat.

    Args:
        host: Has the engine and the model.
        chat: The chat.
        requests: Makes the requests.
        model_is_loading: Tells whether the chat's machine knows of a load that is under way.
    """

    def __init__(
        self, host: EngineHost, chat: OpenChat, requests: RequestMaker, model_is_loading: Callable[[], bool]
    ) -> None:
        self._host = host
        self._chat = chat
        self._requests = requests
        self._model_is_loading = model_is_loading

    async def idle_prefill_request(self, draft: str) -> tuple[Engine, IdlePrefillRequest] | None:
        """Returns whom to ask for idle prefill, and the request for it; None if there is nothing to read."""
        chat = self._chat
        if not self._host.capabilities.can_prefill_idle or (not draft and not chat.messages()):
            return None
        async with self._host.is_free:  # a reply that has just ended may not have let go of it yet
            request = await self._requests.idle_prefill(chat, draft)
        return self._host.engine, request

    async def estimate(self, position: int, text: str) -> PromptEstimate | None:
        """Returns what a reply to `text` in place of message `position` would have to read; None if nobody knows.

        Raises:
            EngineError: there can be no such reply.
            EngineLostError: the engine's process ended.
        """
        return await self._estimate(position, text) if text.strip() else None

    async def estimate_of_today(self, draft: str) -> PromptEstimate | None:
        """Returns what the next reply would have to read if the model were told today's date; None if nobody knows.

        Args:
            draft: What the user will say next, as far as it is written.

        Raises:
            EngineError: there can be no such reply.
            EngineLostError: the engine's process ended.
        """
        text = (draft if draft.strip() else _ANY_MESSAGE) if self._chat.ends_in_answer else ""
        return await self._estimate(len(self._chat.entries), text, begun_at=local_now())

    async def estimate_of_system_prompt(self, draft: str, system_prompt: str) -> PromptEstimate | None:
        """Returns what the next reply would have to read with another system prompt; the rest as for today's date."""
        text = (draft if draft.strip() else _ANY_MESSAGE) if self._chat.ends_in_answer else ""
        return await self._estimate(len(self._chat.entries), text, system_prompt=system_prompt)

    async def estimate_without(self, position: int, draft: str) -> PromptEstimate | None:
        """Returns what the next reply would have to read without message `position`; the rest as for today's date."""
        text = (draft if draft.strip() else _ANY_MESSAGE) if self._chat.ends_in_answer else ""
        return await self._estimate(len(self._chat.entries), text, without=position)

    async def token_count(self, text: str) -> int | None:
        """Returns how many tokens a text has by itself; None if nobody knows.

        Raises:
            EngineError: the engine cannot tell.
            EngineLostError: the engine's process ended.
        """
        async with self._host.is_free:
            model = self._host.model
            if model is None or self._model_is_loading() or not model.capabilities.has_exact_tokens:
                return None
            return len((await self._host.engine.tokenize(TokenizeRequest(text))).token_ids)

    async def prompt(self, draft: str, position: int | None) -> PromptEstimate | None:
        """Returns what the model is given; None while there is nothing to give, or no model that could tell.

        Args:
            draft: The message that is being written. Where there is none, it is the prompt of the last answer.
            position: The number of the message that the draft is to replace; None where it is a new one.

        Raises:
            EngineError: there can be no such prompt.
            EngineLostError: the engine's process ended.
        """
        count = len(self._chat.entries)
        if not draft.strip():
            count -= self._chat.ends_in_answer
            return await self._estimate(count, "", shows_prompt=True) if count else None
        return await self._estimate(count if position is None else position, draft, shows_prompt=True)

    async def _estimate(
        self,
        position: int,
        text: str,
        *,
        begun_at: datetime | None = None,
        system_prompt: str | None = None,
        without: int | None = None,
        shows_prompt: bool = False,
    ) -> PromptEstimate | None:
        """Asks for the price of a prompt: the conversation before message `position`, and `text` behind it if any."""
        chat = self._chat
        async with self._host.is_free:
            if self._host.model is None or self._model_is_loading() or not self._host.capabilities.can_estimate:
                return None
            request = await self._requests.estimate(
                chat, position, text, begun_at, system_prompt, without, shows_prompt=shows_prompt
            )
            return await self._host.engine.estimate(request)
