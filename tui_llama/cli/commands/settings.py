"""`tui-llama settings`: every setting as it is now, as a text that could be the settings file."""

import sys
from collections.abc import Mapping

import click

from tui_llama.cli.command_settings import values_from


@click.command()
@click.option(
    "--path", "is_path", is_flag=True, help="Print the path of the settings file, even if there is no file yet."
)
@click.option("-m", "--model", metavar="FILE", help="Show the sampling of this model; default: the model last used.")
@click.pass_obj
def settings(group_options: Mapping[str, object], is_path: bool, model: str | None) -> None:
    """Prints all settings with their explanations, in the form of a settings file.

    Each value that is set names its source: the settings file, a variable, or an option before "settings". Settings
    with their default are commented out. The last lines show how tokens are sampled with a model and where each value
    comes from. To save the output, write it to another file first: a shell empties the settings file before this
    command reads it.
    """
    from tui_llama import paths
    from tui_llama.cli.model_choice import last_model, named_model, starter_model
    from tui_llama.output import Output
    from tui_llama.servers.address import is_server_address
    from tui_llama.settings_sources import describe_settings, load_models, load_servers, settings_of
    from tui_llama.text_safety import sanitize_line

    file = paths.settings_file()
    output = Output(sys.stdout, sys.stderr)
    with output.closing():
        if is_path:
            output.result(f"{file}\n")
            return
        values = values_from(group_options)
        output.result(describe_settings(values, load_servers(file), load_models(file)))
        path = named_model(model) if model is not None else last_model() or starter_model()
        if path is not None and is_server_address(path):
            output.result(
                f"\n# Sampling with {sanitize_line(path)}\n# The server is told the values that you have set.\n"
            )
        elif path is not None:
            from tui_llama.cli.model_listing import sampling_lines

            lines = sampling_lines(settings_of(values, models=load_models(file)), path)
            output.result("".join(f"# {line}\n" if line else "\n" for line in lines))
