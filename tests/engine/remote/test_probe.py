"""A model is found by its name, whole or in part, and facts are taken as far as they are told."""

from typing import Any

import pytest

from tui_llama.engine.events import FailureCause
from tui_llama.engine.remote.connection import Answer
from tui_llama.engine.remote.dialects import DIALECTS, LM_STUDIO, OLLAMA, OWN_SERVER, PLAIN
from tui_llama.engine.remote.failures import RemoteEngineError
from tui_llama.engine.remote.models import ServerModel, listed_models
from tui_llama.engine.remote.probe import ServerFacts, find_server_facts, shown_name
from tui_llama.servers.address import Server

BASE = "http://box:8080/v1"


class FakeConnection:
    """Answers questions from a table; a question that is not in it is one that the server does not know."""

    def __init__(self, answers: dict[str, Any], url: str = BASE, dialect: str = "") -> None:
        self.server = Server("box", url, dialect=dialect)
        self.asked: list[str] = []
        self._answers = answers

    async def get_json(self, url: str, seconds: float, body: Any = None) -> Answer:
        self.asked.append(url)
        path = url.removeprefix("http://box:8080")
        return Answer(200, self._answers[path]) if path in self._answers else Answer(404, b"")

    def refusal(self, answer: Answer, model: str = "") -> RemoteEngineError:
        return RemoteEngineError(FailureCause.NO_SUCH_MODEL, f"status {answer.status}")


async def facts(answers: dict[str, Any], name: str = "", **more: Any) -> ServerFacts:
    return await find_server_facts(FakeConnection(answers, **more), name, 1.0)  # type: ignore[arg-type]


def listing(*entries: Any) -> dict[str, Any]:
    return {"/v1/models": {"data": [{"id": each} if isinstance(each, str) else each for each in entries]}}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("", "/models/one.gguf"),
        ("/models/one.gguf", "/models/one.gguf"),
        ("one.gguf", "/models/one.gguf"),
        ("Qwen3-8B", "Qwen/Qwen3-8B"),
        ("llama3", "llama3:latest"),
    ],
)
async def test_a_model_is_found_by_its_name_or_the_last_part_of_it(name: str, found: str) -> None:
    assert (await facts(listing("/models/one.gguf", "Qwen/Qwen3-8B", "llama3:latest"), name)).model == found


async def test_of_many_the_one_in_memory_is_meant() -> None:
    entries = [{"id": "a", "status": {"value": "unloaded"}}, {"id": "b", "status": {"value": "loaded"}}]
    assert (await facts(listing(*entries))).model == "b"


async def test_another_name_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(RemoteEngineError) as caught:
        await facts(listing(*(f"m\x1b{number}" for number in range(30))), "x\n\x1b]0;y\x07")
    assert caught.value.cause is FailureCause.NO_SUCH_MODEL
    assert "\x1b" not in str(caught.value) + caught.value.hint
    assert caught.value.hint.endswith("and 20 more.")


async def test_a_server_without_models_says_so() -> None:
    with pytest.raises(RemoteEngineError, match="no models"):
        await facts(listing())


async def test_a_server_that_lists_nothing_gets_the_name_as_it_is() -> None:
    found = await facts({}, "gpt")
    assert (found.model, found.dialect) == ("gpt", PLAIN)
    with pytest.raises(RemoteEngineError):
        await facts({})


async def test_the_version_is_added_where_the_url_lacks_it() -> None:
    answers = {"/api/v1/models": {"data": [{"id": "m"}]}}
    assert (await facts(answers, url="http://box:8080/api")).base == "http://box:8080/api/v1"


@pytest.mark.parametrize(
    ("owner", "answers", "dialect"),
    [
        ("llamacpp", {}, "llama-server"),
        ("vllm", {}, "vllm"),
        ("sglang", {"/api/version": {"version": "0"}}, "sglang"),
        ("library", {}, "ollama"),
        ("me", {"/api/version": {"version": "0.33"}}, "ollama"),
        ("me", {"/props": {"default_generation_settings": {"n_ctx": 5}}}, "llama-server"),
        ("me", {"/props": {"error": "Unexpected endpoint"}, "/api/v1/models": {"models": [{"key": "m"}]}}, "lmstudio"),
        ("openai", {}, "plain"),
        (None, {}, "plain"),
    ],
)
async def test_the_dialect_is_found(owner: Any, answers: dict[str, Any], dialect: str) -> None:
    found = await facts({**listing({"id": "m", "owned_by": owner}), **answers})
    assert found.dialect is DIALECTS[dialect]


async def test_our_own_server_is_known_by_its_owner() -> None:
    found = await facts(listing({"id": "m", "owned_by": "tui_llama", "meta": {"n_ctx": 4096, "n_ctx_train": 8192}}))
    assert (found.dialect, found.context_size, found.trained_context_size) == (OWN_SERVER, 4096, 8192)


async def test_the_dialect_of_the_settings_is_not_asked_for() -> None:
    connection = FakeConnection(listing({"id": "m", "owned_by": "vllm"}), dialect="plain")
    found = await find_server_facts(connection, "", 1.0)  # type: ignore[arg-type]
    assert found.dialect is PLAIN
    assert len(connection.asked) == 1


async def test_ollama_tells_the_context_of_a_loaded_model() -> None:
    shown = {"capabilities": ["completion", "vision"], "model_info": {"qwen3.context_length": 40960, "x": 1}}
    answers = {**listing({"id": "m:8b", "owned_by": "library"}), "/api/show": shown}
    running = {"models": [{"name": "other", "context_length": 1}, {"name": "m:8b", "context_length": 4096}]}
    found = await facts({**answers, "/api/ps": running})
    assert (found.dialect, found.context_size, found.trained_context_size, found.sees_images) == (
        OLLAMA,
        4096,
        40960,
        True,
    )
    assert (await facts(answers)).context_size == 0


async def test_lm_studio_tells_the_context_of_a_loaded_model() -> None:
    entry = {
        "key": "m",
        "max_context_length": 32768,
        "loaded_instances": [{"config": {"context_length": 8192}}],
        "capabilities": {"vision": False},
    }
    found = await facts({**listing("m"), "/api/v1/models": {"models": [entry]}})
    assert (found.dialect, found.context_size, found.trained_context_size, found.sees_images) == (
        LM_STUDIO,
        8192,
        32768,
        False,
    )


@pytest.mark.parametrize(
    ("name", "shown"),
    [("/a/b.gguf", "b.gguf"), ("C:\\a\\b.gguf", "b.gguf"), ("Qwen/Qwen3-8B", "Qwen3-8B"), ("m:8b", "m:8b"), ("/", "/")],
)
def test_the_last_part_of_a_path_is_shown(name: str, shown: str) -> None:
    assert shown_name(name) == shown


@pytest.mark.parametrize("value", [None, {}, {"data": None}, {"data": [None, {}, {"id": 3}, {"id": ""}, []]}])
def test_entries_without_a_name_are_left_out(value: Any) -> None:
    assert listed_models(value) == []


def test_the_list_tells_what_the_server_tells() -> None:
    entries = [
        {"id": "a", "meta": {"n_ctx": 4096}, "architecture": {"input_modalities": ["text", "image"]}},
        {"id": "b", "max_model_len": 8192},
        {"id": "c", "status": {"value": "unloaded"}},
    ]
    assert listed_models({"data": entries}) == [
        ServerModel("a", 4096, True, True),
        ServerModel("b", 8192),
        ServerModel("c", is_loaded=False),
    ]
