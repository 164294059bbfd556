"""The routes that every server has, the shape of errors, and what becomes of failures."""

from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.serve.running_server import MODEL, answer_of, error_of, running, spoken
from tui_llama import paths
from tui_llama.chat import StopReason, Usage
from tui_llama.engine.events import Failed, Finished, ModelLoaded, Tokenized
from tui_llama.engine.process.border import LOG_HINT
from tui_llama.engine.requests import LoadRequest, TokenizeRequest
from tui_llama.engine.scripted import Gate, Loss, ScriptedEngine, Step
from tui_llama.errors import EngineError, EngineLostError
from tui_llama.serve.http.errors import ApiError
from tui_llama.serve.queue import EngineQueue
from tui_llama.serve.served_model import ServedModel

USAGE = Usage(reused_tokens=30, read_tokens=12, generated_tokens=5, generate_seconds=0.5)


async def test_the_model_is_listed_and_described() -> None:
    async with running() as server:
        listed = (await server.ask("GET", "/v1/models")).json()
        described = (await server.ask("GET", "/v1/models/demo")).json()

    assert listed == {"object": "list", "data": [described]}
    assert {name: described[name] for name in ("id", "object", "owned_by")} == {
        "id": "demo",
        "object": "model",
        "owned_by": "tui_llama",
    }
    assert described["meta"] == {
        "n_vocab": MODEL.vocab_size,
        "n_ctx": MODEL.context_size,
        "n_ctx_train": MODEL.trained_context_size,
        "n_params": MODEL.parameter_count,
        "size": MODEL.weight_bytes,
    }


async def test_another_model_is_not_found() -> None:
    async with running() as server:
        answer = await server.ask("GET", "/v1/models/org/other")

    assert (answer.status, error_of(answer)["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("content", "tokens"),
    [
        ({"content": "ab"}, [97, 98]),
        ({"content": ""}, []),
        ({"content": "é", "with_pieces": True}, [{"id": 233, "piece": "é"}]),
        ({"content": "a", "add_special": True, "parse_special": False, "unknown": 1}, [97]),
    ],
)
async def test_text_becomes_tokens(content: object, tokens: object) -> None:
    async with running() as server:
        assert (await server.ask("POST", "/tokenize", content)).json() == {"tokens": tokens}


async def test_a_piece_that_is_no_whole_character_is_shown_as_bytes() -> None:
    engine = ScriptedEngine()

    async def tokenize(_request: TokenizeRequest) -> Tokenized:
        return Tokenized((1, 2), "é", (b"\xc3", b"\xa9"))

    engine.tokenize = tokenize  # type: ignore[method-assign, assignment]
    async with running(engine) as server:
        answer = await server.ask("POST", "/tokenize", {"content": "é", "with_pieces": True})

    assert answer.json() == {"tokens": [{"id": 1, "piece": [0xC3]}, {"id": 2, "piece": [0xA9]}]}


async def test_tokens_become_text() -> None:
    async with running() as server:
        assert (await server.ask("POST", "/detokenize", {"tokens": [104, 233]})).json() == {"content": "hé"}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/tokenize", b"", None),
        ("/tokenize", b"{", None),
        ("/tokenize", b"[" * 1_000_000, None),
        ("/tokenize", b'{"content":"a","x":' + b"[" * 1_000_000, None),
        ("/tokenize", b'{"content":"\\ud800"}', None),
        ("/tokenize", b'{"content":"\xff"}', None),
        ("/tokenize", b"{}", None),
        ("/tokenize", b'{"content":5}', "content"),
        ("/detokenize", b'{"tokens":[1,-1]}', "tokens[1]"),
        ("/detokenize", b'{"tokens":[1e999]}', "tokens[0]"),
        ("/detokenize", b'{"tokens":[99999999999999999999999]}', "tokens[0]"),
        ("/detokenize", b'{"tokens":[128256]}', "tokens"),
    ],
    ids=[str(number) for number in range(12)],
)
async def test_a_body_that_is_wrong_is_the_clients_fault(path: str, body: bytes, param: str | None) -> None:
    async with running() as server:
        answer = await server.ask("POST", path, body=body)

    assert answer.status == 400
    assert (error_of(answer)["type"], error_of(answer)["param"]) == ("invalid_request_error", param)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/health/", 404),
        ("GET", "/v1", 404),
        ("POST", "/v1/models", 405),
        ("GET", "/tokenize", 405),
        ("DELETE", "/health", 405),
        ("BREW", "/health", 405),
        ("GET", "/%00/..%2f", 404),
        ("GET", "http://elsewhere/health", 404),
        ("OPTIONS", "*", 404),
    ],
)
async def test_other_paths_and_methods_are_refused_in_the_usual_shape(method: str, path: str, status: int) -> None:
    async with running() as server:
        answer = await server.ask(method, path)

    assert answer.status == status
    assert error_of(answer)["code"] is None
    assert ("allow" in answer.headers) == (status == 405)


