"""The wiring of the screen: carries out the turn machine's actions, and turns engine events into machine events.

Everything that changes the conversation passes `dispatch`, on the event loop and without waiting in between, so
that no two things happen at once. What takes time (the engine, the store, the search for models) runs beside it
and comes back as an event.
"""

import asyncio
import base64
import contextlib
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from tui_llama import conversation as turn
from tui_llama import paths, saved_prompts
from tui_llama.chat import StopReason, Usage
from tui_llama.commands import COMMANDS, find_slash, parse_slash
from tui_llama.conversation import State, TurnMachine
from tui_llama.engine import protocol
from tui_llama.engine.protocol import Engine, ModelInfo, ReadAheadRequest, ReplyRequest
from tui_llama.errors import EngineLostError, IllegalTransitionError, StateFileError, StoreError, UserError
from tui_llama.journal import Journal
from tui_llama.open_chat import OpenChat
from tui_llama.read_ahead import ReadingAhead
from tui_llama.screens.chat import ChatScreen
from tui_llama.store import ChatSummary, Store
from tui_llama.turn_meter import TurnMeter
from tui_llama.views import (
    advice,
    chat_title,
    left_out_words,
    listed_chat,
    listed_model,
    model_line,
    note_of,
    shown_messages,
    stages,
    themes,
)
from tui_llama.widgets.composer import Composer
from tui_llama.widgets.message_view import Remark
from tui_llama.widgets.status_line import Mood, Status

if TYPE_CHECKING:
    from tui_llama.model_library import FoundModel
    from tui_llama.screens.chat_list import ChatList, ListedChat
    from tui_llama.screens.model_picker import ModelPicker
    from tui_llama.settings import Settings

STATUS_SECONDS = 0.1
JOURNAL_SECONDS = 0.5
HINT_SECONDS = 4.0
QUIT_ARMED_SECONDS = 2.0
CLOSING_SECONDS = 5.0
DEFAULT_THEME = "llama-dusk"
_LAST_MODEL = "last_model"
_NO_END = "The engine ended without saying why."

_MOODS = {
    State.LOADING: Mood.BUSY,
    State.WAITING: Mood.BUSY,
    State.READING: Mood.BUSY,
    State.ANSWERING: Mood.BUSY,
    State.STOPPING: Mood.BUSY,
    State.NO_MODEL: Mood.TROUBLED,
    State.FAILED: Mood.TROUBLED,
    State.LOST: Mood.TROUBLED,
}
_CANNOT_NOW = {
    turn.SendMessage: "Not yet; your text stays here.",
    turn.Regenerate: "There is nothing to answer again now.",
    turn.LoadModel: "Not while the engine is busy.",
    turn.Stop: "There is nothing to stop.",
}


