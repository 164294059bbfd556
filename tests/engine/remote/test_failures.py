"""What servers and connections say is told in words that name the server, say what to do, and keep the key."""

import json
import socket
import ssl
from typing import Any

import httpx2
import pytest

from tui_llama.engine.events import FailureCause
from tui_llama.engine.remote.failures import (
    BusyError,
    LoadingError,
    PromptTooLongError,
    RemoteEngineError,
    connection_error,
    error_text,
    key_hint,
    retry_after_seconds,
    status_error,
)
from tui_llama.servers.address import Server

SERVER = Server("box", "http://box:8080/v1")


def refused(status: int, body: Any = b"", headers: dict[str, str] | None = None, key: str = "") -> RemoteEngineError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return status_error(status, headers or {}, raw, SERVER, "qwen", key)


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"error": {"message": "No such thing", "code": 404}}, "No such thing"),
        ({"error": "Unauthorized"}, "Unauthorized"),
        ({"object": "error", "message": "Too many"}, "Too many"),
        ({"detail": "Not found"}, "Not found"),
        ({"error": {"message": "\x1b]0;x\x07red\n\n\tline"}}, "red line"),
        (b"<html>Bad Gateway</html>", "<html>Bad Gateway</html>"),
        (b"", ""),
        ({"detail": [1]}, '{"detail": [1]}'),
        (b"\xff\xfe", "\ufffd\ufffd"),
        ([], "[]"),
    ],
)
def test_the_message_is_found_in_any_shape(body: Any, text: str) -> None:
    assert error_text(body if isinstance(body, bytes) else json.dumps(body).encode()) == text


def test_a_long_message_is_cut() -> None:
    assert len(error_text(b"word " * 10**6)) == 200


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (401, FailureCause.KEY_REFUSED),
        (403, FailureCause.KEY_REFUSED),
        (404, FailureCause.NO_SUCH_MODEL),
        (429, FailureCause.BUSY),
        (500, FailureCause.SERVER_ERROR),
        (502, FailureCause.SERVER_ERROR),
        (418, FailureCause.ENGINE),
    ],
)
def test_a_status_has_a_cause_and_the_servers_words(status: int, cause: FailureCause) -> None:
    error = refused(status, {"error": {"message": "the reason"}})
    assert error.cause is cause
    assert str(error).startswith("box ")
    assert str(error).endswith(": the reason")
    assert error.hint
    assert error.failed(3).turn == 3


def test_the_key_is_taken_out_of_what_the_server_repeats() -> None:
    error = refused(401, {"error": "Incorrect API key provided: sk-secret."}, key="sk-secret")
    assert "sk-secret" not in str(error) + error.hint
    assert "refuses the key" in str(error)
    assert "wants a key" in str(refused(401))


@pytest.mark.parametrize("before", ["x" * 150, " " * 1560, "\x1b[m" * 530], ids=["near", "blanks", "colours"])
@pytest.mark.parametrize("is_json", [True, False])
def test_no_part_of_the_key_is_left_at_the_end_of_a_text_that_is_cut(before: str, is_json: bool) -> None:
    said = f"{before}sk-{'secret' * 20}"
    error = refused(401, {"error": said} if is_json else said.encode(), key=f"sk-{'secret' * 20}")
    assert "secr" not in str(error)


@pytest.mark.parametrize(
    ("server", "place"),
    [
        (Server("a", "u", key_variable="MY_KEY"), "variable MY_KEY"),
        (Server("a", "u", key_command="pass show secret"), "key command"),
        (Server("a", "u", key_in_keyring=True), "keyring"),
        (Server("a", "u"), "No key is set"),
    ],
)
def test_the_hint_says_where_the_key_comes_from(server: Server, place: str) -> None:
    assert place in key_hint(server)
    assert "secret" not in key_hint(server)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("1.5", 1.5),
        ("0", 0.0),
        ("-3", None),
        ("soon", None),
        ("", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("9" * 400, None),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
    ],
)
def test_the_time_to_wait_is_a_number_or_a_date(header: str, seconds: float | None) -> None:
    assert retry_after_seconds({"retry-after": header}) == seconds
    error = refused(429, headers={"retry-after": header})
    assert isinstance(error, BusyError)
    assert error.retry_seconds == seconds


