"""The conversation, scrolling: follows the live answer until the user looks elsewhere.

Only the newest messages are mounted; older ones are mounted when the user scrolls up to them and let go when the
end is followed again, so that a long chat costs no more than a short one.
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
_NEAR = 2  # lines from the end at which scrolling down means to follow again
_TOP = 4  # lines from the top at which older messages are mounted


class Transcript(VerticalScroll, can_focus=False):
    """The messages of one chat."""

    is_following: var[bool] = var(True, init=False)

    class FollowChanged(Message):
        """The end is followed now, or no longer."""

        def __init__(self, is_following: bool) -> None:
            super().__init__()
            self.is_following = is_following

    class Grown(Message):
        """There is new text at the end."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._older: list[ShownMessage] = []
        self._live: AnswerView | None = None
        self._is_mounting = False
        self._marked: int | None = None

    # --- what is shown ------------------------------------------------------------------------------------------

    async def show(self, messages: Sequence[ShownMessage]) -> None:
        """Shows another chat, from its end."""
        newest = messages[-MOUNTED_AT_FIRST:]
        self._older = list(messages[: len(messages) - len(newest)])
        self._live = self._marked = None
        self._is_mounting = True
        async with self.batch():
            await self.remove_children()
            await self.mount_all(map(self._view, newest))
        self._is_mounting = False
        self.follow()

    def add_message(self, text: str, note: str = "") -> None:
        """What the user said goes below; the end is followed."""
        self.mount(UserMessage(text, note))
        self.follow()

    def cut(self, position: int) -> None:
        """Takes message number `position` and all that is below it away."""
        mounted = position - len(self._older)
        if mounted >= 0:
            views = self._message_views()
            self.remove_children(list(self.children)[self.children.index(views[mounted]) :])
        else:
            self.remove_children()
            self._older, newest = self._older[:position][:-MOUNTED_AT_FIRST], self._older[:position][-MOUNTED_AT_FIRST:]
            self.mount_all(map(self._view, newest))

    async def mark(self, position: int | None) -> None:
        """Shows that another version of message number `position` is being written; None: of none.

        Not to be cancelled. What is marked meanwhile counts instead.
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
            self.is_following = False  # which mounting older messages may have begun again, at the end
            self.release_anchor()
            self.scroll_to_widget(view, animate=False, force=True, immediate=True)

        self.call_after_refresh(bring_into_view)

    def add_remark(self, remark: Remark) -> None:
        """A remark goes below, before a live answer that has not begun."""
        waiting = self._live if self._live is not None and self._live.has_class("-empty") else None
        self.mount(remark, before=waiting)

    def begin_answer(self, text: str = "") -> None:
        """An answer goes below; it begins with this and grows."""
        self._live = AnswerView(text, is_live=True, on_grown=self._grown)
        self.mount(self._live)

    def reopen_answer(self, text: str) -> None:
        """The last answer, of which there is this, grows again; the remarks below it go away."""
        self.remove_last_answer()
        self.begin_answer(text)

    def append(self, text: str) -> None:
        """More of the live answer."""
        if self._live is not None:
            self._live.append(text)

    def finish_answer(self, note: str) -> None:
        """The live answer is whole."""
        if self._live is not None:
            self._live.finish(note)
        self._live = None

    def change_last_note(self, note: str) -> None:
        """Another note below the last message, if that is an answer."""
        views = self._message_views()
        if views and isinstance(views[-1], AnswerView):
            views[-1].change_note(note)

    def remove_last_answer(self) -> None:
        """Takes the last answer away, and the remarks below it."""
        answers = [view for view in self._message_views() if isinstance(view, AnswerView)]
        if answers:
            self.remove_children(list(self.children)[self.children.index(answers[-1]) :])

    # --- following ----------------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Goes to the end and stays there."""
        self.is_following = True
        self.anchor()
        self.call_after_refresh(self._let_go_of_older)

    def set_reactive(self, reactive: Reactive[ReactiveType], value: ReactiveType) -> None:
        """An anchored container that is not full yet would be scrolled above its top."""
        if reactive in (Widget.scroll_y, Widget.scroll_target_y) and isinstance(value, int | float):
            super().set_reactive(reactive, max(0, value))  # type: ignore[misc] # a number is a number
        else:
            super().set_reactive(reactive, value)

    def watch_is_following(self, is_following: bool) -> None:
        """The flag is ours, because an anchor that was released once may never catch again."""
        if not is_following:
            self.release_anchor()
        self.post_message(self.FollowChanged(is_following))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Only the user scrolls up, and only to look elsewhere."""
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
            # A scroll key that could not move anything has released the anchor all the same.
            self.anchor()
        self.post_message(self.Grown())

    # --- the window ---------------------------------------------------------------------------------------------

    @staticmethod
    def _view(message: ShownMessage) -> Widget:
        return (AnswerView if message.is_answer else UserMessage)(message.text, message.note)

    def _message_views(self) -> list[UserMessage | AnswerView]:
        """The views of messages that are mounted, in order; between them may be remarks."""
        return [view for view in self.children if isinstance(view, UserMessage | AnswerView)]

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
        """Returns after the next refresh."""
        refreshed = asyncio.Event()
        self.call_after_refresh(refreshed.set)
        await refreshed.wait()

    async def _let_go_of_older(self) -> None:
        """Unmounts the oldest once there are many, while the end is followed and nobody looks at them."""
        if self._is_mounting or not self.is_following:
            return
        surplus = len(self.children) - MOUNTED_AT_FIRST
        if surplus < MOUNTED_AT_A_TIME:
            return
        oldest = list(self.children)[:surplus]
        self._older += [view.shown for view in self._message_views() if view in oldest]
        await self.remove_children(oldest)
