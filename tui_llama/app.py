"""The wiring of the screen: keys and commands become wishes to the turns, and what comes of them is shown.

What takes time (the store, the search for models) runs beside it.
"""

import asyncio
import base64
import os
import sys
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.command import CommandPalette
from textual.driver import Driver
from textual.screen import Screen
from textual.worker import Worker

from tui_llama import conversation, paths
from tui_llama.chats import chat_prompt_cache
from tui_llama.chats.open_chat import Entry
from tui_llama.chats.store import Store
from tui_llama.controllers.chats import ChatsController, make_chat
from tui_llama.controllers.draft import DraftController
from tui_llama.controllers.editing import EditingController
from tui_llama.controllers.idle_prefill import IdlePrefillController
from tui_llama.controllers.leaving import LeavingController
from tui_llama.controllers.models import ModelsController
from tui_llama.controllers.prompts import PromptsController
from tui_llama.controllers.saving import SavingController
from tui_llama.controllers.status import StatusController
from tui_llama.controllers.turn import TurnController
from tui_llama.engine.protocol import Engine
from tui_llama.screens.chat import ChatScreen
from tui_llama.screens.commands import COMMANDS, find_slash, parse_slash
from tui_llama.screens.palette import Palette
from tui_llama.screens.presenting import (
    note_of,
    themes,
    why_not_now,
)
from tui_llama.system.endings import TERMINAL_GONE_STATUS
from tui_llama.terminal.gone import TerminalGone
from tui_llama.turn.driver import LAST_MODEL, TurnDriver
from tui_llama.widgets.composer import Composer
from tui_llama.widgets.long_text import is_long
from tui_llama.widgets.message_view import Remark, UserMessage

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tui_llama.models.source import ModelSource
    from tui_llama.screens.chat_list import ChatList
    from tui_llama.screens.model_picker import ModelPicker
    from tui_llama.screens.unsaved import Unsaved
    from tui_llama.settings import Settings

JOURNAL_SECONDS = 0.5
DEFAULT_THEME = "llama-dusk"


