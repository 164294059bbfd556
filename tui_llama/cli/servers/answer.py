"""Answers without a screen by a model of a server. Ctrl+C ends the connection, and with it the server's work."""

import asyncio
import sys
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, cast

import msgspec

from tui_llama.cli.answer_form import incomplete_words
from tui_llama.cli.reply_output import StartOfReply, show_reply_event
from tui_llama.engine.events import Failed, LoadProgress, ModelLoaded, Notice
from tui_llama.engine.protocol import LoadEvent, ReplyEvent
from tui_llama.engine.requests import LoadRequest, ReplyRequest
from tui_llama.errors import EngineError
from tui_llama.output import Output
from tui_llama.sampling.settings import SamplingSettings
from tui_llama.servers.declared import find_server
from tui_llama.servers.keys import key_of
from tui_llama.settings import SAMPLING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tui_llama.engine.remote.engine import RemoteEngine
    from tui_llama.settings import Settings


def answer_by_server(
    address: str,
    settings: "Settings",
    request: ReplyRequest,
    *,
    shows_thoughts: bool = True,
    shows_samplers: bool = False,
) -> None:
    """Prints a server's answer.

    Args:
        address: The address of the model.
        settings: What was set and given. Of the sampling, the server is told no more than that.
        request: What to answer; its sampling is replaced.
        shows_thoughts: Whether a thought is printed beside the answer, on a terminal.
        shows_samplers: Whether what the server is told of sampling is printed first, with the messages.

    Raises:
        UserError: the server cannot be reached, has no such model, or the answer failed.
    """
    chosen = tuple(name for name in SamplingSettings.__struct_fields__ if f"{SAMPLING}.{name}" in settings.given)
    request = msgspec.structs.replace(request, sampling=settings.sampling, given_sampling=chosen)
    output = Output(sys.stdout, sys.stderr, shows_thoughts=shows_thoughts)
    with output.closing():
        if shows_samplers:
            told = " · ".join(f"{name} {getattr(settings.sampling, name)}" for name in chosen)
            output.notice(f"Samplers are the server's own. It is told: {told or 'nothing'}")
        asyncio.run(_answer(address, settings, request, output))


async def _answer(address: str, settings: "Settings", request: ReplyRequest, output: Output) -> None:
    from tui_llama.engine.remote.engine import RemoteEngine

    engine = RemoteEngine(partial(find_server, settings.servers), key_of)
    try:
        await _load(engine, address, output)
        async with aclosing(cast("AsyncGenerator[ReplyEvent, None]", engine.reply(request))) as events:
            start = StartOfReply(request, output)
            async for event in events:
                start.print_before(event)
                show_reply_event(event, output, incomplete_words(request))
    finally:
        await engine.close()


async def _load(engine: "RemoteEngine", address: str, output: Output) -> None:
    async with aclosing(cast("AsyncGenerator[LoadEvent, None]", engine.load(LoadRequest(address)))) as events:
        async for event in events:
            match event:
                case Failed(message=message, hint=hint):
                    raise EngineError(message, hint)
                case Notice(text=text):
                    output.notice(text)
                case LoadProgress():
                    output.progress("waiting until the server has loaded the model")
                case ModelLoaded(notices=notices):
                    for notice in notices:
                        output.notice(notice)
