"""The story of a reply from a server: write the request, ask, wait if it is busy, say how the answer ended."""

import asyncio
from collections.abc import Sequence

import msgspec

from tui_llama.chat import ENDED_BY_ITSELF, ChatMessage, StopReason
from tui_llama.engine.events import Failed, FailureCause, Finished, Notice
from tui_llama.engine.protocol import ReplyEvent
from tui_llama.engine.remote.busy import BusyWait
from tui_llama.engine.remote.connection import Connection
from tui_llama.engine.remote.exchange import Exchange, TellReply
from tui_llama.engine.remote.failures import BusyError, LoadingError, PromptTooLongError, RemoteEngineError
from tui_llama.engine.remote.patience import Patience
from tui_llama.engine.remote.probe import ServerFacts
from tui_llama.engine.remote.request.body import request_body
from tui_llama.engine.remote.request.messages import in_order
from tui_llama.engine.remote.request.overflow import share_that_fits, without_oldest_turns
from tui_llama.engine.remote.stream.answer import Answer, begun_messages, continued_messages
from tui_llama.engine.remote.stream.usage_meter import UsageMeter
from tui_llama.engine.requests import CompleteRequest, OverflowMode, ReplyRequest
from tui_llama.errors import EngineError


class LastPrompt:
    """The conversation that was last sent, and its tokens: servers that cut a prompt do not say so."""

    def __init__(self) -> None:
        self._messages: tuple[ChatMessage, ...] = ()
        self._tokens = 0

    def was_cut(self, messages: tuple[ChatMessage, ...], tokens: int) -> bool:
        """Notes a conversation that was sent; tells whether it has grown since the last time, but its prompt shrank."""
        before, before_tokens = self._messages, self._tokens
        self._messages, self._tokens = messages, tokens
        has_grown = len(messages) > len(before) > 0 and messages[: len(before)] == before
        return has_grown and tokens < before_tokens


