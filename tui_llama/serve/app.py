"""The server as an application: its routes, and what stands before them.

From the outside in: an answer for everything (`answering`), who may ask (`access`), how large a body may be (`limits`),
the routes.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tui_llama.engine.descriptions import ModelInfo
from tui_llama.serve.http.access import Access, AccessMiddleware
from tui_llama.serve.http.answering import AnsweringMiddleware
from tui_llama.serve.http.errors import INVALID, NOT_FOUND, UNAVAILABLE, ApiError
from tui_llama.serve.http.limits import BodyLimitMiddleware, Limits
from tui_llama.serve.metrics import CONTENT_TYPE, Metrics
from tui_llama.serve.model_routes import json_response, model_routes
from tui_llama.serve.openai.routes import openai_routes
from tui_llama.serve.queue import EngineQueue
from tui_llama.settings import Settings

_MESSAGES: Final = {404: "There is no such path here.", 405: "This path does not take this method."}


def make_app(
    queue: EngineQueue,
    model: Callable[[], ModelInfo],
    settings: Settings,
    access: Access,
    limits: Limits | None = None,
    metrics: Metrics | None = None,
    *,
    any_model: bool = False,
    load_if_lost: Callable[[], None] | None = None,
) -> Starlette:
    """Returns the application.

    Args:
        queue: The queue before the engine.
        model: Returns the model that is loaded.
        settings: The user's settings, which count where a request says nothing.
        access: Who may ask.
        limits: What a request may cost; None for the usual limits.
        metrics: Where everything is counted; None for counts of its own.
        any_model: Whether requests may name any model, for programs that always name the same one.
        load_if_lost: Begins to load a lost model; called by `/health`, for clients that ask nothing while it is lost.
    """
    metrics = metrics or Metrics()
    metrics.watch_queue(lambda: queue.length)
    app = Starlette(
        routes=[
            *_watching_routes(queue, metrics, load_if_lost),
            *model_routes(queue, model),
            *openai_routes(queue, model, settings, any_model=any_model),
        ],
        middleware=[
            Middleware(AnsweringMiddleware, queue=queue, metrics=metrics),
            Middleware(AccessMiddleware, access=access),
            Middleware(BodyLimitMiddleware, most_bytes=(limits or Limits()).body_bytes),
        ],
        exception_handlers={HTTPException: _refuse},
    )
    app.router.redirect_slashes = False  # an address is right or wrong; a redirect would lose the body of a POST
    return app


def _watching_routes(queue: EngineQueue, metrics: Metrics, load_if_lost: Callable[[], None] | None) -> list[Route]:
    """Returns the routes for whoever watches the server."""
    return [
        Route("/health", _health_of(queue, load_if_lost), methods=["GET"]),
        Route("/metrics", _page_of(metrics), methods=["GET"]),
    ]


def _health_of(queue: EngineQueue, load_if_lost: Callable[[], None] | None) -> Callable[[Request], Awaitable[Response]]:
    async def health(_request: Request) -> Response:
        if not queue.is_ready:
            if load_if_lost is not None:
                load_if_lost()
            raise ApiError(503, "The model is not loaded.", UNAVAILABLE, "model_not_loaded")
        return json_response({"status": "ok"})

    return health


def _page_of(metrics: Metrics) -> Callable[[Request], Awaitable[Response]]:
    async def page(_request: Request) -> Response:
        return Response(metrics.page(), headers={"content-type": CONTENT_TYPE})

    return page


async def _refuse(_request: Request, error: Exception) -> Response:
    """Turns a refusal of the router into one of ours."""
    assert isinstance(error, HTTPException)
    headers = tuple((name.lower().encode(), value.encode()) for name, value in (error.headers or {}).items())
    kind = NOT_FOUND if error.status_code == 404 else INVALID
    raise ApiError(error.status_code, _MESSAGES.get(error.status_code, error.detail), kind, headers=headers)
