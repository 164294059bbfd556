"""`tui-llama servers list|add|remove|check`: the servers whose models can be used like those on this machine."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from tui_llama.cli.command_settings import settings_from
from tui_llama.servers.address import DIALECTS

if TYPE_CHECKING:
    from tui_llama.output import Output


@click.group()
def servers() -> None:
    """Lists, adds, removes and checks servers that speak OpenAI's protocol.

    Such servers are llama-server, vLLM, SGLang, Ollama, LM Studio, and many that are hosted.
    """


@servers.command("list")
def list_servers() -> None:
    """Prints the servers in the settings file: name, URL, and where the key comes from. Keys are never shown."""
    from tui_llama.cli.servers.listing import print_servers

    output = _output()
    with output.closing():
        print_servers(output, settings_from({}).servers)


@servers.command()
@click.argument("name")
@click.argument("url")
@click.option("--key-variable", metavar="VARIABLE", help="The environment variable that has the key.")
@click.option("--key-command", metavar="COMMAND", help="The command that prints the key. It is run without a shell.")
@click.option("--keyring", "is_in_keyring", is_flag=True, help="Ask for the key, and store it in the system's keyring.")
@click.option("--dialect", type=click.Choice(DIALECTS), help="The kind of server; by default, it is found out.")
def add(
    name: str, url: str, key_variable: str | None, key_command: str | None, is_in_keyring: bool, dialect: str | None
) -> None:
    """Adds the server at URL to the settings file, by a NAME of your choice.

    With --keyring, the key is asked for on a terminal, else it is the first line of standard input. If the server is
    there already, just so, only the key is stored anew.
    """
    from tui_llama.cli.servers.changes import add as add_to_file

    fields = {
        "url": url,
        "key_variable": key_variable,
        "key_command": key_command,
        "key_in_keyring": is_in_keyring or None,
        "dialect": dialect,
    }
    add_to_file(name, {key: value for key, value in fields.items() if value is not None})


@servers.command()
@click.argument("name")
def remove(name: str) -> None:
    """Removes the server NAME from the settings file, and its key from the system's keyring."""
    from tui_llama.cli.servers.changes import remove as remove_from_file

    remove_from_file(name)


@servers.command()
@click.argument("name_or_url", metavar="NAME_OR_URL")
@click.pass_obj
def check(group_options: Mapping[str, object], name_or_url: str) -> None:
    """Asks a server which models it offers, and prints them."""
    from tui_llama.cli.servers.listing import print_models
    from tui_llama.servers.declared import find_server

    output = _output()
    with output.closing():
        print_models(output, find_server(settings_from(group_options).servers, name_or_url))


def _output() -> "Output":
    from tui_llama.output import Output

    return Output(sys.stdout, sys.stderr)
