"""The connection to one server: nothing is sent to any other.

A proxy is used only if the usual variables name one, and never for this machine. A redirect is followed only on the
same server, because the key and the conversation belong to nobody else.
"""

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from time import monotonic
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import httpx2
import msgspec

from tui_llama.engine.events import FailureCause
from tui_llama.engine.remote.failures import (
    RemoteEngineError,
    connection_error,
    cut_off,
    key_hint,
    short,
    silent,
    status_error,
    unreadable_certificates,
)
from tui_llama.engine.remote.host_lookup import HostLookup, is_address
from tui_llama.engine.remote.patience import Patience
from tui_llama.engine.remote.stream.json_values import NotJsonError, decode_json
from tui_llama.servers.address import Server

MOST_BODY_BYTES: Final = 16 * 1024 * 1024
"""The most bytes of an answer that is read whole."""
MOST_ERROR_BYTES: Final = 64 * 1024
"""The most bytes that are read of an answer that tells an error."""

_MOST_REDIRECTS: Final = 3
_REDIRECTS: Final = (301, 302, 307, 308)
_CLOSED: Final = "disconnected without sending"  # the words of `httpx2`; it has no error of its own for this
_LOCALHOST: Final = "localhost"
_LOCAL_ADDRESSES: Final = ("127.0.0.1", "::1")
_PORTS: Final = {"http": 80, "https": 443}


class Answer(NamedTuple):
    """An answer that was read whole: its status, its JSON, None if it has none, and the headers of a refusal."""

    status: int
    value: Any
    headers: Mapping[str, str] = {}


