"""The window of messages that are mounted, and the parts of long answers that are laid out."""

import asyncio
from collections.abc import Callable
from functools import partial

from textual.geometry import Region
from textual.reactive import var
from textual.strip import Strip
from textual.widget import Widget

from tui_llama.widgets.message_view import AnswerView, FactsOf, ShownMessage, UserMessage
from tui_llama.widgets.messages.cursor import MessageCursor

MOUNTED_AT_FIRST = 16
MOUNTED_AT_A_TIME = 8
MOUNTED_BESIDE = 2  # few, so that a key waits for them no longer than for a frame
MOST_MOUNTED = 48
_FAR_SCREENS = 3  # messages at least so far below the view may be unmounted


class MessageWindow(MessageCursor):
    """The part of the transcript that mounts messages before they are seen, and unmounts those that are far away.

    Attributes:
        is_following: Whether the end is followed.
        facts_of: Returns what is known of an attachment of a message; None: nothing.
    """

    BLANK = True  # it draws nothing behind the messages, and has no border
    is_following: var[bool] = var(True, init=False)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._older: list[ShownMessage] = []
        self._newer: list[ShownMessage] = []
        self._live: AnswerView | None = None
        self._is_mounting = False
        self._is_tending = False
        self.facts_of: FactsOf = lambda _attachment: None

    def render_lines(self, crop: Region) -> list[Strip]:
        """Returns the lines behind the messages; Textual would leave the colour of blank ones with NO_COLOR."""
        strips, background = super().render_lines(crop), self.background_colors[1]
        for each in self.app.get_line_filters() if self.app.no_color else ():
            strips = [strip.apply_filter(each, background) for strip in strips]
        return strips

    def on_mount(self) -> None:
        """Looks after the parts of answers whenever heights have changed."""
        self.watch(self, "virtual_size", self._tend_soon, init=False)

    def _view(self, message: ShownMessage) -> Widget:
        if message.is_answer:
            return AnswerView(message.text, message.note, thought=message.thought, thought_words=message.thought_words)
        return UserMessage(message.text, message.note, message.attachments, self.facts_of)

    def _message_views(self) -> list[UserMessage | AnswerView]:
        """Returns the mounted views of messages, in order. Remarks may stand between them."""
        return [view for view in self.children if isinstance(view, UserMessage | AnswerView) and not view._pruning]

    async def _fill(self) -> None:
        """Mounts what the user may soon scroll up to: a few messages, and after the next refresh a few more."""
        if not (self.is_following and self._older and len(self.children) < MOUNTED_AT_FIRST):
            return
        if self.max_scroll_y > self.size.height > 0:
            return
        if not self._is_mounting:
            self._is_mounting = True
            async with self.batch():
                batch = self._older[-MOUNTED_BESIDE:]
                del self._older[-MOUNTED_BESIDE:]
                top = self.children[0] if self.children else None
                pushed_down = partial(self._pushed_down, top, top.virtual_region.y if top else 0)
                await self.mount_all(map(self._view, batch), before=top)
            self._is_mounting = False
            self.call_after_refresh(pushed_down)
        self.call_after_refresh(self._fill)

    def _pushed_down(self, view: Widget | None, row: int) -> None:
        """Scrolls as far as `view` was pushed down from its `row`, if the user has begun to scroll meanwhile."""
        if view is not None and view.is_attached and not self.is_following:
            self.scroll_to(y=self.scroll_y + view.virtual_region.y - row, animate=False, immediate=True)

    async def _mount_older(self, count: int = MOUNTED_AT_A_TIME) -> None:
        if self._is_mounting or not self._older:
            return
        self._is_mounting = True
        async with self.batch():
            batch = self._older[-count:]
            del self._older[-count:]
            top = self.children[0] if self.children else None
            keep_in_view = self._keeper_of(top)
            await self.mount_all(map(self._view, batch), before=top)
            if self._live is None and (far := self._far_below()):
                self._newer[:0] = [view.shown for view in far]
                await self.remove_children(list(self.children)[self.children.index(far[0]) :])
        self.call_after_refresh(keep_in_view)

    async def _mount_newer(self) -> None:
        if self._is_mounting or not self._newer:
            return
        self._is_mounting = True
        async with self.batch():
            batch = self._newer[:MOUNTED_AT_A_TIME]
            del self._newer[:MOUNTED_AT_A_TIME]
            views = self._message_views()
            keep_in_view = self._keeper_of(views[-1] if views else None)
            await self.mount_all(map(self._view, batch))
            surplus = len(views) + len(batch) - MOST_MOUNTED
            if surplus > 0:
                self._older += [view.shown for view in views[:surplus]]
                await self.remove_children(list(self.children)[: self.children.index(views[surplus])])
        self.call_after_refresh(keep_in_view)

    def _far_below(self) -> list[UserMessage | AnswerView]:
        """Returns the newest mounted messages that may be unmounted, from top to bottom."""
        views = self._message_views()
        surplus = len(views) - MOST_MOUNTED
        limit = self.scroll_y + (1 + _FAR_SCREENS) * self.size.height
        # Messages that were mounted just now have no place yet; they are at the top and never surplus.
        return [view for view in views[len(views) - max(0, surplus) :] if view.virtual_region.y > limit]

    def _keeper_of(self, view: Widget | None) -> Callable[[], None]:
        """Returns what moves `view` back to the row of the screen where it is now, and ends the mounting."""
        row = view.virtual_region.y - self.scroll_y if view is not None else 0

        def keep_in_view() -> None:
            if view is not None and view.is_attached:
                self.scroll_to(y=view.virtual_region.y - row, animate=False, immediate=True)
            self._is_mounting = False

        return keep_in_view

    # --- parts of long answers ----------------------------------------------------------------------------------

    def _tend_soon(self) -> None:
        """Lays parts of long answers out, or folds them away, after the next refresh."""
        if not self._is_tending:
            self._is_tending = True
            self.call_after_refresh(self._tend)

    def _tend(self) -> None:
        self._is_tending = False
        if self._is_mounting or not self.is_attached:
            return
        height = self.size.height
        keep_in_view = None if self.is_following else self._keeper_of_first_in_view()
        changed = [
            view.tend(self.scroll_y - view.virtual_region.y, height)
            for view in self._message_views()
            if isinstance(view, AnswerView) and view.is_mounted
        ]
        if any(changed) and keep_in_view is not None:
            self.call_after_refresh(keep_in_view)

    def _keeper_of_first_in_view(self) -> Callable[[], None] | None:
        """Returns what keeps the first line of the view in its row when the heights of what is above it change."""
        for view in self._message_views():
            for part in view.parts:
                row = self._row_of(part)
                if row + part.virtual_region.height > 0:
                    return partial(self._move_to_row, part, row)
        return None

    def _row_of(self, widget: Widget) -> float:
        """Returns the row of the view where `widget` begins; negative above the view."""
        row, node = -self.scroll_y, widget
        while node is not self and isinstance(node.parent, Widget):
            row += node.virtual_region.y
            node = node.parent
        return row

    def _move_to_row(self, widget: Widget, row: float) -> None:
        moved = self._row_of(widget) - row
        if widget.is_attached and moved and not self.is_following:
            self.scroll_to(y=self.scroll_y + moved, animate=False, immediate=True)

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
