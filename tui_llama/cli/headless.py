"""Answers without a screen: runs the engine in this process and prints as it comes; a server is asked instead.

On a terminal the result ends in a newline; elsewhere nothing is added to it.
"""

import gc
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from tui_llama.chat import ChatMessage, Role, Thinking
from tui_llama.chosen_sampling import choose_sampling
from tui_llama.cli.answer_form import incomplete_words
from tui_llama.cli.reply_output import StartOfReply, show_reply_event
from tui_llama.engine.events import TOKENISED_AGAIN, Failed, LoadProgress
from tui_llama.engine.requests import CompleteRequest, LoadRequest, ReplyRequest
from tui_llama.errors import EngineError
from tui_llama.output import Output, percent
from tui_llama.sampling.chain import chain_words
from tui_llama.servers.address import is_server_address

if TYPE_CHECKING:
    from tui_llama.chats.find_chat import StoredChat
    from tui_llama.engine.local import LocalEngine
    from tui_llama.personas.persona import Persona
    from tui_llama.settings import Settings

_TURN = 1


def ask(
    model: str,
    settings: "Settings",
    question: str,
    stop_texts: tuple[str, ...],
    *,
    ignore_eos: bool = False,
    reply_start: str = "",
    persona: "Persona | None" = None,
    shows_thoughts: bool = True,
    shows_samplers: bool = False,
    form: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Prints the answer to one question.

    Args:
        model: Path of the model file, or the address of a model of a server.
        settings: What was set and given.
        question: The user's message.
        stop_texts: Texts that end the answer.
        ignore_eos: Whether the model may not end the answer itself.
        reply_start: How the answer begins; it is printed, too.
        persona: Says how the model is to think; the rest of it is in the settings already. None for no persona.
        shows_thoughts: Whether a thought is printed beside the answer, on a terminal.
        shows_samplers: Whether the samplers at work are printed in one line first, with the messages.
        form: Fields of the request that bind the answer to a grammar or a schema.

    Raises:
        UserError: the model cannot be loaded or the answer failed.
    """
    request = _question_request(
        settings, question, stop_texts, ignore_eos=ignore_eos, reply_start=reply_start, persona=persona
    )
    request = msgspec.structs.replace(request, **form)
    if is_server_address(model):
        from tui_llama.cli.servers.answer import answer_by_server

        answer_by_server(model, settings, request, shows_thoughts=shows_thoughts, shows_samplers=shows_samplers)
        return
    load = settings.load_request(model)
    _run(load, settings, request, shows_thoughts=shows_thoughts, shows_samplers=shows_samplers)


def _question_request(
    settings: "Settings",
    question: str,
    stop_texts: tuple[str, ...],
    *,
    ignore_eos: bool,
    reply_start: str,
    persona: "Persona | None",
) -> ReplyRequest:
    """Returns the request for the answer to one question; the arguments are those of `ask`."""
    system = (ChatMessage(Role.SYSTEM, settings.system_prompt),) if settings.system_prompt else ()
    request = ReplyRequest(
        turn=_TURN,
        messages=(*system, ChatMessage(Role.USER, question)),
        max_tokens=settings.max_tokens,
        stop_texts=stop_texts,
        draft_max=settings.draft_max,
        overflow=settings.overflow(),
        ignore_eos=ignore_eos,
        loop_guard=_has_loop_guard(settings, ignore_eos),
        reply_start=reply_start,
        thinking=Thinking(settings.thinking),
        thinking_tokens=settings.thinking_tokens,
    )
    if persona is None:
        return request
    return msgspec.structs.replace(
        request,
        thinking=persona.thinking or request.thinking,
        thinking_tokens=request.thinking_tokens if persona.thinking_tokens is None else persona.thinking_tokens,
    )


def complete(
    model: str,
    settings: "Settings",
    text: str,
    stop_texts: tuple[str, ...],
    *,
    ignore_eos: bool = False,
    chat: "StoredChat | None" = None,
    shows_samplers: bool = False,
    form: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Prints how `text` goes on; the arguments are those of `ask`.

    With a `chat`, the text follows everything in the chat; keys and values that are stored of it are not computed
    again. The chat stays as it is.
    """
    load = settings.load_request(model)
    request = CompleteRequest(
        turn=_TURN,
        text=text,
        max_tokens=settings.max_tokens,
        stop_texts=stop_texts,
        draft_max=settings.draft_max,
        overflow=settings.overflow(),
        ignore_eos=ignore_eos,
        loop_guard=_has_loop_guard(settings, ignore_eos),
    )
    request = msgspec.structs.replace(request, **form)
    if chat is None:
        _run(load, settings, request, shows_samplers=shows_samplers)
        return
    from tui_llama.chats.chat_prompt_cache import with_prompt_cache  # a database, which other answers do without

    with opened_engine(with_prompt_cache(load, settings.prompt_cache_mib)) as (engine, output):
        request = request_behind(chat, request, engine, output)
        _answer(engine, settings, request, output, shows_samplers=shows_samplers)


def request_behind(
    chat: "StoredChat", request: CompleteRequest, engine: "LocalEngine", output: Output
) -> CompleteRequest:
    """Returns the request with a chat before its text, for this engine's model; prints notices about that."""
    vocabulary = engine.info.vocabulary
    if not chat.is_of(vocabulary):
        output.notice(TOKENISED_AGAIN)
    request = chat.continued(request, vocabulary)
    if request.messages:
        tell_of_template(engine, output)
    return request


def _has_loop_guard(settings: "Settings", ignore_eos: bool) -> bool:
    """Tells whether an answer that loops is ended. Where the model may not end its answer, all tokens are wanted."""
    return settings.loop_guard == "on" and not ignore_eos


def _run(
    load: LoadRequest,
    settings: "Settings",
    request: ReplyRequest | CompleteRequest,
    *,
    shows_samplers: bool,
    shows_thoughts: bool = True,
) -> None:
    with opened_engine(load, shows_thoughts=shows_thoughts) as (engine, output):
        _answer(engine, settings, request, output, shows_samplers=shows_samplers)


def _answer(
    engine: "LocalEngine",
    settings: "Settings",
    request: ReplyRequest | CompleteRequest,
    output: Output,
    *,
    shows_samplers: bool,
) -> None:
    if request.messages:
        tell_of_template(engine, output)
    sampling = choose_sampling(settings, engine.info).sampling
    if shows_samplers:
        output.notice(f"Samplers: {chain_words(sampling)}")
    _reply(engine, msgspec.structs.replace(request, sampling=sampling), output)


@contextmanager
def opened_engine(load: LoadRequest, *, shows_thoughts: bool = True) -> Iterator[tuple["LocalEngine", Output]]:
    """Opens an engine with a model, and the output; prints the progress of loading and the model's notices there.

    Notices about the chat template are left to `tell_of_template`.

    Raises:
        UserError: the model cannot be loaded.
    """
    gc.disable()  # as in `LocalEngine.load`, which enables it again
    from tui_llama.engine.local import LocalEngine

    engine = LocalEngine()
    output = Output(sys.stdout, sys.stderr, shows_thoughts=shows_thoughts)
    with output.closing():
        _load(engine, load, output)
        yield engine, output
    engine.close()


def tell_of_template(engine: "LocalEngine", output: Output) -> None:
    """Prints the notices about the model's chat template; for commands that use it."""
    for notice in engine.template_notices:
        output.notice(notice)


def _load(engine: "LocalEngine", request: LoadRequest, output: "Output") -> None:
    def show(progress: LoadProgress) -> None:
        output.progress(f"loading the model: {progress.stage} {percent(progress.done, progress.total)}")

    loaded = engine.load(request, _never, show)
    if isinstance(loaded, Failed):
        raise EngineError(loaded.message, loaded.hint)
    of_template = engine.template_notices
    for notice in loaded.notices:
        if notice not in of_template:
            output.notice(notice)


def _reply(engine: "LocalEngine", request: ReplyRequest | CompleteRequest, output: "Output") -> None:
    start = StartOfReply(request, output)
    for event in engine.reply(request, _never):
        start.print_before(event)
        show_reply_event(event, output, incomplete_words(request))


def _never() -> bool:
    """Asks for no stop: Ctrl+C ends the whole command."""
    return False
