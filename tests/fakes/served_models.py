"""Models of servers that do not exist: what a scripted engine says for them."""

from collections.abc import Iterable
from typing import Any

from tui_llama.chat import StopReason, Usage
from tui_llama.engine.descriptions import Capabilities, ModelInfo
from tui_llama.engine.events import Finished, ModelLoaded, TextPiece
from tui_llama.engine.requests import LoadRequest
from tui_llama.engine.scripted import ReplyScript, ScriptedEngine, Step
from tui_llama.servers.address import Server

HOME = Server("home", "http://10.0.0.2:8080/v1")
ADDRESS = f"{HOME.url}#qwen3-8b"
SERVER_USAGE = Usage(
    reused_tokens=1024,
    read_tokens=100,
    generated_tokens=320,
    generate_seconds=320 / 45,
    context_used=1444,
    context_size=32_768,
    first_token_seconds=0.4,
)
UNTOLD = Usage(first_token_seconds=0.4, knows_tokens=False, knows_reused=False)
"""What is known of the cost where a server tells nothing."""


def served_model(path: str = ADDRESS, *, context_size: int = 32_768, **capabilities: Any) -> ModelInfo:
    """Returns the facts about a model of the server `HOME`; nobody knows its sizes."""
    able = {"can_estimate": False, "can_prefill_idle": False, "has_exact_tokens": False, **capabilities}
    return ModelInfo(
        name=path.partition("#")[2] or "qwen3-8b",
        path=path,
        architecture="",
        quantization="",
        parameter_count=0,
        weight_bytes=0,
        vocab_size=0,
        context_size=context_size,
        trained_context_size=0,
        key_value_bytes_per_token=0,
        template_source="",
        server=HOME.name,
        capabilities=Capabilities(**able),
    )


def served(*pieces: str, reason: StopReason = StopReason.END_OF_GENERATION, usage: Usage = UNTOLD) -> list[Step]:
    """Returns the script of a server's reply: text without tokens."""
    return [*(TextPiece(0, piece, ()) for piece in pieces), Finished(0, reason, usage)]


def server_engine(
    replies: Iterable[Iterable[Step]] | ReplyScript | None = None, model: ModelInfo | None = None, **capabilities: Any
) -> ScriptedEngine:
    """Returns an engine that answers as a server does."""

    def load(request: LoadRequest) -> list[Step]:
        return [ModelLoaded(model or served_model(request.model_path, **capabilities))]

    return ScriptedEngine(load=load, replies=replies)
