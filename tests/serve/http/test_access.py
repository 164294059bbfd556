"""Who may ask: keys, names of the server, and pages in browsers."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from tests.serve.running_server import error_of, running
from tui_llama.serve.http.access import Access, AccessMiddleware, client_of, is_loopback

KEY = "sesame-of-forty-thieves"
PAGE = "http://localhost:3000"
GUARDED = Access(keys=(KEY, "another"))


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (("Authorization", f"Bearer {KEY}"), 200),
        (("Authorization", f"bearer  {KEY}"), 200),
        (("Authorization", "Bearer another"), 200),
        (("X-Api-Key", KEY), 200),
        (("X-Api-Key", ""), 401),
        (("Authorization", f"Bearer {KEY[:-1]}"), 401),
        (("Authorization", f"Bearer {KEY}x"), 401),
        (("Authorization", "Bearer \xff"), 401),
        (("Authorization", "Bearer"), 401),
        (("Authorization", f"Basic {KEY}"), 401),
        (("X-Other", KEY), 401),
    ],
)
async def test_a_key_is_needed_where_there_is_one(header: tuple[str, str], status: int) -> None:
    async with running(access=GUARDED) as server:
        answer = await server.ask("GET", "/v1/models", headers=[header])

    assert answer.status == status
    if status == 401:
        assert error_of(answer)["type"] == "authentication_error"
        assert answer.headers["www-authenticate"] == "Bearer"
        assert KEY.encode() not in answer.body


@pytest.mark.parametrize(
    ("path", "status"), [("/health", 200), ("/metrics", 401), ("/nowhere", 401), ("/health/x", 401)]
)
async def test_only_the_health_is_open(path: str, status: int) -> None:
    async with running(access=GUARDED) as server:
        assert (await server.ask("GET", path)).status == status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *((host, 200) for host in ("localhost", "LOCALHOST:80", "127.0.0.1:9", "[::1]:80", "llama.lan", "llama.lan.")),
        *((host, 403) for host in ("evil.com", "evil.com:80", "localhost.evil.com", "", "127.0.0.1.evil.com", "[::1")),
        *((host, 403) for host in ("evil.com#localhost", "192.168.0.7", "user@evil.com", "0.0.0.0", "localhost/x y")),
    ],
)
async def test_the_server_goes_by_its_own_names_only(host: str, status: int) -> None:
    async with running(access=Access(hosts=frozenset({"llama.lan"}))) as server:
        answer = await server.ask("GET", "/health", headers=[("Host", host)])

    assert answer.status == status
    if status == 403:
        assert error_of(answer)["code"] == "host_not_allowed"


async def test_without_a_host_nobody_is_answered() -> None:
    async with running() as server:
        received = await server.send(b"GET /health HTTP/1.0\r\n\r\n")

    assert received.startswith(b"HTTP/1.1 403")


def test_a_server_on_all_addresses_goes_by_the_one_that_was_asked() -> None:
    assert Access().allows_host("192.168.0.7:8080", "192.168.0.7")
    assert Access().allows_host("[fe80::7]", "fe80::7")
    assert Access().allows_host("192.168.0.7", "::ffff:192.168.0.7")
    assert not Access().allows_host("192.168.0.8", "192.168.0.7")


@given(header=st.text(max_size=40), address=st.text(max_size=20))
def test_no_host_can_break_the_check(header: str, address: str) -> None:
    Access().allows_host(header, address)


@pytest.mark.parametrize(
    "headers",
    [
        [("Origin", "http://evil.com")],
        [("Origin", "null")],
        [("Origin", "")],
        [("Origin", f"{PAGE}.evil.com")],
        [("Sec-Fetch-Site", "cross-site")],
        [("Sec-Fetch-Site", "same-site")],
    ],
)
@pytest.mark.parametrize("path", ["/health", "/v1/models"])
async def test_pages_may_not_ask(path: str, headers: list[tuple[str, str]]) -> None:
    async with running(access=Access(origins=frozenset({PAGE}))) as server:
        answer = await server.ask("GET", path, headers=headers)

    assert (answer.status, error_of(answer)["code"]) == (403, "origin_not_allowed")
    assert not any(name.startswith("access-control-") for name in answer.headers)


@pytest.mark.parametrize("site", ["none", "same-origin"])
async def test_whoever_types_the_address_may_ask(site: str) -> None:
    async with running() as server:
        assert (await server.ask("GET", "/health", headers=[("Sec-Fetch-Site", site)])).status == 200


@pytest.mark.parametrize("path", ["/v1/models", "/nowhere"])
async def test_an_allowed_page_may_read_answers_and_errors(path: str) -> None:
    async with running(access=Access(origins=frozenset({PAGE}))) as server:
        answer = await server.ask("GET", path, headers=[("Origin", PAGE), ("Sec-Fetch-Site", "same-site")])

    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["vary"] == "origin"


async def test_an_allowed_page_may_ask_before_it_asks_and_needs_no_key_for_that() -> None:
    asked = [
        ("Origin", PAGE),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization, content-type"),
        ("Access-Control-Request-Private-Network", "true"),
    ]
    async with running(access=Access(keys=(KEY,), origins=frozenset({PAGE}))) as server:
        answer = await server.ask("OPTIONS", "/v1/chat/completions", headers=asked)

    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["access-control-allow-headers"] == "authorization, content-type"
    assert answer.headers["access-control-allow-private-network"] == "true"
    assert "POST" in answer.headers["access-control-allow-methods"]


async def test_another_page_that_asks_before_it_asks_gets_no_permission() -> None:
    asked = [("Origin", "http://evil.com"), ("Access-Control-Request-Method", "POST")]
    async with running() as server:
        answer = await server.ask("OPTIONS", "/v1/chat/completions", headers=asked)

    assert answer.status == 403
    assert not any(name.startswith("access-control-") for name in answer.headers)


async def clients_of(access: Access, *requests: Sequence[tuple[str, str]], address: str = "127.0.0.1") -> list[object]:
    """Returns who the clients are that send requests with these headers."""
    seen: list[object] = []

    async def note(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(client_of(scope))

    async def unused(*_: object) -> None:
        raise AssertionError

    for given_headers in requests:
        headers = [(name.encode(), value.encode()) for name, value in (("host", "localhost"), *given_headers)]
        scope = {"headers": headers, "client": (address, 5), "path": "/tokenize", "method": "POST", "state": {}}
        await AccessMiddleware(note, access)(scope, unused, unused)  # type: ignore[arg-type]
    return seen


RIGHT, ALSO_RIGHT = ("authorization", f"Bearer {KEY}"), ("authorization", "Bearer another")
PROGRAM = ("user-agent", "llm")


async def test_clients_are_told_apart_by_key_address_and_program() -> None:
    clients = await clients_of(GUARDED, [RIGHT], [ALSO_RIGHT], [RIGHT, PROGRAM], [("x-api-key", KEY)])
    clients += await clients_of(GUARDED, [RIGHT], address="::1")

    assert len(set(clients)) == 4
    assert clients[0] == clients[3]
    assert KEY not in repr(clients)


async def test_a_key_that_nobody_has_checked_makes_no_new_client() -> None:
    clients = await clients_of(Access(), [RIGHT], [ALSO_RIGHT], [("x-api-key", "anything")], [])

    assert len(set(clients)) == 1


@pytest.mark.parametrize(
    ("address", "expected"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("0.0.0.0", False), ("::", False), ("fe80::1%lo", False)],
)
def test_only_addresses_of_this_machine_alone_are_loopback(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected
