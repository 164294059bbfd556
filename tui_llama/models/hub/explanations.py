"""Explains failed requests to the hub in the words of this program: refusals, and connections that fail."""

import math
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Final, Protocol
from urllib.parse import urlsplit

from tui_llama.models.downloads import DownloadError
from tui_llama.models.hub.patience import HubUnreachableError, PassingFailure
from tui_llama.models.hub.reference import HubReference

_NETWORK_HINT: Final = "Check the network, and HTTPS_PROXY and HF_ENDPOINT if they are set."
_BUSY_STATUSES: Final = frozenset({408, 429, 500, 502, 503, 504})


class Answer(Protocol):
    """The answer of a server, whatever its content."""

    @property
    def status_code(self) -> int:
        """The status code of HTTP."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers by name, in upper or lower case."""

    @property
    def url(self) -> object:
        """The address of the answer after all redirects, to be made text."""


class Explainer:
    """Turns failures into errors that a user understands.

    Args:
        endpoint: The address of the hub; its host is named in errors.
    """

    def __init__(self, endpoint: str) -> None:
        self._scheme = urlsplit(endpoint).scheme
        self._host = shown_host(endpoint)

    def refusal(self, response: Answer, reference: HubReference, *, has_token: bool) -> Exception:
        """Returns what an answer that is not what was asked for means; passing where waiting may help."""
        status = response.status_code
        if status in _BUSY_STATUSES:
            return _busy(response)
        host = shown_host(str(response.url))
        if host != self._host:
            # Addresses at the server of contents are good for a while only; the hub gives a new one.
            return PassingFailure(DownloadError(f"{host} does not send the file (status {status})"))
        return self._refusal_by_code(response, reference, has_token=has_token)

    def _refusal_by_code(self, response: Answer, reference: HubReference, *, has_token: bool) -> DownloadError:
        """Returns what a refusal means, by the code that the hub sends along, else by the status.

        Source: huggingface_hub 2.4, `utils/_http.py`, `hf_raise_for_status`.
        """
        repository = reference.repository
        code = response.headers.get("X-Error-Code", "")
        if code == "GatedRepo":
            page = f"{self._scheme}://{self._host}/{repository}"
            return DownloadError(
                f"{repository} is only for users who have accepted its terms",
                f"Accept them on {page}"
                + (" with the account of your token." if has_token else " and set HF_TOKEN to your token."),
            )
        if code == "RevisionNotFound":
            return DownloadError(
                f"{repository} has no revision {reference.revision}", "Leave the revision out, or use another one."
            )
        if code == "EntryNotFound":
            return DownloadError(f"{repository} no longer has the file", "Try again.")
        if response.status_code == 401 and has_token and code != "RepoNotFound":
            return DownloadError(
                f"{self._host} does not accept the token", "Set HF_TOKEN to a valid token; public models need none."
            )
        return self._refusal_by_status(response.status_code, repository, has_token=has_token)

    def _refusal_by_status(self, status: int, repository: str, *, has_token: bool) -> DownloadError:
        if status in {401, 404}:  # to whom a private one does not belong, the hub denies that there is one
            return DownloadError(
                f"there is no repository {repository} on {self._host}, or it is private",
                "Check the name." if has_token else "Check the name; for a private repository, set HF_TOKEN.",
            )
        if status == 403:
            return DownloadError(
                f"{self._host} refuses access to {repository}",
                "The token may not have the right to read it." if has_token else "It may need a token in HF_TOKEN.",
            )
        if status == 407:
            return DownloadError("the proxy requires a name and a password", "Put them into HTTPS_PROXY.")
        return DownloadError(f"{self._host} refuses {repository} (status {status})", _NETWORK_HINT)

    def bad_address(self) -> DownloadError:
        """Returns what it means that nothing can be asked at an address."""
        return DownloadError(
            f"{self._host} cannot be reached: the address of the proxy or of a redirect is invalid",
            "Check HTTPS_PROXY and ALL_PROXY; write them like http://HOST:PORT.",
        )

    def failed_connection(self, error: Exception, *, has_answered: bool) -> Exception:
        """Returns what a failed connection means; passing where waiting may help.

        Args:
            error: Of the library that makes the connections.
            has_answered: Whether the hub has answered an earlier request.
        """
        host = _request_host(error) or self._host
        causes = list(_causes(error))
        kind = type(error).__name__  # names, since the classes differ between the versions of huggingface_hub
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
            return HubUnreachableError(
                f"the certificate of {host} is not trusted",
                "If a proxy has its own certificates, set SSL_CERT_FILE to their file.",
            )
        if kind in {"UnsupportedProtocol", "TooManyRedirects", "LocalProtocolError"}:
            return HubUnreachableError(f"{host} redirects to an invalid address", _NETWORK_HINT)
        if kind == "ProxyError":
            return HubUnreachableError(f"the proxy cannot reach {host}", _NETWORK_HINT)
        if kind in {"ConnectError", "ConnectTimeout"}:
            if any(isinstance(cause, socket.gaierror) for cause in causes):
                reason = f"the address of {host} was not found"
            elif any(isinstance(cause, ConnectionRefusedError) for cause in causes):
                reason = f"{host} refuses the connection"
            else:
                reason = f"{host} cannot be reached"
            unreachable = HubUnreachableError(reason, _NETWORK_HINT)
            # At the beginning there is nothing to wait for; later it may be a network that is away for a moment.
            return PassingFailure(unreachable) if has_answered else unreachable
        if "Timeout" in kind:
            return PassingFailure(HubUnreachableError(f"{host} does not answer", _NETWORK_HINT))
        return PassingFailure(HubUnreachableError(f"the connection to {host} was lost", _NETWORK_HINT))


