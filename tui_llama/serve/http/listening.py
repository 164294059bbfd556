"""The sockets that the server listens on."""

import socket
from contextlib import ExitStack
from typing import Final

from tui_llama.errors import UserError
from tui_llama.serve.http.access import is_loopback

MOST_PENDING: Final = 512


def bound_sockets(host: str, port: int) -> list[socket.socket]:
    """Returns sockets on all addresses of a host, with one port; nobody can connect before they listen.

    Args:
        host: A name or an address.
        port: 0 for any that is free.

    Raises:
        UserError: there is no such host here, or the port is taken.
    """
    with ExitStack() as opened:
        sockets = []
        for family, address in _addresses(host, port):
            bound = opened.enter_context(socket.socket(family, socket.SOCK_STREAM))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                bound.bind((address, port))
            except OSError as error:
                raise UserError(
                    f"the server cannot listen at {url_of(address, port)}: {error.strerror}",
                    "Another program may use this port; --port chooses another one, 0 any that is free.",
                ) from error
            port = bound.getsockname()[1]
            sockets.append(bound)
        opened.pop_all()
    return sockets


def addresses_of(sockets: list[socket.socket]) -> list[str]:
    """Returns the IP addresses of sockets."""
    return [str(bound.getsockname()[0]) for bound in sockets]


def are_on_loopback(sockets: list[socket.socket]) -> bool:
    """Tells whether only programs on this machine can connect to the sockets."""
    return all(map(is_loopback, addresses_of(sockets)))


def url_of(host: str, port: int) -> str:
    """Returns the URL of a host and a port, without a path."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _addresses(host: str, port: int) -> list[tuple[int, str]]:
    """Returns the families and addresses of a host, each once, in the system's order."""
    host = host.removeprefix("[").removesuffix("]")
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        words = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"{host} is no address of this machine: {words}", "--host takes a name or an address, such as 127.0.0.1."
        ) from error
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))
