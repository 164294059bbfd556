"""The wiring of the screen: keys and commands become wishes to the turns, and what comes of them is shown.

What takes time (the store, the search for models) runs beside it.
"""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.worker import Worker

from tui_llama import conversation, paths
from tui_llama.chats import chat_prompt_cache
from tui_llama.chats.store import Store
from tui_llama.controllers.attaching.attachments import AttachmentsController
from tui_llama.controllers.attaching.path_completion import PathCompletion
from tui_llama.controllers.attaching.path_lookup import PathLookup
from tui_llama.controllers.attaching.pending import PendingAttachments
from tui_llama.controllers.chats import ChatsController, make_chat
from tui_llama.controllers.choosing.bounds import BoundsController
from tui_llama.controllers.choosing.personas import PersonasController, persona_choices
from tui_llama.controllers.choosing.reply_start import ReplyStartController
from tui_llama.controllers.choosing.sampling import SamplingController
from tui_llama.controllers.choosing.set_argument import sampling_choices
from tui_llama.controllers.choosing.system_prompt import SystemPromptController
from tui_llama.controllers.choosing.thinking import ThinkingController
from tui_llama.controllers.commands import CommandsController
from tui_llama.controllers.composing.draft import DraftController
from tui_llama.controllers.composing.editing import EditingController
from tui_llama.controllers.composing.external_editor import ExternalEditorController
from tui_llama.controllers.composing.history import HistoryController
from tui_llama.controllers.composing.model_choices import ModelChoices
from tui_llama.controllers.composing.slash_completion import SlashCompletion
from tui_llama.controllers.composing.token_counts import TokenCountsController
from tui_llama.controllers.leaving import LeavingController
from tui_llama.controllers.loading.models import ModelsController
from tui_llama.controllers.messages.acts import MessagesController
from tui_llama.controllers.messages.other_answers import OtherAnswers
from tui_llama.controllers.preferences.appearance import AppearanceController
from tui_llama.controllers.preferences.preferences import PreferencesController
from tui_llama.controllers.saving import SavingController
from tui_llama.controllers.showing.status import StatusController
from tui_llama.controllers.showing.texts import TextsController
from tui_llama.controllers.showing.transcript import TranscriptController
from tui_llama.controllers.turns.idle_prefill import IdlePrefillController
from tui_llama.controllers.turns.prompts import PromptsController
from tui_llama.controllers.turns.turn import TurnController
from tui_llama.controllers.widget_reports import WidgetReports
from tui_llama.engine.protocol import Engine
from tui_llama.screens.chat import ChatScreen
from tui_llama.screens.presenting import why_not_now
from tui_llama.settings_place import SettingsPlace, place_of_this_user
from tui_llama.system.daemon_threads import begin_in_thread
from tui_llama.system.endings import TERMINAL_GONE_STATUS
from tui_llama.system.garbage import leave_out_what_is_there
from tui_llama.terminal.gone import TerminalGone
from tui_llama.terminal.style_sheet import SteadyStylesheet
from tui_llama.turn.driver import TurnDriver
from tui_llama.turn.engine_host import EngineHost
from tui_llama.turn.live_chats import LiveChats
from tui_llama.widgets.composer import Composer
from tui_llama.widgets.markdown.preparing import prepare_answers

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tui_llama.models.source import ModelSource
    from tui_llama.settings import Settings

JOURNAL_SECONDS = 0.5


