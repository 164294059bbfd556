"""Who may use the server: keys, the names by which it may be called, and the pages of browsers that may ask.

A page in a browser must not reach a server on its reader's machine. It is refused by its `Origin`; a page whose name
was rebound to this machine's address, so that the browser takes it for the server's own, is refused by its `Host`.
"""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from starlette.types import ASGIApp, Receive, Scope, Send

from tui_llama.serve.http.errors import FORBIDDEN, NO_KEY, ApiError

_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_OPEN_PATHS: Final = frozenset({"/health"})
_ANY_ORIGIN: Final = "*"
ANSWER_HEADERS: Final = "answer_headers"
"""The part of a request's state that holds headers for its answer, also for an error."""
_KEY_DIGEST: Final = "key_digest"
"""The part of a request's state that holds the digest of its key, which was found right."""
_HOST: Final = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[0-9a-z_.-]+)(:[0-9]+)?")
_PREFLIGHT_SECONDS: Final = b"600"

Headers = list[tuple[bytes, bytes]]


class Client(NamedTuple):
    """Who asks, as far as the queue's fairness tells clients apart: the key's digest, address and program.

    The key counts only where it was checked: else a client could be a new one with each request.
    """

    key_digest: bytes
    address: str
    program: str


@dataclass(frozen=True, slots=True)
class Access:
    """What the server allows.

    Attributes:
        keys: The keys, one of which every request needs; without any, everybody may ask.
        hosts: Names and addresses by which the server may be called, beside those of this machine itself.
        origins: Origins of pages that may ask, such as `http://localhost:3000`; `*` for all.
    """

    keys: tuple[str, ...] = ()
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()

    def has_key(self, given: str) -> bool:
        """Tells whether `given` is a key; takes as long for one as for another."""
        matches = [hmac.compare_digest(_digest(given), _digest(key)) for key in self.keys]
        return any(matches)

    def allows_host(self, header: str, own_address: str) -> bool:
        """Tells whether a `Host` header names this server; `own_address` is where the connection came in."""
        name = _host_name(header)
        # A socket on all addresses of both kinds shows an IPv4 address as a part of IPv6.
        return name in _LOOPBACK_NAMES or name == own_address.removeprefix("::ffff:").lower() or name in self.hosts

    def allows_origin(self, origin: str) -> bool:
        """Tells whether a page of this origin may ask."""
        return origin in self.origins or _ANY_ORIGIN in self.origins


def client_of(scope: Scope) -> Client:
    """Returns who sends a request. A connection without an address, as over a Unix socket, has "" for one."""
    address, key_digest = scope.get("client"), scope.get("state", {}).get(_KEY_DIGEST, b"")
    return Client(key_digest, address[0] if address else "", headers_of(scope).get("user-agent", ""))


def headers_of(scope: Scope) -> dict[str, str]:
    """Returns a request's headers by their names in lower case; of several with one name, the first."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return headers


class AccessMiddleware:
    """Refuses requests that are not allowed, before anything else is done for them.

    Args:
        app: What serves the others.
        access: What is allowed.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request.

        Raises:
            ApiError: it is not allowed.
        """
        headers = headers_of(scope)
        self._check_host(headers, scope)
        origin = self._checked_origin(headers)
        if origin is not None:
            scope["state"][ANSWER_HEADERS].extend(_origin_headers(origin))
        if origin is not None and scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await _answer_preflight(headers, send)
            return
        if self._access.keys and scope["path"] not in _OPEN_PATHS:
            scope["state"][_KEY_DIGEST] = _digest(self._checked_key(headers))
        await self._app(scope, receive, send)

    def _check_host(self, headers: Mapping[str, str], scope: Scope) -> None:
        server = scope.get("server")
        if not self._access.allows_host(headers.get("host", ""), str(server[0]) if server else ""):
            raise ApiError(
                403, "The server does not go by this Host; --allow-host allows a name.", FORBIDDEN, "host_not_allowed"
            )

    def _checked_origin(self, headers: Mapping[str, str]) -> str | None:
        """Returns the origin of the page that asks, None where no page does."""
        origin = headers.get("origin")
        if origin is not None:
            if not self._access.allows_origin(origin):
                raise _page_not_allowed()
        elif headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            raise _page_not_allowed()  # a browser sends no Origin where a page shows something from here, as an image
        return origin

    def _checked_key(self, headers: Mapping[str, str]) -> str:
        given = _given_key(headers)
        if given is None:
            raise _key_error("The server needs a key: Authorization: Bearer KEY.", "missing_api_key")
        if not self._access.has_key(given):
            raise _key_error("The key is wrong.", "invalid_api_key")
        return given


def _page_not_allowed() -> ApiError:
    return ApiError(403, "Pages of this origin may not ask; --cors allows an origin.", FORBIDDEN, "origin_not_allowed")


def _key_error(message: str, code: str) -> ApiError:
    return ApiError(401, message, NO_KEY, code, headers=((b"www-authenticate", b"Bearer"),))


def _given_key(headers: Mapping[str, str]) -> str | None:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    return headers.get("x-api-key")


def _digest(key: str) -> bytes:
    """Returns what is compared of a key: as long for every key."""
    return hashlib.sha256(key.encode()).digest()


def _host_name(header: str) -> str:
    """Returns the name in a `Host` header without port and brackets, in lower case; "" if there is none."""
    found = _HOST.fullmatch(header.lower())
    return found["name"].strip("[]").rstrip(".") if found else ""


def is_loopback(address: str) -> bool:
    """Tells whether an IP address is one of this machine alone."""
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _origin_headers(origin: str) -> Headers:
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", b"x-request-id, x-queue-length, retry-after"),
        (b"vary", b"origin"),
    ]


async def _answer_preflight(headers: Mapping[str, str], send: Send) -> None:
    answer = [
        (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
        (b"access-control-allow-headers", headers.get("access-control-request-headers", "").encode("latin-1")),
        (b"access-control-max-age", _PREFLIGHT_SECONDS),
    ]
    if headers.get("access-control-request-private-network") == "true":
        answer.append((b"access-control-allow-private-network", b"true"))
    await send({"type": "http.response.start", "status": 204, "headers": answer})
    await send({"type": "http.response.body", "body": b""})