async def test_every_answer_tells_the_length_of_the_queue_and_its_own_id() -> None:
    gate = Gate()
    engine = ScriptedEngine(replies=lambda _: spoken("a", between=(gate,)))
    async with running(engine) as server:
        writers = [(await server.connect())[1] for _ in range(3)]
        for writer in writers:
            writer.write(b"POST /reply HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        await gate.reached()
        while server.queue.length < 2:
            await server.ask("GET", "/health")

        answers = [await server.ask("GET", path) for path in ("/health", "/nowhere")]
        gate.open()
        for writer in writers:
            writer.close()

    assert [answer.headers["x-queue-length"] for answer in answers] == ["2", "2"]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 2


async def test_a_full_queue_tells_when_to_come_again() -> None:
    gate = Gate()
    engine = ScriptedEngine(replies=lambda _: spoken("a", between=(gate,)))
    async with running(engine, most_waiting=0) as server:
        _, writer = await server.connect()
        writer.write(b"POST /reply HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        await gate.reached()

        answer = await server.ask("POST", "/tokenize", {"content": "a"})
        writer.close()

    assert (answer.status, error_of(answer)["code"]) == (429, "queue_full")
    assert int(answer.headers["retry-after"]) >= 1


async def test_a_mistake_of_ours_is_no_secret_that_a_client_sees(home_folder: Path) -> None:
    def routes(_queue: EngineQueue) -> list[Route]:
        return [Route("/broken", broken)]

    async def broken(_request: Request) -> Response:
        raise ZeroDivisionError("the secret of /home/somebody")

    async with running(routes=routes) as server:
        answer = await server.ask("GET", "/broken")

    assert answer.status == 500
    assert error_of(answer) == {
        "message": "The server failed. Its log has details.",
        "type": "server_error",
        "code": None,
        "param": None,
    }
    assert "ZeroDivisionError: the secret" in paths.log_file().read_text()


async def test_a_mistake_in_the_middle_of_an_answer_cuts_it_off() -> None:
    def routes(_queue: EngineQueue) -> list[Route]:
        return [Route("/broken", broken)]

    async def broken(request: Request) -> Response:
        class Broken(Response):
            async def __call__(self, scope: object, receive: object, send: object) -> None:
                await send({"type": "http.response.start", "status": 200})  # type: ignore[operator]
                await send({"type": "http.response.body", "body": b"one", "more_body": True})  # type: ignore[operator]
                raise ZeroDivisionError

        return Broken()

    async with running(routes=routes) as server:
        received = await server.send(b"GET /broken HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await server.has_no_connections()

    assert received.endswith(b"\r\n\r\n3\r\none\r\n")


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (EngineError("The text is too long to be tokenised", "Split it."), 400, "too long to be tokenised. Split it."),
        (EngineError("the engine failed: ZeroDivisionError", LOG_HINT), 500, "ZeroDivisionError. The engine's log"),
    ],
)
async def test_a_text_that_has_no_tokens_is_the_clients_fault_and_a_mistake_of_the_engine_is_not(
    error: EngineError, status: int, message: str
) -> None:
    engine = ScriptedEngine()

    async def tokenize(_request: TokenizeRequest) -> Tokenized:
        raise error

    engine.tokenize = tokenize  # type: ignore[method-assign, assignment]
    async with running(engine) as server:
        answer = await server.ask("POST", "/tokenize", {"content": "a"})

    assert answer.status == status
    assert message in error_of(answer)["message"]


async def test_a_text_that_would_keep_the_engine_for_long_is_refused() -> None:
    async with running() as server:
        answer = await server.ask("POST", "/tokenize", {"content": "a" * (1 << 21)})

    assert (answer.status, error_of(answer)["param"]) == (400, "content")


async def test_a_lost_engine_fails_its_request_and_is_loaded_for_the_next() -> None:
    failures = [EngineLostError("the process was killed", "Ask again.")]
    engine = ScriptedEngine()
    tokenize = engine.tokenize

    async def lost_once(request: object) -> object:
        if failures:
            engine.is_alive = False
            raise failures.pop()
        return await tokenize(request)  # type: ignore[arg-type]

    engine.tokenize = lost_once  # type: ignore[method-assign, assignment]
    async with running(engine) as server:
        lost, answered = [await server.ask("POST", "/tokenize", {"content": "a"}) for _ in range(2)]

    assert (lost.status, error_of(lost)["message"]) == (500, "the process was killed. Ask again.")
    assert answered.status == 200
    assert len(engine.load_requests) == 2


async def test_a_reply_that_loses_the_engine_ends_incomplete() -> None:
    engine = ScriptedEngine(replies=[[*spoken("one"), Loss()]])
    async with running(engine) as server:
        received = await server.send(b"POST /reply HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        await server.has_no_connections()
        answered = await server.ask("POST", "/tokenize", {"content": "a"})

    assert received.endswith(b"one\r\n")
    assert answered.status == 200
    assert len(engine.load_requests) == 2


async def test_a_model_that_cannot_be_loaded_again_is_said() -> None:
    def load(_request: LoadRequest) -> list[object]:
        return []

    async with running(ScriptedEngine(load=load)) as server:  # type: ignore[arg-type]
        answer = await server.ask("POST", "/tokenize", {"content": "a"})

    assert (answer.status, error_of(answer)["message"]) == (500, "the engine has not loaded the model.")


async def test_a_lost_model_is_not_healthy_and_is_loaded_again() -> None:
    gate = Gate()
    loads: list[list[Step]] = [[ModelLoaded(MODEL)], [gate, ModelLoaded(MODEL)]]
    engine = ScriptedEngine(load=lambda _: loads.pop(0))
    async with running(engine) as server:
        healthy = await server.ask("GET", "/health")
        engine.is_alive = False
        lost, loading = [await server.ask("GET", "/health") for _ in range(2)]
        gate.open()
        while (again := await server.ask("GET", "/health")).status != 200:
            pass

    assert (healthy.status, healthy.json()) == (again.status, again.json()) == (200, {"status": "ok"})
    assert [(answer.status, error_of(answer)["code"]) for answer in (lost, loading)] == [(503, "model_not_loaded")] * 2
    assert len(engine.load_requests) == 2


async def test_a_model_that_cannot_be_loaded_is_not_healthy_and_is_not_tried_for_ever() -> None:
    engine = ScriptedEngine(load=lambda _: [Failed(None, "the file is gone")])
    async with running(engine) as server:
        answers = [await server.ask("GET", "/health") for _ in range(3)]

    assert [answer.status for answer in answers] == [503] * 3
    assert len(engine.load_requests) == 1


async def test_a_load_that_was_cancelled_is_done_again() -> None:
    gate = Gate()
    engine = ScriptedEngine(load=lambda _: (gate,))
    model = ServedModel(engine, LoadRequest(""), lambda _: None, lambda _: None)
    with pytest.raises(EngineError):
        gate.open()
        await model.make_ready()
    assert engine.is_alive

    with pytest.raises(EngineError):
        await model.make_ready()
    assert len(engine.load_requests) == 2


async def test_what_was_done_is_counted() -> None:
    steps = [*spoken("a", "b"), Finished(0, StopReason.END_OF_GENERATION, USAGE)]
    async with running(ScriptedEngine(replies=[steps])) as server:
        await server.send(b"POST /reply HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        await server.ask("GET", "/nowhere/in/particular")
        await server.ask("GET", "/v1/models/other")
        page = (await server.ask("GET", "/metrics")).body.decode()

    samples = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    assert samples['tui_llama_requests_total{route="/reply",status="200"}'] == "1.0"
    assert samples['tui_llama_requests_total{route="other",status="404"}'] == "1.0"
    assert samples['tui_llama_requests_total{route="/v1/models/{id:path}",status="404"}'] == "1.0"
    assert samples["tui_llama_first_token_seconds_count"] == "1.0"
    assert samples["tui_llama_prompt_tokens_total"] == "42.0"
    assert samples["tui_llama_cached_tokens_total"] == "30.0"
    assert samples["tui_llama_generated_tokens_total"] == "5.0"
    assert samples["tui_llama_tokens_per_second_sum"] == "10.0"
    assert samples["tui_llama_queue_length"] == "0.0"


def test_an_error_with_bytes_of_a_file_name_can_be_sent() -> None:
    assert b"\\\\udcff" in ApiError(500, "\udcff", "server_error").body()


async def test_head_has_no_body() -> None:
    async with running() as server:
        answer = answer_of(await server.send(b"HEAD /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))

    assert (answer.status, answer.body) == (200, b"")
