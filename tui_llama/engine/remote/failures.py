"""What can go wrong between this program and a server, in words that name the server and say what to do.

Foreign exceptions and the answers of servers are translated here, once. Texts of servers are made safe and short.
"""

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Any, Final

import httpx2

from tui_llama.engine.events import Failed, FailureCause
from tui_llama.engine.remote.stream.json_values import NotJsonError, count_at, decode_json, text_at, value_at
from tui_llama.errors import EngineError
from tui_llama.servers.address import Server
from tui_llama.text_safety import sanitize_line

_MOST_CHARACTERS: Final = 200
_OVERFLOW_WORDS: Final = ("length", "size", "maximum")
_OVERFLOW_FIELDS: Final = ("input_tokens", "input_text")
_TRY_AGAIN: Final = "Try again."
_RUNS_HINT: Final = "Check that the server runs, and its URL."
_PROXY_HINT: Final = "Check the variables HTTP_PROXY, HTTPS_PROXY and NO_PROXY."


class RemoteEngineError(EngineError):
    """A server could not be asked, or could not answer.

    Attributes:
        cause: What failed.
    """

    def __init__(self, cause: FailureCause, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.cause = cause

    def failed(self, turn: int | None) -> Failed:
        """Returns the event that tells this error."""
        return Failed(turn, str(self), self.hint, self.cause)


class BusyError(RemoteEngineError):
    """The server has too much to do.

    Attributes:
        retry_seconds: When it wants to be asked again; None if it does not say.
    """

    def __init__(self, cause: FailureCause, message: str, hint: str, retry_seconds: float | None) -> None:
        super().__init__(cause, message, hint)
        self.retry_seconds = retry_seconds


class LoadingError(RemoteEngineError):
    """The server is loading its model, and answers later."""


class UnansweredError(RemoteEngineError):
    """The server has let itself be connected to, and has not answered in time."""


class PromptTooLongError(RemoteEngineError):
    """The conversation does not fit into the context of the server's model.

    Attributes:
        prompt_tokens: How many tokens it has, perhaps with those kept for the answer; None if the server does not say.
        context_size: How many fit; None if the server does not say.
    """

    def __init__(self, message: str, hint: str, prompt_tokens: int | None, context_size: int | None) -> None:
        super().__init__(FailureCause.ENGINE, message, hint)
        self.prompt_tokens = prompt_tokens
        self.context_size = context_size


# --- what the connection says -----------------------------------------------------------------------------------------


def connection_error(error: Exception, server: Server, proxy: str = "") -> RemoteEngineError:
    """Translates an error before the server has begun to answer.

    Args:
        error: What `httpx2` or the resolver of names raised.
        server: Whose connection it is.
        proxy: The proxy on the way; "" if there is none.
    """
    name = server.name
    if isinstance(error, httpx2.ProxyError):
        return RemoteEngineError(
            FailureCause.REFUSED,
            f"{name}: the proxy {proxy} does not pass the request on: {short(str(error))}",
            _PROXY_HINT,
        )
    if isinstance(error, httpx2.ConnectTimeout):
        return RemoteEngineError(FailureCause.SILENT, f"{name} does not answer ({server.url})", _RUNS_HINT)
    if isinstance(error, httpx2.ConnectError | httpx2.InvalidURL | UnicodeError):
        return _not_connected(error, server, proxy)
    return RemoteEngineError(
        FailureCause.CUT_OFF,
        f"{name} broke off the connection without an answer",
        "Try again; if it happens again, look at the server's own messages.",
    )


def cut_off(server: Server) -> RemoteEngineError:
    """Returns the error of a connection that broke off in the middle of an answer."""
    return RemoteEngineError(
        FailureCause.CUT_OFF, f"{server.name}: the connection broke off in the middle of the answer", _TRY_AGAIN
    )


def silent(server: Server) -> UnansweredError:
    """Returns the error of a server that does not answer a question in time."""
    return UnansweredError(FailureCause.SILENT, f"{server.name} does not answer ({server.url})", _RUNS_HINT)


def _not_connected(error: Exception, server: Server, proxy: str) -> RemoteEngineError:
    causes = tuple(_causes(error))
    # The resolver of names raises the third for names that cannot be one.
    if any(isinstance(cause, socket.gaierror | httpx2.InvalidURL | UnicodeError) for cause in causes):
        where = f"the proxy {proxy}" if proxy else server.url
        return RemoteEngineError(
            FailureCause.NOT_FOUND,
            f"{server.name}: the network knows no server of this name ({where})",
            "Check the server's URL and the network.",
        )
    if (reason := next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None)) is not None:
        return _not_trusted(reason, server)
    if proxy:
        return RemoteEngineError(
            FailureCause.REFUSED, f"{server.name}: the proxy {proxy} refuses the connection", _PROXY_HINT
        )
    return RemoteEngineError(
        FailureCause.REFUSED,
        f"{server.name} refuses the connection ({server.url})",
        "Start the server, or check its URL and port.",
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yields the error, what caused it, and the members of groups, in which a library tells of several addresses."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        cause = waiting.pop()
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        waiting += [cause.__cause__, cause.__context__]
        if isinstance(cause, BaseExceptionGroup):
            waiting += cause.exceptions


def _not_trusted(error: BaseException, server: Server) -> RemoteEngineError:
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = getattr(error, "verify_message", "") or str(error)
        return RemoteEngineError(
            FailureCause.NOT_TRUSTED,
            f"{server.name}: its certificate is not trusted: {short(reason)}",
            "Add the certificate of its issuer to the system's certificates.",
        )
    return RemoteEngineError(
        FailureCause.NOT_TRUSTED,
        f"{server.name} does not speak TLS as expected: {short(getattr(error, 'reason', '') or str(error))}",
        "If the server has no TLS, begin its URL with http://.",
    )


def unreadable_certificates(error: OSError, server: Server) -> RemoteEngineError:
    """Returns the error of certificates of this machine that cannot be read."""
    reason = getattr(error, "reason", "") or error.strerror or str(error)
    return RemoteEngineError(
        FailureCause.NOT_TRUSTED,
        f"{server.name}: the certificates of this machine cannot be read: {short(reason)}",
        "Correct the variables SSL_CERT_FILE and SSL_CERT_DIR, or remove them.",
    )


# --- what the server says ---------------------------------------------------------------------------------------------


def error_text(body: bytes, key: str = "") -> str:
    """Returns the message in the body of an error, on one safe line without the key; "" if there is none.

    It is the first text at `error.message`, `error`, `message` and `detail`, else the start of the body.
    """
    try:
        found = message_of(decode_json(body), key)
    except NotJsonError:
        found = ""
    return found or short(body.decode("utf-8", "replace"), key)


def message_of(value: Any, key: str = "") -> str:
    """Returns the message in the JSON of an error, on one safe line without the key; "" if there is none."""
    paths = (("error", "message"), ("error",), ("message",), ("detail",))
    return short(next((text for path in paths if (text := text_at(value, *path))), ""), key)


def short(text: str, key: str = "") -> str:
    """Returns a text of a server on one safe line of at most 200 characters.

    The key is taken out, because some servers repeat it; this comes first, else a cut would leave a part of it.
    """
    text = text.replace(key, "[the key]") if key else text
    line = " ".join(sanitize_line(text[: 8 * _MOST_CHARACTERS]).split())
    return line if len(line) <= _MOST_CHARACTERS else f"{line[: _MOST_CHARACTERS - 1]}…"


def status_error(
    status: int, headers: Mapping[str, str], body: bytes, server: Server, model: str = "", key: str = ""
) -> RemoteEngineError:
    """Translates an answer that is no success.

    Args:
        status: The HTTP status.
        headers: The headers of the answer.
        body: The body of the answer, or its start.
        server: Who answers.
        model: The name of the model that was asked for; "" if none was.
        key: The key that was sent; it is taken out of the message.
    """
    text = error_text(body, key)
    said = f": {text}" if text else ""
    if status in (401, 403):
        word = "refuses the key" if key else "wants a key"
        return RemoteEngineError(FailureCause.KEY_REFUSED, f"{server.name} {word}{said}", key_hint(server))
    if status == 404:
        subject = f"does not know the model {short(model)}" if model else "does not know this address"
        return RemoteEngineError(
            FailureCause.NO_SUCH_MODEL,
            f"{server.name} {subject}{said}",
            "Choose one of the server's models, or check its URL.",
        )
    if status == 429 or status >= 500:
        return _not_ready(status, headers, server, text, said)
    return _too_long(status, body, text, server.name, said) or RemoteEngineError(
        FailureCause.ENGINE,
        f"{server.name} does not accept the request (status {status}){said}",
        "Check the settings of this chat and the server's dialect.",
    )


def _not_ready(status: int, headers: Mapping[str, str], server: Server, text: str, said: str) -> RemoteEngineError:
    """Returns the error of a server that is busy, loading or broken."""
    name, retry_seconds = server.name, retry_after_seconds(headers)
    if status == 429:
        hint = "Wait a little, then try again." if retry_seconds is None else f"Try again in {retry_seconds:.0f} s."
        return BusyError(FailureCause.BUSY, f"{name} is busy{said}", hint, retry_seconds)
    if status == 503 and "loading" in text.casefold():
        return LoadingError(FailureCause.BUSY, f"{name} is loading its model", "Wait until it has, then try again.")
    if status == 503 and retry_seconds is not None:
        return BusyError(FailureCause.SERVER_ERROR, f"{name} is not ready{said}", _TRY_AGAIN, retry_seconds)
    return RemoteEngineError(
        FailureCause.SERVER_ERROR,
        f"{name} failed with status {status}{said}",
        "Try again; if it happens again, look at the server's own messages.",
    )


def key_hint(server: Server) -> str:
    """Says where the key of a server comes from, and never the key."""
    if server.key_variable:
        return f"The key comes from the variable {server.key_variable}. Check what it holds."
    if server.key_command:
        return "The key comes from the server's key command. Check what it prints."
    if server.key_in_keyring:
        return "The key comes from the system's keyring. Store it anew."
    return "No key is set for this server. Name a variable, a command or the keyring for it."


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Returns the seconds of the header Retry-After, which is a number or a date; None if there is none."""
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.replace(".", "", 1).isdigit() and len(text) < 10:
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _too_long(status: int, body: bytes, text: str, name: str, said: str) -> PromptTooLongError | None:
    """Returns the error of a conversation that does not fit into the context, if it is one."""
    if status not in (400, 413, 422):
        return None
    try:
        value: Any = decode_json(body)
    except NotJsonError:
        value = None
    error = value_at(value, "error")
    error = error if isinstance(error, dict) else value
    words = text.casefold()
    if not (
        text_at(error, "type") == "exceed_context_size_error"
        or text_at(error, "param") in _OVERFLOW_FIELDS
        or ("context" in words and any(word in words for word in _OVERFLOW_WORDS))
    ):
        return None
    return PromptTooLongError(
        f"{name}: the conversation is too long for the model{said}",
        "Start a new chat, or give the server a larger context.",
        count_at(error, "n_prompt_tokens") or _largest_number(text),
        count_at(error, "n_ctx"),
    )


def _largest_number(text: str) -> int | None:
    """Returns the largest number of a message; in one about a prompt that is too long, that is its length."""
    return max((int(digits) for digits in re.findall(r"\d{1,12}", text)), default=None)
