"""The servers that the user has declared in the settings file, a section each:

    [servers.home]
    url = "http://10.0.0.2:8080/v1"
    key_variable = "HOME_KEY"     # or key_command = "pass show llm", or key_in_keyring = true; at most one
    dialect = "vllm"              # the kind of server; without it, the program finds out

The key itself never stands there. No message repeats a value that might be one.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from tui_llama.declarations import as_toml
from tui_llama.errors import SettingsError
from tui_llama.servers.address import DIALECTS, Server, base_url, is_server_address, remote_model

SERVERS: Final = "servers"
"""The section of the settings file with a section for each server."""
KEY_PLACES: Final = ("key_variable", "key_command", "key_in_keyring")
"""The places of a server's key, of which it has at most one."""
_KEYS: Final = ("url", *KEY_PLACES, "dialect")
_KEYS_THEMSELVES: Final = frozenset(
    {"key", "apikey", "keyvalue", "token", "accesstoken", "apitoken", "bearer", "bearertoken", "password", "secret"}
    | {"authorization"}
)
"""Names under which people write a key itself, in small letters without signs between them."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WHERE_A_KEY_BELONGS: Final = (
    "Name the place of the key instead: key_variable, key_command, or key_in_keyring = true. "
    "“tui-llama servers add NAME URL --keyring” stores it in the keyring."
)


def check_server(name: str, fields: Mapping[str, Any], place: str) -> Server:
    """Returns a server.

    Args:
        name: The name of its section.
        fields: The keys and values in it, as TOML reads them.
        place: The words before each error, which say where the section is.

    Raises:
        SettingsError: the name, a key or a value is wrong. Values that might be a key are not repeated.
    """
    check_name(name, place)
    where = f"{place}{SERVERS}.{name}"
    if not isinstance(fields, Mapping):
        raise SettingsError(f"{where} must be a section", f"Write [{SERVERS}.{name}] on a line of its own.")
    for key in fields:
        _check_key(key, where)
    if "url" not in fields:
        raise SettingsError(f"{where}: url is missing", 'Add a line such as url = "http://127.0.0.1:8080/v1".')
    server = Server(
        name,
        _url(fields["url"], where),
        key_variable=_variable(fields, where),
        key_command=_command(fields, where),
        key_in_keyring=_flag(fields, where),
        dialect=_dialect(fields, where),
    )
    places = [key for key in KEY_PLACES if getattr(server, key)]
    if len(places) > 1:
        raise SettingsError(f"{where}: {' and '.join(places)} are both set", "A server's key has one place: keep one.")
    return server


def check_servers(section: object, place: str) -> Iterator[Server | SettingsError]:
    """Yields the servers of the section of all servers, and the errors in it, in the order of the file.

    Args:
        section: The value of `SERVERS`, as TOML reads it.
        place: As in `check_server`.
    """
    if not isinstance(section, Mapping):
        yield SettingsError(f"{place}{SERVERS} must be sections", f"Write [{SERVERS}.NAME] on a line of its own.")
        return
    names: dict[str, str] = {}
    for name, fields in section.items():
        try:
            server = check_server(name, fields, place)
            _check_is_only_one(server, names, place)
            yield server
        except SettingsError as error:
            yield error


def _check_is_only_one(server: Server, names: dict[str, str], place: str) -> None:
    """Checks that no server before has the same URL: the address of a model could not tell them and their keys apart.

    Args:
        server: The server.
        names: The names of the servers before it by their URLs, to which this one is added.
        place: As in `check_server`.
    """
    first = names.setdefault(server.url, server.name)
    if first != server.name:
        raise SettingsError(
            f"{place}{SERVERS}.{server.name}.url: {SERVERS}.{first} has this URL, too", "Keep one of the two."
        )


def check_name(name: str, place: str = "") -> None:
    """Checks the name of a server.

    Raises:
        SettingsError: it has other characters than letters, digits, "-", "_" and ".", or begins with a sign.
    """
    if not _NAME.fullmatch(name):
        hint = "Use letters from A to Z, digits, “-”, “_” and “.”, and begin with a letter or a digit."
        raise SettingsError(f"{place}{name!r} cannot be the name of a server", hint)


def find_server(servers: Iterable[Server], name_or_url: str) -> Server:
    """Returns the server with that name, else the one with that URL.

    A URL that no declared server has gives a server without a key, which is called after its host and port. What
    stands behind a “#” in the URL, the name of a model, is left out.

    Raises:
        SettingsError: this is no URL, and no server is called so.
    """
    servers = tuple(servers)
    for server in servers:
        if server.name == name_or_url:
            return server
    if not is_server_address(name_or_url.strip()):
        raise _unknown(servers, name_or_url)
    url = remote_model(name_or_url.strip()).url
    return next((server for server in servers if server.url == url), Server(urlsplit(url).netloc, url))


def key_place(server: Server) -> str:
    """Returns in words where the key of a server comes from."""
    if server.key_variable:
        return f"variable {server.key_variable}"
    if server.key_command:
        return f"command {server.key_command}"
    return "keyring" if server.key_in_keyring else "no key"


def fields_of(server: Server) -> dict[str, str | bool]:
    """Returns the keys and values of a server's section, those that are set, in the order in which they are written."""
    return {key: getattr(server, key) for key in _KEYS if getattr(server, key)}


