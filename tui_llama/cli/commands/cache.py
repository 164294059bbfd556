"""`tui-llama cache show`, `strip` and `clear`: the stored prompts of chats."""

import sys

import click

from tui_llama.cli.command_settings import settings_from
from tui_llama.cli.consent import require_consent
from tui_llama.cli.options import given, setting_options


@click.group()
def cache() -> None:
    """Shows and removes stored prompts, which save reading a chat again.

    Removing a stored prompt keeps the chat's text. The chat is read again when you continue it.
    """


@cache.command()
@setting_options("prompt_cache_mib")
@click.pass_obj
def show(group_options: dict[str, object], /, **options: object) -> None:
    """Prints the size of each chat's stored prompt, most recently used first, and the space left."""
    from tui_llama.cli import stored_prompts
    from tui_llama.output import Output

    settings = settings_from({**group_options, **given(options)})
    output = Output(sys.stdout, sys.stderr)
    with output.closing():
        stored_prompts.show(output, settings.prompt_cache_mib)


@cache.command()
@click.argument("chat_ids", nargs=-1, metavar="[CHAT_ID]...")
@click.option("--all", "is_all", is_flag=True, help="Remove the stored prompts of all chats.")
def strip(chat_ids: tuple[str, ...], is_all: bool) -> None:
    """Removes the stored prompts of the chats with these ids, or ids that begin so."""
    from tui_llama.cli import stored_prompts

    if is_all == bool(chat_ids):
        raise click.UsageError("Give the ids of chats, or --all.")
    if is_all:
        stored_prompts.strip_all()
    else:
        click.echo(f"Removed the stored prompts of {stored_prompts.summary(stored_prompts.strip(chat_ids))}.", err=True)


@cache.command("clear")
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
def clear_cache(yes: bool) -> None:
    """Removes all stored prompts."""
    from tui_llama.cli import stored_prompts

    if not yes:
        require_consent("Remove all stored prompts? The chats are kept.")
    stored_prompts.strip_all()
