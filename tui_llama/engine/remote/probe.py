"""Finds out who a server is, which of its models is meant, how much fits into its context, and what it can do."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tui_llama.engine.events import FailureCause
from tui_llama.engine.remote.connection import Connection
from tui_llama.engine.remote.dialects import (
    DIALECTS,
    LLAMA_SERVER,
    LM_STUDIO,
    OLLAMA,
    OWN_SERVER,
    PLAIN,
    SGLANG,
    VLLM,
    Dialect,
)
from tui_llama.engine.remote.failures import RemoteEngineError, short
from tui_llama.engine.remote.models import ServerModel, listed_models, model_listing
from tui_llama.engine.remote.stream.json_values import count_at, list_at, text_at, value_at

_OWNERS: Final = {
    "llamacpp": LLAMA_SERVER,
    "tui_llama": OWN_SERVER,
    "vllm": VLLM,
    "sglang": SGLANG,
    "library": OLLAMA,
}
_MOST_NAMES: Final = 10


class ServerFacts(msgspec.Struct, frozen=True):
    """What is known about a server and one of its models.

    Attributes:
        base: The base URL that answered.
        dialect: How it speaks.
        model: The server's name of the model, whole.
        context_size: In tokens; 0 if the server does not say.
        trained_context_size: In tokens; 0 if the server does not say.
        sees_images: The model sees images, or the server does not say.
        parameter_count: 0 if the server does not say.
        weight_bytes: 0 if the server does not say.
        vocab_size: 0 if the server does not say.
    """

    base: str
    dialect: Dialect
    model: str
    context_size: int = 0
    trained_context_size: int = 0
    sees_images: bool = True
    parameter_count: int = 0
    weight_bytes: int = 0
    vocab_size: int = 0


async def find_server_facts(connection: Connection, name: str, seconds: float) -> ServerFacts:
    """Asks a server about itself and a model.

    Args:
        connection: The connection to it.
        name: The name of the model; "" is the only one, or the first that is in memory, or the first.
        seconds: How long each answer may take.

    Raises:
        RemoteEngineError: the server cannot be asked, or has no such model.
    """
    probe = _Probe(connection, seconds)
    try:
        listing = await model_listing(connection, seconds)
    except RemoteEngineError as error:
        if error.cause is not FailureCause.NO_SUCH_MODEL or not name:
            raise
        # Some hosted servers list nothing. What the user has named is then taken as it is.
        return ServerFacts(connection.server.url, DIALECTS.get(connection.server.dialect, PLAIN), name)
    models = listed_models(listing.value)
    model = _chosen(models, name, connection)
    entry = next(entry for entry in list_at(listing.value, "data") if text_at(entry, "id") == model.name)
    dialect = DIALECTS.get(connection.server.dialect) or await probe.dialect(listing.base, entry)
    facts = ServerFacts(
        listing.base,
        dialect,
        model.name,
        context_size=model.context_size,
        trained_context_size=count_at(entry, "meta", "n_ctx_train") or 0,
        sees_images=model.sees_images or not dialect.tells_images,
        parameter_count=count_at(entry, "meta", "n_params") or 0,
        weight_bytes=count_at(entry, "meta", "size") or 0,
        vocab_size=count_at(entry, "meta", "n_vocab") or 0,
    )
    return await probe.more_facts(facts)


def shown_name(name: str) -> str:
    """Returns the last part of a model's name, which may be a path."""
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2] or name