class ChatApp(WidgetReports):
    """The chat, full screen.

    Args:
        engine_factory: Opens an engine; called once, when the first model is loaded.
        store: The chats. Not closed here.
        settings: As the user set them.
        model_path: The model to begin with; None for the one used last, or a choice.
        models: Where models are found and fetched.
        is_incognito: Whether to begin with a chat of which nothing is kept.
        notice: A line to show at the beginning; empty for none.
        settings_place: Where changed settings go; None for the settings file of this user.

    Attributes:
        live_chats: The chats that are alive, each with what carries out its turns.
        transcript: Draws what comes of them.
        models: Chooses, loads and fetches models.
        journal: Writes the chats.
    """

    TITLE = "tui_llama"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "Quit", show=False, priority=True, id="quit"),
        # Here, so that it also explains a dialog.
        Binding("f1", "help", "Help", show=False, priority=True, id="help"),
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
        settings_place: SettingsPlace | None = None,
    ) -> None:
        folder = paths.style_folder()
        super().__init__(css_path=[folder / "app.tcss", folder / "widgets.tcss"])
        self._wanted_model_path = model_path
        self._first_notice = notice
        self.can_draw = False
        self._is_left = False
        self.transcript = TranscriptController(self)
        self._saving = SavingController(store, self.transcript, self)
        self.journal = self._saving.journal
        host = EngineHost(engine_factory, settings, self.journal, self.run_beside)
        chat = make_chat(self._saving, settings, is_incognito=is_incognito)
        chats = self.live_chats = LiveChats(host, chat, self.transcript, self.run_beside)
        self.models = ModelsController(models, settings, chats, self.transcript, self, self._run_alone)
        self._appearance = AppearanceController(self, settings)
        self._wire_writing(chats, settings)
        self._wire_messages(chats)
        self._wire_choices(chats, models)
        self._wire_completion(models, settings)
        self._wire_program(chats, settings, settings_place or place_of_this_user())

    def _wire_writing(self, chats: LiveChats, settings: "Settings") -> None:
        """Makes what helps to write a message, and what sends it."""
        run, pending = self._run_alone, PendingAttachments()
        self._attachments = AttachmentsController(pending, chats, self.transcript, self, run)
        self._editor = ExternalEditorController(self, run)
        self._history = HistoryController(self.journal, chats, self, run)
        self._draft = DraftController(self.journal, chats, self, run)
        chats.keep_queued, chats.put_back = self._draft.keep_queued, self._draft.put_back
        self._attachments.keep_for = self._draft.put_back
        self._draft.attached, self._draft.show_attached = pending.given, pending.replace
        self._idle_prefill = IdlePrefillController(chats, self._draft, settings, self, run)
        self._counts = TokenCountsController(chats, self._draft, self._idle_prefill, self, run)
        self._editing = EditingController(chats, self._idle_prefill, pending, self, run)
        self._draft.unsent = self._editing.unsent
        self._turn = TurnController(chats, self._editing, self._idle_prefill, self.models, pending, self)
        self._commands = CommandsController(self._turn, self)

    def _wire_messages(self, chats: LiveChats) -> None:
        """Makes what acts on the messages of a chat, and shows what is behind them."""
        run = self._run_alone
        self._texts = TextsController(chats, self, run)
        self._other_answers = OtherAnswers(chats, self._turn, self.models, self)
        self._messages = MessagesController(
            chats, self._editing, self._turn, self._texts, self._other_answers, self._draft, self
        )
        self._prompts = PromptsController(chats, self._draft, self._editing, self._idle_prefill, self, run)

    def _wire_choices(self, chats: LiveChats, models: "ModelSource") -> None:
        """Makes what is chosen for one chat."""
        run = self._run_alone
        self._system_prompt = SystemPromptController(chats, self._draft, self._idle_prefill, self, run)
        self._personas = PersonasController(chats, self._system_prompt, self.models, models, self, run)
        self._sampling, self._reply_start = SamplingController(chats, self), ReplyStartController(chats, self)
        self._thinking, self._bounds = ThinkingController(chats, self), BoundsController(chats, self)

    def _wire_completion(self, models: "ModelSource", settings: "Settings") -> None:
        """Makes what completes the word that is written."""
        self.model_choices = ModelChoices(models, settings.servers, self.run_beside, self._complete)
        self._paths = PathCompletion(PathLookup(self._run_alone, self._complete), self._attachments.attach_typed)
        self._slash_completion = SlashCompletion(
            {
                "messages": self._texts.message_choices,
                "models": self.model_choices.choices,
                "paths": self._paths.choices,
                "sampling": sampling_choices,
                "personas": persona_choices,
            }
        )

    def _wire_program(self, chats: LiveChats, settings: "Settings", settings_place: SettingsPlace) -> None:
        """Makes what is about the program as a whole: its chats, its status, its end, its settings."""
        run = self._run_alone
        self._chats = ChatsController(chats, self._saving, self._editing, settings, self, run)
        self._status = StatusController(chats, self.models, self._editing, self._saving, self)
        self._leaving = LeavingController(chats, self._saving, self._draft, self._idle_prefill, self.models, self, run)
        self._preferences = PreferencesController(
            settings_place, self._appearance, chats, (self._chats, self.models, self._idle_prefill), self
        )
        # Before anything is parsed: the theme and the widths of the settings are known now.
        self.stylesheet = SteadyStylesheet(variables=self.get_css_variables())

    @property
    def turn_driver(self) -> TurnDriver:
        """What carries out the turns of the chat on the screen."""
        return self.live_chats.shown

    def get_default_screen(self) -> Screen[None]:
        """Returns the chat, so that Textual never draws another first screen."""
        return ChatScreen(id="_default")

    @property
    def chat_screen(self) -> ChatScreen:
        """The chat, which may lie below a dialog."""
        screen = self.screen_stack[0]
        assert isinstance(screen, ChatScreen)
        return screen

    # --- beginning and end --------------------------------------------------------------------------------------

    def on_load(self) -> None:
        """Comes before anything is mounted, so that a signal ends the program in order from the beginning."""
        self.hold_input()
        self._leaving.listen_for_signals()

    @on(ChatScreen.Ready)
    async def _start(self) -> None:
        """Begins the work of the app; nothing of that delays the first frame."""
        if self._is_left:
            return  # an interrupt has ended the program while the screen was mounted
        self.can_draw = True
        self.chat_screen.composer.completer.providers += [self._slash_completion, self._paths]
        self._attachments.begin()
        self.show_status()
        self.set_interval(JOURNAL_SECONDS, self._flush_answer)
        self._appearance.show_screen()
        for notice in filter(None, (self._first_notice, *self._appearance.problems)):
            self.transcript.add_notice(notice)
        self.run_beside(self._begin, "begin")
        self.chat_screen.set_focus(self.chat_screen.composer)
        await self.release_input()
        self._leaving.end_if_told()
        self.call_after_refresh(begin_in_thread, prepare_answers, leave_out_what_is_there)

    def _flush_answer(self) -> None:
        self.live_chats.flush()

    async def _begin(self) -> None:
        """Loads the model that was asked for or used last, or lets the user choose."""
        self.journal.write(lambda store: store.recover())
        path = self._wanted_model_path
        if path is None:
            path = await self.models.find_last_used(self.journal)
        # Before the draft is waited for: what is written meanwhile can then wait for the model.
        if path is not None and self.models.is_missing:
            self.turn_driver.dispatch(conversation.LoadModel(path))
        await self._draft.restore()
        nothing: list[str] = []
        self.live_chats.note_unread(await self.journal.read_or(lambda store: store.unread_chats(), nothing))
        self.show_status()
        self.journal.write(chat_prompt_cache.forget_orphans)  # after what the user waits for: it starts a process
        if path is None:
            await self.models.choose_first()

    def _leave_screen(self) -> None:
        """Stops drawing, tells the turns of the end, and ends the work that was begun.

        An error or an interrupt can come here in the middle of anything, also when the widgets are gone already.
        """
        was_drawing, self.can_draw, self._is_left = self.can_draw, False, True
        try:
            if was_drawing:
                self._draft.keep()
            self._leaving.end_turn()
        finally:
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

    def run_beside(self, work: Callable[[], Coroutine[Any, Any, None]], group: str) -> Worker[None]:
        """Runs something beside all else. It is no coroutine yet: what is ended at once is never begun."""
        return self.run_worker(work, name=group, group=group)

    def _run_alone(self, group: str, work: Callable[[], Coroutine[Any, Any, None]]) -> Worker[None]:
        """Runs something in place of what is under way in its group; what is replaced at once is never begun."""
        return self.run_worker(work, name=group, group=group, exclusive=True)

    # --- what the controllers have shown -------------------------------------------------------------------------

    def show_state(self) -> None:
        """See `StateView`."""
        self._draft.follow()
        self._history.follow()
        self._counts.follow()
        self._status.show()
        self._idle_prefill.start_if_at_rest()
        self._attachments.look()
        self._system_prompt.follow()
        self._chats.show_marks()

    def follow_draft(self) -> None:
        """See `ChatsView`."""
        self._draft.follow()

    def show_status(self) -> None:
        """See `StateView`."""
        self._status.show()

    def show_figures(self) -> None:
        """See `StateView`."""
        self._status.show_soon()

    def show_hint(self, text: str, seconds: float | None = None) -> None:
        """See `HintView`."""
        self._status.show_hint(text, seconds)

    @property
    def is_editing(self) -> bool:
        """See `IdlePrefillView`."""
        return self._editing.is_editing

    @on(Composer.Changed)
    def note_draft(self) -> None:
        """See `AttachmentsView`; also what is written may be something else now."""
        if not self.screen_stack:  # a report that was under way when the screen was taken down
            return
        self._draft.keep_soon()
        self._counts.follow()
        self._idle_prefill.go_on()
        self._editing.ask_price()

    def _complete(self) -> None:
        if self.can_draw:
            self.chat_screen.composer.complete()

    def return_message(self, message: conversation.SendMessage) -> None:
        """See `TranscriptView`."""
        if self.can_draw:
            self._turn.return_message(message)
            self._draft.keep()  # before it leaves the queue
        else:
            self._draft.put_back(self.turn_driver.chat, message)

    # --- what the user wants ------------------------------------------------------------------------------------

    def wish(self, event: conversation.Event) -> bool:
        """See `WishView`."""
        is_done = self.turn_driver.wish(event)
        if not is_done:
            self.show_hint(why_not_now(event))
        return is_done

    @on(Composer.Submitted)
    async def _submit(self, event: Composer.Submitted) -> None:
        """Carries out a command, or sends a message; a message that cannot be sent stays in the composer."""
        if not self.screen_stack:  # as above; what was written is the draft of the next start
            return
        try:
            await self._commands.submit(event.text)
        finally:
            self.chat_screen.composer.settle(event)

    async def action_interrupt(self) -> None:
        """Handles Ctrl+C: copies the selection, else stops, else clears the composer, else asks for another to quit."""
        composer = self.chat_screen.composer
        if self._texts.copy_selection() or self._turn.stop_or_leave_editing():
            pass
        elif composer.text:
            composer.accept()
            left = "The earlier draft is back" if composer.text else "Cleared"
            self.show_hint(f"{left}; ↑ brings back what was written.")
        elif self._attachments.remove_all():
            self.show_hint("Nothing is attached any more.")
        else:
            self._leaving.quit_when_asked_twice()

    def copy_to_clipboard(self, text: str) -> None:
        """Copies what a dialog or an editor asks to, the same way as all else, and tells which way that was."""
        self._texts.copy(text, "The text")
