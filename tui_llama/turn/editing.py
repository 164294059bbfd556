"""Editing an earlier message: which one it is, what was being written before, and what sending it would cost.

The price is asked for as soon as the text has rested for a moment. Knows neither the screen nor the turn machine.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import TypeAlias

from tui_llama.engine.events import PromptEstimate
from tui_llama.errors import EngineLostError, UserError
from tui_llama.turn.idle_prefill import REST_SECONDS, Running

Estimate: TypeAlias = Callable[[int, str], Awaitable[PromptEstimate | None]]


class Editing:
    """At most one message is edited at a time.

    Args:
        estimate: Asks for the price of a text in place of the message of that number; None while nobody can be asked.
        spawn: Runs a coroutine, which it makes; one that is cancelled at once was never made.
        on_price: Learns the price, or in words why there is none; None while it is not known.

    Attributes:
        position: The number of the message, None while none is edited.
        draft: What was being written before.
    """

    def __init__(
        self,
        estimate: Estimate,
        spawn: Callable[[Callable[[], Coroutine[None, None, None]]], Running],
        on_price: Callable[[PromptEstimate | str | None], None],
    ) -> None:
        self._estimate = estimate
        self._spawn = spawn
        self._on_price = on_price
        self._running: Running | None = None
        self.draft = ""
        self._priced_text: str | None = None
        self.position: int | None = None

    def begin(self, position: int, draft: str) -> None:
        """Edits the message of that number; `draft` comes back at the end, unless another message is edited now."""
        if self.position is None:
            self.draft = draft
        self._drop()
        self.position, self._priced_text = position, None

    def end(self) -> str:
        """Leaves the message as it was; returns what was being written before it was edited."""
        self._drop()
        self.position = self._priced_text = None
        draft, self.draft = self.draft, ""
        return draft

    def ask_price(self, text: str) -> None:
        """Asks for the price of sending the message with this text."""
        if self.position is None or text == self._priced_text:
            return
        self._drop()
        self._priced_text = text
        self._on_price(None)
        self._running = self._spawn(partial(self._ask, self.position, text))

    def _drop(self) -> None:
        if self._running is not None:
            self._running.cancel()
        self._running = None

    async def _ask(self, position: int, text: str) -> None:
        await asyncio.sleep(REST_SECONDS)
        try:
            self._on_price(await self._estimate(position, text))
        except EngineLostError:
            pass  # told when the message is sent, which starts the engine again
        except UserError as error:
            self._on_price(str(error))
