"""`tui-llama ask` and `tui-llama complete`: an answer without a screen."""

from collections.abc import Mapping

import click
import msgspec

from tui_llama.cli.answer_form import FORM_OPTIONS, answer_form
from tui_llama.cli.command_settings import settings_from
from tui_llama.cli.input_text import question_text, text_or_input, with_files
from tui_llama.cli.model_choice import answering_model, model_file
from tui_llama.cli.options import (
    ENGINE,
    GENERATING,
    MODEL_OPTION,
    PLACEMENT,
    SAMPLERS_OPTION,
    SERVER_OPTION,
    STOP_OPTIONS,
    THINKING,
    given,
    setting_options,
)
from tui_llama.cli.persona import chosen_persona, options_with, settings_with


@click.command()
@MODEL_OPTION
@SERVER_OPTION
@setting_options(*ENGINE, *PLACEMENT, *GENERATING, *THINKING, "max_tokens", "system_prompt", "persona")
@click.option(
    "--start-reply",
    "reply_start",
    metavar="TEXT",
    help="Begin the answer with this text; the model goes on behind it.",
)
@STOP_OPTIONS
@SAMPLERS_OPTION
@FORM_OPTIONS
@click.option(
    *("--hide-think", "hides_thoughts"), is_flag=True, default=None, help="Do not show the thought before the answer."
)
@click.option(
    *("-f", "--file", "files"),
    multiple=True,
    metavar="FILE",
    help="Attach the text of this file to the question. May be repeated.",
)
@click.argument("question", nargs=-1)
@click.pass_obj
def ask(
    group_options: dict[str, object], /, question: tuple[str, ...], files: tuple[str, ...], **options: object
) -> None:
    """Answers one QUESTION through the model's chat template.

    If the last word is "-", standard input is appended below the question. Without a QUESTION, standard input is the
    question. With --server, the question is sent to that server, and to no other.
    """
    from tui_llama.cli import headless

    text = with_files(question_text(question), files)
    options = {**group_options, **given(options)}
    form = answer_form(options)
    settings, reply_start = settings_from(options), str(options.get("reply_start", ""))
    persona = chosen_persona(settings)
    if persona is not None:
        settings, options = settings_with(persona, settings, options), options_with(persona, options)
        reply_start = reply_start or persona.reply_start
        persona = msgspec.structs.replace(persona, **dict.fromkeys(options.keys() & THINKING))  # as with the rest
    model = answering_model(options, settings)
    headless.ask(
        model,
        settings,
        text,
        _stop_texts(options),
        ignore_eos=bool(options.get("ignore_eos")),
        reply_start=reply_start,
        persona=persona,
        shows_thoughts=not options.get("hides_thoughts"),
        shows_samplers=bool(options.get("shows_samplers")),
        form=form,
    )


@click.command()
@MODEL_OPTION
@click.option("--server", hidden=True)
@setting_options(*ENGINE, *PLACEMENT, *GENERATING, "max_tokens")
@STOP_OPTIONS
@SAMPLERS_OPTION
@FORM_OPTIONS
@click.option(
    *("--continue", "chat_id"),
    metavar="CHAT",
    help="Continue after all tokens of the chat with this id, or an id that begins so. TEXT is then optional.",
)
@click.argument("text", required=False)
@click.pass_obj
def complete(group_options: dict[str, object], /, text: str | None, chat_id: str | None, **options: object) -> None:
    """Continues TEXT exactly as it is ("-": standard input); prints only the continuation.

    A thought is part of the text here, marks and all, so there are no options for thinking; ask has them.

    With --continue, the chat is not changed, and its model is used unless you name one.
    """
    options = {**group_options, **given(options)}
    if "server" in options:
        raise click.UsageError(
            "A server answers messages and cannot continue a text as it is. Use ask, or name a model file with -m."
        )
    if text is None and chat_id is None:
        raise click.UsageError("Missing argument 'TEXT'.")
    from tui_llama.cli import headless

    form = answer_form(options)
    chat = None
    if chat_id is not None:
        from tui_llama.chats.find_chat import find_chat

        chat = find_chat(chat_id)
    model, settings = model_file(options, chat), settings_from(options)
    text = "" if text is None else text_or_input(text)
    headless.complete(
        model,
        settings,
        text,
        _stop_texts(options),
        ignore_eos=bool(options.get("ignore_eos")),
        chat=chat,
        shows_samplers=bool(options.get("shows_samplers")),
        form=form,
    )


def _stop_texts(options: Mapping[str, object]) -> tuple[str, ...]:
    texts = options.get("stop_texts", ())
    assert isinstance(texts, tuple)
    return texts
