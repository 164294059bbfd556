"""Addresses of servers and of their models.

A model of a server has one address, as a model file has a path: `http://127.0.0.1:8080/v1#qwen3-8b`, the server's base
URL and behind the `#` the name by which the server knows the model, as it is. Whatever stores or passes the path of a
model takes such an address, too.
"""

from typing import Final
from urllib.parse import urlsplit, urlunsplit

import msgspec

from tui_llama.errors import SettingsError

DIALECTS: Final = ("llama-server", "vllm", "sglang", "ollama", "lmstudio", "plain")
"""The kinds of servers; "plain" is one of which nothing is known but that it speaks OpenAI's protocol."""

_SCHEMES: Final = ("http://", "https://")
_ENDPOINTS: Final = ("/chat/completions", "/completions", "/models", "/responses")
_VERSION: Final = "/v1"
_HINT: Final = "Write it like http://127.0.0.1:8080/v1"


class RemoteModel(msgspec.Struct, frozen=True):
    """A model of a server: the base URL, as `base_url` returns it, and its name there, which may be any text."""

    url: str
    name: str

    def __str__(self) -> str:
        return f"{self.url}#{self.name}"


def is_server_address(path: str) -> bool:
    """Tells whether what names a model names one of a server, or the server itself, and no file."""
    return path.casefold().startswith(_SCHEMES)


def remote_model(address: str) -> RemoteModel:
    """Returns the model of an address. Its name is empty where the address names only the server.

    Raises:
        SettingsError: this is no address of a server.
    """
    url, _, name = address.partition("#")
    return RemoteModel(base_url(url), name)


def typed_address(text: str) -> str:
    """Returns the address of a server's model as it is stored, or the base URL where no model is named.

    Raises:
        SettingsError: this is no address of a server.
    """
    model = remote_model(text.strip())
    return str(model) if model.name else model.url


def base_url(typed: str) -> str:
    """Returns the base URL that a typed URL means: without the name of an endpoint, and with a path.

    People type it with and without `/v1`, with a slash at the end, or with the whole way to an endpoint. Without any
    path it gets `/v1`.

    Raises:
        SettingsError: this is no URL of a server. A name and a password in the URL are refused, because the URL is
            shown and stored.
    """
    typed = typed.strip()
    # What stands before an "@" or behind a "?" may be a key, so no message repeats it.
    shown = "the URL" if "@" in typed or "?" in typed else typed
    try:
        parts = urlsplit(typed)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        cause = "this is no URL of a server" if shown != typed else error
        raise SettingsError(f"{shown}: {cause}", _HINT) from error
    if not is_server_address(typed) or not host or any(character.isspace() for character in typed):
        raise SettingsError(f"{shown}: this is no URL of a server", _HINT)
    if parts.username is not None or parts.password is not None:
        raise SettingsError(
            "the URL of a server must not contain a name or a password",
            "Name a variable, a command or the keyring for its key.",
        )
    if parts.query or parts.fragment:
        raise SettingsError(f"{shown}: the URL of a server has no “?” and no “#”", _HINT)
    path = parts.path.rstrip("/")
    for endpoint in _ENDPOINTS:
        path = path.removesuffix(endpoint)
    shown_host = f"[{host}]" if ":" in host else host
    place = shown_host if port is None else f"{shown_host}:{port}"
    return urlunsplit((parts.scheme.casefold(), place, path or _VERSION, "", ""))


class Server(msgspec.Struct, frozen=True):
    """A server that the user has named.

    At most one of the three places has the key; with none, no key is sent. The key itself stands in no file of ours.

    Attributes:
        name: The name in the list of models.
        url: The base URL.
        key_variable: The environment variable with the key.
        key_command: The command whose output is the key.
        key_in_keyring: Whether the system's keyring has the key.
        dialect: The kind of server, one of `DIALECTS`; empty to find it out.
    """

    name: str
    url: str
    key_variable: str = ""
    key_command: str = ""
    key_in_keyring: bool = False
    dialect: str = ""
