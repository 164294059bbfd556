"""What each kind of server says of itself and how it words errors, for `openai_server`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from tests.fakes.openai_server import MODELS, FakeServer, Script, response

MODEL: Final = "llama-3b"

Routes: TypeAlias = Mapping[tuple[str, str], Script]


@dataclass(frozen=True, repr=False)
class Kind:
    """A kind of server.

    Attributes:
        name: The name of its dialect.
        routes: What it answers to questions about itself.
        not_found: What it answers to any other question.
        wrong_model: What it answers where the model's name is wrong; None if it does not look at the name.
        too_long: What it answers to a prompt that is longer than its context; None if it cuts the prompt silently.
        wrong_key: What it answers where the key is wrong; None if it knows no keys.
        bad_request: What it answers to a value that it does not take.
    """

    name: str
    routes: Routes
    not_found: Script
    bad_request: Script
    wrong_model: Script | None = None
    too_long: Script | None = None
    wrong_key: Script | None = None

    def __repr__(self) -> str:
        return self.name

    def server(self) -> FakeServer:
        """Returns a server of this kind."""
        return FakeServer(self.routes, self.not_found)


def models(owner: str, name: str = MODEL, **more: object) -> Script:
    """Returns the list of the only model."""
    one = {"id": name, "object": "model", "created": 1_795_826_334, "owned_by": owner, **more}
    return response({"object": "list", "data": [one]})


def _llama_error(code: int, kind: str, message: str, **more: object) -> Script:
    return response({"error": {"code": code, "message": message, "type": kind, **more}}, code)


def _vllm_error(code: int, kind: str, message: str, param: str | None = None) -> Script:
    return response({"error": {"message": message, "type": kind, "param": param, "code": code}}, code)


def _sglang_error(code: int, kind: str, message: str) -> Script:
    return response({"object": "error", "message": message, "type": kind, "param": None, "code": code}, code)


def _ollama_error(code: int, kind: str, message: str) -> Script:
    return response({"error": {"message": message, "type": kind, "param": None, "code": None}}, code)


LOADING: Final = _llama_error(503, "unavailable_error", "Loading model")
UNAUTHORIZED: Final = response({"error": "Unauthorized"}, 401)

CONTEXT_SIZE: Final = 2048
"""The context of the servers that tell it."""
TRAINED_CONTEXT_SIZE: Final = 8192


def llama_props(*, vision: bool = False, thinks: bool = False) -> Script:
    """Returns llama-server's properties, without what a client has no use for."""
    template = "{{ messages }}<think></think>" if thinks else "{{ messages }}"
    return response(
        {
            "default_generation_settings": {"params": {"temperature": 0.8}, "n_ctx": CONTEXT_SIZE},
            "total_slots": 1,
            "model_alias": MODEL,
            "model_path": f"/models/{MODEL}.gguf",
            "modalities": {"vision": vision, "video": False, "audio": False},
            "chat_template": template,
            "chat_template_caps": {"supports_tools": True, "supports_system_role": True},
            "build_info": "b11434-abcdef",
            "is_sleeping": False,
        }
    )


def llama_models(name: str = MODEL, *, vision: bool = False) -> Script:
    """Returns llama-server's list of models."""
    return models(
        "llamacpp",
        name,
        aliases=[name],
        architecture={"input_modalities": ["text", "image"] if vision else ["text"], "output_modalities": ["text"]},
        meta={
            "vocab_type": 2,
            "n_vocab": 49152,
            "n_ctx": CONTEXT_SIZE,
            "n_ctx_train": TRAINED_CONTEXT_SIZE,
            "n_embd": 576,
            "n_params": 134_515_008,
            "size": 96_576_768,
            "ftype": "Q4_1",
        },
    )


PLAIN: Final = Kind(
    name="plain",
    routes={("GET", MODELS): models("somebody")},
    not_found=response(b"<html><body><h1>404 Not Found</h1></body></html>", 404, content_type="text/html"),
    bad_request=response({"error": {"message": "temperature is too high", "type": "invalid_request_error"}}, 400),
    wrong_model=response(
        {"error": {"message": "The model `wrong` does not exist", "code": "model_not_found", "type": "x"}}, 404
    ),
    wrong_key=response({"error": {"message": "Incorrect API key provided: sk-***", "code": "invalid_api_key"}}, 401),
    too_long=response(
        {
            "error": {
                "message": "This model's maximum context length is 2048 tokens. However, you requested 4031 tokens.",
                "type": "invalid_request_error",
                "param": "messages",
                "code": "context_length_exceeded",
            }
        },
        400,
    ),
)

