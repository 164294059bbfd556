"""One attachment of the message that is being written, in a line; keys and the mouse remove it or show its content."""

from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from tui_llama.attachments.facts import AttachedFacts, attached_words
from tui_llama.chat import Attachment
from tui_llama.text_safety import sanitize_line
from tui_llama.widgets.cutting import cut
from tui_llama.widgets.local_keys import ATTACHMENT, local_bindings

_MARK = "▪ "
_REMOVE = "×"
_GAP = "  "


class Chip(Widget, can_focus=True):
    """The line of an attachment: its name, its size, its tokens, and a cross that removes it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"chip--detail", "chip--remove"}
    ALLOW_SELECT: ClassVar[bool] = False
    BINDINGS: ClassVar[list[BindingType]] = [
        *local_bindings(ATTACHMENT),
    ]

    class Wanted(Message):
        """Posted when the user wants something of an attachment: it is to be removed, shown, or written as text."""

        def __init__(self, attachment: Attachment) -> None:
            super().__init__()
            self.attachment = attachment

    class RemoveWanted(Wanted):
        """See `Wanted`."""

    class ShowWanted(Wanted):
        """See `Wanted`."""

    class WriteWanted(Wanted):
        """See `Wanted`."""

    class Left(Message):
        """Posted when the focus is to go on from an attachment: to the one before (-1), behind (1), or away (0)."""

        def __init__(self, chip: "Chip", step: int) -> None:
            super().__init__()
            self.chip = chip
            self.step = step

    def __init__(self, attachment: Attachment, facts: AttachedFacts) -> None:
        super().__init__()
        self.attachment = attachment
        self._facts = facts

    def render(self) -> Content:
        """Returns the line, as wide as the widget."""
        room = max(0, self.content_size.width - len(_GAP + _REMOVE))
        details = Content.styled(attached_words(self.attachment, self._facts), ".chip--detail")
        name_room = max(room // 3, room - len(_MARK + _GAP) - details.cell_length)
        name = cut(Content(sanitize_line(self.attachment.name)), name_room)
        line = cut(Content.assemble(_MARK, name, _GAP, details), room)
        blank = Content(" " * (room - line.cell_length) + _GAP)
        return Content.assemble(line, blank, Content.styled(_REMOVE, ".chip--remove"))

    def on_click(self, event: events.Click) -> None:
        """Removes the attachment if the click is on the cross; else shows it."""
        event.stop()
        offset = event.get_content_offset(self)
        is_on_cross = offset is not None and offset.x >= self.content_size.width - len(_GAP + _REMOVE)
        self.action_remove() if is_on_cross else self.action_show()

    def action_remove(self) -> None:
        """Posts that the attachment is to be removed."""
        self.post_message(self.RemoveWanted(self.attachment))

    def action_show(self) -> None:
        """Posts that the content is to be shown."""
        self.post_message(self.ShowWanted(self.attachment))

    def action_write(self) -> None:
        """Posts that the attachment is to become a part of the text."""
        self.post_message(self.WriteWanted(self.attachment))

    def action_move(self, step: int) -> None:
        """Posts that the focus is to go on."""
        self.post_message(self.Left(self, step))
