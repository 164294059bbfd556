"""The command line's part on models: `pull`, `models list|show|remove`, `set-up`."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from tui_llama.cli.command_settings import settings_from

if TYPE_CHECKING:
    from tui_llama.output import Output


@click.command()
@click.argument("name")
def pull(name: str) -> None:
    """Fetches the model NAME: one of the catalogue (`models list --all`), or hf:OWNER/REPOSITORY[:FILE-OR-TYPE].

    A download that was interrupted continues where it stopped. Prints the path of the file.
    """
    from time import monotonic

    from tui_llama.models.downloads import DownloadMeter, Progress
    from tui_llama.models.pull import pull as fetch

    output, meter = _output(), DownloadMeter()

    def report(progress: Progress) -> None:
        meter.note(progress, monotonic())
        output.progress(meter.words())

    with output.closing():
        downloaded = fetch(name, report)
        if downloaded.was_there:
            output.notice("the model was already on this machine")
        output.result(f"{downloaded.path}\n")


@click.command("set-up")
def set_up() -> None:
    """Prepares this machine: compiles the kernels, and fetches a very small model if there is none.

    Exit status: 1 if there is still no model afterwards.
    """
    from tui_llama.cli.set_up import set_up as prepare
    from tui_llama.system.endings import endings_as_exits

    output = _output()
    with output.closing(), endings_as_exits():  # here, since the starter is fetched on a thread
        is_ready = prepare(output)
    sys.exit(0 if is_ready else 1)


@click.group()
def models() -> None:
    """Shows and removes model files on this machine, and lists those that can be fetched."""


@models.command("list")
@click.option("--all", "is_all", is_flag=True, help="Also list the catalogue's models that are not on this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each model, for programs.")
@click.pass_obj
def list_models(group_options: Mapping[str, object], is_all: bool, as_json: bool) -> None:
    """Prints the model files on this machine: size, type, architecture, context, speed, and origin."""
    from tui_llama.cli.model_listing import describe_found, print_lists
    from tui_llama.models.described import offers
    from tui_llama.models.machine import measured_machine

    settings = settings_from(group_options)
    output = _output()
    with output.closing():
        machine = measured_machine()
        found = describe_found(settings, machine)
        offered = offers(found, machine, settings) if is_all else []
        print_lists(output, found, offered, as_json=as_json)
        if not found and not as_json:
            output.notice("no model files were found on this machine; tui-llama pull starter fetches a very small one")


@models.command()
@click.argument("model")
@click.pass_obj
def show(group_options: Mapping[str, object], model: str) -> None:
    """Prints details of MODEL: a path, or a part of a name in `models list`."""
    from tui_llama.cli.model_listing import choose_found, print_model

    settings = settings_from(group_options)
    output = _output()
    with output.closing():
        print_model(output, settings, choose_found(model))


@models.command()
@click.argument("model")
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
def remove(model: str, yes: bool) -> None:
    """Removes MODEL from the disk. Refuses models that this program has not fetched."""
    from tui_llama.cli.consent import require_consent
    from tui_llama.cli.model_listing import choose_found
    from tui_llama.models.downloads import size_words
    from tui_llama.models.record import remove_pulled, was_pulled
    from tui_llama.text_safety import sanitize_line

    chosen = choose_found(model)
    named = sanitize_line(str(chosen.path))
    if was_pulled(chosen.path) and not yes:
        require_consent(f"Remove {named} ({size_words(chosen.size_bytes)})?")
    freed_bytes = remove_pulled(chosen.path)
    click.echo(f"Removed {named}: {size_words(freed_bytes)} freed.", err=True)


def _output() -> "Output":
    from tui_llama.output import Output

    return Output(sys.stdout, sys.stderr)
