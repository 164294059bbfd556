"""The options that bind an answer to a grammar or a JSON schema, and what is said of one that ended too soon."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from tui_llama.cli.options import with_options
from tui_llama.engine.requests import CompleteRequest, ReplyRequest
from tui_llama.errors import AttachmentError

Command = TypeVar("Command", bound=Callable[..., Any])

FORM_OPTIONS: Final = with_options(
    (
        click.option(
            *("-j", "--json-schema", "json_schema"),
            metavar="SCHEMA",
            help="Let the answer be JSON of this schema: a text such as {}, or a file.",
        ),
        click.option("--grammar", metavar="GBNF", help="Let the answer be what this grammar allows."),
        click.option("--grammar-file", metavar="FILE", help="Take the grammar from this file."),
    )
)


def answer_form(options: Mapping[str, object]) -> dict[str, str]:
    """Returns the fields of a request that bind the answer, as options say; they are read, but not yet compiled.

    Raises:
        click.UsageError: there are several.
        UserError: a file cannot be read, or the grammar or schema is wrong.
    """
    given = [name for name in ("json_schema", "grammar", "grammar_file") if name in options]
    if len(given) > 1:
        raise click.UsageError("An answer is bound by one of --json-schema, --grammar and --grammar-file.")
    if not given:
        return {}
    from tui_llama.engine.generation.grammar.gbnf import read_gbnf
    from tui_llama.engine.generation.grammar.schema import read_schema

    value = str(options[given[0]])
    if given == ["json_schema"]:
        schema = value if value.lstrip()[:1] in ("{", "[", "") or value in ("true", "false") else _text_of(value)
        read_schema(schema)
        return {"json_schema": schema}
    grammar = _text_of(value) if given == ["grammar_file"] else value
    read_gbnf(grammar, lambda name: 0)  # which tokens there are only the model knows
    return {"grammar": grammar}


def incomplete_words(request: ReplyRequest | CompleteRequest) -> str:
    """Returns what is to be said of an answer that ended before it fits."""
    return "the JSON is not complete" if request.json_schema else "the answer does not fit its grammar yet"


def _text_of(path: str) -> str:
    from tui_llama.attachments.reading import read_attachment

    try:
        return read_attachment(Path(path)).text
    except AttachmentError as error:
        raise AttachmentError(str(error), "Name a file, or write the schema or grammar itself.") from error