class Connection:
    """Sends requests to one server.

    For https, making one takes a tenth of a second, because the system's certificates are read.

    Args:
        server: The server.
        key: Its key; "" to send none.
        patience: How long to wait for what.
        clock: Tells the time in seconds.

    Raises:
        RemoteEngineError: the key, a proxy or the system's certificates cannot be used.
    """

    def __init__(self, server: Server, key: str, patience: Patience, clock: Callable[[], float] = monotonic) -> None:
        self.server = server
        self._clock = clock
        self._reuse_seconds = patience.reuse_seconds
        self._headers = {"User-Agent": "tui-llama", "Accept-Encoding": "identity"}
        self.use_key(key)
        self._timeout = httpx2.Timeout(None, connect=patience.connect_seconds)
        self._proxy = proxy_for(server.url)
        host = urlsplit(self._proxy or server.url).hostname or ""
        self._lookup = HostLookup(host, patience.connect_seconds, clock)
        self._client = _client(server, self._proxy)
        self._local_address = ""  # the address that localhost turned out to be, if the name itself did not do

    def use_key(self, key: str) -> None:
        """Sends this key from now on; "" is none.

        Raises:
            RemoteEngineError: it cannot be a key.
        """
        self._headers.pop("Authorization", None)
        self.key = key
        if not key:
            return
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise RemoteEngineError(
                FailureCause.KEY_REFUSED,
                f"{self.server.name}: its key has characters that no key may have",
                key_hint(self.server),
            )
        self._headers["Authorization"] = f"Bearer {key}"

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know about the connection, one line each."""
        if not self._local_address:
            return ()
        return (f"{self.server.name} does not listen at localhost, but at {self._local_address}.",)

    async def get_json(self, url: str, seconds: float, body: Any = None) -> Answer:
        """Returns the answer to a GET, or, with a `body`, to a POST.

        Args:
            url: The address on this server.
            seconds: How long the whole may take.
            body: What to send as JSON.

        Raises:
            RemoteEngineError: no answer came, or the answer is too long.
        """
        try:
            async with asyncio.timeout(seconds), self.request(url, body) as response:
                raw = await read_body(response, MOST_BODY_BYTES)
        except httpx2.HTTPError as error:
            raise cut_off(self.server) from error
        except TimeoutError as error:
            raise silent(self.server) from error
        if len(raw) > MOST_BODY_BYTES:
            raise RemoteEngineError(
                FailureCause.SERVER_ERROR, f"{self.server.name} sends an answer that is too long", "Check its URL."
            )
        if response.status_code != 200:
            return Answer(response.status_code, raw, response.headers)
        try:
            return Answer(200, decode_json(raw))
        except NotJsonError:
            return Answer(200, None)

    def refusal(self, answer: Answer, model: str = "") -> RemoteEngineError:
        """Returns the error that an answer of another status than 200 tells."""
        return status_error(answer.status, answer.headers, answer.value, self.server, model, self.key)

    @asynccontextmanager
    async def request(
        self, url: str, body: Any = None, headers: Mapping[str, str] = {}
    ) -> AsyncIterator[httpx2.Response]:
        """Sends a GET, or a POST of `body`, and gives the response, which is closed at the end, read or not.

        Raises:
            RemoteEngineError: no response came, or it sends the request to another server.
        """
        try:
            content = None if body is None else msgspec.json.encode(body)
        except UnicodeEncodeError as error:
            raise RemoteEngineError(
                FailureCause.ENGINE, "the request has halves of characters, which cannot be sent", "Remove them."
            ) from error
        response = await self._followed(url, content, headers)
        try:
            yield response
        finally:
            await response.aclose()

    async def close(self) -> None:
        """Closes the connection."""
        await self._client.aclose()

    async def _followed(self, address: str, content: bytes | None, headers: Mapping[str, str]) -> httpx2.Response:
        try:
            url = httpx2.URL(address)
        except httpx2.InvalidURL as error:
            raise connection_error(error, self.server) from error
        for _redirect in range(_MOST_REDIRECTS + 1):
            response = await self._send(url, content, headers)
            if response.status_code not in _REDIRECTS:
                return response
            await response.aclose()
            url = self._redirected(url, response)
        raise RemoteEngineError(
            FailureCause.ENGINE, f"{self.server.name} redirects in a circle", "Check the server's URL."
        )

    def _redirected(self, url: httpx2.URL, response: httpx2.Response) -> httpx2.URL:
        """Returns where a response sends the request, if that is the same server."""
        location = response.headers.get("location", "")
        try:
            target = url.join(location)
        except (httpx2.InvalidURL, ValueError):
            target = httpx2.URL("")
        is_same_place = target.host == url.host and _port(target) == _port(url)
        if is_same_place and target.scheme == url.scheme and not target.userinfo:
            return target
        where = short(location, self.key)
        raise RemoteEngineError(
            FailureCause.ENGINE,
            f"{self.server.name} sends the request on to another address, {where}; it was not followed",
            "If that is the server you mean, give this address instead.",
        )

    async def _send(self, url: httpx2.URL, content: bytes | None, headers: Mapping[str, str]) -> httpx2.Response:
        try:
            if self._local_address and url.host == _LOCALHOST:
                return await self._send_to(self._local_address, url, content, headers)
            return await self._send_to("", url, content, headers)
        except httpx2.ConnectError as error:
            if url.host != _LOCALHOST:
                raise self._error(error) from error
            return await self._send_to_either(url, content, headers, error)
        except (httpx2.HTTPError, UnicodeError) as error:
            raise self._error(error) from error

    async def _send_to_either(
        self, url: httpx2.URL, content: bytes | None, headers: Mapping[str, str], refused: Exception
    ) -> httpx2.Response:
        """Tries both addresses of this machine: some resolve localhost to one, where the server is at the other."""
        for address in _LOCAL_ADDRESSES:
            try:
                response = await self._send_to(address, url, content, headers)
            except httpx2.ConnectError:
                continue
            except httpx2.HTTPError as error:
                raise self._error(error) from error
            self._local_address = address
            return response
        raise self._error(refused) from refused

    def _error(self, error: Exception) -> RemoteEngineError:
        return connection_error(error, self.server, shown_proxy(self._proxy))

    async def _send_to(
        self, address: str, url: httpx2.URL, content: bytes | None, headers: Mapping[str, str]
    ) -> httpx2.Response:
        """Sends one request, to `address` in place of the URL's host if it is not empty."""
        all_headers = {**self._headers, **headers}
        extensions: dict[str, Any] = {}
        if content is not None:
            all_headers["Content-Type"] = "application/json"
        if address:
            all_headers["Host"] = url.netloc.decode("ascii")
            extensions["sni_hostname"] = url.host
            url = url.copy_with(host=address)
        method = "GET" if content is None else "POST"
        if not address:
            await self._lookup.wait()
        while True:
            opening, began = _Opening(), self._clock()
            request = self._client.build_request(
                method,
                url,
                content=content,
                headers=all_headers,
                timeout=self._timeout,
                extensions={**extensions, "trace": opening.note},
            )
            try:
                return await self._client.send(request, stream=True)
            except httpx2.TransportError as error:
                # Servers close connections that they have offered to keep, llama-server now and then right after an
                # answer. Each such failure uses one up, and the last attempt is on a new one. One that comes late is
                # another: the server has worked on the request, and would do all of it again.
                is_late = self._clock() - began > self._reuse_seconds
                if opening.has_begun or is_late or not _was_closed(error):
                    raise


