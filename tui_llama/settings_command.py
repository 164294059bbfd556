"""`tui-llama settings`: every setting as it is now, as a text that could be the settings file."""

import os
import sys

import click


@click.command()
@click.option("--path", "is_path", is_flag=True, help="Print where the settings file is, or would be.")
def settings(is_path: bool) -> None:
    """Prints all settings with their explanations, as a settings file.

    What is set says by what: the settings file, or a variable; what has its default is commented out. Options on the
    command line are not looked at.
    """
    from tui_llama import paths
    from tui_llama.output import Output
    from tui_llama.settings import describe_settings, load_values

    file = paths.settings_file()
    output = Output(sys.stdout, sys.stderr)
    with output.closing():
        output.result(f"{file}\n" if is_path else describe_settings(load_values(file, os.environ)))
