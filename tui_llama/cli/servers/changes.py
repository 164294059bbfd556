"""Adds servers to the settings file and removes them, with their keys in the system's keyring."""

import sys
from collections.abc import Mapping
from typing import Any

import click

from tui_llama import paths
from tui_llama.cli.errors import say
from tui_llama.errors import SettingsError, UserError
from tui_llama.servers.address import Server
from tui_llama.servers.declared import check_server
from tui_llama.servers.keys import checked_key, remove_key, store_key
from tui_llama.servers.settings_file import add_server, check_addition, remove_server
from tui_llama.settings_sources import load_servers

_MOST_CHARACTERS = 1 << 16


def add(name: str, fields: Mapping[str, Any]) -> None:
    """Adds a server, or only stores its key where it is there already.

    Args:
        name: Its name.
        fields: The keys and values of its section.

    Raises:
        UserError: something in it is wrong, the key cannot be stored, or the file cannot be written.
    """
    server = check_server(name, fields, "")
    file = paths.settings_file()
    is_there = server in load_servers(file)
    if is_there and not server.key_in_keyring:
        click.echo(f"{name} is there already.", err=True)
        return
    if server.key_in_keyring:
        if not is_there:
            check_addition(file, server)  # before a key is asked for, or that of another server replaced
        store_key(server, _asked_key(server))
    if not is_there:
        add_server(file, server)
        click.echo(f"Added {name}: {server.url}", err=True)
    if server.key_in_keyring:
        click.echo("The key is in the system's keyring.", err=True)


def remove(name: str) -> None:
    """Removes a server, and its key from the keyring.

    Raises:
        UserError: there is no such server, or the file cannot be written.
    """
    file = paths.settings_file()
    server = next((server for server in load_servers(file) if server.name == name), None)
    remove_server(file, name)
    click.echo(f"Removed {name}.", err=True)
    if server is not None and server.key_in_keyring:
        try:
            remove_key(server)
        except SettingsError as error:
            say("note", f"the key of {name} may still be in the keyring: {error}", "yellow")


def _asked_key(server: Server) -> str:
    """Returns the key that the user types unseen, or the first line of standard input.

    Raises:
        KeyboardInterrupt: Ctrl+C is the answer.
        UserError: it is no key, or standard input cannot be read.
    """
    try:
        if sys.stdin.isatty():
            key = click.prompt(f"Key of {server.name}", hide_input=True, err=True)
        else:
            key = sys.stdin.buffer.readline(_MOST_CHARACTERS).decode(errors="replace")
    except click.Abort as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # as in `consent`
            raise error.__context__ from None
        raise
    except OSError as error:
        raise UserError(f"standard input cannot be read: {error.strerror}") from error
    return checked_key(key, "the key")
