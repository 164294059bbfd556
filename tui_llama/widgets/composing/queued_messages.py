"""The messages that will be sent when the answer ends, above the composer. Keys edit, remove and move them."""

from collections.abc import Sequence
from typing import ClassVar, Final

from textual import events
from textual.binding import BindingType
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.widget import Widget

from tui_llama.text_safety import sanitize_line
from tui_llama.widgets.cutting import cut
from tui_llama.widgets.local_keys import QUEUE, local_bindings

SHOWN_LINES: Final = 3
_HINT: Final = "sent when the answer ends · ↑ edits it"
_NUMBER: Final = "number"  # marks the lines of a message for clicks


class QueuedMessages(Widget, can_focus=True):
    """The first lines of a message, or a line of each of several, under a line that says what becomes of them."""

    FOCUS_ON_CLICK: ClassVar[bool] = False
    ALLOW_SELECT: ClassVar[bool] = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {"queued--words", "queued--chosen"}
    HELP = """The queue
    These messages are sent as one when the answer ends. One of them is marked: keys edit, remove or move it.
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *local_bindings(QUEUE),
    ]

    class BackWanted(Message):
        """Posted when the user wants to edit message number `number`, counted from 0."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    class ChangeWanted(Message):
        """Posted when message number `number` is to be moved to a place, or removed where that is None."""

        def __init__(self, number: int, place: int | None) -> None:
            super().__init__()
            self.number = number
            self.place = place

    class Left(Message):
        """Posted when the user goes back to what is written."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._texts: Sequence[str] = ()
        self._chosen = 0
        self.display = False

    def show(self, texts: Sequence[str]) -> None:
        """Shows these messages, which are not trusted, in order; takes no room where there are none."""
        if len(texts) > len(self._texts):
            self._chosen = len(texts) - 1
        self._texts = tuple(texts)
        self._chosen = max(0, min(self._chosen, len(texts) - 1))
        self.display = bool(texts)
        self.refresh(layout=True)
        if not texts and self.has_focus:
            self.post_message(self.Left())

    def render(self) -> Content:
        """Returns the lines."""
        return Content("\n").join(cut(line, self.content_size.width) for line in self._lines())

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Returns the number of lines: each will be cut to the width."""
        return len(self._lines())

    def _lines(self) -> list[Content]:
        return self._lines_of_one() if len(self._texts) == 1 else self._lines_of_several()

    def _lines_of_one(self) -> list[Content]:
        lines = [sanitize_line(line) for line in self._texts[0].split("\n") if line.strip()]
        more = len(lines) - SHOWN_LINES
        words = f"queued, {more} more lines · {_HINT}" if more > 0 else f"queued · {_HINT}"
        shown = [Content(line) for line in lines[:SHOWN_LINES]]
        style = ".queued--chosen" if self.has_focus else ""
        marked = [line.stylize(style) if style else line for line in shown]
        return [Content.styled(words, ".queued--words"), *marked]

    def _lines_of_several(self) -> list[Content]:
        first = max(0, min(self._chosen - 1, len(self._texts) - SHOWN_LINES))
        words = f"{len(self._texts)} queued · ↑ edits the last · Shift+Tab chooses"
        lines = [Content.styled(words, ".queued--words")]
        for number, text in list(enumerate(self._texts))[first : first + SHOWN_LINES]:
            line = Content(f"{number + 1} {sanitize_line(' '.join(text.split()))}")
            lines.append(line.stylize(".queued--chosen") if self.has_focus and number == self._chosen else line)
        return lines

    def on_focus(self) -> None:
        """Marks the message that keys act on."""
        self.refresh()

    def on_blur(self) -> None:
        """Marks none: keys go elsewhere."""
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Asks for a message back: that of the line, or the last one."""
        event.stop()
        offset = event.get_content_offset(self)
        number = len(self._texts) - 1
        if offset is not None and offset.y > 0 and len(self._texts) > 1:
            number = max(0, min(self._chosen - 1, len(self._texts) - SHOWN_LINES)) + offset.y - 1
        self.post_message(self.BackWanted(number))

    def action_edit(self) -> None:
        """Asks for the message that is marked."""
        self.post_message(self.BackWanted(self._chosen))

    def action_remove(self) -> None:
        """Asks for the message that is marked to be removed."""
        self.post_message(self.ChangeWanted(self._chosen, None))

    def action_shift(self, step: int) -> None:
        """Asks for the message that is marked to be sent earlier or later."""
        place = self._chosen + step
        if 0 <= place < len(self._texts):
            self.post_message(self.ChangeWanted(self._chosen, place))
            self._chosen = place

    def action_choose(self, step: int) -> None:
        """Marks the message before or after; behind the last one, goes back to what is written."""
        if self._chosen + step >= len(self._texts):
            self.action_leave()
        self._chosen = max(0, min(self._chosen + step, len(self._texts) - 1))
        self.refresh()

    def action_leave(self) -> None:
        """Goes back to what is written."""
        self.post_message(self.Left())
