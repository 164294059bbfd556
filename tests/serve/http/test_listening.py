"""The sockets: on which addresses, and what is said where there can be none."""

import socket

import pytest

from tui_llama.errors import UserError
from tui_llama.serve.http.listening import addresses_of, are_on_loopback, bound_sockets, url_of


def closed(sockets: list[socket.socket]) -> list[socket.socket]:
    for each in sockets:
        each.close()
    return sockets


def test_an_address_is_bound_and_nobody_can_connect_before_it_listens() -> None:
    (bound,) = sockets = bound_sockets("127.0.0.1", 0)

    with bound, pytest.raises(ConnectionRefusedError):
        socket.create_connection(bound.getsockname())

    assert closed(sockets)


def test_all_addresses_of_a_name_get_the_same_port() -> None:
    sockets = bound_sockets("localhost", 0)
    ports = {each.getsockname()[1] for each in sockets}
    try:
        assert are_on_loopback(sockets)
        assert "127.0.0.1" in addresses_of(sockets)
        assert len(ports) == 1
    finally:
        closed(sockets)


@pytest.mark.parametrize("host", ["0.0.0.0", ""])
def test_all_addresses_of_the_machine_are_not_loopback(host: str) -> None:
    sockets = bound_sockets(host, 0)
    try:
        assert not are_on_loopback(sockets)
    finally:
        closed(sockets)


def test_a_port_that_is_taken_is_said() -> None:
    (first,) = bound_sockets("127.0.0.1", 0)
    with first:
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(
            UserError, match=rf"cannot listen at http://127.0.0.1:{port}: Address already in use"
        ) as error:
            bound_sockets("127.0.0.1", port)

    assert "--port" in error.value.hint


@pytest.mark.parametrize("host", ["192.0.2.1", "not a name", "256.256.256.256", "x" * 300])
def test_an_address_that_is_not_of_this_machine_is_said(host: str) -> None:
    with pytest.raises(UserError, match=r"cannot listen at|is no address of this machine"):
        bound_sockets(host, 0)


def test_an_address_of_version_6_is_written_in_brackets() -> None:
    assert url_of("::1", 80) == "http://[::1]:80"
    assert url_of("localhost", 80) == "http://localhost:80"