def section_text(server: Server) -> str:
    """Returns the section of a server, as it stands in the settings file. There is no key in it."""
    name = as_toml(server.name) if "." in server.name else server.name
    lines = [f"{key} = {as_toml(value)}\n" for key, value in fields_of(server).items()]
    return f"[{SERVERS}.{name}]\n{''.join(lines)}"


def _unknown(servers: tuple[Server, ...], name: str) -> SettingsError:
    known = ", ".join(server.name for server in servers)
    hint = f"Known servers: {known}." if known else "tui-llama servers add NAME URL adds one."
    return SettingsError(f"there is no server {name[:80]!r}", f"{hint} A URL begins with http:// or https://.")


def _check_key(key: str, where: str) -> None:
    if key in _KEYS:
        return
    if re.sub("[^a-z]", "", key.lower()) in _KEYS_THEMSELVES:
        raise SettingsError(f"{where}: a key must not stand in the settings file", _WHERE_A_KEY_BELONGS)
    from difflib import get_close_matches

    nearest = get_close_matches(key.lower().replace("-", "_"), _KEYS, n=1)
    hint = f"Did you mean {nearest[0]}?" if nearest else f"A server has {', '.join(_KEYS)}."
    raise SettingsError(f"{where}: there is no {key!r} for a server", hint)


def _url(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise SettingsError(f"{where}.url: this is not text", 'Write it like "http://127.0.0.1:8080/v1"')
    try:
        return base_url(value)
    except SettingsError as error:
        raise SettingsError(f"{where}.url: {error}", error.hint) from error


def _variable(fields: Mapping[str, Any], where: str) -> str:
    value = fields.get("key_variable", "")
    if not isinstance(value, str) or (value and not _VARIABLE.fullmatch(value)):
        # The value is not shown: people take this for the place of the key itself.
        hint = 'Write the name of the variable, such as "HOME_KEY", and never the key itself.'
        raise SettingsError(f"{where}.key_variable: this is not the name of a variable", hint)
    return value


def _command(fields: Mapping[str, Any], where: str) -> str:
    import shlex

    value = fields.get("key_command", "")
    hint = 'Write a command as on a command line, such as "pass show llm".'
    if not isinstance(value, str) or "\0" in value:
        raise SettingsError(f"{where}.key_command: this is not a command", hint)
    try:
        is_command = not value or bool(shlex.split(value))
    except ValueError as error:
        raise SettingsError(f"{where}.key_command: {str(error).lower()}", hint) from error
    if not is_command:
        raise SettingsError(f"{where}.key_command: there is no command", hint)
    return value


def _flag(fields: Mapping[str, Any], where: str) -> bool:
    value = fields.get("key_in_keyring", False)
    if not isinstance(value, bool):
        hint = "Write true if the system's keyring has the key."
        raise SettingsError(f"{where}.key_in_keyring: this is neither true nor false", hint)
    return value


def _dialect(fields: Mapping[str, Any], where: str) -> str:
    value = fields.get("dialect", "")
    if (value and value not in DIALECTS) or not isinstance(value, str):
        shown = repr(value)[:40]
        hint = f"It is one of {', '.join(DIALECTS)}; leave it out to let the program find out."
        raise SettingsError(f"{where}.dialect: {shown} is not allowed", hint)
    return value
