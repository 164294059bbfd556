"""Routes about the model itself: which it is, and how it writes text as tokens."""

import time
from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tui_llama.chat import TokenId
from tui_llama.engine.descriptions import ModelInfo
from tui_llama.engine.events import Tokenized
from tui_llama.engine.process.border import LOG_HINT
from tui_llama.engine.requests import TokenizeRequest
from tui_llama.errors import EngineError, EngineLostError
from tui_llama.serve.http.access import client_of
from tui_llama.serve.http.disconnect import watched
from tui_llama.serve.http.errors import INVALID, NOT_FOUND, ApiError, api_error_of
from tui_llama.serve.http.json_body import json_body
from tui_llama.serve.model_name import is_called, served_name
from tui_llama.serve.queue import EngineQueue

_OWNER: Final = "tui_llama"
_LONGEST_TEXT: Final = 1 << 20
"""Characters that are tokenised in one request. Nobody else has the engine meanwhile, and it cannot be cancelled."""


class TokenizeBody(msgspec.Struct):
    """The body of `POST /tokenize`; llama-server's names and defaults."""

    content: Annotated[str, Meta(max_length=_LONGEST_TEXT)]
    add_special: bool = False
    parse_special: bool = True
    with_pieces: bool = False


class DetokenizeBody(msgspec.Struct):
    """The body of `POST /detokenize`."""

    tokens: Annotated[list[TokenId], Meta(max_length=1 << 20)]


def model_routes(queue: EngineQueue, model: Callable[[], ModelInfo]) -> list[Route]:
    """Returns the routes.

    Args:
        queue: The queue before the engine.
        model: Returns the model that is loaded.
    """
    routes = _ModelRoutes(queue, model)
    return [
        Route("/v1/models", routes.models, methods=["GET"]),
        Route("/v1/models/{id:path}", routes.model, methods=["GET"]),
        Route("/tokenize", routes.tokenize, methods=["POST"]),
        Route("/detokenize", routes.detokenize, methods=["POST"]),
    ]


def json_response(content: Any) -> Response:
    """Returns an answer with JSON."""
    return Response(msgspec.json.encode(content), media_type="application/json")


class _ModelRoutes:
    def __init__(self, queue: EngineQueue, model: Callable[[], ModelInfo]) -> None:
        self._queue = queue
        self._model = model
        self._created = int(time.time())

    async def models(self, _request: Request) -> Response:
        return json_response({"object": "list", "data": [self._description()]})

    async def model(self, request: Request) -> Response:
        if not is_called(self._model(), request.path_params["id"]):
            raise ApiError(404, "There is no such model here; /v1/models lists it.", NOT_FOUND, "model_not_found")
        return json_response(self._description())

    async def tokenize(self, request: Request) -> Response:
        body = await json_body(request.receive, TokenizeBody)
        asked = TokenizeRequest(
            body.content, (), body.add_special, body.parse_special, with_pieces=bool(body.with_pieces)
        )
        told = await self._ask(request, asked)
        if not body.with_pieces:
            return json_response({"tokens": told.token_ids})
        pairs = zip(told.token_ids, told.pieces, strict=True)
        return json_response({"tokens": [{"id": token, "piece": _piece(piece)} for token, piece in pairs]})

    async def detokenize(self, request: Request) -> Response:
        body = await json_body(request.receive, DetokenizeBody)
        vocab_size = self._model().vocab_size
        if any(token >= vocab_size for token in body.tokens):
            raise ApiError(400, f"The vocabulary has only {vocab_size} tokens.", INVALID, param="tokens")
        told = await self._ask(request, TokenizeRequest(None, tuple(body.tokens), with_pieces=True))
        return json_response({"content": b"".join(told.pieces).decode("utf-8", "replace")})

    async def _ask(self, request: Request, asked: TokenizeRequest) -> Tokenized:
        turn = self._queue.turn(client_of(request.scope))
        async with watched(request.receive) as client, client.entering(turn) as engine:
            try:
                return await engine.tokenize(asked)
            except EngineError as error:
                if isinstance(error, EngineLostError) or error.hint == LOG_HINT:
                    raise
                raise ApiError(400, api_error_of(error).message, INVALID) from error

    def _description(self) -> dict[str, Any]:
        model = self._model()
        return {
            "id": served_name(model),
            "object": "model",
            "created": self._created,
            "owned_by": _OWNER,
            "meta": {
                "n_vocab": model.vocab_size,
                "n_ctx": model.context_size,
                "n_ctx_train": model.trained_context_size,
                "n_params": model.parameter_count,
                "size": model.weight_bytes,
            },
        }


def _piece(piece: bytes) -> str | list[int]:
    """Returns a token's text, or its bytes where they are no whole characters; llama-server's way."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return list(piece)
