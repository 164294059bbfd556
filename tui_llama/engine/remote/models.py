"""The models of a server, as `GET /models` lists them."""

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tui_llama.engine.events import FailureCause
from tui_llama.engine.remote.patience import Patience
from tui_llama.engine.remote.stream.json_values import count_at, list_at, text_at, value_at
from tui_llama.servers.address import Server

if TYPE_CHECKING:
    # It imports what speaks HTTP.
    from tui_llama.engine.remote.connection import Connection

_LOADED_WORDS: Final = ("loaded", "sleeping")
_VERSION: Final = "/v1"


class ServerModel(msgspec.Struct, frozen=True):
    """A model of a server. Its name comes from the server and is not safe to print.

    Attributes:
        name: The name by which the server knows it, whole; it may be a path.
        context_size: Its context in tokens; 0 if the server does not say.
        sees_images: The server says that it sees images.
        is_loaded: Whether it is in memory; None if the server does not say.
    """

    name: str
    context_size: int = 0
    sees_images: bool = False
    is_loaded: bool | None = None


async def list_models(server: Server, key: str, timeout_seconds: float = 2.0) -> list[ServerModel]:
    """Returns the models of a server, in its order.

    Args:
        server: The server to ask, and no other.
        key: Its key; "" to send none.
        timeout_seconds: How long to wait for the answer.

    Raises:
        EngineError: the server cannot be asked, or does not say.
    """
    connection = await asyncio.to_thread(_open, server, key, Patience(connect_seconds=timeout_seconds))
    try:
        listing = await model_listing(connection, timeout_seconds)
    finally:
        await connection.close()
    return listed_models(listing.value)


def _open(server: Server, key: str, patience: Patience) -> "Connection":
    """Returns a connection. The first import takes longer than a frame, so it runs in a thread."""
    from tui_llama.engine.remote.connection import Connection

    return Connection(server, key, patience)


class Listing(msgspec.Struct, frozen=True):
    """The answer to `GET /models`, and the base URL that it came from."""

    base: str
    value: Any


async def model_listing(connection: "Connection", seconds: float) -> Listing:
    """Asks for the models, with `/v1` behind the base URL if there are none without.

    Raises:
        RemoteEngineError: there is no such answer.
    """
    base = connection.server.url
    answer = await connection.get_json(f"{base}/models", seconds)
    if answer.status in (404, 405) and not base.endswith(_VERSION):
        second = await connection.get_json(f"{base}{_VERSION}/models", seconds)
        if second.status == 200:
            base, answer = f"{base}{_VERSION}", second
    if answer.status != 200:
        raise connection.refusal(answer)
    if not isinstance(answer.value, dict) or not isinstance(answer.value.get("data"), list | None):
        from tui_llama.engine.remote.failures import RemoteEngineError

        raise RemoteEngineError(
            FailureCause.SERVER_ERROR,
            f"{connection.server.name} does not list its models as OpenAI's protocol says",
            "Check the server's URL; most end in /v1.",
        )
    return Listing(base, answer.value)


def listed_models(listing: Any) -> list[ServerModel]:
    """Returns the models in the answer to `GET /models`; entries without a name are left out."""
    return [_listed(entry) for entry in list_at(listing, "data") if text_at(entry, "id")]


def _listed(entry: Any) -> ServerModel:
    modalities = list_at(entry, "architecture", "input_modalities")
    return ServerModel(
        name=text_at(entry, "id"),
        context_size=count_at(entry, "meta", "n_ctx") or count_at(entry, "max_model_len") or 0,
        sees_images="image" in modalities,
        is_loaded=_is_loaded(entry),
    )


def _is_loaded(entry: Any) -> bool | None:
    status = text_at(entry, "status", "value")
    if status:
        return status in _LOADED_WORDS
    # llama-server lists one model with its facts: the one that it has loaded.
    return True if isinstance(value_at(entry, "meta", "n_ctx"), int) else None
