"""Opens, renames and deletes chats, and goes from one branch or version of a chat to another."""

from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from tui_llama.chats import chat_prompt_cache
from tui_llama.chats.database.file import IN_MEMORY
from tui_llama.chats.journal import Journal
from tui_llama.chats.open_chat import OpenChat
from tui_llama.chats.record import delete_chat, list_chats, rename_chat
from tui_llama.chats.store import Store
from tui_llama.controllers.choosing.default_persona import give_persona, hint_of_persona
from tui_llama.controllers.composing.editing import EditingController
from tui_llama.controllers.saving import SavingController
from tui_llama.controllers.views import DialogView, HintView, RunAlone, ScreenView
from tui_llama.conversation import State
from tui_llama.errors import StoreError
from tui_llama.screens.presenting import shown_messages
from tui_llama.turn.live_chats import LiveChats, OfShownChat

if TYPE_CHECKING:
    from textual.screen import Screen

    from tui_llama.screens.dialogs.chat_list import ChatList, ListedChat
    from tui_llama.settings import Settings


class ChatsView(ScreenView, DialogView, HintView, Protocol):
    """The app, as the controller uses it."""

    @property
    def screen_stack(self) -> "Sequence[Screen[Any]]":
        """The screens that are open, the chat first."""
        ...

    def follow_draft(self) -> None:
        """Puts the draft of the chat that is shown now where messages are written."""
        ...

    def show_state(self) -> None:
        """Shows what stands around the messages, and lets idle prefill begin or end."""
        ...

    def show_status(self) -> None:
        """Shows everything around the messages as it is now."""
        ...

    def run_beside(self, work: Callable[[], Coroutine[Any, Any, None]], group: str) -> object:
        """Runs work beside others of its group."""
        ...


