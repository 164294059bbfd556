"""Moving by message: a scrolling view in which one message at a time has the focus and is acted on by single keys."""

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget

from tui_llama.widgets.local_keys import MESSAGE, local_bindings
from tui_llama.widgets.messages.acts import Act
from tui_llama.widgets.messages.end_scroll import EndScroll


class MessageCursor(EndScroll, can_focus=True, inherit_bindings=False):
    """The part of the transcript that knows which message is in focus; None is while the keys go elsewhere.

    The mouse never moves the focus here: whoever selects a text goes on writing.
    """

    FOCUS_ON_CLICK: ClassVar[bool] = False
    HELP = """The messages
    One message is in focus, and single keys act on it. Nothing that you have written is lost meanwhile.
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *local_bindings(MESSAGE),
        # All that is left of Textual's: it scrolls sideways with the keys that go to the chats before and after.
        Binding("pageup", "page_up", show=False),
        Binding("pagedown", "page_down", show=False),
        Binding("ctrl+home", "scroll_home", show=False),
        Binding("ctrl+end", "focus_last", show=False),
        *(
            # The help of what has the focus tells of the first only.
            Binding(f"{number}", f"copy_code({number})", "Copy code block 1 … 9" if number == 1 else "", show=False)
            for number in range(1, 10)
        ),
    ]

    class ActWanted(Message):
        """Posted when the user wants something done with message number `position`."""

        def __init__(self, act: Act, position: int) -> None:
            super().__init__()
            self.act = act
            self.position = position

    class CodeWanted(Message):
        """Posted when the user wants to copy code block `number`, counted from 1, of message number `position`."""

        def __init__(self, position: int, number: int) -> None:
            super().__init__()
            self.position = position
            self.number = number

    class FocusMoved(Message):
        """Posted when another message has the focus; `position` is None when none has it any more."""

        def __init__(self, position: int | None) -> None:
            super().__init__()
            self.position = position

    class LeaveWanted(Message):
        """Posted when the user goes back to what is written."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._in_focus: int | None = None
        self._focused_view: Widget | None = None
        self._is_showing = False

    # --- for the transcript -------------------------------------------------------------------------------------

    @property
    def message_count(self) -> int:
        """The number of messages, those that are not mounted included."""
        raise NotImplementedError

    def is_own(self, position: int) -> bool:
        """Tells whether message number `position` is the user's."""
        raise NotImplementedError

    async def bring_up(self, position: int) -> Widget | None:
        """Mounts message number `position` if need be, scrolls to it, and returns its view; None if it is not there."""
        raise NotImplementedError

    # --- the focus ----------------------------------------------------------------------------------------------

    @property
    def in_focus(self) -> int | None:
        """The number of the message in focus; None while none is."""
        return self._in_focus

    def focus_message(self, position: int) -> None:
        """Gives the focus to message number `position`, or to the nearest one that is there."""
        if not self.message_count:
            self.post_message(self.LeaveWanted())
            return
        self._in_focus = max(0, min(position, self.message_count - 1))
        self.focus(scroll_visible=False)
        if not self._is_showing:
            self._is_showing = True
            self.run_worker(self._show_focus(), group="message in focus")
        self.post_message(self.FocusMoved(self._in_focus))

    async def _show_focus(self) -> None:
        """Brings the message in focus up and marks it, until that is the one which was asked for last."""
        position = None
        try:
            while position != self._in_focus and self._in_focus is not None:
                position = self._in_focus
                view = await self.bring_up(position)
                if position == self._in_focus:
                    self._mark(view)
        finally:
            self._is_showing = False

    def _mark(self, view: Widget | None) -> None:
        if self._focused_view is not None and self._focused_view is not view:
            self._focused_view.remove_class("-in-focus")
        if view is not None:
            view.add_class("-in-focus")
        self._focused_view = view

    def on_focus(self) -> None:
        """Begins at the last message, unless the focus is brought to another."""
        if self._in_focus is None:
            self.focus_message(self.message_count - 1)

    def on_blur(self) -> None:
        """Lets go of the message: the keys go elsewhere."""
        self._in_focus = None
        self._mark(None)
        self.post_message(self.FocusMoved(None))

    # --- keys ---------------------------------------------------------------------------------------------------

    def action_move_focus(self, step: int) -> None:
        """Goes `step` messages on; behind the last one, back to what is written."""
        position = self.message_count - 1 if self._in_focus is None else self._in_focus + step
        if position >= self.message_count:
            self.action_leave()
        else:
            self.focus_message(position)

    def action_move_to_own(self, step: int) -> None:
        """Goes to the user's own message before, or after; stays where there is none."""
        position = self.message_count if self._in_focus is None else self._in_focus
        while 0 <= (position := position + step) < self.message_count:
            if self.is_own(position):
                self.focus_message(position)
                return

    def action_half_page(self, step: int) -> None:
        """Scrolls by half of what is seen."""
        self.scroll_relative(y=step * max(1, self.size.height // 2))

    def action_focus_first(self) -> None:
        """Goes to the first message."""
        self.focus_message(0)

    def action_focus_last(self) -> None:
        """Goes to the last message."""
        self.focus_message(self.message_count - 1)

    def action_leave(self) -> None:
        """Goes back to what is written."""
        self.post_message(self.LeaveWanted())

    async def action_unfold(self) -> None:
        """Folds or unfolds what is folded in the message in focus, if anything is."""
        if self._focused_view is not None:
            await self._focused_view.run_action("unfold")

    def action_act(self, name: str) -> None:
        """Asks for something to be done with the message in focus."""
        if self._in_focus is not None:
            self.post_message(self.ActWanted(Act[name], self._in_focus))

    def action_copy_code(self, number: int) -> None:
        """Asks for a code block of the message in focus to be copied."""
        if self._in_focus is not None:
            self.post_message(self.CodeWanted(self._in_focus, number))
