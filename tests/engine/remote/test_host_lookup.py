"""A name server that does not answer keeps nobody from quitting."""

import socket
import threading

import httpx2
import pytest

from tests.patience import HANG_SECONDS
from tui_llama.engine.remote.host_lookup import HostLookup, is_address


class NameServer:
    """Answers when it is let."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[str] = []
        self.may_answer = threading.Event()
        self.is_waited_for_at_the_end: bool | None = None
        self._error = error

    def look_up(self, host: str, _port: None) -> None:
        self.asked.append(host)
        self.is_waited_for_at_the_end = not threading.current_thread().daemon
        assert self.may_answer.wait(HANG_SECONDS)
        if self._error is not None:
            raise self._error


async def test_a_name_server_that_does_not_answer_is_given_up_and_left_behind() -> None:
    server = NameServer()
    with pytest.raises(httpx2.ConnectTimeout, match="nobody tells the address of box"):
        await HostLookup("box", 0.01, look_up=server.look_up).wait()
    server.may_answer.set()
    assert server.is_waited_for_at_the_end is False


async def test_an_answer_counts_for_a_while() -> None:
    server, now = NameServer(), [0.0]
    server.may_answer.set()
    lookup = HostLookup("box", HANG_SECONDS, lambda: now[0], server.look_up)
    for now[0] in (0.0, 29.0, 31.0):
        await lookup.wait()
    assert server.asked == ["box", "box"]


async def test_a_host_that_nobody_knows_is_asked_for_again_the_next_time() -> None:
    server = NameServer(socket.gaierror("unknown"))
    server.may_answer.set()
    lookup = HostLookup("box", HANG_SECONDS, look_up=server.look_up)
    for _ in range(2):
        with pytest.raises(httpx2.ConnectError) as refused:
            await lookup.wait()
        assert isinstance(refused.value.__cause__, socket.gaierror)
    assert server.asked == ["box", "box"]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "10.0.0.7"])
async def test_nobody_is_asked_for_an_address(host: str) -> None:
    server = NameServer()
    await HostLookup(host, HANG_SECONDS, look_up=server.look_up).wait()
    assert server.asked == []


def test_addresses_are_told_from_names() -> None:
    assert is_address("192.168.0.1")
    assert not any(map(is_address, ("", "localhost", "1.2.3.4.5", "box.local")))
