"""An engine over a server that speaks OpenAI's chat completions.

The model, its tokens and its cache are the server's: this engine sends messages and reads what comes back. What that
cannot be done with, it says in the model's `Capabilities`. Nothing is sent to any other server.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from tui_llama.engine.descriptions import Capabilities, ModelInfo
from tui_llama.engine.events import (
    Failed,
    FailureCause,
    LoadProgress,
    LoadStage,
    ModelLoaded,
    Notice,
    PromptEstimate,
    Tokenized,
)
from tui_llama.engine.protocol import IdlePrefillEvent, LoadEvent, ReplyEvent
from tui_llama.engine.remote.patience import Patience
from tui_llama.engine.remote.work import Work
from tui_llama.engine.requests import (
    CompleteRequest,
    EstimateRequest,
    IdlePrefillRequest,
    LoadRequest,
    ReplyRequest,
    TokenizeRequest,
)
from tui_llama.errors import EngineError, UserError
from tui_llama.servers.address import RemoteModel, Server, remote_model
from tui_llama.system.daemon_threads import in_daemon_thread

if TYPE_CHECKING:
    # What speaks HTTP takes a quarter of a second to import, and is needed only once there is a server to ask.
    from tui_llama.engine.remote.connection import Connection
    from tui_llama.engine.remote.probe import ServerFacts
    from tui_llama.engine.remote.reply import LastPrompt

_OWN_TOKENS = "The tokens of this model are known to its server only."


class RemoteEngine:
    """An `Engine` whose model is on a server.

    Args:
        find_server: Returns the server of a base URL.
        read_key: Returns the key of a server, "" for none. It is called in a thread of its own, and may wait.
        patience: How long to wait for what; None for the usual times.
    """

    def __init__(
        self,
        find_server: Callable[[str], Server],
        read_key: Callable[[Server], str],
        patience: Patience | None = None,
    ) -> None:
        self._find_server = find_server
        self._read_key = read_key
        self._patience = patience or Patience()
        self._connection: Connection | None = None
        self._facts: ServerFacts | None = None
        self._key_was_refused = False
        self._last_prompt: LastPrompt | None = None
        self._work: Work[LoadEvent] | Work[ReplyEvent] | None = None

    @property
    def is_alive(self) -> bool:
        """True once a server has said which model it has."""
        return self._facts is not None

    async def load(self, request: LoadRequest) -> AsyncIterator[LoadEvent]:
        """Asks the server who it is and what its model can do; waits while it is loading that."""
        await self.close()

        async def job(tell: Callable[[LoadEvent], Awaitable[None]]) -> LoadEvent:
            try:
                return await self._loaded(request.model_path, tell)
            except UserError as error:
                await self._disconnect()
                cause = getattr(error, "cause", FailureCause.ENGINE)
                return Failed(None, str(error), error.hint, cause)

        work = self._work = Work(job)
        async for event in work.events(lambda: Failed(None, "Loading was stopped.")):
            yield event

    async def reply(self, request: ReplyRequest | CompleteRequest) -> AsyncIterator[ReplyEvent]:
        """Asks the server for an answer, and yields it as it comes."""
        connection = self._connection
        if connection is None or self._facts is None or self._last_prompt is None:
            yield Failed(request.turn, "No model is loaded.", "Choose a model.")
            return
        from tui_llama.engine.remote.failures import RemoteEngineError
        from tui_llama.engine.remote.reply import RemoteReply

        reply = RemoteReply(connection, self._facts, request, self._patience, self._last_prompt)

        async def job(tell: Callable[[ReplyEvent], Awaitable[None]]) -> ReplyEvent:
            if self._key_was_refused:
                # The user may have corrected it, or it may have run out.
                try:
                    connection.use_key(await in_daemon_thread(partial(self._key, connection.server)))
                except RemoteEngineError as error:
                    return error.failed(request.turn)
            return await reply.run(tell)

        work = self._work = Work(job)
        async for event in work.events(reply.stopped):
            self._key_was_refused = isinstance(event, Failed) and event.cause is FailureCause.KEY_REFUSED
            yield event

    async def idle_prefill(self, request: IdlePrefillRequest) -> AsyncIterator[IdlePrefillEvent]:
        """Yields that it cannot be done: no request of this protocol reads a prompt and writes nothing."""
        yield Failed(None, "A server does not read in advance.")

    async def estimate(self, request: EstimateRequest) -> PromptEstimate:
        """Refuses to estimate.

        Raises:
            EngineError: always; the tokens are the server's.
        """
        raise EngineError(_OWN_TOKENS, "The server tells what an answer has cost when it has ended.")

    async def tokenize(self, request: TokenizeRequest) -> Tokenized:
        """Refuses to tokenize.

        Raises:
            EngineError: always; the tokens are the server's.
        """
        raise EngineError(_OWN_TOKENS)

    def cancel(self) -> None:
        """Closes the response at once, or ends the waiting for one."""
        if self._work is not None:
            self._work.stop()

    def answer_now(self) -> None:
        """Does nothing: see `Capabilities.can_answer_now`."""

    async def close(self) -> None:
        """Ends what is going on, and closes the connections."""
        self.cancel()
        self._work = None
        await self._disconnect()

    async def _disconnect(self) -> None:
        connection, self._connection, self._facts = self._connection, None, None
        if connection is not None:
            await connection.close()

    def _open(self, server: Server) -> "Connection":
        """Returns a connection with the key of a server. It may wait long for the key, so it runs in a thread.

        Raises:
            RemoteEngineError: the key or the proxy cannot be used.
        """
        # The first import takes long, too; the others then find most of it done.
        from tui_llama.engine.remote.connection import Connection

        return Connection(server, self._key(server), self._patience)

    def _key(self, server: Server) -> str:
        """Returns the key of a server, "" for none.

        Raises:
            RemoteEngineError: it is not where the settings say.
        """
        from tui_llama.engine.remote.failures import RemoteEngineError

        try:
            return self._read_key(server)
        except UserError as error:
            raise RemoteEngineError(FailureCause.KEY_REFUSED, str(error), error.hint) from error

    async def _loaded(self, address: str, tell: Callable[[LoadEvent], Awaitable[None]]) -> ModelLoaded:
        """Returns the model of an address.

        Raises:
            UserError: there is no such model, or no such server.
        """
        model = remote_model(address)
        server = self._find_server(model.url)
        self._connection = await in_daemon_thread(partial(self._open, server))
        from tui_llama.engine.remote.reply import LastPrompt

        facts = await self._facts_when_ready(self._connection, model.name, tell)
        self._facts, self._last_prompt = facts, LastPrompt()
        return ModelLoaded(model_info(facts, server), self._connection.notices)

    async def _facts_when_ready(
        self, connection: "Connection", name: str, tell: Callable[[LoadEvent], Awaitable[None]]
    ) -> "ServerFacts":
        """Asks for the facts until the server has loaded its model, and has time to answer."""
        from tui_llama.engine.remote.busy import BusyWait
        from tui_llama.engine.remote.failures import BusyError, LoadingError
        from tui_llama.engine.remote.probe import find_server_facts

        busy = BusyWait(connection.server.name, self._patience)
        waited_seconds = 0.0
        is_told = False
        while True:
            try:
                return await find_server_facts(connection, name, self._patience.probe_seconds)
            except BusyError as error:
                await busy.wait(error, tell)
                continue
            except LoadingError as error:
                if waited_seconds >= self._patience.loading_seconds:
                    raise
                if not is_told:
                    is_told = True
                    await tell(Notice(f"{error}."))
            await tell(LoadProgress(LoadStage.READ, 0, 1))  # nobody knows how far it is
            await asyncio.sleep(self._patience.poll_seconds)
            waited_seconds += self._patience.poll_seconds


def model_info(facts: "ServerFacts", server: Server) -> ModelInfo:
    """Returns the facts about a server's model that the screen shows."""
    from tui_llama.engine.remote.probe import shown_name
    from tui_llama.engine.remote.stream.answer import CALL_OPENING
    from tui_llama.engine.remote.stream.thinking import CLOSING, OPENING

    dialect = facts.dialect
    return ModelInfo(
        name=shown_name(facts.model),
        path=str(RemoteModel(server.url, facts.model)),
        architecture="",
        quantization="",
        parameter_count=facts.parameter_count,
        weight_bytes=facts.weight_bytes,
        vocab_size=facts.vocab_size,
        context_size=facts.context_size,
        trained_context_size=facts.trained_context_size,
        key_value_bytes_per_token=0,
        template_source="",
        template_marks=(OPENING, CLOSING, CALL_OPENING),
        server=server.name,
        thinking=tuple(dialect.thinking),
        capabilities=Capabilities(
            has_exact_tokens=False,
            can_estimate=False,
            can_prefill_idle=False,
            can_continue=bool(dialect.continue_fields),
            can_answer_now=False,
            sees_images=facts.sees_images,
            has_probabilities=dialect.has_probabilities,
            has_grammars=bool(dialect.grammar_path),
            why_not_continue=dialect.why_not_continue,
        ),
    )