class _Probe:
    """The questions beyond the list of models. A server that does not know one is another kind of server."""

    def __init__(self, connection: Connection, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds

    async def dialect(self, base: str, entry: Any) -> Dialect:
        owner = text_at(entry, "owned_by")
        if owner in _OWNERS:
            return _OWNERS[owner]
        root = _root(base)
        if value_at(await self._ask(f"{root}/props"), "default_generation_settings") is not None:
            return LLAMA_SERVER
        if list_at(await self._ask(f"{root}/api/v1/models"), "models"):
            return LM_STUDIO
        if text_at(await self._ask(f"{root}/api/version"), "version"):
            return OLLAMA
        return PLAIN

    async def more_facts(self, facts: ServerFacts) -> ServerFacts:
        root = _root(facts.base)
        if facts.dialect.tells_progress:
            return _with_props(facts, await self._ask(f"{root}/props"))
        if facts.dialect is OLLAMA:
            running = await self._ask(f"{root}/api/ps")
            shown = await self._ask(f"{root}/api/show", {"model": facts.model})
            return _with_ollama_facts(facts, running, shown)
        if facts.dialect is LM_STUDIO:
            return _with_lm_studio_facts(facts, await self._ask(f"{root}/api/v1/models"))
        return facts

    async def _ask(self, url: str, body: Any = None) -> Any:
        """Returns the JSON of an answer, None if the server does not know the question.

        Some hosted servers send what they do not know on to a page of another host, or never answer it.
        """
        try:
            answer = await self._connection.get_json(url, self._seconds, body)
        except RemoteEngineError:
            return None
        return answer.value if answer.status == 200 else None


def _root(base: str) -> str:
    """Returns the base URL without the version, where servers answer about themselves."""
    return base.removesuffix("/v1")


def _chosen(models: Sequence[ServerModel], name: str, connection: Connection) -> ServerModel:
    """Returns the model of a name: the whole one, its last part, or one that leaves out Ollama's `latest`."""
    if not name and models:
        return next((model for model in models if model.is_loaded), models[0])
    for fits in (
        [model for model in models if model.name == name],
        [model for model in models if model.name == f"{name}:latest"],
        [model for model in models if shown_name(model.name) == name],
    ):
        if len(fits) >= 1 and name:
            return fits[0]
    server = connection.server.name
    if not models:
        raise RemoteEngineError(FailureCause.NO_SUCH_MODEL, f"{server} has no models", "Let the server load one.")
    names = ", ".join(short(model.name) for model in models[:_MOST_NAMES])
    more = f" and {len(models) - _MOST_NAMES} more" if len(models) > _MOST_NAMES else ""
    raise RemoteEngineError(
        FailureCause.NO_SUCH_MODEL, f"{server} has no model {short(name)}", f"It has {names}{more}."
    )


def _with_props(facts: ServerFacts, props: Any) -> ServerFacts:
    sees_images = value_at(props, "modalities", "vision")
    return msgspec.structs.replace(
        facts,
        context_size=count_at(props, "default_generation_settings", "n_ctx") or facts.context_size,
        sees_images=facts.sees_images or sees_images is True,
    )


def _with_ollama_facts(facts: ServerFacts, running: Any, shown: Any) -> ServerFacts:
    """Adds Ollama's facts. Only a model in memory has a context; a file says what it was trained for."""
    loaded = next((each for each in list_at(running, "models") if text_at(each, "name") == facts.model), None)
    model_info = value_at(shown, "model_info")
    trained = [
        count_at(model_info, key)
        for key in (model_info if isinstance(model_info, dict) else {})
        if key.endswith(".context_length")
    ]
    return msgspec.structs.replace(
        facts,
        context_size=count_at(loaded, "context_length") or 0,
        trained_context_size=next((size for size in trained if size), 0),
        sees_images="vision" in list_at(shown, "capabilities"),
        parameter_count=count_at(model_info, "general.parameter_count") or 0,
    )


def _with_lm_studio_facts(facts: ServerFacts, listing: Any) -> ServerFacts:
    entry = next((each for each in list_at(listing, "models") if text_at(each, "key") == facts.model), None)
    return msgspec.structs.replace(
        facts,
        context_size=count_at(entry, "loaded_instances", 0, "config", "context_length") or 0,
        trained_context_size=count_at(entry, "max_context_length") or 0,
        sees_images=value_at(entry, "capabilities", "vision") is True,
    )
