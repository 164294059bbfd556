"""The transcript: a scrolling view of the conversation. It follows the live answer until the user scrolls up.

Only the newest messages are mounted, so that a long chat costs no more than a short one. The transcript mounts older
messages when the user scrolls up to them, and unmounts them when it follows the end again.
"""

import asyncio
from collections.abc import Sequence

from textual.containers import VerticalScroll
from textual.message import Message
from textual.reactive import Reactive, ReactiveType, var
from textual.widget import Widget

from tui_llama.widgets.message_view import AnswerView, Remark, ShownMessage, UserMessage

MOUNTED_AT_FIRST = 16
MOUNTED_AT_A_TIME = 8
_NEAR = 2  # lines from the end; a user who scrolls down to here wants to follow again
_TOP = 4  # lines from the top; here older messages are mounted


class Transcript(VerticalScroll, can_focus=False):
    """The messages of one chat."""

    is_following: var[bool] = var(True, init=False)

    class FollowChanged(Message):
        """Posted when the transcript begins or ceases to follow the end."""

        def __init__(self, is_following: bool) -> None:
            super().__init__()
            self.is_following = is_following

    class Grown(Message):
        """Posted when there is new text at the end."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._older: list[ShownMessage] = []
        self._live: AnswerView | None = None
        self._is_mounting = False
        self._marked: int | None = None

    # --- what is shown ------------------------------------------------------------------------------------------

    async def show(self, messages: Sequence[ShownMessage]) -> None:
        """Shows the messages of another chat, scrolled to the end."""
        newest = messages[-MOUNTED_AT_FIRST:]
        self._older = list(messages[: len(messages) - len(newest)])
        self._live = self._marked = None
        self._is_mounting = True
        async with self.batch():
            await self.remove_children()
            await self.mount_all(map(self._view, newest))
        self._is_mounting = False
        self.follow()

    def replace(self, messages: Sequence[ShownMessage]) -> None:
        """Shows other messages at once, scrolled to the end; what comes after this call is drawn below them."""
        newest = messages[-MOUNTED_AT_FIRST:]
        self._older = list(messages[: len(messages) - len(newest)])
        self._live = self._marked = None
        self.remove_children()
        self.mount_all(map(self._view, newest))
        self.follow()

    def add_message(self, text: str, note: str = "") -> None:
        """Adds a message of the user at the end and follows the end."""
        self.mount(UserMessage(text, note))
        self.follow()

    def cut(self, position: int) -> None:
        """Removes message number `position` and everything below it."""
        mounted = position - len(self._older)
        if mounted >= 0:
            views = self._message_views()
            self.remove_children(list(self.children)[self.children.index(views[mounted]) :])
        else:
            self.remove_children()
            self._older, newest = self._older[:position][:-MOUNTED_AT_FIRST], self._older[:position][-MOUNTED_AT_FIRST:]
            self.mount_all(map(self._view, newest))

    async def mark(self, position: int | None) -> None:
        """Marks message number `position` as being edited and scrolls to it. None removes the mark and follows the end.

        Must not be cancelled. If it is called again before it is done, the newest call wins.
        """
        self._marked = position
        for marked in self.query(UserMessage):
            marked.mark_edited(False)
        if position is None:
            self.follow()
            return
        self.is_following = False
        while self._marked == position and (self._is_mounting or position < len(self._older)):
            if not self._is_mounting:
                await self._mount_older(len(self._older) - position)
            await self._refreshed()
        if self._marked != position:
            return
        view = self._message_views()[position - len(self._older)]
        if isinstance(view, UserMessage):
            view.mark_edited(True)

        def bring_into_view() -> None:
            self.is_following = False  # mounting older messages may have begun to follow again
            self.release_anchor()
            self.scroll_to_widget(view, animate=False, force=True, immediate=True)

        self.call_after_refresh(bring_into_view)

    def add_remark(self, remark: Remark) -> None:
        """Adds a remark at the end, but above a live answer that has no text yet."""
        waiting = self._live if self._live is not None and self._live.has_class("-empty") else None
        self.mount(remark, before=waiting)

    def begin_answer(self, text: str = "") -> None:
        """Adds a live answer at the end. It begins with `text` and grows."""
        self._live = AnswerView(text, is_live=True, on_grown=self._grown)
        self.mount(self._live)

    def reopen_answer(self, text: str) -> None:
        """Makes the last answer grow again from `text`, and removes the remarks below it."""
        self.remove_last_answer()
        self.begin_answer(text)

    def append(self, text: str) -> None:
        """Adds text to the live answer."""
        if self._live is not None:
            self._live.append(text)

    def finish_answer(self, note: str) -> None:
        """Ends the live answer, with a note below it."""
        if self._live is not None:
            self._live.finish(note)
        self._live = None

    def change_last_note(self, note: str) -> None:
        """Replaces the note below the last message, if that message is an answer."""
        views = self._message_views()
        if views and isinstance(views[-1], AnswerView):
            views[-1].change_note(note)

    def remove_last_answer(self) -> None:
        """Removes the last answer and the remarks below it."""
        answers = [view for view in self._message_views() if isinstance(view, AnswerView)]
        if answers:
            self.remove_children(list(self.children)[self.children.index(answers[-1]) :])

    # --- following ----------------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Scrolls to the end and follows it from now on."""
        self.is_following = True
        self.anchor()
        self.call_after_refresh(self._let_go_of_older)

    def set_reactive(self, reactive: Reactive[ReactiveType], value: ReactiveType) -> None:
        """Sets an attribute, but keeps scroll positions from being negative.

        Textual would scroll an anchored container that is not full yet above its top.
        """
        if reactive in (Widget.scroll_y, Widget.scroll_target_y) and isinstance(value, int | float):
            super().set_reactive(reactive, max(0, value))  # type: ignore[misc] # a number is a number
        else:
            super().set_reactive(reactive, value)

    def watch_is_following(self, is_following: bool) -> None:
        """Releases Textual's anchor when the end is no longer followed, and posts `FollowChanged`.

        The flag is separate from the anchor, because an anchor that was released once may never hold again.
        """
        if not is_following:
            self.release_anchor()
        self.post_message(self.FollowChanged(is_following))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Ceases to follow when the user scrolls up, and follows again when the user scrolls down near the end.

        Nobody but the user scrolls up.
        """
        super().watch_scroll_y(old_value, new_value)
        distance = self.max_scroll_y - new_value
        if new_value < old_value and distance > 0:
            self.is_following = False
            if new_value <= _TOP:
                self.run_worker(self._mount_older(), group="older messages")
        elif new_value > old_value and distance <= _NEAR and not self.is_following:
            self.follow()

    def _grown(self) -> None:
        if self.is_following:
            # A scroll key releases the anchor even if there was nothing to scroll.
            self.anchor()
        self.post_message(self.Grown())

    # --- the window ---------------------------------------------------------------------------------------------

    @staticmethod
    def _view(message: ShownMessage) -> Widget:
        return (AnswerView if message.is_answer else UserMessage)(message.text, message.note)

    def _message_views(self) -> list[UserMessage | AnswerView]:
        """Returns the mounted views of messages, in order. Remarks may stand between them."""
        return [view for view in self.children if isinstance(view, UserMessage | AnswerView) and not view._pruning]

    async def _mount_older(self, count: int = MOUNTED_AT_A_TIME) -> None:
        if self._is_mounting or not self._older:
            return
        self._is_mounting = True
        distance_from_end = self.max_scroll_y - self.scroll_y
        async with self.batch():
            batch = self._older[-count:]
            del self._older[-count:]
            top = self.children[0] if self.children else None
            await self.mount_all(map(self._view, batch), before=top)

        def keep_in_view() -> None:
            self.scroll_to(y=self.max_scroll_y - distance_from_end, animate=False, immediate=True)
            self._is_mounting = False

        self.call_after_refresh(keep_in_view)

    async def _refreshed(self) -> None:
        """Waits until the next refresh is done."""
        refreshed = asyncio.Event()
        self.call_after_refresh(refreshed.set)
        await refreshed.wait()

    async def _let_go_of_older(self) -> None:
        """Unmounts the oldest messages once there are many. Does so only while the end is followed."""
        if self._is_mounting or not self.is_following:
            return
        surplus = len(self.children) - MOUNTED_AT_FIRST
        if surplus < MOUNTED_AT_A_TIME:
            return
        oldest = list(self.children)[:surplus]
        self._older += [view.shown for view in self._message_views() if view in oldest]
        await self.remove_children(oldest)
