"""Carries out every command: one action for each of `screens/commands.COMMANDS`, which has their keys and words."""

from collections.abc import Iterable

from textual.app import SystemCommand
from textual.command import CommandPalette
from textual.screen import Screen

from tui_llama.controllers.attaching.attachments import AttachmentsController
from tui_llama.controllers.chats import ChatsController
from tui_llama.controllers.choosing.bounds import BoundsController
from tui_llama.controllers.choosing.personas import PersonasController
from tui_llama.controllers.choosing.reply_start import ReplyStartController
from tui_llama.controllers.choosing.sampling import SamplingController
from tui_llama.controllers.choosing.system_prompt import SystemPromptController
from tui_llama.controllers.choosing.thinking import ThinkingController
from tui_llama.controllers.commands import CommandsController
from tui_llama.controllers.composing.editing import EditingController
from tui_llama.controllers.composing.external_editor import ExternalEditorController
from tui_llama.controllers.composing.history import HistoryController
from tui_llama.controllers.composing.model_choices import ModelChoices
from tui_llama.controllers.leaving import LeavingController
from tui_llama.controllers.loading.models import ModelsController
from tui_llama.controllers.messages.acts import MessagesController
from tui_llama.controllers.messages.other_answers import OtherAnswers
from tui_llama.controllers.preferences.actions import PreferenceActions
from tui_llama.controllers.showing.texts import TextsController
from tui_llama.controllers.turns.idle_prefill import IdlePrefillController
from tui_llama.controllers.turns.prompts import PromptsController
from tui_llama.controllers.turns.turn import TurnController
from tui_llama.screens.palette import Palette


