"""What all chats share: the one engine, the model in it, and whose request it answers.

Each chat has a driver and a turn machine of its own. The engine answers one request at a time: whoever asks it holds
`is_free`. What becomes of a load is told to the machines of all chats, so that each of them knows whether there is a
model. The host knows the drivers only as `EngineUser`s.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from tui_llama import conversation
from tui_llama.chats import chat_prompt_cache
from tui_llama.chats.journal import Journal
from tui_llama.chats.store import LAST_MODEL
from tui_llama.engine import events
from tui_llama.engine.descriptions import Capabilities, ModelInfo
from tui_llama.engine.process.border import GuardedEngine
from tui_llama.engine.protocol import Engine, LoadEvent
from tui_llama.errors import EngineError, EngineLostError, SettingsError, UserError
from tui_llama.servers.address import is_server_address
from tui_llama.servers.declared import find_server

if TYPE_CHECKING:
    from tui_llama.settings import Settings

NO_END = "The engine ended without saying why."


class EngineUser(Protocol):
    """The driver of a chat, as the host knows it."""

    @property
    def model_is_loading(self) -> bool:
        """True while the chat's machine knows of a load that is under way."""
        ...

    def allows(self, event_type: type[conversation.Event]) -> bool:
        """Tells whether an event of this kind is legal now."""
        ...

    def dispatch(self, event: conversation.Event) -> None:
        """Tells the chat's machine, and does what it says."""
        ...

    def note_load_began(self, server: str) -> None:
        """Notes that a load began; `server` is empty for a model file."""
        ...

    def note_load_progress(self, load: int, event: events.LoadProgress) -> None:
        """Notes how far a load is."""
        ...

    def note_model(self, model: ModelInfo) -> None:
        """Notes the model that is loaded now."""
        ...

    def tell_of_model(self, notices: Sequence[str]) -> None:
        """Shows what loading the model has to say."""
        ...

    def add_notice(self, text: str) -> None:
        """Shows one line."""
        ...

    def add_failure(self, message: str, hint: str) -> None:
        """Shows what went wrong."""
        ...


