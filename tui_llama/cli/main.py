"""The command line: arguments and settings become one command, which imports what it needs when it runs.

Manners: only a command's result goes to standard output; progress, notices and errors go to standard error,
coloured only on a terminal and not where `NO_COLOR` is set. Exit status: 0 fine, 1 an error, 2 wrong usage,
130 stopped by Ctrl+C (what was answered so far is printed), 141 the reader of the result went away, 129 and 143 told to
end by SIGHUP and SIGTERM. The streams themselves are the business of `standard_streams`.
"""

import gc
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from tui_llama import __version__, paths
from tui_llama.bench.settings import BENCH_SETTINGS
from tui_llama.cli.command_settings import settings_from
from tui_llama.cli.commands import doctor
from tui_llama.cli.commands import models as model_commands
from tui_llama.cli.commands import settings as settings_command
from tui_llama.cli.consent import require_consent
from tui_llama.cli.options import (
    ENGINE,
    GENERATING,
    PLACEMENT,
    list_option,
    setting_options,
    value_option,
    with_options,
)
from tui_llama.errors import ModelFileError, UserError, shortened
from tui_llama.settings import SETTINGS
from tui_llama.system import standard_streams
from tui_llama.system.endings import ENDING_STATUSES, endings_as_exits
from tui_llama.system.terminals import is_plain

if TYPE_CHECKING:
    from tui_llama.chats.find_chat import StoredChat
    from tui_llama.engine.protocol import Engine

_WITHOUT_SCREEN = 'Without it, use: tui-llama ask "question"'