def test_a_server_that_loads_is_told_from_a_broken_one() -> None:
    assert isinstance(refused(503, {"error": {"message": "Loading model", "code": 503}}), LoadingError)
    assert not isinstance(refused(503, b"Service Unavailable"), LoadingError | BusyError)


@pytest.mark.parametrize(
    ("body", "prompt_tokens", "context_size"),
    [
        (
            {"error": {"type": "exceed_context_size_error", "message": "x", "n_prompt_tokens": 50, "n_ctx": 20}},
            50,
            20,
        ),
        ({"error": {"message": "too long", "param": "input_tokens"}}, None, None),
        (
            {
                "object": "error",
                "message": "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
            },
            5000,
            None,
        ),
        ({"error": {"message": "This model's maximum context length is 4096 tokens, you asked for 9000."}}, 9000, None),
    ],
)
def test_a_prompt_that_is_too_long_is_recognised(
    body: Any, prompt_tokens: int | None, context_size: int | None
) -> None:
    error = refused(400, body)
    assert isinstance(error, PromptTooLongError)
    assert (error.prompt_tokens, error.context_size) == (prompt_tokens, context_size)


def test_another_bad_request_is_no_prompt_that_is_too_long() -> None:
    assert not isinstance(refused(400, {"error": {"message": "the context is missing"}}), PromptTooLongError)
    assert not isinstance(refused(500, {"error": {"message": "maximum context size"}}), PromptTooLongError)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (caused(httpx2.ConnectError("x"), socket.gaierror(-2, "Name or service not known")), FailureCause.NOT_FOUND),
        (caused(httpx2.ConnectError("x"), ConnectionRefusedError(111, "refused")), FailureCause.REFUSED),
        (
            caused(httpx2.ConnectError("x"), ExceptionGroup("all", [OSError(1, "a"), socket.gaierror(-2, "b")])),
            FailureCause.NOT_FOUND,
        ),
        (caused(httpx2.ConnectError("x"), ssl.SSLCertVerificationError(1, "self-signed")), FailureCause.NOT_TRUSTED),
        (caused(httpx2.ConnectError("x"), ssl.SSLError(1, "WRONG_VERSION_NUMBER")), FailureCause.NOT_TRUSTED),
        (httpx2.ConnectTimeout("x"), FailureCause.SILENT),
        (httpx2.ProxyError("407 Proxy Authentication Required"), FailureCause.REFUSED),
        (httpx2.ReadError("x"), FailureCause.CUT_OFF),
        (httpx2.RemoteProtocolError("x"), FailureCause.CUT_OFF),
        (UnicodeError("label too long"), FailureCause.NOT_FOUND),
        (httpx2.InvalidURL("x"), FailureCause.NOT_FOUND),
    ],
)
def test_an_error_of_the_connection_has_a_cause(error: Exception, cause: FailureCause) -> None:
    failure = connection_error(error, SERVER)
    assert failure.cause is cause
    assert "box" in str(failure)
    assert failure.hint


def test_errors_that_cause_each_other_are_no_endless_loop() -> None:
    error, other = httpx2.ConnectError("x"), OSError("y")
    error.__cause__, other.__context__ = other, error
    assert connection_error(error, SERVER).cause is FailureCause.REFUSED


def test_a_proxy_that_refuses_is_named() -> None:
    failure = connection_error(httpx2.ConnectError("x"), SERVER, "http://proxy:3128")
    assert "http://proxy:3128" in str(failure)
    assert "NO_PROXY" in failure.hint