class RemoteReply:
    """One reply.

    Args:
        connection: The connection to the server.
        facts: What is known about the server and the model.
        request: What to answer or to continue.
        patience: How long to wait for what.
        last_prompt: What was sent before.
    """

    def __init__(
        self,
        connection: Connection,
        facts: ServerFacts,
        request: ReplyRequest | CompleteRequest,
        patience: Patience,
        last_prompt: LastPrompt,
    ) -> None:
        self._connection = connection
        self._facts = facts
        self._request = request
        self._patience = patience
        self._last_prompt = last_prompt
        self._name = connection.server.name
        self._meter = UsageMeter(facts.context_size)

    async def run(self, tell: TellReply) -> ReplyEvent:
        """Tells the events of the reply but the last one, and returns that."""
        try:
            return await self._replied(tell)
        except RemoteEngineError as error:
            return error.failed(self._request.turn)
        except EngineError as error:
            return Failed(self._request.turn, str(error), error.hint)

    def stopped(self) -> Finished:
        """Returns the end of a reply that was stopped, with what is known up to now."""
        return self._judged(Finished(self._request.turn, StopReason.STOPPED, self._meter.usage()))

    def _judged(self, finished: Finished) -> Finished:
        """Returns the end of a reply with the note that an answer which was cut off does not fit its grammar."""
        is_bound = bool(self._request.json_schema or self._request.grammar)
        is_cut = finished.stop_reason not in ENDED_BY_ITSELF
        usage = msgspec.structs.replace(finished.usage, is_incomplete=is_bound and is_cut)
        return msgspec.structs.replace(finished, usage=usage)

    async def _replied(self, tell: TellReply) -> ReplyEvent:
        messages = self._messages()
        unknown = request_body(self._request, messages, self._facts.model, self._facts.dialect).unknown_names
        if unknown:
            await tell(Notice(unknown_notice(self._facts.dialect.title, unknown), is_lasting=True))
        is_thinking_apart = bool(self._facts.dialect.continues_thinking)
        answer = Answer(self._request, self._name, self._meter, self._connection.key, is_thinking_apart)
        sent = await self._ask_until_answered(answer, messages, tell)
        if self._facts.dialect.may_cut_prompt and len(sent) == len(messages):
            await self._tell_if_cut(messages, tell)
        *events, last = answer.end(self._facts.context_size)
        for event in events:
            await tell(event)
        return self._judged(last) if isinstance(last, Finished) else last

    def _messages(self) -> tuple[ChatMessage, ...]:
        """Returns the messages to send.

        Raises:
            RemoteEngineError: the server cannot be sent this.
        """
        request = self._request
        if not request.messages:
            raise RemoteEngineError(
                FailureCause.ENGINE,
                f"{self._name} answers in a chat, and does not continue a text without one",
                "Use a local model to continue a text.",
            )
        messages = begun_messages(request) if isinstance(request, ReplyRequest) else continued_messages(request)
        if not self._facts.sees_images and any(message.images for message in messages):
            raise RemoteEngineError(
                FailureCause.ENGINE,
                f"the model of {self._name} does not see images",
                "Choose a model that does, or remove the image.",
            )
        return in_order(messages, self._facts.dialect)

    async def _ask_until_answered(
        self, answer: Answer, messages: tuple[ChatMessage, ...], tell: TellReply
    ) -> tuple[ChatMessage, ...]:
        """Asks, again if the server is not ready or the prompt is too long; returns the messages that were answered."""
        busy = BusyWait(self._name, self._patience)
        loading_seconds = 0.0
        is_told = False
        sent = messages
        while True:
            try:
                await self._ask(answer, sent, tell)
                return sent
            except BusyError as error:
                await busy.wait(error, tell)
            except LoadingError as error:
                if not is_told:
                    is_told = True
                    await tell(Notice(f"{error}."))
                loading_seconds += self._patience.poll_seconds
                if loading_seconds > self._patience.loading_seconds:
                    raise
                await asyncio.sleep(self._patience.poll_seconds)
            except PromptTooLongError as error:
                if sent is not messages or (sent := self._shorter(messages, error)) is messages:
                    raise
                await tell(Notice(_left_out_notice(len(messages) - len(sent))))

    async def _ask(self, answer: Answer, messages: tuple[ChatMessage, ...], tell: TellReply) -> None:
        body = request_body(self._request, messages, self._facts.model, self._facts.dialect).body
        exchange = Exchange(self._connection, self._facts, answer, self._patience, tell)
        self._meter.note_request()
        await exchange.run(body)

    def _shorter(self, messages: tuple[ChatMessage, ...], error: PromptTooLongError) -> tuple[ChatMessage, ...]:
        """Returns the messages without the oldest turns; the same ones if none can or may be left out."""
        if self._request.overflow.mode is not OverflowMode.DROP_TURNS:
            return messages
        context_size = error.context_size or self._facts.context_size
        share = share_that_fits(error.prompt_tokens, context_size, self._request.max_tokens)
        shorter = without_oldest_turns(messages, share)
        return messages if len(shorter) == len(messages) else shorter

    async def _tell_if_cut(self, messages: tuple[ChatMessage, ...], tell: TellReply) -> None:
        tokens = self._meter.prompt_tokens
        if tokens is not None and self._last_prompt.was_cut(messages, tokens):
            await tell(
                Notice(
                    f"{self._name} has read {tokens} tokens, fewer than before, though the chat has grown: it leaves "
                    "out the beginning. Give the server a larger context."
                )
            )


def unknown_notice(title: str, names: Sequence[str]) -> str:
    """Returns the notice of settings that a server does not know."""
    if len(names) == 1:
        return f"{title} does not know {names[0]}; it is not sent."
    return f"{title} does not know {', '.join(names[:-1])} and {names[-1]}; they are not sent."


def _left_out_notice(count: int) -> str:
    if count == 1:
        return "The oldest message does not fit into the server's context and is left out."
    return f"The oldest {count} messages do not fit into the server's context and are left out."