class _CommandLine(click.Group):
    """Turns our errors, Ctrl+C and a vanished reader into messages and exit statuses."""

    def make_context(self, *arguments: Any, **extra: Any) -> click.Context:
        with _told():  # --help and --version write already here
            return super().make_context(*arguments, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _told():
            return super().invoke(ctx)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise _ShownError(error) from error
    except click.UsageError as error:
        error.message = shortened(error.message)  # type: ignore[misc] # click declares it for itself alone
        raise
    except KeyboardInterrupt as error:
        raise _SilentEnd(standard_streams.INTERRUPTED) from error
    except BrokenPipeError as error:
        raise _SilentEnd(standard_streams.READER_GONE) from error


class _ShownError(click.ClickException):
    def __init__(self, error: UserError) -> None:
        super().__init__(str(error))
        self._hint = error.hint

    def show(self, file: IO[Any] | None = None) -> None:
        _say("error", self.message, "red")
        if self._hint:
            _say("hint", self._hint, "yellow")


class _SilentEnd(click.ClickException):
    def __init__(self, exit_code: int) -> None:
        super().__init__("")
        self.exit_code = exit_code  # type: ignore[misc] # click declares it for the class alone

    def show(self, file: IO[Any] | None = None) -> None:
        """Says nothing: whoever caused it knows."""


def _say(label: str, text: str, colour: str) -> None:
    from tui_llama.text_safety import sanitize_line

    painted = False if os.environ.get("NO_COLOR") else None
    click.secho(f"{label}:", fg=colour, bold=True, err=True, nl=False, color=painted)
    click.echo(" " + sanitize_line(text), err=True)


# --- options ----------------------------------------------------------------------------------------------

_MODEL_OPTION = click.option(
    "-m", "--model", metavar="MODEL", help="GGUF file, or the name of one; else the one last used."
)
_STOP_OPTIONS = with_options(
    (
        click.option(
            *("-r", "--stop", "stop_texts"), multiple=True, metavar="TEXT", help="End before this text. Repeatable."
        ),
        click.option("--ignore-eos", is_flag=True, default=None, help="Never let the model end the answer."),
    )
)

_BENCH_LISTS = ("prompts", "answers", "depths")
_LOAD_LISTS = ("threads", "batch_threads", "batch_tokens", "cache_type")


# --- commands ---------------------------------------------------------------------------------------------


@click.group(cls=_CommandLine, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="tui-llama")
@_MODEL_OPTION
@setting_options(*ENGINE, *PLACEMENT, *GENERATING, "prompt_cache_mib")
@click.option("--incognito", is_flag=True, default=None, help="Begin with a chat of which nothing is kept.")
@click.pass_context
def command_line(context: click.Context, /, **options: object) -> None:
    """Chats with a GGUF model, full screen. The commands below do without the screen."""
    context.obj = _given(options)
    if context.invoked_subcommand is None:
        _open_screen(context.obj)


@command_line.command()
@_MODEL_OPTION
@setting_options(*ENGINE, *PLACEMENT, *GENERATING, "max_tokens", "system_prompt")
@_STOP_OPTIONS
@click.argument("question", nargs=-1)
@click.pass_obj
def ask(group_options: dict[str, object], /, question: tuple[str, ...], **options: object) -> None:
    """Answers one QUESTION through the model's chat template.

    Where its last word is "-", what comes on standard input is put below it; without a QUESTION, that is the question.
    """
    from tui_llama.cli import headless

    text = _question_text(question)
    options = {**group_options, **_given(options)}
    model, settings = _model_file(options), settings_from(options)
    headless.ask(model, settings, text, _stop_texts(options), ignore_eos=bool(options.get("ignore_eos")))


@command_line.command()
@_MODEL_OPTION
@setting_options(*ENGINE, *PLACEMENT, *GENERATING, "max_tokens")
@_STOP_OPTIONS
@click.option(
    *("--continue", "chat_id"),
    metavar="CHAT",
    help="Go on behind all tokens of this chat, named by its id or the beginning of it. TEXT may be left out.",
)
@click.argument("text", required=False)
@click.pass_obj
def complete(group_options: dict[str, object], /, text: str | None, chat_id: str | None, **options: object) -> None:
    """Continues TEXT as it stands ("-": standard input); prints the continuation alone.

    A chat that is continued stays as it is. Its model is taken where none is named.
    """
    if text is None and chat_id is None:
        raise click.UsageError("Missing argument 'TEXT'.")
    from tui_llama.cli import headless

    options = {**group_options, **_given(options)}
    chat = None if chat_id is None else _chat(chat_id)
    model, settings = _model_file(options, chat), settings_from(options)
    text = "" if text is None else _text_or_input(text)
    ignore_eos = bool(options.get("ignore_eos"))
    headless.complete(model, settings, text, _stop_texts(options), ignore_eos=ignore_eos, chat=chat)


@command_line.command()
@_MODEL_OPTION
@click.option("--special", is_flag=True, help="Special tokens written in TEXT become these tokens.")
@click.option("--add-special", is_flag=True, help="Add the tokens that begin and end a text, if the model does.")
@click.argument("text")
@click.pass_obj
def tokenize(
    group_options: dict[str, object], /, text: str, special: bool, add_special: bool, **options: object
) -> None:
    """Prints the token ids of TEXT ("-": standard input) as a JSON list.

    A file with nothing but a vocabulary is enough of a model.
    """
    import json

    from tui_llama.engine import open_tokenizer

    tokenizer = open_tokenizer(_model_file({**group_options, **_given(options)}))
    token_ids = tokenizer.tokenize(_text_or_input(text), add_special=add_special, parse_special=special)
    click.echo(json.dumps(token_ids))


@command_line.group()
def state() -> None:
    """Reads and writes what other programs keep of a model that has read something."""


@state.command("import")
@_MODEL_OPTION
@setting_options(*ENGINE, *PLACEMENT)
@click.option("--title", metavar="TEXT", help="Title of the chat; else the file's name.")
@click.argument("file")
@click.pass_obj
def import_state(group_options: dict[str, object], /, file: str, title: str | None, **options: object) -> None:
    """Makes a chat of FILE, a session of llama.cpp (--prompt-cache), and prints the chat's id.

    Its keys and values must be of f16, and this model must compute them too.
    """
    from tui_llama.cli import llama_sessions

    options = {**group_options, **_given(options)}
    model, settings = _model_file(options), settings_from(options)
    llama_sessions.import_session(model, settings, file, title)


@state.command("export")
@_MODEL_OPTION
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
    from tui_llama.cli import llama_sessions

    options = {**group_options, **_given(options)}
    chat = None if chat_id is None else _chat(chat_id)
    model, settings = _model_file(options, chat), settings_from(options)
    llama_sessions.export_session(
        model,
        settings,
        file,
        chat or _text_or_input(text or ""),
        version=int(session_version),
        flash_attention=flash_attention,
        may_replace=force,
    )


@command_line.command()
@click.option(
    "-m", "--model", "models", multiple=True, metavar="FILE", help="GGUF file, or the name of one. Repeatable."
)
@with_options(list_option(BENCH_SETTINGS[name], default=BENCH_SETTINGS[name].default) for name in _BENCH_LISTS)
@value_option(BENCH_SETTINGS["repetitions"], default=BENCH_SETTINGS["repetitions"].default)
@click.option("-o", "--output", "form", type=click.Choice(["md", "json"]), default="md", help="A table, or JSON.")
@click.option("--profile", is_flag=True, help="Also measure which operations take the time.")
@with_options(list_option(SETTINGS[name]) for name in _LOAD_LISTS)
@setting_options(*PLACEMENT)
@click.pass_obj
def bench(
    group_options: dict[str, object],
    /,
    models: tuple[str, ...],
    prompts: tuple[int, ...],
    answers: tuple[int, ...],
    depths: tuple[int, ...],
    repetitions: int,
    form: str,
    profile: bool,
    **options: object,
) -> None:
    """Measures how fast models are, and how fast this machine would let them be.

    Where an option takes numbers with commas, every one of them is measured.
    """
    from tui_llama.bench import measure as measuring
    from tui_llama.bench.report import print_results
    from tui_llama.output import Output

    options = {**group_options, **_given(options)}
    lists: Any = {name: options.pop(name, None) for name in _LOAD_LISTS}
    settings = settings_from(options)
    lists = {name: _several(values, getattr(settings, name)) for name, values in lists.items()}
    paths = [_model_file({"model": model}) for model in models] or [_model_file(options)]
    loads = measuring.make_loads(paths, settings, **lists)
    tests = measuring.make_tests(prompts, answers, depths)
    output = Output(sys.stdout, sys.stderr)
    with output.closing():
        results = measuring.measure(loads, tests, repetitions, profile=profile, say=output.progress)
        print_results(results, loads, form, output)


@command_line.group()
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

    settings = settings_from({**group_options, **_given(options)})
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


for _command in (
    *(model_commands.pull, model_commands.models, model_commands.set_up),
    *(doctor.doctor, settings_command.settings),
):
    command_line.add_command(_command)


def run() -> int:
    """Runs the command line; returns the exit status. `start.main` has prepared the standard streams."""
    try:
        with standard_streams.interruptible():
            status = _status_of_command_line()
    except KeyboardInterrupt:
        status = standard_streams.INTERRUPTED
    try:
        status = standard_streams.finish(status)
    except UserError as error:
        _ShownError(error).show()
        status = _ShownError.exit_code
    silent = (standard_streams.INTERRUPTED, standard_streams.READER_GONE, *ENDING_STATUSES)
    if status in silent or (status == 0 and "llvmlite" in sys.modules):
        # After an answer there is nothing left to do, and to take the compiler and a model apart is a tenth of it all.
        # A thread that is inside the compiler would disturb the interpreter's farewells, too.
        os._exit(status)
    return status


def _status_of_command_line() -> int:
    try:
        with endings_as_exits():
            command_line.main(prog_name="tui-llama")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


# --- what a command needs ---------------------------------------------------------------------------------


def _open_screen(options: Mapping[str, object]) -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError(f"The screen needs a terminal. {_WITHOUT_SCREEN}")
    if is_plain(os.environ):
        name = os.environ.get("TERM")
        plain = f'TERM is "{name}"' if name else "TERM is not set"
        raise click.UsageError(f"The screen cannot be drawn on this terminal: {plain}. {_WITHOUT_SCREEN}")
    standard_streams.give_screen_a_terminal()
    settings = settings_from(options)
    model = _named_model(options)  # None: the app takes the one last used, or lets the user choose
    if model is not None and not paths.is_file(Path(model)):
        raise ModelFileError(f"{model}: no such file", "Check the name, or start without -m to pick a model.")
    # Nothing of what is imported becomes garbage: looking for some would delay the first frame by a tenth, and
    # every later search would go through it again.
    gc.disable()
    from tui_llama.app import ChatApp
    from tui_llama.chats.place import open_chats
    from tui_llama.models.source import ThisMachine

    gc.freeze()
    gc.enable()
    store, notice = open_chats()
    with store:
        app = ChatApp(
            engine_factory=_make_engine,
            store=store,
            settings=settings,
            model_path=model,
            models=ThisMachine(),
            is_incognito=bool(options.get("incognito")),
            notice=notice,
        )
        app.run()
    sys.exit(app.ending_status or app.return_code or 0)


def _make_engine() -> "Engine":
    """Imported when it is first used, which is after the first frame."""
    from tui_llama.engine.process.worker import EngineWorker

    return EngineWorker()


def _given(options: Mapping[str, object]) -> dict[str, object]:
    """The options that were written on the command line."""
    return {name: value for name, value in options.items() if value not in (None, ())}


def _several(values: Any, default: Any) -> tuple[Any, ...]:
    """The values of an option that may have several; given to the group it has one."""
    if values is None:
        return (default,)
    return values if isinstance(values, tuple) else (values,)


def _stop_texts(options: Mapping[str, object]) -> tuple[str, ...]:
    texts = options.get("stop_texts", ())
    assert isinstance(texts, tuple)
    return texts


def _chat(beginning: str) -> "StoredChat":
    from tui_llama.chats.find_chat import find_chat

    return find_chat(beginning)


def _model_file(options: Mapping[str, object], chat: "StoredChat | None" = None) -> str:
    """The model that is named, else the chat's, else the one last used, else the starter."""
    from tui_llama.cli.model_choice import last_model, starter_model

    model = _named_model(options) or (chat and chat.model_path) or last_model() or starter_model()
    if model is None:
        raise click.UsageError("No model was used before, so name one: -m MODEL.gguf, or type: tui-llama pull starter")
    return model


def _named_model(options: Mapping[str, object]) -> str | None:
    from tui_llama.cli.model_choice import named_model

    name = options.get("model")
    return None if name is None else named_model(str(name))


def _question_text(words: tuple[str, ...]) -> str:
    """The words of a question, and below them what comes on standard input where "-" or their absence asks for it."""
    wants_input = words[-1:] == ("-",)
    question = " ".join(words[:-1] if wants_input else words)
    if not words and sys.stdin.isatty():
        raise click.UsageError("There is no question.")
    piped = standard_streams.read_text().strip("\n") if wants_input or not words else ""
    text = "\n\n".join(part for part in (question, piped) if part.strip())
    if not text:
        raise click.UsageError("There is no question.")
    if not wants_input and question and standard_streams.holds_unread_bytes():
        _say("note", 'standard input is left alone; "-" behind the question puts it below', "yellow")
    return text


def _text_or_input(text: str) -> str:
    return standard_streams.read_text() if text == "-" else text
