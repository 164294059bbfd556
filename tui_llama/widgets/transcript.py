"""The transcript: a scrolling view of the conversation. It follows the live answer until the user scrolls up.

Only some messages are mounted, so that a long chat costs no more than a short one: a window of them, with older ones
above and newer ones below. The transcript mounts more before the user scrolls up or down to them, unmounts those that
are far away by then, and mounts the newest when it follows the end again. Nothing below is unmounted while an answer
grows there. Of a long answer in the window, only the parts near the view are laid out.
"""

from collections.abc import Sequence

from textual.message import Message
from textual.widget import Widget

from tui_llama.widgets.message_view import AnswerView, Remark, ShownMessage, UserMessage
from tui_llama.widgets.messages.window import MOUNTED_AT_FIRST, MessageWindow
from tui_llama.widgets.thought_view import ThoughtView

_NEAR = 2  # lines from the end; a user who scrolls down to here wants to follow again


class Transcript(MessageWindow):
    """The messages of one chat."""

    class FollowChanged(Message):
        """Posted when the transcript begins or ceases to follow the end."""

        def __init__(self, is_following: bool) -> None:
            super().__init__()
            self.is_following = is_following

    class Grown(Message):
        """Posted when there is new text at the end."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._marked: int | None = None
        self._revealed: int | None = None

    # --- what is shown ------------------------------------------------------------------------------------------

    async def show(self, messages: Sequence[ShownMessage]) -> None:
        """Shows the messages of another chat, scrolled to the end."""
        newest = self._newest(messages)
        self._older, self._newer = list(messages[: len(messages) - len(newest)]), []
        self._live = self._marked = None
        self._is_mounting = True
        async with self.batch():
            await self.remove_children()
            await self.mount_all(map(self._view, newest))
        self._is_mounting = False
        self.follow()
        self.call_after_refresh(self._fill)

    def replace(self, messages: Sequence[ShownMessage]) -> None:
        """Shows other messages at once, scrolled to the end; what comes after this call is drawn below them."""
        self._live = self._marked = None
        self._mount_instead(list(messages))
        self.follow()

    def _newest(self, messages: Sequence[ShownMessage]) -> Sequence[ShownMessage]:
        """Returns the messages at the end that fill the screen: those that are mounted at first, before it is drawn."""
        screen = self.screen.size
        count = rows = 0
        for message in reversed(messages[-MOUNTED_AT_FIRST:]):
            count += 1
            rows += message.text.count("\n") + len(message.text) // max(1, screen.width) + 2
            if rows > screen.height:
                break
        return messages[len(messages) - count :]

    def add_message(self, message: ShownMessage) -> None:
        """Adds a message of the user at the end and follows the end."""
        self._mount_end()
        self.mount(self._view(message))
        self.follow()

    def cut(self, position: int) -> None:
        """Removes message number `position` and everything below it."""
        mounted, views = position - len(self._older), self._message_views()
        if 0 <= mounted < len(views):
            self.remove_children(list(self.children)[self.children.index(views[mounted]) :])
            self._newer = []
        else:
            self._mount_instead(self._all_shown()[:position])

    def _mount_end(self) -> None:
        """Mounts the newest messages, if they are not mounted."""
        if self._newer:
            self._mount_instead(self._all_shown())

    def _mount_instead(self, messages: list[ShownMessage]) -> None:
        """Mounts the last of these messages in place of all others."""
        self.remove_children()
        self._older, self._newer = messages[:-MOUNTED_AT_FIRST], []
        self.mount_all(map(self._view, messages[-MOUNTED_AT_FIRST:]))

    def _all_shown(self) -> list[ShownMessage]:
        return [*self._older, *(view.shown for view in self._message_views()), *self._newer]

    def is_own(self, position: int) -> bool:
        """See `MessageCursor`."""
        return not self._all_shown()[position].is_answer

    async def mark(self, position: int | None) -> None:
        """Marks message number `position` as being edited and scrolls to it. None removes the mark and follows the end.

        Must not be cancelled. If it is called again before it is done, the newest call wins.
        """
        self._marked = position
        for marked in self._message_views():
            marked.set_class(False, "-edited")
        if position is None:
            self.follow()
            return
        view = await self.reveal(position)
        if view is not None and self._marked == position:
            view.set_class(True, "-edited")

    async def reveal(self, position: int) -> UserMessage | AnswerView | None:
        """Mounts message number `position` if it is not mounted, and scrolls to it. The end is no longer followed.

        Returns:
            Its view, or None if there is no such message.
        """
        self.is_following = False
        self._revealed = position
        while self._is_mounting:
            await self._refreshed()
        if not len(self._older) <= position < len(self._older) + len(self._message_views()):
            await self._mount_around(position)
        views = self._message_views()
        if not 0 <= position - len(self._older) < len(views):
            return None
        view = views[position - len(self._older)]

        def bring_into_view() -> None:
            if self._revealed != position:  # the user wants something else by now
                return
            self.is_following = False  # mounting messages may have begun to follow again
            self.release_anchor()
            self.scroll_to_widget(view, animate=False, force=True, immediate=True)

        self.call_after_refresh(bring_into_view)
        return view

    async def _mount_around(self, position: int) -> None:
        """Mounts messages around number `position`: a window, or all up to the end while an answer grows there."""
        if self._live is not None:
            await self._mount_older(len(self._older) - position)
            await self._refreshed()
            return
        shown = self._all_shown()
        first = max(0, position - MOUNTED_AT_FIRST // 2)
        self._is_mounting = True
        async with self.batch():
            await self.remove_children()
            self._older, self._newer = shown[:first], shown[first + MOUNTED_AT_FIRST :]
            await self.mount_all(map(self._view, shown[first : first + MOUNTED_AT_FIRST]))
        self._is_mounting = False
        await self._refreshed()

    def redraw_attached(self) -> None:
        """Draws what is known of attachments again: it is more now."""
        for message in self.query(UserMessage):
            message.redraw_attached()

    @property
    def message_count(self) -> int:
        """The number of messages, those that are not mounted included."""
        return len(self._older) + len(self._message_views()) + len(self._newer)

    async def bring_up(self, position: int) -> Widget | None:
        """See `MessageCursor`. The end is followed while the last message is in focus, and with no other."""
        if position == self.message_count - 1 and not self._is_mounting:
            self.follow()
            views = self._message_views()
            return views[-1] if views else None
        return await self.reveal(position)

    def add_remark(self, remark: Remark) -> None:
        """Adds a remark at the end, but above a live answer that has no text yet."""
        self._mount_end()
        waiting = self._live if self._live is not None and self._live.has_class("-empty") else None
        self.mount(remark, before=waiting)

    def begin_answer(self, text: str = "", thought: str = "") -> None:
        """Adds a live answer at the end. It begins with `text`, behind `thought`, and grows."""
        self._mount_end()
        self._live = AnswerView(text, is_live=True, on_grown=self._grown, thought=thought)
        self.mount(self._live)

    def reopen_answer(self, text: str, thought: str = "") -> None:
        """Makes the last answer grow again from `text`, and removes the remarks below it."""
        self.remove_last_answer()
        self.begin_answer(text, thought)

    def append(self, text: str, thought: str = "") -> None:
        """Adds text to the live answer, and to the thought before it."""
        if self._live is not None:
            self._live.append(text, thought)

    def fold_thoughts(self) -> None:
        """Folds all thoughts; unfolds them if all are folded."""
        views = [view for view in self.query(ThoughtView) if view.thought]
        is_folded = not all(view.is_folded for view in views)
        for view in views:
            view.fold(is_folded)

    def finish_answer(self, note: str, thought_words: str = "") -> None:
        """Ends the live answer, with a note below it and the cost of its thought."""
        if self._live is not None:
            self._live.finish(note, thought_words)
        self._live = None

    def change_last_note(self, note: str) -> None:
        """Replaces the note below the last message, if that message is an answer."""
        self._mount_end()
        views = self._message_views()
        if views and isinstance(views[-1], AnswerView):
            views[-1].change_note(note)

    def remove_last_answer(self) -> None:
        """Removes the last answer and the remarks below it."""
        self._mount_end()
        answers = [view for view in self._message_views() if isinstance(view, AnswerView)]
        if answers:
            self.remove_children(list(self.children)[self.children.index(answers[-1]) :])

    # --- following ----------------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Scrolls to the end and follows it from now on."""
        self._revealed = None
        self._follow()

    def _follow(self) -> None:
        self._mount_end()
        self.is_following = True
        self.anchor()
        self.call_after_refresh(self._let_go_of_older)

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
            if new_value <= self.size.height:
                self.run_worker(self._mount_older(), group="older messages")
        elif new_value > old_value and self._newer:
            if distance <= self.size.height:
                self.run_worker(self._mount_newer(), group="newer messages")
        elif new_value > old_value and distance <= _NEAR and not self.is_following:
            self._follow()
        self._tend_soon()

    def _grown(self) -> None:
        if self.is_following:
            # A scroll key releases the anchor even if there was nothing to scroll.
            self.anchor()
        self._tend_soon()
        self.post_message(self.Grown())