class EngineHost:
    """The engine, for the drivers of all chats.

    Args:
        engine_factory: Opens an engine; called once, when the first model is loaded.
        settings: As the user set them.
        journal: Stores the preferences about models.
        spawn: Runs work that has a name; work that is ended at once may never begin.

    Attributes:
        settings: As the user set them; they may change.
        engine: The engine.
        is_free: Held by whoever asks the engine something.
        model: The loaded model; None while none is loaded.
        model_path: The file of the last request to load, or the address of a server's model.
        load: The number of the last load.
        told_of_models: The notices of models that the user was given.
    """

    def __init__(
        self,
        engine_factory: Callable[[], Engine],
        settings: "Settings",
        journal: Journal,
        spawn: Callable[[Callable[[], Coroutine[Any, Any, None]], str], object],
    ) -> None:
        self.engine = GuardedEngine(engine_factory)
        self.is_free = asyncio.Lock()
        self.settings = settings
        self._journal = journal
        self._spawn = spawn
        self._users: list[EngineUser] = []
        self._queue: list[EngineUser] = []
        self._answering: EngineUser | None = None
        self._turn = 0
        self._hold_count = 0
        self.model: ModelInfo | None = None
        self.model_path = ""
        self.load = 0
        self.told_of_models: set[tuple[str, str]] = set()

    @property
    def capabilities(self) -> Capabilities:
        """What the engine can do with the loaded model; all that a local one can while none is loaded."""
        return Capabilities() if self.model is None else self.model.capabilities

    @property
    def _in_front(self) -> EngineUser:
        """The chat on the screen, where the user sees what is told."""
        return self._users[0]

    def bring_to_front(self, user: EngineUser) -> None:
        """Tells a chat of loads from now on, before all others; it is the one on the screen."""
        self.let_go(user)
        self._users.insert(0, user)

    def let_go(self, user: EngineUser) -> None:
        """Tells a chat nothing any more."""
        self._users = [other for other in self._users if other is not user]

    # --- whose turn it is ---------------------------------------------------------------------------------------

    @property
    def is_answering(self) -> bool:
        """True while a chat has the engine for an answer."""
        return self._answering is not None

    def join(self, user: EngineUser) -> None:
        """Lets a chat have the engine as soon as those before it had it, which may be at once."""
        self._queue.append(user)
        self._grant()

    def leave(self, user: EngineUser) -> None:
        """Takes a chat out of the queue."""
        self._queue = [other for other in self._queue if other is not user]

    def free(self) -> None:
        """Lets the next chat of the queue have the engine, since the answer has ended."""
        self._answering = None
        self._grant()

    def report_loss(self) -> None:
        """Tells the chats that do not know it that the engine's process has ended."""
        self._answering = None
        for user in tuple(self._users):
            if user.allows(conversation.EngineLostAtRest):
                user.dispatch(conversation.EngineLostAtRest())

    @contextmanager
    def held(self) -> Iterator[None]:
        """Lets no chat of the queue have the engine inside the block."""
        self.hold()
        try:
            yield
        finally:
            self._hold_count -= 1
            self._grant()

    def hold(self) -> None:
        """Lets no chat of the queue have the engine any more."""
        self._hold_count += 1

    def _grant(self) -> None:
        if self._queue and self._answering is None and not self._hold_count:
            self._answering = self._queue.pop(0)
            self._turn += 1
            self._answering.dispatch(conversation.EngineGranted(self._turn))

    # --- loading ------------------------------------------------------------------------------------------------

    def start_loading(self, starter: EngineUser, load: int, path: str | None) -> None:
        """Begins load number `load` for a chat; None stands for the model that was loaded before."""
        self.load = load
        self.model_path = path or self.model_path
        self.model = None
        for user in tuple(self._users):
            user.note_load_began(self.server_name())
            if user is not starter:
                user.dispatch(conversation.LoadBegan(load))
        self._spawn(partial(self._load, load, self.model_path), f"load {load}")

    def server_name(self) -> str:
        """Returns the name of the server whose model is loaded or loading, not safe to print; empty for a file."""
        if not is_server_address(self.model_path):
            return ""
        try:
            return find_server(self.settings.servers, self.model_path).name
        except SettingsError:  # the load fails and tells why
            return "the server"

    async def _load(self, load: int, path: str) -> None:
        """Loads a model; what becomes of it are events of this number."""
        settings = self.settings
        request = chat_prompt_cache.with_prompt_cache(settings.load_request(path), settings.prompt_cache_mib)
        async with self.is_free:
            if not self._is_wanted(load):
                return
            try:
                async for event in self.engine.load(request):
                    self._take_load_event(load, event)
                if self._is_wanted(load):
                    self._tell_all(conversation.LoadFailed(load, NO_END))
            except EngineLostError as error:
                self._tell_all(conversation.EngineLostInLoad(load, str(error), error.hint))
            except UserError as error:
                self._tell_all(conversation.LoadFailed(load, str(error), error.hint))

    def _is_wanted(self, load: int) -> bool:
        return load == self.load and any(user.model_is_loading for user in self._users)

    def _tell_all(self, event: conversation.Event) -> None:
        for user in tuple(self._users):
            user.dispatch(event)

    def _take_load_event(self, load: int, event: LoadEvent) -> None:
        match event:
            case events.LoadProgress():
                for user in self._users:
                    user.note_load_progress(load, event)
            case events.ModelLoaded(model=model, notices=notices):
                if load == self.load:
                    self._note_model(model, notices)
                self._tell_all(conversation.ModelReady(load))
            case events.Notice(text=text):
                self._in_front.add_notice(text)
            case events.Failed(message=message, hint=hint):
                self._tell_all(conversation.LoadFailed(load, message, hint))

    def _note_model(self, model: ModelInfo, notices: Sequence[str]) -> None:
        self.model = model
        if model.server:  # whoever named only the server gets the same model the next time
            self.model_path = model.path
        for user in self._users:
            user.note_model(model)
        path = self.model_path
        self._journal.write(lambda store: store.set_preference(LAST_MODEL, path))
        self._in_front.tell_of_model(notices)

    # --- its end ------------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Cancels what the engine is doing."""
        try:
            self.engine.cancel()
        except EngineError as error:
            self._in_front.add_failure(str(error), error.hint)

    def answer_now(self) -> None:
        """Lets the engine close the thought that it is in."""
        try:
            self.engine.answer_now()
        except EngineError as error:
            self._in_front.add_failure(str(error), error.hint)

    async def close(self) -> None:
        """Ends the engine, if there is one."""
        with suppress(EngineError):  # the program ends, so nobody can be told; the log has it
            await self.engine.close()
