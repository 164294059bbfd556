"""`tui-llama state import` and `tui-llama state export`: sessions of llama.cpp as chats, and the other way round."""

import click

from tui_llama.cli.command_settings import settings_from
from tui_llama.cli.input_text import text_or_input
from tui_llama.cli.model_choice import model_file
from tui_llama.cli.options import ENGINE, MODEL_OPTION, PLACEMENT, given, setting_options


@click.group()
def state() -> None:
    """Imports and exports sessions of llama.cpp."""


@state.command("import")
@MODEL_OPTION
@setting_options(*ENGINE, *PLACEMENT)
@click.option("--title", metavar="TEXT", help="Title of the chat; default: the file's name.")
@click.argument("file")
@click.pass_obj
def import_state(group_options: dict[str, object], /, file: str, title: str | None, **options: object) -> None:
    """Makes a chat from FILE, a session of llama.cpp (--prompt-cache), and prints the chat's id.

    Its keys and values must be f16, and this model must compute the same ones.
    """
    from tui_llama.cli.llama_sessions import import_session

    options = {**group_options, **given(options)}
    model, settings = model_file(options), settings_from(options)
    import_session(model, settings, file, title)


@state.command("export")
@MODEL_OPTION
@setting_options(*ENGINE, *PLACEMENT)
@click.option("--chat", "chat_id", metavar="CHAT", help="Write the chat with this id, or an id that begins so.")
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
    help="Whether llama.cpp will use flash attention; default, as llama.cpp on a CPU: with version 10, not with 9.",
)
@click.option(
    "--force", is_flag=True, help="Replace OUT if it is a session of llama.cpp. Other files are never replaced."
)
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
    """Writes the new file OUT, a session that llama.cpp continues (--prompt-cache), and prints what it contains.

    Keys and values that are not stored are computed. With --chat, the chat's model is used unless you name one.
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