class ChatsController(OfShownChat):
    """The chats of an app.

    Args:
        live_chats: Have the driver of the chat on the screen.
        saving: Has the journal, and tells what the store cannot do.
        editing: Is left before another chat or branch is shown.
        settings: As the user set them.
        view: The app.
        run: Runs a coroutine of a group in place of what is under way in it.
    """

    def __init__(
        self,
        live_chats: LiveChats,
        saving: SavingController,
        editing: EditingController,
        settings: "Settings",
        view: ChatsView,
        run: RunAlone,
    ) -> None:
        super().__init__(live_chats)
        self._saving = saving
        self._journal = saving.journal
        self._editing = editing
        self.settings = settings
        self._view = view
        self._run = run

    # --- other chats ----------------------------------------------------------------------------------------------

    def open_new(self, *, is_incognito: bool = False) -> None:
        """Opens an empty chat; the one on the screen is kept, unless it is incognito."""
        self._run("chats", partial(self._open, None, is_incognito=is_incognito))

    def open_neighbour(self, step: int) -> None:
        """Opens the chat that is `step` below this one in the list; those below are older."""
        self._run("chats", partial(self._open_neighbour, step))

    async def _open_neighbour(self, step: int) -> None:
        chat_ids = [summary.chat_id for summary in await list_chats(self._journal)]
        open_id = self._turn_driver.chat.chat_id
        position = (chat_ids.index(open_id) if open_id in chat_ids else -1) + step
        if not 0 <= position < len(chat_ids):
            self._view.show_hint("There is no older chat." if step > 0 else "There is no newer chat.")
            await self._finish_opening()
            return
        await self._open(chat_ids[position])

    async def _open(self, chat_id: str | None, *, is_incognito: bool = False) -> None:
        """Leaves this chat for another, or for a new one; its answer goes on, unless nothing of it is to be kept."""
        chats, left = self._live_chats, self._turn_driver
        driver = chats.find(chat_id)
        if driver is None:
            try:
                chat = (
                    make_chat(self._saving, self.settings, left.model_path, is_incognito=is_incognito)
                    if chat_id is None
                    else await OpenChat.restore(self._journal, chat_id)
                )
            except StoreError as error:
                self._saving.note_failure(error)
                await self._finish_opening()
                return
            if self._turn_driver.state is State.CLOSED:
                await chat.leave()
                return
            driver = chats.begin(chat)
        if self._editing.is_editing:
            self._editing.put_back()
        chats.bring_to_front(driver)
        self._view.follow_draft()  # what is written from now on is for this chat
        await self._draw()
        hint = hint_of_persona(driver.chat, self.settings, driver.model_path) if chat_id is None else ""
        if hint:
            self._view.show_hint(hint)
        await self._finish_opening()

    async def _finish_opening(self) -> None:
        """Draws the chat on the screen, if a key that came meanwhile has broken that off, and lets go of others."""
        if not self._live_chats.is_drawn:
            await self._draw()
        await self._live_chats.end_incognito()
        await self._live_chats.let_go_of_idle()

    async def _show_path(self) -> None:
        """Shows another path of the chat on the screen."""
        self._turn_driver.follow_path()
        await self._draw()

    async def _draw(self) -> None:
        """Draws the chat on the screen from its end; what happens in it meanwhile is drawn as well."""
        if not self._view.can_draw:
            return
        if self._editing.is_editing:
            self._editing.put_back()
        driver, chat, drawn, answer_was_open, end = self._turn_driver, self._turn_driver.chat, [-1], False, ""
        while drawn != (there := [entry.message_id for entry in chat.entries]):
            drawn, answer_was_open, end = there, driver.answer_is_open, chat.end
            shown = shown_messages(chat.entries, driver.model)
            await self._view.chat_screen.show_chat(shown, chat.user_texts)
            if driver is not self._turn_driver or not self._view.can_draw:
                return
        self._view.show_state()  # and its draft, before what comes back to where that is written
        has_gone_on = chat.ends_in_answer and chat.end != end
        self._live_chats.draw_on_screen(answer_was_open=answer_was_open or has_gone_on)
        self._saving.show_again()

    # --- the list -------------------------------------------------------------------------------------------------

    def list_chats(self) -> None:
        """Opens the list of chats."""
        self._run("lists", self._list_chats)

    async def _list_chats(self) -> None:
        from tui_llama.screens.dialogs.chat_list import ChatList

        def chosen(chat_id: str | None) -> None:
            if chat_id is not None and chat_id != self._turn_driver.chat.chat_id:
                self._run("chats", partial(self._open, chat_id))

        chats = await self._listed_chats()
        await self._view.push_screen(ChatList(chats, datetime.now().astimezone()), chosen)

    async def _listed_chats(self) -> "list[ListedChat]":
        from tui_llama.screens.dialogs.chat_list import ListedChat

        summaries = await list_chats(self._journal)
        open_chat_id = self._turn_driver.chat.chat_id
        marks = self._live_chats.marks()
        return [
            ListedChat(summary, summary.chat_id == open_chat_id, marks.get(summary.chat_id)) for summary in summaries
        ]

    def show_marks(self) -> None:
        """Shows in the list of chats, if that is open, what goes on in them now."""
        from tui_llama.screens.dialogs.chat_list import ChatList

        chat_lists = [screen for screen in self._view.screen_stack if isinstance(screen, ChatList)]
        if chat_lists and chat_lists[0].show_marks(self._live_chats.marks()):
            self._view.run_beside(partial(self._list_again, chat_lists[0]), "lists")

    async def _list_again(self, chat_list: "ChatList") -> None:
        chat_list.replace_items(await self._listed_chats())

    async def rename_listed(self, chat_list: "ChatList", chat_id: str, title: str) -> None:
        """Renames a chat of the list, and shows the list as it is then."""
        driver = self._live_chats.find(chat_id)
        if driver is not None:
            driver.chat.rename(title)
            self._view.show_status()
        else:
            try:
                await rename_chat(self._journal, chat_id, title)
            except StoreError as error:
                self._saving.note_failure(error)
        chat_list.replace_items(await self._listed_chats())

    async def delete_listed(self, chat_list: "ChatList", chat_id: str) -> None:
        """Deletes a chat of the list, and shows the list as it is then."""
        await self._delete(chat_id)
        chat_list.replace_items(await self._listed_chats())

    # --- this chat ------------------------------------------------------------------------------------------------

    def rename(self, title: str = "") -> None:
        """Gives the open chat another title; asks for one where it is empty."""
        if title:
            self._rename(self._turn_driver.chat, title)
            return
        from tui_llama.screens.dialogs.ask_text import AskText

        chat = self._turn_driver.chat

        def rename(answer: str | None) -> None:
            if answer:
                self._rename(chat, answer)

        self._view.push_screen(AskText("Rename chat", chat.title), rename)

    def _rename(self, chat: OpenChat, title: str) -> None:
        chat.rename(title)
        self._view.show_status()

    def delete(self) -> None:
        """Deletes the open chat, if the user means it."""
        chat = self._turn_driver.chat  # the one that the user is asked about, whichever is shown by then
        if chat.chat_id is None:  # one whose messages were all deleted still has them
            self._view.show_hint("This chat is empty; there is nothing to delete.")
            return
        from tui_llama.screens.dialogs.ask_whether import AskWhether

        def delete(is_certain: bool | None) -> None:
            if is_certain:
                self._view.run_beside(partial(self._delete, chat.chat_id), "deletions")

        self._view.push_screen(AskWhether("Delete this chat for good?", chat.title, "Delete"), delete)

    async def _delete(self, chat_id: str | None) -> None:
        """Deletes a chat; what goes on in it is stopped first."""
        chats, driver = self._live_chats, self._live_chats.find(chat_id)
        is_stored = driver is None or not driver.chat.is_incognito
        if driver is not None:
            await driver.stop_and_wait()
            if driver is self._turn_driver:
                await self._open(None)
            if driver is self._turn_driver:  # another chat could not be opened
                return
            await chats.end(driver)
        if chat_id is not None and is_stored:
            chats.forget(chat_id)
            delete_chat(self._journal, chat_id, partial(chat_prompt_cache.forget_chat, chat_id))


def make_chat(
    saving: SavingController, settings: "Settings", model_path: str = "", *, is_incognito: bool = False
) -> OpenChat:
    """Returns an empty chat with the persona of the settings; an incognito one has a store of its own, in memory."""
    journal = saving.journal
    if is_incognito:
        journal = Journal(Store(IN_MEMORY), saving.note_failure, is_incognito=True)
    chat = OpenChat(journal, model_path=model_path, system_prompt=settings.system_prompt)
    if settings.persona:
        give_persona(chat, settings.persona)
    return chat
