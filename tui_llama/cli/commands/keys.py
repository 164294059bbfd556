"""`tui-llama keys`: what the terminal sends for each key, and which keys of the program cannot arrive."""

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tui_llama.screens.keys.keymap import Keymap

_OUT_OF_REACH = (
    "Without kitty's keyboard protocol, which this terminal\ndoes not have, these cannot arrive as themselves:"
)


@click.command()
@click.option("--list", "is_list", is_flag=True, help="Print the keys that do not arrive, and ask for none.")
@click.option("--names", "is_names", is_flag=True, help="Print the names for the keymap file, with their keys.")
@click.pass_obj
def keys(group_options: Mapping[str, object], is_list: bool, is_names: bool) -> None:
    """Shows what the terminal sends for each key that you press, and under which name the program reads it.

    The names are those for your keymap file. Ctrl+C ends it. First it prints the keys of the program that this terminal
    cannot send; every command has a slash command as well.
    """
    from tui_llama import paths
    from tui_llama.cli.command_settings import settings_from
    from tui_llama.screens.keys.keymap import read_keymap
    from tui_llama.screens.keys.reach import out_of_reach
    from tui_llama.text_safety import sanitize_line

    is_list = is_list or is_names
    for stream in (sys.stdin, sys.stdout):
        if not is_list and not stream.isatty():
            raise click.UsageError("The keys are read from a terminal. --list prints those that do not arrive.")
    file = paths.keymap_file()
    keymap, problems = read_keymap(settings_from(group_options).keymap, file)
    for problem in problems:
        click.echo(sanitize_line(problem), err=True)
    if is_names:
        _print_names(keymap)
        return
    missing = out_of_reach(keymap, has_kitty_protocol=_has_kitty_protocol())
    if missing:
        click.echo(_OUT_OF_REACH)
    for each in missing:
        click.echo(f"  {each.key:<16}{each.title:<20}{each.reason}")
    click.echo(f"Keymap: {keymap.name}. Your own keys: {sanitize_line(str(file))}")
    if not is_list:
        _show_keys()


def _print_names(keymap: "Keymap") -> None:
    """Prints each name with its keys: of commands first, then of what counts in one place only."""
    from itertools import groupby

    from tui_llama.screens.commands import COMMANDS
    from tui_llama.widgets.local_keys import LOCAL_KEYS

    declared = [("everywhere in the chat", each.name, each.keys, each.title) for each in COMMANDS]
    declared += [(each.place, each.name, each.keys, each.title) for each in LOCAL_KEYS]
    for place, rows in groupby(declared, lambda row: row[0]):
        click.echo(f"{place[:1].upper()}{place[1:]}:")
        for _, name, keys, title in rows:
            click.echo(f"  {name:<24}{keymap.keys.get(name, keys) or '-':<28}{title}")


def _has_kitty_protocol() -> bool:
    from tui_llama.doctor.terminal_answers import asked_terminal, questions_for, why_not_to_ask

    if why_not_to_ask(0, 1, os.environ):
        return False
    with asked_terminal(0, 1, questions_for(os.environ)) as answers:
        return answers.keyboard_flags is not None


def _show_keys() -> None:
    from tui_llama.system.endings import endings_as_exits
    from tui_llama.terminal.key_test import key_terminal, show_keys

    click.echo("Press keys; Ctrl+C ends this.\n")
    with endings_as_exits(), key_terminal(0, 1):
        show_keys(0, lambda line: _say(f"{line}\r\n"))


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