class CommandActions(PreferenceActions):
    """The part of the app that passes commands on to its controllers."""

    model_choices: ModelChoices
    models: ModelsController
    _attachments: AttachmentsController
    _chats: ChatsController
    _commands: CommandsController
    _editing: EditingController
    _editor: ExternalEditorController
    _history: HistoryController
    _idle_prefill: IdlePrefillController
    _leaving: LeavingController
    _messages: MessagesController
    _other_answers: OtherAnswers
    _prompts: PromptsController
    _personas: PersonasController
    _reply_start: ReplyStartController
    _sampling: SamplingController
    _system_prompt: SystemPromptController
    _texts: TextsController
    _thinking: ThinkingController
    _bounds: BoundsController
    _turn: TurnController

    def action_command_palette(self) -> None:
        """Opens the palette of commands."""
        if not isinstance(self.screen, CommandPalette):
            self.push_screen(Palette())

    def search_themes(self) -> None:
        """Opens the list of themes."""
        self.action_choose_theme()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Yields the commands of the palette: those of keys and slashes."""
        yield from self._commands.listed()

    def action_new_chat(self) -> None:
        """Opens an empty chat; the one on the screen is kept."""
        self._chats.open_new()

    def action_incognito(self) -> None:
        """Opens an empty chat that is never written; it is gone when another one is opened."""
        self._chats.open_new(is_incognito=True)

    def action_list_chats(self) -> None:
        """Opens the list of chats."""
        self._chats.list_chats()

    def action_next_chat(self) -> None:
        """Opens the chat below this one in the list, which is older."""
        self._chats.open_neighbour(1)

    def action_previous_chat(self) -> None:
        """Opens the chat above this one in the list, which is newer."""
        self._chats.open_neighbour(-1)

    def action_regenerate(self, how: str = "") -> None:
        """Asks for another answer to the last message; after a failure, for the one that failed."""
        self._other_answers.answer(how)

    def action_continue_answer(self) -> None:
        """Asks for more of the last answer, from where it was cut off."""
        self._turn.continue_answer()

    def action_focus_messages(self) -> None:
        """Gives the focus to the last message, or to the one that is edited."""
        self._messages.focus_last()

    def action_edit_message(self) -> None:
        """Puts the user's last message where the user writes."""
        self._editing.edit_last()

    def action_undo(self) -> None:
        """Undoes the last edit, deletion, new branch or title."""
        self._messages.undo()

    def action_show_tree(self) -> None:
        """Shows the tree of the chat."""
        self._messages.tree.show()

    def action_begin_today(self) -> None:
        """Lets the model be told today's date from now on; asks first, since much may have to be read again for it."""
        self._prompts.begin_today()

    def action_set_sampling(self, argument: str = "") -> None:
        """Sets a sampling value for this chat; lists what is in effect where none is given."""
        self._sampling.set(argument)

    def action_start_reply(self, text: str = "") -> None:
        """Gives the beginning of the next reply; asks for it where none is given."""
        self._reply_start.start(text)

    def action_edit_system_prompt(self, text: str = "") -> None:
        """Lets the user change what the model is told before all messages of this chat."""
        self._system_prompt.edit(text)

    def action_choose_persona(self, name: str = "") -> None:
        """Takes a persona; lists them where none is named."""
        self._personas.take_or_list(name)

    def action_search_history(self) -> None:
        """Opens the list of the messages that were sent before."""
        self._history.search()

    def action_open_editor(self) -> None:
        """Opens what is written in the user's own editor."""
        self._editor.open()

    def action_take_back(self) -> None:
        """Takes back what is queued, to edit it."""
        self._turn.take_back()

    def action_choose_thinking(self, choice: str = "") -> None:
        """Lets the model think in this chat or not; tells what is in effect where no choice is given."""
        self._thinking.choose(choice)

    def action_choose_json(self, schema: str = "") -> None:
        """Lets answers be JSON, of a schema where one is given."""
        self._bounds.choose_json(schema)

    def action_choose_grammar(self, grammar: str = "") -> None:
        """Lets answers fit a grammar; tells what is in effect where none is given."""
        self._bounds.choose_grammar(grammar)

    def action_answer_now(self) -> None:
        """Ends the thought that the model is in, so that it answers."""
        self._thinking.answer_now()

    def action_fold_thoughts(self) -> None:
        """Folds all thoughts, or unfolds them."""
        self._thinking.fold_all()

    def action_stop(self) -> None:
        """Handles Esc: stops what can be stopped, or leaves a message that is edited, and never does anything else."""
        if not self._turn.stop_or_leave_editing():
            self._idle_prefill.hold()

    def action_show_prompt(self) -> None:
        """Shows what the model is given for the message that is being written, or was given for the last answer."""
        self._prompts.show_prompt()

    def action_copy_answer(self, what: str = "") -> None:
        """Copies the message in focus, else the last answer, as it was written; or the code block that is named."""
        self._texts.copy_answer(what)

    def action_raw_answer(self, which: str = "") -> None:
        """Shows a message as it was written: the one that is named or in focus, else the last answer."""
        self._texts.show_raw(which)

    def action_whole_message(self) -> None:
        """Shows all of the last message of which only the beginning is shown."""
        self._texts.show_last_long()

    def action_attach_file(self, path: str = "") -> None:
        """Attaches the file at that path to the next message; without one, begins to write a path to complete."""
        if path:
            self._attachments.attach_typed(path)
        else:
            self._attachments.begin_path()

    def action_show_attached(self) -> None:
        """Shows what is attached."""
        self._attachments.show_latest()

    def action_detach(self) -> None:
        """Attaches nothing to the next message."""
        self._attachments.detach()

    def action_rename_chat(self, title: str = "") -> None:
        """Gives this chat another title; asks for it where none is given."""
        self._chats.rename(title)

    def action_delete_chat(self, what: str = "") -> None:
        """Deletes this chat, if the user means it; or its last message."""
        word = what.strip().lower()
        if word in ("", "chat"):
            self._chats.delete()
        else:
            self._messages.deletions.delete_named(word)

    def action_choose_model(self, path: str = "") -> None:
        """Loads the model of that name, path or address of a server, or lets the user choose one."""
        if path:
            self.models.load_typed(self.model_choices.path_of(path))
        else:
            self.models.open_picker()

    def action_get_starter(self) -> None:
        """Fetches the starter model."""
        self.models.start_fetching_starter()

    async def action_quit(self) -> None:
        """Ends the program; what there is of an answer is kept."""
        self._leaving.quit()
