"""`tui-llama cache show`, `strip` and `clear`: the stored prompts of chats."""

import sys

import click

from tui_llama.cli.command_settings import settings_from
from tui_llama.cli.consent import require_consent
from tui_llama.cli.options import given, setting_options


@click.group()
def cache() -> None:
    """Shows and removes stored prompts: what was read of chats, so that it need not be read again.

    What is removed is read again when its chat goes on; what was said is kept.
    """


@cache.command()
@setting_options("prompt_cache_mib")
@click.pass_obj
def show(group_options: dict[str, object], /, **options: object) -> None:
    """Prints what is stored of each chat, the last used first, and how much room there is."""
    from tui_llama.cli import stored_prompts
    from tui_llama.output import Output

    settings = settings_from({**group_options, **given(options)})
    output = Output(sys.stdout, sys.stderr)
    with output.closing():
        stored_prompts.show(output, settings.prompt_cache_mib)


@cache.command()
@click.argument("chat_ids", nargs=-1, metavar="[CHAT_ID]...")
@click.option("--all", "is_all", is_flag=True, help="Of all chats.")
def strip(chat_ids: tuple[str, ...], is_all: bool) -> None:
    """Removes what is stored of the chats with these ids, or ids that begin so."""
    from tui_llama.cli import stored_prompts

    if is_all == bool(chat_ids):
        raise click.UsageError("Name chats by their ids, or give --all.")
    if is_all:
        stored_prompts.strip_all()
    else:
        click.echo(f"Removed of {stored_prompts.summary(stored_prompts.strip(chat_ids))}.", err=True)


@cache.command("clear")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def clear_cache(yes: bool) -> None:
    """Removes everything that is stored."""
    from tui_llama.cli import stored_prompts

    if not yes:
        require_consent("Remove all stored prompts? The chats are kept.")
    stored_prompts.strip_all()
