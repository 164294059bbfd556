"""Passes what widgets and dialogs report on to the controllers, one line each."""

from typing import TYPE_CHECKING

from textual import on

from tui_llama.controllers.actions import CommandActions
from tui_llama.controllers.showing.status import StatusController
from tui_llama.widgets.attached.chip import Chip
from tui_llama.widgets.composer import Composer
from tui_llama.widgets.composing.queued_messages import QueuedMessages
from tui_llama.widgets.message_view import UserMessage
from tui_llama.widgets.messages.cursor import MessageCursor

if TYPE_CHECKING:
    from tui_llama.screens.dialogs.chat_list import ChatList
    from tui_llama.screens.dialogs.choosing.persona_list import PersonaList
    from tui_llama.screens.dialogs.model_picker import ModelPicker
    from tui_llama.widgets.markdown.answer_markdown import AnswerMarkdown


class WidgetReports(CommandActions):
    """The part of the app that passes on what widgets report.

    Attributes:
        can_draw: True from the first frame until the user has left the screen.
    """

    can_draw: bool
    _status: StatusController

    # --- the composer ---------------------------------------------------------------------------------------------

    @on(Composer.QueuedRequested)
    def _take_back(self) -> None:
        self._turn.take_back()

    @on(QueuedMessages.BackWanted)
    def _take_back_chosen(self, event: QueuedMessages.BackWanted) -> None:
        self._turn.take_back(event.number)

    @on(QueuedMessages.ChangeWanted)
    def _change_queue(self, event: QueuedMessages.ChangeWanted) -> None:
        self._turn.change_queue(event.number, event.place)

    @on(Composer.DamagedInput)
    def _tell_of_damage(self) -> None:
        words = "The terminal sends characters that are not UTF-8, and � stands for them; set it to UTF-8."
        self._status.show_hint(words)

    @on(Composer.LaterRequested)
    def _leave_editing(self) -> None:
        if self._editing.is_editing:
            self._editing.leave()

    @on(Composer.LeaveRequested)
    async def _leave(self) -> None:
        await self.action_quit()

    @on(Composer.KeyPressed)
    def _disarm_quit(self) -> None:
        self._leaving.disarm()

    @on(Composer.VersionRequested)
    def _show_version(self, event: Composer.VersionRequested) -> None:
        self._messages.show_version_of_last(event.step)

    @on(Composer.EditLastRequested)
    def _edit_last(self, event: Composer.EditLastRequested) -> None:
        self._editing.go_up(event.composer)

    # --- messages -------------------------------------------------------------------------------------------------

    @on(UserMessage.WholeWanted)
    def _whole_wanted(self, event: UserMessage.WholeWanted) -> None:
        self._texts.show_whole(event.text)

    @on(UserMessage.AttachmentsWanted)
    def _show_attachments(self, event: UserMessage.AttachmentsWanted) -> None:
        self._attachments.show_all(event.attachments)

    def on_answer_markdown_copy_wanted(self, event: "AnswerMarkdown.CopyWanted") -> None:
        """Copies the code of a block whose mark was clicked."""
        self._texts.copy_code(event.text, event.number)

    @on(MessageCursor.ActWanted)
    def _act_on_message(self, event: MessageCursor.ActWanted) -> None:
        self._messages.act(event.act, event.position)

    @on(MessageCursor.CodeWanted)
    def _copy_code_of_message(self, event: MessageCursor.CodeWanted) -> None:
        self._texts.copy_code_of(event.position, event.number)

    @on(MessageCursor.FocusMoved)
    def _show_message_hints(self, event: MessageCursor.FocusMoved) -> None:
        if self.can_draw:
            self._messages.show_hints(event.position)

    @on(MessageCursor.LeaveWanted)
    def _write_again(self) -> None:
        self._messages.write_again()

    # --- attachments ----------------------------------------------------------------------------------------------

    @on(Chip.RemoveWanted)
    def _remove_attachment(self, event: Chip.RemoveWanted) -> None:
        self._attachments.remove(event.attachment)

    @on(Chip.ShowWanted)
    def _show_attachment(self, event: Chip.ShowWanted) -> None:
        self._attachments.show(event.attachment)

    @on(Chip.WriteWanted)
    def _write_attachment(self, event: Chip.WriteWanted) -> None:
        self._attachments.write_as_text(event.attachment)

    # --- chats and personas ---------------------------------------------------------------------------------------

    async def on_chat_list_rename_wanted(self, event: "ChatList.RenameWanted") -> None:
        """Renames a chat of the list."""
        await self._chats.rename_listed(event.chat_list, event.chat_id, event.title)

    async def on_chat_list_delete_wanted(self, event: "ChatList.DeleteWanted") -> None:
        """Deletes a chat of the list."""
        await self._chats.delete_listed(event.chat_list, event.chat_id)

    async def on_persona_list_save_wanted(self, event: "PersonaList.SaveWanted") -> None:
        """Keeps what is chosen in the chat as a persona."""
        await self._personas.save(event.persona_list, event.name)

    async def on_persona_list_delete_wanted(self, event: "PersonaList.DeleteWanted") -> None:
        """Deletes a persona of the list."""
        await self._personas.delete(event.persona_list, event.name)

    # --- models ---------------------------------------------------------------------------------------------------

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
        self._status.show_hint(event.reason)