def _busy(response: Answer) -> PassingFailure:
    status = response.status_code
    seconds = _asked_wait_seconds(response.headers)
    host = shown_host(str(response.url))
    if status != 429:
        error = HubUnreachableError(f"{host} does not work at the moment (status {status})", "Try again later.")
    elif seconds is None:
        error = HubUnreachableError(f"{host} received too many requests from here", "Try again in a few minutes.")
    else:
        error = HubUnreachableError(
            f"{host} received too many requests from here and asks to wait {_duration_words(seconds)}",
            "Try again after that; a token in HF_TOKEN allows more requests.",
        )
    return PassingFailure(error, seconds)


def shown_host(address: str) -> str:
    """Returns the host and port of an address, without a name and password before them; empty for nonsense."""
    try:
        return urlsplit(address).netloc.rpartition("@")[2].lower()
    except ValueError:
        return ""


def first_line(error: Exception) -> str:
    """Returns the first line of an error's text, of at most 200 characters; else the error's name."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _asked_wait_seconds(headers: Mapping[str, str]) -> float | None:
    """Returns how long a server asks to wait: as a number, as a date, or in the hub's own header.

    Source: RFC 9110, 10.2.3; draft-ietf-httpapi-ratelimit-headers, `"api";r=0;t=55`.
    """
    asked = headers.get("Retry-After", "").strip()
    if asked.isascii() and asked.isdigit():
        return float(asked)
    if asked:
        try:
            return max(parsedate_to_datetime(asked).timestamp() - time.time(), 0.0)
        except ValueError:
            return None
    fields = dict(part.strip().partition("=")[::2] for part in headers.get("RateLimit", "").split(";"))
    seconds = fields.get("t", "")
    return float(seconds) if fields.get("r") == "0" and seconds.isascii() and seconds.isdigit() else None


def _duration_words(seconds: float) -> str:
    return f"{math.ceil(seconds)} seconds" if seconds < 120 else f"{math.ceil(seconds / 60)} minutes"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _request_host(error: Exception) -> str:
    """Returns the host that was asked when a connection failed; empty where httpx does not know it."""
    try:
        return shown_host(str(error.request.url))  # type: ignore[attr-defined]
    except (AttributeError, RuntimeError):
        return ""