LLAMA_SERVER: Final = Kind(
    name="llama-server",
    routes={
        ("GET", MODELS): llama_models(),
        ("GET", "/props"): llama_props(),
        ("GET", "/health"): response({"status": "ok"}),
    },
    not_found=_llama_error(404, "not_found_error", "File Not Found"),
    bad_request=_llama_error(400, "invalid_request_error", "temperature is too high"),
    wrong_key=_llama_error(401, "authentication_error", "Invalid API Key"),
    too_long=_llama_error(
        400,
        "exceed_context_size_error",
        "request (4031 tokens) exceeds the available context size (2048 tokens), try increasing it",
        n_prompt_tokens=4031,
        n_ctx=CONTEXT_SIZE,
    ),
)

VLLM: Final = Kind(
    name="vllm",
    routes={
        ("GET", MODELS): models("vllm", root=MODEL, parent=None, max_model_len=CONTEXT_SIZE, permission=[]),
        ("GET", "/health"): response(b""),
        ("GET", "/version"): response({"version": "0.32.0"}),
    },
    not_found=response({"detail": "Not Found"}, 404),
    bad_request=_vllm_error(400, "BadRequestError", "temperature is too high", "temperature"),
    wrong_model=_vllm_error(404, "NotFoundError", "The model `wrong` does not exist.", "model"),
    wrong_key=UNAUTHORIZED,
    too_long=_vllm_error(
        400,
        "BadRequestError",
        "You passed 4031 input tokens, but the model's maximum is 2048. Please reduce the length of the input.",
        "input_tokens",
    ),
)

SGLANG: Final = Kind(
    name="sglang",
    routes={
        ("GET", MODELS): models("sglang", root=MODEL, max_model_len=CONTEXT_SIZE),
        ("GET", "/health"): response(b""),
        ("GET", "/model_info"): response({"model_path": f"/models/{MODEL}", "is_generation": True}),
        ("POST", "/api/show"): response({"details": {"family": "llama"}, "capabilities": ["completion"]}),
    },
    not_found=response({"detail": "Not Found"}, 404),
    bad_request=_sglang_error(400, "BadRequestError", "temperature is too high"),
    wrong_model=_sglang_error(404, "NotFoundError", "The model 'wrong' does not exist"),
    wrong_key=UNAUTHORIZED,
    too_long=_sglang_error(
        400,
        "BadRequestError",
        "The input (4031 tokens) is longer than the model's context length (2048 tokens).",
    ),
)

OLLAMA: Final = Kind(
    name="ollama",
    routes={
        ("GET", MODELS): models("library"),
        ("GET", "/"): response(b"Ollama is running", content_type="text/plain; charset=utf-8"),
        ("GET", "/api/version"): response({"version": "0.33.0"}),
        ("POST", "/api/show"): response(
            {
                "template": "{{ .Prompt }}",
                "details": {"format": "gguf", "family": "llama", "quantization_level": "Q4_K_M"},
                "model_info": {"general.architecture": "llama", "llama.context_length": TRAINED_CONTEXT_SIZE},
                "capabilities": ["completion", "vision"],
            }
        ),
        ("GET", "/api/ps"): response({"models": [{"name": MODEL, "model": MODEL, "context_length": CONTEXT_SIZE}]}),
    },
    not_found=response(b"404 page not found", 404, content_type="text/plain"),
    bad_request=_ollama_error(400, "invalid_request_error", "temperature is too high"),
    wrong_model=_ollama_error(404, "not_found_error", 'model "wrong" not found, try pulling it first'),
)

LM_STUDIO: Final = Kind(
    name="lmstudio",
    routes={
        ("GET", MODELS): models("organization_owner"),
        ("GET", "/api/v1/models"): response(
            {
                "models": [
                    {
                        "type": "llm",
                        "key": MODEL,
                        "display_name": "Llama 3B",
                        "max_context_length": TRAINED_CONTEXT_SIZE,
                        "capabilities": {"vision": True, "trained_for_tool_use": False},
                        "loaded_instances": [{"id": MODEL, "config": {"context_length": CONTEXT_SIZE}}],
                    }
                ]
            }
        ),
    },
    not_found=response({"error": "Unexpected endpoint or method."}),  # with status 200, as it does
    bad_request=response({"error": "temperature is too high"}, 400),
    wrong_model=response({"error": {"message": "Model wrong not found", "type": "invalid_request_error"}}, 404),
    wrong_key=response({"error": {"message": "Malformed LM Studio API token", "code": "invalid_api_key"}}, 401),
)

KINDS: Final = (PLAIN, LLAMA_SERVER, VLLM, SGLANG, OLLAMA, LM_STUDIO)