class ChatApp(App[None]):
    """The chat, full screen.

    Args:
        engine_factory: Opens an engine; called once, when the first model is loaded.
        store: The chats. Not closed here.
        settings: As the user set them.
        model_path: The model to begin with; None for the one used last, or a choice.
        find_models: Looks for model files on this machine; may take its time.
        is_incognito: Whether to begin with a chat of which nothing is kept.
    """

    TITLE = "tui_llama"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "Quit", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", "Suspend", show=False),
    ]

    def __init__(
        self,
        *,
        engine_factory: Callable[[], Engine],
        store: Store,
        settings: "Settings",
        model_path: str | None,
        find_models: "Callable[[], list[FoundModel]]",
        is_incognito: bool = False,
    ) -> None:
        folder = paths.style_folder()
        super().__init__(css_path=[folder / "app.tcss", folder / "widgets.tcss"])
        self._engine_factory = engine_factory
        self._engine: Engine | None = None
        self._engine_is_free = asyncio.Lock()
        self._settings = settings
        self._wanted_model_path = model_path
        self._find_models = find_models
        self._machine = TurnMachine()
        self._meter = TurnMeter()
        self._journal = Journal(store, self._store_failed)
        self._model: ModelInfo | None = None
        self._notices_of_models: set[tuple[str, str]] = set()
        self._model_path = ""
        self._chat = self._new_chat(is_incognito=is_incognito)
        self._reading_ahead = ReadingAhead(
            self._read_ahead_request,
            lambda reading: self.run_worker(reading, name="read ahead", group="read ahead"),
            self._note_ready,
            self._show_notice,
        )
        self._status_is_due = False
        self._store_has_failed = False
        self._quit_armed_until = 0.0
        for theme in themes():
            self.register_theme(theme)
        self.theme = settings.theme if settings.theme in self.available_themes else DEFAULT_THEME

    def get_default_screen(self) -> Screen[None]:
        """The chat is the first screen, so that nothing else is ever drawn."""
        return ChatScreen(id="_default")

    @property
    def chat_screen(self) -> ChatScreen:
        """The chat, which may lie below a dialog."""
        screen = self.screen_stack[0]
        assert isinstance(screen, ChatScreen)
        return screen

    # --- beginning and end --------------------------------------------------------------------------------------

    @on(ChatScreen.Ready)
    def _start(self) -> None:
        """Nothing here delays the first frame."""
        self._show_state()
        self.set_interval(JOURNAL_SECONDS, self._flush_journal)
        self._listen_for_signals()
        self.run_worker(self._begin(), name="begin")

    def _flush_journal(self) -> None:
        self._chat.flush()

    async def _begin(self) -> None:
        """Loads the model that was asked for or used last, or lets the user choose."""
        await self._journal.read_or(lambda store: store.recover(), [])
        self._journal.write(saved_prompts.forget_orphans)
        path = self._wanted_model_path
        if path is None:
            path = await self._journal.read_or(lambda store: store.preference(_LAST_MODEL), None)
            path = path if path and Path(path).is_file() else None
        if path is None:
            self.action_choose_model()
        elif self._machine.allows(turn.LoadModel):
            self.dispatch(turn.LoadModel(path))

    async def action_quit(self) -> None:
        """Ends the program; what there is of an answer is kept."""
        if self._machine.allows(turn.Quit):
            self.dispatch(turn.Quit())
        self.exit()

    async def on_unmount(self) -> None:
        """The terminal is the user's again; what is still to be saved is saved, within a limit."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._close(), CLOSING_SECONDS)

    async def _close(self) -> None:
        self._chat.flush()
        self._reading_ahead.stop()
        if self._engine is not None:
            await self._engine.close()
        await self._journal.close()

    def _listen_for_signals(self) -> None:
        """A terminal that is closed, or a shutdown, ends the program as Ctrl+Q does."""
        loop = asyncio.get_running_loop()
        for name in ("SIGTERM", "SIGHUP"):
            with contextlib.suppress(AttributeError, NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(getattr(signal, name), self._quit_soon)

    def _quit_soon(self) -> None:
        self.run_worker(self.action_quit(), name="quit")

    # --- the machine --------------------------------------------------------------------------------------------

    def dispatch(self, event: turn.Event) -> None:
        """Tells the machine, and does what it says.

        Raises:
            IllegalTransitionError: the machine does not allow it; nothing has changed.
        """
        for action in self._machine.handle(event):
            self._perform(action)
        self._show_state()
        self._read_ahead_if_at_rest()

    def _wish(self, event: turn.Event) -> bool:
        """Dispatches what the user wants if it is possible now, and says so if not."""
        self._notice_a_lost_engine()
        if self._machine.allows(type(event)):
            self.dispatch(event)
            return True
        self.show_hint(_CANNOT_NOW.get(type(event), "Not now."))
        return False

    def _notice_a_lost_engine(self) -> None:
        """An engine that ended while nothing was asked of it is started again like one that ended in a turn."""
        is_lost = self._engine is not None and not self._engine.is_alive
        if is_lost and self._machine.allows(turn.EngineLostAtRest):
            self._show_notice("The engine had ended; it is started again.")
            self.dispatch(turn.EngineLostAtRest())

    def _perform(self, action: turn.Action) -> None:
        screen = self.chat_screen
        match action:
            case turn.StartLoading(load=load, model_path=path):
                self._model_path = path or self._model_path
                self._model = None
                self._meter.start_load()
                self.run_worker(self._load(load, self._model_path), name=f"load {load}")
            case turn.StopLoading() | turn.StopReply():
                self._cancel_engine()
            case turn.SaveMessage(text=text):
                self._chat.add_message(text)
                screen.add_message(text)
            case turn.SetAnswerAside():
                if self._chat.set_answer_aside():
                    screen.transcript.remove_last_answer()
            case turn.StartReply(turn=number):
                self._meter.start_turn()
                self._chat.begin_answer()
                screen.transcript.begin_answer()
                self.run_worker(self._reply(number, self._chat), name=f"turn {number}")
            case turn.AppendText(text=text, token_ids=token_ids):
                self._chat.append(text, token_ids)
                self._meter.note_tokens(len(token_ids), monotonic())
                screen.transcript.append(text)
            case turn.FinishAnswer(stop_reason=reason, usage=usage):
                entry = self._chat.finish_answer(reason, usage)
                self._meter.note_usage(usage)
                screen.transcript.finish_answer(note_of(entry))
            case turn.ShowFailure(message=message, hint=hint):
                screen.transcript.add_remark(Remark(message, hint, is_failure=True))

    # --- the engine ---------------------------------------------------------------------------------------------

    async def _load(self, load: int, path: str) -> None:
        """Loads a model; what becomes of it are events of this number."""
        request = saved_prompts.with_prompt_cache(self._settings.load_request(path), self._settings.prompt_cache_mib)
        async with self._engine_is_free:
            if load != self._machine.numbers.load or not self._machine.model_is_loading:
                return
            try:
                if self._engine is None:
                    self._engine = self._engine_factory()
                async for event in self._engine.load(request):
                    self._take_load_event(load, event)
                if self._machine.model_is_loading and load == self._machine.numbers.load:
                    self.dispatch(turn.LoadFailed(load, _NO_END))
            except EngineLostError as error:
                self.dispatch(turn.EngineLostInLoad(load, str(error), error.hint))
            except UserError as error:
                self.dispatch(turn.LoadFailed(load, str(error), error.hint))

    def _take_load_event(self, load: int, event: protocol.LoadEvent) -> None:
        match event:
            case protocol.LoadProgress(stage=stage, done=done, total=total):
                self._meter.note_load(stage, done, total)
                self._machine.handle(turn.LoadAdvanced(load))
                self._show_status_soon()
            case protocol.ModelLoaded(model=model, notices=notices):
                if load == self._machine.numbers.load:
                    self._note_model(model, notices)
                self.dispatch(turn.ModelReady(load))
            case protocol.Notice(text=text):
                self._show_notice(text)
            case protocol.Failed(message=message, hint=hint):
                self.dispatch(turn.LoadFailed(load, message, hint))

    def _note_model(self, model: ModelInfo, notices: Sequence[str]) -> None:
        self._model = model
        self._meter.note_model(model.context_size)
        path = self._model_path
        self._chat.set_model(path)
        self._journal.write(lambda store: store.set_preference(_LAST_MODEL, path))
        for notice in notices:
            # A model that is loaded again, after its engine was lost, has nothing new to tell.
            if (path, notice) not in self._notices_of_models:
                self._show_notice(notice)
            self._notices_of_models.add((path, notice))

    async def _reply(self, number: int, chat: OpenChat) -> None:
        """Asks for an answer; what becomes of it are events of this number."""
        async with self._engine_is_free:
            ledger = await chat.ledger()
            if self._machine.state is not State.READING:
                # Stopped before the engine was asked.
                self.dispatch(turn.ReplyFinished(number, StopReason.STOPPED, Usage()))
                return
            try:
                async for event in self._opened_engine().reply(self._request(number, chat, ledger)):
                    self._take_reply_event(number, event)
                if self._machine.answer_is_open:
                    self.dispatch(turn.ReplyFailed(number, _NO_END))
            except EngineLostError as error:
                self.dispatch(turn.EngineLostInTurn(number, str(error), error.hint))
            except UserError as error:
                self.dispatch(turn.ReplyFailed(number, str(error), error.hint))
            except IllegalTransitionError as error:
                self._cancel_engine()
                self.dispatch(turn.ReplyFailed(number, f"The engine got out of step: {error}."))

    def _request(self, number: int, chat: OpenChat, ledger: tuple[int, ...]) -> ReplyRequest:
        settings = self._settings
        return ReplyRequest(
            turn=number,
            messages=chat.prompt_messages(),
            ledger=ledger,
            sampling=settings.sampling,
            max_tokens=settings.max_tokens,
            chat_id=chat.chat_id,
            draft_max=settings.draft_max,
            overflow=settings.overflow(),
        )

    def _take_reply_event(self, number: int, event: protocol.ReplyEvent) -> None:
        match event:
            case protocol.PromptEncoded(kept_tokens=kept, token_ids=token_ids, left_out_messages=left_out):
                self._chat.set_prompt(kept, token_ids)
                self._tell_what_is_left_out(left_out)
            case protocol.PromptProgress(
                reused_tokens=reused, done_tokens=done, total_tokens=total, reread_cause=cause
            ):
                self._meter.note_prompt(reused, done, total, monotonic(), cause)
                self._machine.handle(turn.PromptAdvanced(number))
                self._show_status_soon()
            case protocol.TextPiece(text=text, token_ids=token_ids):
                was_answering = self._machine.state is State.ANSWERING
                for action in self._machine.handle(turn.TextArrived(number, text, token_ids)):
                    self._perform(action)
                self._show_status_soon() if was_answering else self._show_state()
            case protocol.Notice(text=text):
                self._show_notice(text)
            case protocol.Finished(stop_reason=reason, usage=usage):
                self.dispatch(turn.ReplyFinished(number, reason, usage))
            case protocol.Failed(message=message, hint=hint):
                self.dispatch(turn.ReplyFailed(number, message, hint))

    def _tell_what_is_left_out(self, message_count: int) -> None:
        """Says when more or fewer of the chat's messages are left out of the prompt than so far."""
        if message_count not in (0, self._chat.left_out_messages):
            self._show_notice(left_out_words(message_count))
        self._chat.left_out_messages = message_count

    # --- reading ahead ------------------------------------------------------------------------------------------

    def _read_ahead_if_at_rest(self) -> None:
        """Reading ahead is no state of the turn: it begins when there is nothing else to do, and ends with that."""
        if self._machine.state is State.READY and self._settings.read_ahead == "on" and self.is_running:
            self._reading_ahead.rest(self._draft())
        else:
            self._reading_ahead.stop()

    @on(Composer.Changed)
    def _read_on(self) -> None:
        self._reading_ahead.edit(self._draft())

    def _draft(self) -> str:
        """What will be sent of what is written; a command is not."""
        text = self.chat_screen.composer.text.lstrip("\n")
        return "" if parse_slash(text) else text

    async def _read_ahead_request(self, draft: str) -> tuple[Engine, ReadAheadRequest] | None:
        chat, settings = self._chat, self._settings
        if not draft and not chat.messages():
            return None
        async with self._engine_is_free:  # a reply that has just ended may not have let go of it yet
            ledger = await chat.whole_ledger()
        return self._opened_engine(), ReadAheadRequest(
            messages=chat.messages(),
            draft=draft,
            ledger=ledger,
            max_tokens=settings.max_tokens,
            chat_id=chat.owner_id,
            overflow=settings.overflow(),
        )

    def _note_ready(self, ready_tokens: int, certain_tokens: int) -> None:
        self._meter.note_ready(ready_tokens, certain_tokens)
        if self._machine.state is State.READY:
            self._show_status_soon()

    def _opened_engine(self) -> Engine:
        assert self._engine is not None  # a reply follows a load
        return self._engine

    def _cancel_engine(self) -> None:
        if self._engine is not None:
            self._engine.cancel()

    # --- what the user sends ------------------------------------------------------------------------------------

    @on(Composer.Submitted)
    async def _submit(self, event: Composer.Submitted) -> None:
        """A command is carried out, anything else is sent; what cannot be sent stays where it was written."""
        slash = parse_slash(event.text)
        if slash is not None:
            await self._run_slash(*slash)
        elif self._machine.state is State.NO_MODEL:
            self.show_hint("There is no model yet; your text stays here.")
            self.action_choose_model()
        elif self._wish(turn.SendMessage(event.text.strip("\n"))):
            self.chat_screen.composer.accept()

    async def _run_slash(self, word: str, argument: str) -> None:
        command = find_slash(word)
        if command is None:
            self.show_hint(f"There is no command /{word}. /help lists them; a blank before it sends it as text.")
            return
        self.chat_screen.composer.accept()
        action = getattr(self, f"action_{command.name}")
        result = action(argument) if argument and command.argument else action()
        if asyncio.iscoroutine(result):
            await result

    @on(Composer.VersionRequested)
    def _turn_to_version(self, event: Composer.VersionRequested) -> None:
        if self._machine.allows(turn.OpenChat):
            self.run_worker(self._show_version(event.step), group="chats", exclusive=True)

    @on(Composer.LeaveRequested)
    async def _leave(self) -> None:
        await self.action_quit()

    @on(Composer.KeyPressed)
    def _disarm_quit(self) -> None:
        self._quit_armed_until = 0.0

    async def action_interrupt(self) -> None:
        """Ctrl+C: copies what is selected, else stops, else clears, else asks for a second one to quit."""
        composer = self.chat_screen.composer
        selected = composer.selected_text or self.chat_screen.get_selected_text()
        if selected:
            self.copy_to_clipboard(selected)
            self.chat_screen.clear_selection()
            self.show_hint("Copied.")
        elif self._machine.allows(turn.Stop):
            self.dispatch(turn.Stop())
        elif composer.text:
            composer.accept()
            self.show_hint("Cleared; ↑ brings it back.")
        elif monotonic() < self._quit_armed_until:
            await self.action_quit()
        else:
            self._quit_armed_until = monotonic() + QUIT_ARMED_SECONDS
            self.show_hint("Press Ctrl+C again to quit.", QUIT_ARMED_SECONDS)

    def action_stop(self) -> None:
        """Esc: stops what can be stopped, and never anything else."""
        if self._machine.allows(turn.Stop):
            self.dispatch(turn.Stop())

    def action_regenerate(self) -> None:
        """Another answer to the last message; after a failure, the one that failed."""
        if self._chat.is_empty:
            self.show_hint("There is no message to answer yet.")
        elif self._machine.allows(turn.Retry):
            self.dispatch(turn.Retry())
        else:
            self._wish(turn.Regenerate())

    def action_copy_answer(self) -> None:
        """Copies the last answer as it was written."""
        answer = self._chat.last_answer
        if answer is None:
            self.show_hint("There is no answer to copy yet.")
        else:
            self.copy_to_clipboard(answer.text)
            self.show_hint("The last answer was copied.")

    def copy_to_clipboard(self, text: str) -> None:
        """Asks the terminal to copy; inside tmux, which would keep it to itself, the terminal around it too."""
        super().copy_to_clipboard(text)
        if os.environ.get("TMUX") and self._driver is not None:
            encoded = base64.b64encode(text.encode()).decode()
            self._driver.write(f"\x1bPtmux;\x1b\x1b]52;c;{encoded}\a\x1b\\")

    def action_help(self) -> None:
        """The keys and commands."""
        from tui_llama.screens.help import HelpScreen

        self.push_screen(HelpScreen())

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette has the same commands as keys and slashes, and the themes."""
        for command in COMMANDS:
            action = getattr(self, f"action_{command.name}")
            yield SystemCommand(command.title, command.explanation, action)
        yield SystemCommand("Theme", "Choose other colours", self.action_change_theme)

    # --- chats --------------------------------------------------------------------------------------------------

    def action_new_chat(self) -> None:
        """An empty chat; the one on the screen is kept."""
        self.run_worker(self._show_chat(None), group="chats", exclusive=True)

    def action_incognito(self) -> None:
        """An empty chat that is never written; it is gone when another one is opened."""
        self.run_worker(self._show_chat(None, is_incognito=True), group="chats", exclusive=True)

    def action_next_chat(self) -> None:
        """The chat below this one in the list, which is older."""
        self.run_worker(self._show_neighbour(1), group="chats", exclusive=True)

    def action_previous_chat(self) -> None:
        """The chat above this one in the list, which is newer."""
        self.run_worker(self._show_neighbour(-1), group="chats", exclusive=True)

    async def _show_neighbour(self, step: int) -> None:
        chat_ids = [chat.chat_id for chat in await self._listed_chats()]
        here = chat_ids.index(self._chat.chat_id) if self._chat.chat_id in chat_ids else -1
        position = here + step
        if not 0 <= position < len(chat_ids):
            self.show_hint("There is no older chat." if step > 0 else "There is no newer chat.")
            return
        await self._show_chat(chat_ids[position])

    def action_rename_chat(self, title: str = "") -> None:
        """Another title for this chat."""
        if title:
            self._rename(self._chat.chat_id, title)
            return
        from tui_llama.screens.ask_text import AskText

        def rename(answer: str | None) -> None:
            if answer:
                self._rename(self._chat.chat_id, answer)

        self.push_screen(AskText("Rename chat", self._chat.title), rename)

    def action_delete_chat(self) -> None:
        """Deletes this chat, if the user means it."""
        if self._chat.is_empty:
            self.show_hint("This chat is empty; there is nothing to delete.")
            return
        from tui_llama.screens.ask_whether import AskWhether

        def delete(is_certain: bool | None) -> None:
            if is_certain:
                self.run_worker(self._delete(self._chat.chat_id), group="chats")

        self.push_screen(AskWhether("Delete this chat for good?", self._chat.title, "Delete"), delete)

    def action_list_chats(self) -> None:
        """The list of chats."""
        self.run_worker(self._list_chats(), group="lists", exclusive=True)

    async def _list_chats(self) -> None:
        from tui_llama.screens.chat_list import ChatList

        def chosen(chat_id: str | None) -> None:
            if chat_id is not None and chat_id != self._chat.chat_id:
                self.run_worker(self._show_chat(chat_id), group="chats", exclusive=True)

        chats = await self._listed_chats()
        await self.push_screen(ChatList(chats, datetime.now().astimezone()), chosen)

    async def _listed_chats(self) -> "list[ListedChat]":
        nothing: list[ChatSummary] = []
        summaries = await self._journal.read_or(lambda store: store.list_chats(), nothing)
        return [listed_chat(summary, self._chat.chat_id) for summary in summaries]

    async def on_chat_list_rename_wanted(self, event: "ChatList.RenameWanted") -> None:
        """Renames, and shows the list as it is now."""
        self._rename(event.chat_id, event.title)
        event.chat_list.replace_items(await self._listed_chats())

    async def on_chat_list_delete_wanted(self, event: "ChatList.DeleteWanted") -> None:
        """Deletes, and shows the list as it is now."""
        await self._delete(event.chat_id)
        event.chat_list.replace_items(await self._listed_chats())

    def _rename(self, chat_id: str | None, title: str) -> None:
        if chat_id == self._chat.chat_id:
            self._chat.rename(title)
            self._show_state()
        elif chat_id is not None:
            self._journal.write(lambda store: store.rename_chat(chat_id, title))

    async def _delete(self, chat_id: str | None) -> None:
        if chat_id == self._chat.chat_id:
            await self._show_chat(None)
        if chat_id is None:
            return

        def job(store: Store) -> None:
            store.delete_chat(chat_id)
            saved_prompts.forget_chat(chat_id)

        self._journal.write(job)

    async def _show_chat(self, chat_id: str | None, *, is_incognito: bool = False) -> None:
        """Leaves this chat for another, or for a new one; an answer under way is stopped and kept."""
        await self._stop_and_wait()
        try:
            chat = (
                self._new_chat(is_incognito=is_incognito)
                if chat_id is None
                else await OpenChat.restore(self._journal, chat_id)
            )
        except StoreError as error:
            self._store_failed(error)
            return
        if self._machine.allows(turn.OpenChat):
            self._chat = chat
            await self._show_path()

    async def _show_version(self, step: int) -> None:
        """Shows another version of the last answer; the chat goes on from there."""
        try:
            has_turned = await self._chat.turn_to_version(step)
        except StoreError as error:
            self._store_failed(error)
            return
        if has_turned and self._machine.allows(turn.OpenChat):
            await self._show_path()

    async def _show_path(self) -> None:
        """Shows the chat from its end, as it is now."""
        self._machine.handle(turn.OpenChat())
        chat = self._chat
        answer = chat.last_answer
        self._meter.start_chat(answer.usage if answer else None)
        await self.chat_screen.show_chat(shown_messages(chat.entries), chat.user_texts)
        self._show_state()
        self._read_ahead_if_at_rest()

    async def _stop_and_wait(self) -> None:
        """Ends the turn; when it returns, no answer is open and none waits."""
        if self._machine.allows(turn.Stop):
            self.dispatch(turn.Stop())
        if self._machine.answer_is_open:
            async with self._engine_is_free:
                return

    def _new_chat(self, *, is_incognito: bool = False) -> OpenChat:
        return OpenChat(
            self._journal,
            model_path=self._model_path,
            system_prompt=self._settings.system_prompt,
            is_incognito=is_incognito,
        )

    # --- models -------------------------------------------------------------------------------------------------

    def action_choose_model(self, path: str = "") -> None:
        """Loads the model at `path`, or lets the user choose one."""
        if path:
            self._change_model(str(Path(path).expanduser()))
            return
        from tui_llama.screens.model_picker import ModelPicker

        picker = ModelPicker(None, paths.models_folder())
        self.push_screen(picker, lambda chosen: self._change_model(chosen) if chosen else None)
        self.run_worker(self._fill(picker), group="lists", exclusive=True)

    async def _fill(self, picker: "ModelPicker") -> None:
        found = await asyncio.to_thread(self._find_models)
        if picker.is_attached:
            picker.replace_items([listed_model(model) for model in found])

    def _change_model(self, path: str) -> None:
        self.run_worker(self._load_another(path), group="chats", exclusive=True)

    async def _load_another(self, path: str) -> None:
        if self._machine.state is not State.WAITING:
            await self._stop_and_wait()
        self._wish(turn.LoadModel(path))

    # --- what is shown ------------------------------------------------------------------------------------------

    def show_hint(self, text: str, seconds: float = HINT_SECONDS) -> None:
        """One line of advice in the status line, for some seconds or until the next key."""
        self.chat_screen.status.show_hint(text, seconds)

    def _show_notice(self, text: str) -> None:
        self.chat_screen.transcript.add_remark(Remark(text))

    def _show_state(self) -> None:
        """Everything around the messages, as it is now."""
        if not self.is_running:
            return  # what takes its time may come back while the screen is taken down
        screen = self.chat_screen
        screen.titles.show_titles(chat_title(self._chat), model_line(self._model))
        screen.show_busy(self._machine.allows(turn.Stop))
        self._show_status()

    def _show_status_soon(self) -> None:
        """Once in a while is enough for figures that change with every token."""
        if not self._status_is_due:
            self._status_is_due = True
            self.set_timer(STATUS_SECONDS, self._show_status)

    def _show_status(self) -> None:
        self._status_is_due = False
        if not self.is_running:
            return  # the timer may ring once more while the screen is taken down
        state, meter, screen = self._machine.state, self._meter, self.chat_screen
        mood = _MOODS.get(state, Mood.CALM)
        screen.status.show_status(Status(meter.words(state), meter.figures(state), meter.context(), mood))
        if self._chat.is_empty:
            screen.empty_state.show_model(self._model_words(), advice(state, self._chat), stages(state, meter))

    def _model_words(self) -> str:
        """The model, or which one is loading, or that there is none; not safe to print."""
        if self._machine.model_is_loading:
            return f"Loading {Path(self._model_path).name}"
        if self._machine.state is State.NO_MODEL or self._model is None:
            return "No model is loaded."
        return model_line(self._model)

    def _store_failed(self, error: Exception) -> None:
        """Says once that the chat is not being kept; anything else than such an error is our mistake."""
        if isinstance(error, StateFileError):
            self._show_notice(str(error))
            return
        if not isinstance(error, StoreError):
            raise error
        if not self._store_has_failed and self.is_running:
            self._store_has_failed = True
            remark = Remark(f"This chat is not being saved: {error}", error.hint, is_failure=True)
            self.chat_screen.transcript.add_remark(remark)
