"""`tui-llama tokenize`: the token ids of a text."""

import click

from tui_llama.cli.input_text import text_or_input
from tui_llama.cli.model_choice import model_file
from tui_llama.cli.options import MODEL_OPTION, given


@click.command()
@MODEL_OPTION
@click.option("--special", is_flag=True, help="Read special tokens that are written out in TEXT as such.")
@click.option("--add-special", is_flag=True, help="Add the tokens that begin and end a text, if the model uses them.")
@click.argument("text")
@click.pass_obj
def tokenize(
    group_options: dict[str, object], /, text: str, special: bool, add_special: bool, **options: object
) -> None:
    """Prints the token ids of TEXT ("-": standard input) as a JSON list.

    The model may be a file that has only a vocabulary.
    """
    import json

    from tui_llama.engine import open_tokenizer

    tokenizer = open_tokenizer(model_file({**group_options, **given(options)}))
    token_ids = tokenizer.tokenize(text_or_input(text), add_special=add_special, parse_special=special)
    click.echo(json.dumps(token_ids))
