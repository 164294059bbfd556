"""`tui-llama state import` and `tui-llama state export`: sessions of llama.cpp as chats, and the other way round."""

import click

from tui_llama.cli.command_settings import settings_from
from tui_llama.cli.input_text import text_or_input
from tui_llama.cli.model_choice import model_file
from tui_llama.cli.options import ENGINE, MODEL_OPTION, PLACEMENT, given, setting_options


@click.group()
def state() -> None:
    """Reads and writes what other programs keep of a model that has read something."""


@state.command("import")
@MODEL_OPTION
@setting_options(*ENGINE, *PLACEMENT)
@click.option("--title", metavar="TEXT", help="Title of the chat; else the file's name.")
@click.argument("file")
@click.pass_obj
def import_state(group_options: dict[str, object], /, file: str, title: str | None, **options: object) -> None:
    """Makes a chat of FILE, a session of llama.cpp (--prompt-cache), and prints the chat's id.

    Its keys and values must be of f16, and this model must compute them too.
    """
    from tui_llama.cli.llama_sessions import import_session

    options = {**group_options, **given(options)}
    model, settings = model_file(options), settings_from(options)
    import_session(model, settings, file, title)


@state.command("export")
@MODEL_OPTION
@setting_options(*ENGINE, *PLACEMENT)
@click.option("--chat", "chat_id", metavar="CHAT", help="Write this chat; its id or the beginning of it.")
@click.option("--text", metavar="TEXT", help='Write this text ("-": standard input).')
@click.option(
    "--session-version",
    type=click.Choice(["9", "10"]),
    default="10",
    show_default=True,
    help="9: llama.cpp of early 2025; 10: of late 2026.",
)
@click.option(
    "--flash-attention/--no-flash-attention",
    default=None,
    help="Whether llama.cpp will run with it; else as it does on a processor: in version 10, and not in version 9.",
)
@click.option("--force", is_flag=True, help="Replace OUT if it is such a session; nothing else is ever replaced.")
@click.argument("file", metavar="OUT")
@click.pass_obj
def export_state(
    group_options: dict[str, object],
    /,
    file: str,
    chat_id: str | None,
    text: str | None,
    session_version: str,
    flash_attention: bool | None,
    force: bool,
    **options: object,
) -> None:
    """Writes the new file OUT, a session that llama.cpp continues (--prompt-cache), and says what is in it.

    Keys and values that are not stored are computed. A chat's model is taken where none is named.
    """
    if (chat_id is None) == (text is None):
        raise click.UsageError("Give either --chat or --text.")
    from tui_llama.chats.find_chat import find_chat
    from tui_llama.cli.llama_sessions import export_session

    options = {**group_options, **given(options)}
    chat = None if chat_id is None else find_chat(chat_id)
    model, settings = model_file(options, chat), settings_from(options)
    source, version = chat or text_or_input(text or ""), int(session_version)
    export_session(model, settings, file, source, version=version, flash_attention=flash_attention, may_replace=force)