class _Opening:
    """Learns from `httpx2` whether a request opens a new connection."""

    def __init__(self) -> None:
        self.has_begun = False

    async def note(self, event: str, _info: Mapping[str, Any]) -> None:
        self.has_begun = self.has_begun or event.endswith("connect_tcp.started")


def _was_closed(error: httpx2.HTTPError) -> bool:
    """Tells whether an open connection broke before a byte of an answer came, and nothing else is wrong."""
    return isinstance(error, httpx2.ReadError | httpx2.WriteError) or _CLOSED in str(error)


async def read_body(response: httpx2.Response, most_bytes: int) -> bytes:
    """Returns the body, or its start if it is longer than `most_bytes`.

    Raises:
        httpx2.HTTPError: the connection broke off.
    """
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > most_bytes:
            break
    return bytes(body)


def _client(server: Server, proxy: str) -> httpx2.AsyncClient:
    """Returns a client that keeps no cookies, and takes no key from a file of this machine."""
    try:
        return httpx2.AsyncClient(
            trust_env=False,
            proxy=proxy or None,
            verify=_certificates(server),
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=2, keepalive_expiry=30.0),
        )
    except (ValueError, ImportError, httpx2.InvalidURL) as error:
        raise RemoteEngineError(
            FailureCause.REFUSED,
            f"{server.name}: the proxy of the variables cannot be used",
            "Give it in HTTP_PROXY or HTTPS_PROXY like http://proxy:3128, or add the server to NO_PROXY.",
        ) from error


def _certificates(server: Server) -> ssl.SSLContext:
    """Returns whom to trust: the system's certificates. Reading them takes long, and only TLS needs them.

    Raises:
        RemoteEngineError: they cannot be read, perhaps because a variable names a file that is not there.
    """
    if not server.url.startswith("https:"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody
    try:
        return httpx2.create_ssl_context()
    except OSError as error:  # one of TLS is one, too
        raise unreadable_certificates(error, server) from error


def proxy_for(address: str) -> str:
    """Returns the proxy for a URL by the usual variables, "" for none. This machine is never asked through one."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    if is_this_machine(host):
        return ""
    proxies = getproxies_environment()
    proxy = proxies.get(parts.scheme) or proxies.get("all") or ""
    place = host if parts.port is None else f"{host}:{parts.port}"
    if not proxy or proxy_bypass(place):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def shown_proxy(proxy: str) -> str:
    """Returns a proxy without the name and the password that its URL may have."""
    scheme, separator, rest = proxy.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def is_this_machine(host: str) -> bool:
    """Tells whether a host is this machine, by its name or address alone."""
    if host == _LOCALHOST or host.endswith(f".{_LOCALHOST}"):
        return True
    return is_address(host) and ipaddress.ip_address(host).is_loopback


def _port(url: httpx2.URL) -> int | None:
    return url.port or _PORTS.get(url.scheme)