class ChatApp(App[None]):
    """The chat, full screen.

    Args:
        engine_factory: Opens an engine; called once, when the first model is loaded.
        store: The chats. Not closed here.
        settings: As the user set them.
        model_path: The model to begin with; None for the one used last, or a choice.
        models: Where models are found and fetched.
        is_incognito: Whether to begin with a chat of which nothing is kept.
        notice: What is to be told at the beginning; empty for nothing.

    Attributes:
        turn_driver: Carries out the turns.
        models: Chooses, loads and fetches models.
        journal: Writes the chats.
    """

    TITLE = "tui_llama"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "Quit", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", "Suspend", show=False, priority=True),
    ]

    def __init__(
        self,
        *,
        engine_factory: Callable[[], Engine],
        store: Store,
        settings: "Settings",
        model_path: str | None,
        models: "ModelSource",
        is_incognito: bool = False,
        notice: str = "",
    ) -> None:
        folder = paths.style_folder()
        super().__init__(css_path=[folder / "app.tcss", folder / "widgets.tcss"])
        self._settings = settings
        self._wanted_model_path = model_path
        self._first_notice = notice
        self.can_draw = False
        self._saving = SavingController(store, self)
        self.journal = self._saving.journal
        self._trouble: Remark | None = None
        self.turn_driver = TurnDriver(
            engine_factory,
            settings,
            self.journal,
            make_chat(self._saving, settings, is_incognito=is_incognito),
            self,
            lambda working, name: self.run_worker(working, name=name),
        )
        self._draft = DraftController(self.journal, self.turn_driver, self, self._run_alone)
        wants_idle_prefill = settings.read_ahead == "on"
        self._idle_prefill = IdlePrefillController(
            self.turn_driver, self._draft, wants_idle_prefill, self, self._run_alone
        )
        self._editing = EditingController(self.turn_driver, self._idle_prefill, self, self._run_alone)
        self.models = ModelsController(models, settings, self.turn_driver, self, self._run_alone)
        self._turn = TurnController(self.turn_driver, self._editing, self._idle_prefill, self.models, self)
        self._prompts = PromptsController(
            self.turn_driver, self._draft, self._editing, self._idle_prefill, self, self._run_alone
        )
        self._chats = ChatsController(self.turn_driver, self._saving, self._editing, settings, self, self._run_alone)
        self._status = StatusController(self.turn_driver, self.models, self._editing, self._saving, self)
        self._leaving = LeavingController(
            self.turn_driver, self._saving, self._draft, self._idle_prefill, self.models, self, self._run_alone
        )
        for theme in themes():
            self.register_theme(theme)
        self.theme = settings.theme if settings.theme in self.available_themes else DEFAULT_THEME

    def get_driver_class(self) -> type[Driver]:
        """What the terminal sends is read by our driver, but for Windows, where it comes as events."""
        if sys.platform == "win32":
            return super().get_driver_class()
        from tui_llama.terminal.driver import TerminalDriver

        return TerminalDriver

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
        self.can_draw = True
        self.show_status()
        self.set_interval(JOURNAL_SECONDS, self._flush_journal)
        self._leaving.listen_for_signals()
        if self._first_notice:
            self.add_notice(self._first_notice)
        self.run_worker(self._begin(), name="begin")

    def _flush_journal(self) -> None:
        self.turn_driver.chat.flush()

    async def _begin(self) -> None:
        """Loads the model that was asked for or used last, or lets the user choose."""
        self.journal.write(lambda store: store.recover())
        self.journal.write(chat_prompt_cache.forget_orphans)
        path = self._wanted_model_path
        if path is None:
            # Another program may hold the store for a while; until then, nobody knows that there is no model.
            self.models.is_looking = True
            self.show_status()
            path = await self.journal.read_or(lambda store: store.preference(LAST_MODEL), None)
            path = path if path and paths.is_file(Path(path)) else None
            self.models.is_looking = path is None
        # Before the draft is waited for: what is written meanwhile can then wait for the model.
        if path is not None and self.models.is_missing:
            self.turn_driver.dispatch(conversation.LoadModel(path))
        await self._draft.restore()
        if path is None:
            await self.models.choose_first()

    @on(Driver.SignalResume)
    def _draw_all(self) -> None:
        """After the program was suspended, the terminal shows nothing of what did not change meanwhile."""
        self.screen.refresh()

    async def action_quit(self) -> None:
        """Ends the program; what there is of an answer is kept."""
        self._leaving.quit()

    def _leave_screen(self) -> None:
        """The turns know of the end first; then nothing draws any more, and what was begun does not go on."""
        if self.can_draw:
            self._draft.keep()
        try:
            self._leaving.end_turn()
        finally:
            self.can_draw = False
            self.workers.cancel_all()

    def exit(self, result: None = None, return_code: int = 0, message: "RenderableType | None" = None) -> None:
        """Ends the program: from here on the base class lets nothing be mounted on the screen."""
        self._leave_screen()
        super().exit(result, return_code, message)

    async def _shutdown(self) -> None:
        """Takes the screens down, whatever has ended the program."""
        try:
            self._leave_screen()
        finally:
            await super()._shutdown()

    async def _close_all(self) -> None:
        """Ends all widgets. Work that is ended while it waits for the removal of some ends these tasks with it."""
        task = asyncio.current_task()
        while True:  # each time goes on with those that are left
            try:
                await super()._close_all()
                break
            except asyncio.CancelledError:
                if task is None or task.cancelling():
                    raise
        self._next_callbacks.clear()  # which would wait for the same removals

    async def on_unmount(self) -> None:
        """Ends what runs; the terminal is the user's again."""
        await self._leaving.close()

    @on(TerminalGone)
    def _quit_without_terminal(self) -> None:
        """Ends the program: nobody can write or stop anything any more, also where a signal that says so is ignored."""
        self._leaving.quit_unasked(TERMINAL_GONE_STATUS)

    @property
    def ending_status(self) -> int:
        """The exit status that says which signal ended the program, or that its terminal is gone; else 0."""
        return self._leaving.ending_status

    def _run_alone(self, group: str, work: Callable[[], Coroutine[Any, Any, None]]) -> Worker[None]:
        """Runs something in place of what is under way in its group; what is replaced at once was never begun."""
        return self.run_worker(work, name=group, group=group, exclusive=True)

    # --- what is told of the turn: a TurnView -------------------------------------------------------------------

    def _draw(self, how: Callable[[ChatScreen], object]) -> None:
        """The way to the screen for what comes by itself, which it does after the screen is left, too."""
        if self.can_draw:
            how(self.chat_screen)

    def add_message(self, entry: Entry) -> None:
        """See `TurnView`."""
        before = self.turn_driver.chat.entries[-2:-1]
        if before:
            self._draw(lambda screen: screen.transcript.change_last_note(note_of(before[0])))
        self._draw(lambda screen: screen.add_message(entry.text, note_of(entry)))

    def replace_message(self, position: int, entry: Entry) -> None:
        """See `TurnView`."""
        self._draw(lambda screen: screen.transcript.cut(position))
        self.add_message(entry)

    def remove_last_answer(self) -> None:
        """See `TurnView`."""
        self._draw(lambda screen: screen.transcript.remove_last_answer())

    def begin_answer(self) -> None:
        """See `TurnView`."""
        self._draw(lambda screen: screen.transcript.begin_answer())

    def reopen_answer(self, entry: Entry) -> None:
        """See `TurnView`."""
        self._draw(lambda screen: screen.transcript.reopen_answer(entry.text))

    def append(self, text: str) -> None:
        """See `TurnView`."""
        self._draw(lambda screen: screen.transcript.append(text))

    def finish_answer(self, entry: Entry) -> None:
        """See `TurnView`."""
        self._draw(lambda screen: screen.transcript.finish_answer(note_of(entry, is_last=True)))

    def add_notice(self, text: str) -> None:
        """See `TurnView`."""
        self._draw(lambda screen: screen.transcript.add_remark(Remark(text)))

    def add_failure(self, message: str, hint: str) -> None:
        """See `TurnView`."""
        self._draw(lambda screen: screen.transcript.add_remark(Remark(message, hint, is_failure=True)))

    def show_state(self) -> None:
        """See `TurnView`."""
        self._status.show()
        self._idle_prefill.start_if_at_rest()

    def show_status(self) -> None:
        """See `EditingView`."""
        self._status.show()

    def show_figures(self) -> None:
        """See `TurnView`."""
        self._status.show_soon()

    def show_hint(self, text: str, seconds: float | None = None) -> None:
        """See `HintView`."""
        self._status.show_hint(text, seconds)

    # --- what is told of saving: a SavingView -------------------------------------------------------------------

    def show_trouble(self, message: str, hint: str) -> None:
        """See `SavingView`."""
        self.end_trouble()
        trouble = self._trouble = Remark(message, hint, is_failure=True)
        self._draw(lambda screen: screen.transcript.add_remark(trouble))

    def end_trouble(self) -> None:
        """See `SavingView`."""
        if self._trouble is not None and self._trouble.is_attached:
            self._trouble.remove()
        self._trouble = None
        self.show_status()

    async def ask_unsaved(self, cause: str, losses: list[str], *, can_stay: bool) -> "Unsaved | None":
        """See `SavingView`."""
        from tui_llama.screens.unsaved import AskUnsaved

        return await self.push_screen_wait(AskUnsaved(cause, losses, can_stay=can_stay))

    async def ask_file(self, question: str, name: str) -> str | None:
        """See `SavingView`."""
        from tui_llama.screens.ask_text import AskText

        return await self.push_screen_wait(AskText(question, name))

    @property
    def is_editing(self) -> bool:
        """See `IdlePrefillView`."""
        return self._editing.is_editing

    @on(Composer.Changed)
    def _note_draft(self) -> None:
        if not self.screen_stack:  # a report that was under way when the screen was taken down
            return
        self._draft.keep_soon()
        self._idle_prefill.go_on()
        self._editing.ask_price()

    def action_edit_message(self) -> None:
        """Goes to the user's last message, or to the one before that which is being edited."""
        self._editing.edit_earlier()

    @on(Composer.LaterRequested)
    def _edit_later(self) -> None:
        self._editing.edit_later()

    # --- what the user wants ------------------------------------------------------------------------------------

    def wish(self, event: conversation.Event) -> bool:
        """See `WishView`."""
        is_done = self.turn_driver.wish(event)
        if not is_done:
            self.show_hint(why_not_now(event))
        return is_done

    @on(Composer.Submitted)
    async def _submit(self, event: Composer.Submitted) -> None:
        """A command is carried out, anything else is sent; what cannot be sent stays where it was written."""
        if not self.screen_stack:  # as above; what was written is the draft of the next start
            return
        slash = parse_slash(event.text)
        if slash is not None:
            await self._run_slash(*slash)
        else:
            self._turn.send(event.text.strip("\n"))

    async def _run_slash(self, word: str, argument: str) -> None:
        command = find_slash(word)
        if command is None:
            self.show_hint(f"There is no command /{word}. /help lists them; a blank before it sends it as text.")
            return
        if argument and not command.argument:
            self.show_hint(
                f"/{word} takes nothing behind it; your text stays here. A blank before it sends it as text."
            )
            return
        self.chat_screen.composer.accept()
        action = getattr(self, f"action_{command.name}")
        result = action(argument) if argument else action()
        if asyncio.iscoroutine(result):
            await result

    @on(Composer.LeaveRequested)
    async def _leave(self) -> None:
        await self.action_quit()

    @on(Composer.KeyPressed)
    def _disarm_quit(self) -> None:
        self._leaving.disarm()

    async def action_interrupt(self) -> None:
        """Ctrl+C: copies what is selected, else stops, else clears, else asks for a second one to quit."""
        composer = self.chat_screen.composer
        selected = composer.selected_text or self.chat_screen.get_selected_text()
        if selected:
            self.copy_to_clipboard(selected)
            self.chat_screen.clear_selection()
            self.show_hint("Copied.")
        elif self._turn.stop_or_leave_editing():
            pass
        elif composer.text:
            composer.accept()
            self.show_hint("Cleared; ↑ brings it back.")
        else:
            self._leaving.quit_when_asked_twice()

    def action_stop(self) -> None:
        """Esc: stops what can be stopped, or leaves a message that is edited, and never anything else."""
        if not self._turn.stop_or_leave_editing():
            self._idle_prefill.hold()

    def action_regenerate(self) -> None:
        """Asks for another answer to the last message; after a failure, for the one that failed."""
        self._turn.regenerate()

    def action_continue_answer(self) -> None:
        """Asks for more of the last answer, from where it was cut off."""
        self._turn.continue_answer()

    def action_show_prompt(self) -> None:
        """Shows what the model is given for the message that is being written, or was given for the last answer."""
        self._prompts.show_prompt()

    def action_begin_today(self) -> None:
        """Lets the model be told today's date from now on; asks first, since much may have to be read again for it."""
        self._prompts.begin_today()

    def action_copy_answer(self) -> None:
        """Copies the last answer as it was written."""
        answer = self.turn_driver.chat.last_answer
        if answer is None:
            self.show_hint("There is no answer to copy yet.")
        else:
            self.copy_to_clipboard(answer.text)
            self.show_hint("The last answer was copied.")

    def action_whole_message(self) -> None:
        """Shows all of the last message of which only the beginning is shown."""
        long_texts = [text for text in self.turn_driver.chat.user_texts if is_long(text)]
        if long_texts:
            self._show_whole(long_texts[-1])
        else:
            self.show_hint("All messages are shown whole.")

    @on(UserMessage.WholeWanted)
    def _whole_wanted(self, event: UserMessage.WholeWanted) -> None:
        self._show_whole(event.text)

    def _show_whole(self, text: str) -> None:
        from tui_llama.screens.whole_text import WholeText

        self.push_screen(WholeText(text))

    def copy_to_clipboard(self, text: str) -> None:
        """Asks the terminal to copy; inside tmux, which would keep it to itself, the terminal around it too."""
        super().copy_to_clipboard(text)
        if os.environ.get("TMUX") and self._driver is not None:
            encoded = base64.b64encode(text.encode()).decode()
            self._driver.write(f"\x1bPtmux;\x1b\x1b]52;c;{encoded}\a\x1b\\")

    def action_command_palette(self) -> None:
        """Opens the palette of commands."""
        if not isinstance(self.screen, CommandPalette):
            self.push_screen(Palette())

    def search_themes(self) -> None:
        """Opens the palette of themes."""
        from textual.theme import ThemeProvider

        self.push_screen(Palette(providers=[ThemeProvider], placeholder="Search for themes…"))

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
        """Opens an empty chat; the one on the screen is kept."""
        self._chats.open_new()

    def action_incognito(self) -> None:
        """Opens an empty chat that is never written; it is gone when another one is opened."""
        self._chats.open_new(is_incognito=True)

    def action_next_chat(self) -> None:
        """Opens the chat below this one in the list, which is older."""
        self._chats.open_neighbour(1)

    def action_previous_chat(self) -> None:
        """Opens the chat above this one in the list, which is newer."""
        self._chats.open_neighbour(-1)

    def action_rename_chat(self, title: str = "") -> None:
        """Gives this chat another title; asks for it where none is given."""
        self._chats.rename(title)

    def action_delete_chat(self) -> None:
        """Deletes this chat, if the user means it."""
        self._chats.delete()

    def action_list_chats(self) -> None:
        """Opens the list of chats."""
        self._chats.list_chats()

    def action_list_branches(self) -> None:
        """Opens the list of the ways that this chat went."""
        self._chats.list_branches()

    @on(Composer.VersionRequested)
    def _show_version(self, event: Composer.VersionRequested) -> None:
        self._chats.show_version(event.step)

    async def on_chat_list_rename_wanted(self, event: "ChatList.RenameWanted") -> None:
        """Renames a chat of the list."""
        await self._chats.rename_listed(event.chat_list, event.chat_id, event.title)

    async def on_chat_list_delete_wanted(self, event: "ChatList.DeleteWanted") -> None:
        """Deletes a chat of the list."""
        await self._chats.delete_listed(event.chat_list, event.chat_id)

    # --- models -------------------------------------------------------------------------------------------------

    def action_choose_model(self, path: str = "") -> None:
        """Loads the model at `path`, or lets the user choose one."""
        if path:
            self.models.load(str(paths.typed_path(path) or path))
        else:
            self.models.open_picker()

    def action_get_starter(self) -> None:
        """Fetches the starter model."""
        self.models.start_fetching_starter()

    def on_model_picker_fetch_wanted(self, event: "ModelPicker.FetchWanted") -> None:
        """Fetches a model while the chat goes on."""
        self.models.start_fetch(event.name, event.title)

    def on_model_picker_cancel_wanted(self) -> None:
        """Ends the download."""
        self.models.cancel_fetch()

    def on_model_picker_remove_wanted(self, event: "ModelPicker.RemoveWanted") -> None:
        """Removes a file; the user was asked."""
        self.models.remove(event.path)

    def on_model_picker_refused(self, event: "ModelPicker.Refused") -> None:
        """Says why nothing was done."""
        self.show_hint(event.reason)
