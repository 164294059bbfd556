"""Chooses the first model; lists, offers, fetches and removes models.

One model is fetched at a time, by a process of its own, while the chat goes on. What is known of a file is kept for as
long as the program runs.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from tui_llama import paths
from tui_llama.chats.journal import Journal
from tui_llama.chats.store import LAST_MODEL
from tui_llama.controllers.loading.server_models import ServerModels
from tui_llama.controllers.views import DialogView, HintView, RemarkView, RunAlone, StateView, WishView
from tui_llama.conversation import LoadModel, State
from tui_llama.engine.descriptions import ModelFacts
from tui_llama.errors import SettingsError, UserError
from tui_llama.files.model_parts import known_by
from tui_llama.models.downloads import Downloaded, DownloadFailed, DownloadMeter, Progress
from tui_llama.models.starter.file import STARTER_FILE
from tui_llama.screens.presenting import listed_found, listed_offer
from tui_llama.servers.address import is_server_address, typed_address
from tui_llama.text_safety import sanitize_line
from tui_llama.turn.live_chats import LiveChats, OfShownChat

# The first frame needs none of these; what is called of them is imported where it is.
if TYPE_CHECKING:
    from textual.screen import Screen

    from tui_llama.models.library import FoundModel
    from tui_llama.models.machine import Machine
    from tui_llama.models.source import ModelSource
    from tui_llama.screens.dialogs.model_picker import ListedModel, ModelPicker
    from tui_llama.settings import Settings

STARTER_NAME: Final = "starter"
STARTER_TITLE: Final = "the starter model"
_NO_MODEL: Final = "There is no model on this machine yet."
_NONE_CAN_RUN: Final = "None of the models on this machine can run here."

_Known = dict[tuple[str, int], ModelFacts]


class Fetch(msgspec.Struct):
    """A download under way.

    Attributes:
        name: By which it is fetched.
        title: Its name on the screen; not trusted.
        meter: How far it is.
    """

    name: str
    title: str
    meter: DownloadMeter


class ModelsView(DialogView, HintView, StateView, WishView, Protocol):
    """The app, as the controller uses it."""

    @property
    def screen_stack(self) -> "Sequence[Screen[Any]]":
        """The screens that are open, the chat first."""
        ...


class ModelsController(OfShownChat):
    """Models, for one app.

    Args:
        source: Where models are found and fetched.
        settings: As the user set them.
        live_chats: Have the driver of the chat on the screen.
        remarks: Has what is to be told in the conversation.
        view: The app.
        run: Runs a coroutine of a group in place of what is under way in it.

    Attributes:
        fetch: What is being fetched now.
        is_looking: Whether the first model is being looked for.
        missing_words: The line that tells of having no model to begin with; empty if there is one.
    """

    def __init__(
        self,
        source: "ModelSource",
        settings: "Settings",
        live_chats: LiveChats,
        remarks: RemarkView,
        view: ModelsView,
        run: RunAlone,
    ) -> None:
        super().__init__(live_chats)
        self._source = source
        self.settings = settings
        self._remarks = remarks
        self._view = view
        self._run = run
        self._found: list[FoundModel] = []
        self._known: _Known = {}
        self._machine: Machine | None = None
        self._servers = ServerModels(source, settings.servers)
        self._fetching: asyncio.Task[None] | None = None  # also while what was fetched is looked into
        self._listed: list[ListedModel] = []
        self._pulled: set[Path] = set()
        self._fresh_path = ""  # of the model that was fetched last
        self.fetch: Fetch | None = None
        self.is_looking = False
        self.missing_words = ""

    @property
    def is_missing(self) -> bool:
        """True if no model is loaded or loading."""
        return self._turn_driver.state is State.NO_MODEL

    @property
    def picker(self) -> "ModelPicker | None":
        """The list of models, while it is open."""
        from tui_llama.screens.dialogs.model_picker import ModelPicker

        pickers = [screen for screen in self._view.screen_stack if isinstance(screen, ModelPicker)]
        return pickers[0] if pickers and pickers[0].is_attached else None

    # --- loading --------------------------------------------------------------------------------------------------

    def load(self, path: str, then: Callable[[], object] = lambda: None) -> None:
        """Loads a model in place of the one that is there; answers under way are stopped and kept.

        Once the load has begun, `then` is called.
        """
        self._remember_servers(path)
        self._run("load", partial(self._load, path, then))

    def _remember_servers(self, path: str = "") -> None:
        """Keeps the servers of the model that was loaded last and of another one in the list of models."""
        self._servers.remember(self._turn_driver.model_path)
        self._servers.remember(path)

    def load_typed(self, text: str) -> None:
        """Loads the file at a typed path, or the model of a server at a typed address; without a name, its first."""
        if not is_server_address(text):
            path = paths.typed_path(text)
            self.load(text if path is None else str(known_by(path)))
            return
        try:
            self.load(typed_address(text))
        except SettingsError as error:
            self._view.show_hint(f"{error}. {error.hint}")

    async def _load(self, path: str, then: Callable[[], object]) -> None:
        async with self._live_chats.engine_cleared():
            if self._view.wish(LoadModel(path)):
                then()

    async def find_last_used(self, journal: Journal) -> str | None:
        """Returns the path or address of the model used last; None where its file is gone or none was used."""
        # Another program may hold the store for a while; until then, nobody knows that there is no model.
        self.is_looking = True
        self._view.show_status()
        path: str | None = await journal.read_or(lambda store: store.preference(LAST_MODEL), None)
        path = path if path and (is_server_address(path) or paths.is_file(Path(path))) else None
        self.is_looking = path is None
        return path

    # --- the first model ----------------------------------------------------------------------------------------

    async def choose_first(self) -> None:
        """Loads the only model that there is; lets the user choose where there are several, or servers."""
        self.is_looking = True
        self._view.show_state()
        try:
            self._found = await asyncio.to_thread(self._source.find)
            await self._look_into_files()
        finally:
            self.is_looking = False
        usable = [found for found in self._found if not self._facts(found).refusal]
        self.missing_words = "" if usable else _NONE_CAN_RUN if self._found else _NO_MODEL
        was_quicker = not self.is_missing or self.picker is not None
        if not was_quicker and len(usable) == 1:
            self.load(str(usable[0].path))
        elif not was_quicker and (usable or self.settings.servers):
            self.open_picker()
        self._view.show_state()

    # --- the list -----------------------------------------------------------------------------------------------

    def open_picker(self, then: Callable[[], object] = lambda: None) -> None:
        """Shows what there is on this machine, on servers and to fetch, first without what takes time to find out.

        Once the user has chosen a model and its load has begun, `then` is called.
        """
        if self.picker is not None:
            return
        from tui_llama.screens.dialogs.model_picker import ModelPicker

        self._listed = []
        self._remember_servers()
        picker = ModelPicker(None, paths.models_folder())
        picker.move_to(self._fresh_path)

        def chosen(path: str | None) -> None:
            if path:
                self.load(path, then)

        self._view.push_screen(picker, chosen)
        self._run("lists", partial(self._fill, asks_servers=True))

    async def _fill(self, *, asks_servers: bool = False) -> None:
        """Finds out what there is; servers are asked only when the list is opened, since no file of ours changes them.

        They are asked in a group of their own, because a file that is removed meanwhile begins the list again.
        """
        self._found = await asyncio.to_thread(self._source.find)
        self._show_list()
        if asks_servers and self.picker is not None:
            self._run("servers", partial(self._servers.ask, self._show_list))
        self._machine = await asyncio.to_thread(self._source.machine)
        self._pulled = await asyncio.to_thread(self._find_pulled)
        await self._look_into_files()
        self._show_list()

    def _find_pulled(self) -> set[Path]:
        return {found.path for found in self._found if self._source.was_pulled(found.path)}

    async def _look_into_files(self) -> None:
        """Reads the headers of files that nobody has looked into yet."""
        unknown = [found for found in self._found if _key(found) not in self._known]
        if not unknown:
            return
        waiting = iter(unknown)
        async with aclosing(self._source.inspect([found.path for found in unknown])) as facts:
            async for each in facts:
                self._known[_key(next(waiting))] = each

    def _facts(self, found: "FoundModel") -> ModelFacts:
        return self._known.get(_key(found), ModelFacts(str(found.path), refusal="the file could not be examined"))

    def _show_list(self) -> None:
        """Puts the list together again."""
        from tui_llama.models.described import describe, offers

        if self.picker is None:
            return
        machine = self._machine_for_another()
        described = [describe(found, self._known.get(_key(found)), machine, self.settings) for found in self._found]
        here = [listed_found(model, can_be_removed=model.found.path in self._pulled) for model in described]
        self._listed = [*here, *self._servers.listed(), *map(listed_offer, offers(described, machine, self.settings))]
        self._show_progress()

    def _show_progress(self) -> None:
        """Shows the list as it was put together, with how far the download is."""
        picker = self.picker
        if picker is not None and self._listed:
            picker.replace_items([*map(self._with_progress, self._with_other_fetch(self._listed))])

    def _machine_for_another(self) -> "Machine":
        """Returns the machine without the loaded model in its memory, because loading another one closes it first.

        A server's model is in the memory of another machine.
        """
        from tui_llama.models.machine import Machine

        machine = self._machine or Machine("", 0)
        model = self._turn_driver.model
        if model is None or model.server or machine.free_bytes is None:
            return machine
        return msgspec.structs.replace(machine, free_bytes=machine.free_bytes + model.weight_bytes)

    def _with_other_fetch(self, listed: "list[ListedModel]") -> "list[ListedModel]":
        """Adds a model that is being fetched under a name that the catalogue does not have, before all offers."""
        from tui_llama.screens.dialogs.model_picker import ListedModel

        fetch = self.fetch
        if fetch is None or any(item.key == fetch.name for item in listed):
            return listed
        here_count = sum(item.is_here for item in listed)
        return [*listed[:here_count], ListedModel(fetch.name, fetch.title, is_here=False), *listed[here_count:]]

    def _with_progress(self, item: "ListedModel") -> "ListedModel":
        if self.fetch is None or item.key != self.fetch.name:
            return item
        return msgspec.structs.replace(item, note=self.fetch.meter.words(), is_under_way=True, is_dimmed=False)

    # --- fetching -----------------------------------------------------------------------------------------------

    def start_fetch(self, name: str, title: str) -> None:
        """Fetches a model while the chat goes on; one at a time."""
        if self.fetch is not None:
            self._view.show_hint(f"{self.fetch.title} is being fetched. Wait, or cancel it: Ctrl+L, Del.")
            return
        self.fetch = Fetch(name, title, DownloadMeter())
        self._fetching = asyncio.create_task(self._fetch(self.fetch), name=f"fetch {name}")
        self._show_list()
        self._view.show_state()

    def start_fetching_starter(self) -> None:
        """Fetches the starter, unless it is in use."""
        if Path(self._turn_driver.model_path).name == STARTER_FILE and not self.is_missing:
            self._view.show_hint("The starter model is in use; Ctrl+L gets a better one.")
            return
        self.start_fetch(STARTER_NAME, STARTER_TITLE)

    def cancel_fetch(self) -> None:
        """Ends the download; what was loaded of it may be used by the next try."""
        if self._fetching is not None and self.fetch is not None:
            self._fetching.cancel()

    async def close(self) -> None:
        """Ends the download, and waits until its process has ended."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    async def _fetch(self, fetch: Fetch) -> None:
        try:
            outcome = await self._follow(fetch)
        except asyncio.CancelledError:
            self._view.show_hint(f"{fetch.title}: the download was cancelled.")
            return
        except Exception as error:  # whatever it is, the user waits for a word
            outcome = DownloadFailed(f"{fetch.title} could not be fetched: {error}")
        finally:
            self.fetch = None
            self._show_list()
            self._view.show_state()
        if isinstance(outcome, Downloaded):
            await self._offer(fetch, outcome)
        else:
            self._tell_failure(_sentence(outcome.message), outcome.hint)

    def _tell_failure(self, message: str, hint: str) -> None:
        """Tells of a failure in the list if that is open, because it hides the conversation."""
        picker = self.picker
        if picker is not None:
            picker.say(sanitize_line(f"{message}. {hint}"))
        else:
            self._remarks.add_failure(message, hint)

    async def _follow(self, fetch: Fetch) -> Downloaded | DownloadFailed:
        """Shows how far the download is, and returns what became of it."""
        async with aclosing(self._source.pull(fetch.name)) as events:
            async for event in events:
                if not isinstance(event, Progress):
                    return event
                fetch.meter.note(event, monotonic())
                self._view.show_figures()
                self._show_progress()
        return DownloadFailed(f"{fetch.title} could not be fetched", "Try again.")

    async def _offer(self, fetch: Fetch, downloaded: Downloaded) -> None:
        """Begins with the model if none is loaded; if one is, says that the new one is there."""
        self.missing_words = ""
        if self.is_missing and self.picker is None:
            self.load(downloaded.path)
            return
        self._fresh_path = downloaded.path
        picker = self.picker
        if picker is not None:
            picker.move_to(downloaded.path)
        else:
            self._remarks.add_notice(f"{fetch.title} is here. To chat with it, press Ctrl+L, then Enter.")
        await self._fill()

    # --- removing -----------------------------------------------------------------------------------------------

    def remove(self, path: str) -> None:
        """Removes a file that this program has fetched, unless it is in use."""
        if os.path.realpath(path) == os.path.realpath(self._turn_driver.model_path) and not self.is_missing:
            self._view.show_hint("This model is in use; load another one first.")
            return

        async def remove() -> None:
            try:
                await asyncio.to_thread(self._source.remove, Path(path))
            except UserError as error:
                self._tell_failure(str(error), error.hint)
            await self._fill()

        self._run("lists", remove)


def _sentence(message: str) -> str:
    """Returns a message with a capital, as it stands alone, unless it begins with a file name or the like."""
    first_word = message.partition(" ")[0]
    return message if "." in first_word else message[:1].upper() + message[1:]


def _key(found: "FoundModel") -> tuple[str, int]:
    return str(found.path), found.size_bytes
