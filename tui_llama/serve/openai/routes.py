"""The routes of the two endpoints that answer."""

import itertools
from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.routing import Route

from tui_llama.engine.descriptions import ModelInfo
from tui_llama.serve.http.json_body import json_body
from tui_llama.serve.openai.answering import Answering
from tui_llama.serve.openai.chunks import Ids
from tui_llama.serve.openai.request.bodies import ChatBody, CommonBody, TextBody
from tui_llama.serve.openai.request.chat_request import asked_chat
from tui_llama.serve.openai.request.questions import ChatQuestion, TextQuestion
from tui_llama.serve.openai.request.refusals import check_model
from tui_llama.serve.openai.request.text_request import asked_text
from tui_llama.serve.queue import EngineQueue
from tui_llama.settings import Settings

PING_SECONDS: Final = 10.0


def openai_routes(
    queue: EngineQueue,
    model: Callable[[], ModelInfo],
    settings: Settings,
    *,
    any_model: bool = False,
    ping_seconds: float = PING_SECONDS,
    ids: Ids | None = None,
) -> list[Route]:
    """Returns the routes.

    Args:
        queue: The queue before the engine.
        model: Returns the model that is loaded.
        settings: The user's settings, which count where a request says nothing.
        any_model: The name of the model in a request does not matter, for programs with a fixed one.
        ping_seconds: After how long a silence a streamed answer shows that it is alive.
        ids: Supplies ids and times; None for random ids and the clocks of the system.
    """
    routes = _OpenAIRoutes(queue, model, settings, any_model, ping_seconds, ids or Ids())
    return [
        Route("/v1/chat/completions", routes.chat, methods=["POST"]),
        Route("/v1/completions", routes.text, methods=["POST"]),
    ]


class _OpenAIRoutes:
    def __init__(
        self,
        queue: EngineQueue,
        model: Callable[[], ModelInfo],
        settings: Settings,
        any_model: bool,
        ping_seconds: float,
        ids: Ids,
    ) -> None:
        self._queue = queue
        self._model = model
        self._settings = settings
        self._any_model = any_model
        self._ping_seconds = ping_seconds
        self._ids = ids
        self._turns = itertools.count(1)

    async def chat(self, request: Request) -> Answering:
        body = await json_body(request.receive, ChatBody)
        asked = asked_chat(body, next(self._turns), self._settings, self._model_for(body))
        return Answering(self._queue, ChatQuestion(asked, self._ids), self._ping_seconds)

    async def text(self, request: Request) -> Answering:
        body = await json_body(request.receive, TextBody)
        asked = asked_text(body, next(self._turns), self._settings, self._model_for(body))
        return Answering(self._queue, TextQuestion(asked, self._ids), self._ping_seconds)

    def _model_for(self, body: CommonBody) -> ModelInfo:
        """Returns the model that answers a request.

        Raises:
            ApiError: the request asks for another one.
        """
        model = self._model()
        if not self._any_model:
            check_model(body.model, model)
        return model
