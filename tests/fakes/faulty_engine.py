"""An engine that replays a script and raises errors that no engine should raise."""

import itertools
from collections.abc import AsyncIterator
from copy import copy
from typing import Any

from tui_llama.engine.events import PromptEstimate
from tui_llama.engine.protocol import Event
from tui_llama.engine.requests import (
    CompleteRequest,
    EstimateRequest,
    IdlePrefillRequest,
    LoadRequest,
    ReplyRequest,
)
from tui_llama.engine.scripted import ScriptedEngine, demo_reply

ANSWER = "Of course. A **llama** it is.\n"


class FaultyEngine(ScriptedEngine):
    """A scripted engine that raises a given error at one of its awaits, once."""

    def __init__(self, place: str, fault: BaseException) -> None:
        super().__init__(replies=lambda request: demo_reply(request, ANSWER))
        self._place = place
        self.fault: BaseException | None = fault

    def _fail_at(self, place: str) -> None:
        if self.fault is not None and place == self._place:
            raise copy(self.fault)  # a copy, because its traceback would keep objects of this test alive in later tests

    def load(self, request: LoadRequest) -> Any:
        self._fail_at("load called")
        return self._events("load", super().load(request))

    def reply(self, request: ReplyRequest | CompleteRequest) -> Any:
        self._fail_at("reply called")
        return self._events("reply", super().reply(request))

    def idle_prefill(self, request: IdlePrefillRequest) -> Any:
        self._fail_at("read ahead called")
        return self._events("read ahead", super().idle_prefill(request))

    async def estimate(self, request: EstimateRequest) -> PromptEstimate:
        self._fail_at("estimate")
        return await super().estimate(request)

    async def _events(self, name: str, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
        self._fail_at(f"{name} began")
        for number in itertools.count():
            try:
                event = await anext(events)
            except StopAsyncIteration:
                break
            yield event
            if number == 1:
                self._fail_at(f"{name} under way")
        self._fail_at(f"{name} ended")

    def cancel(self) -> None:
        self._fail_at("cancel")
        super().cancel()

    async def close(self) -> None:
        self._fail_at("close")
        await super().close()
