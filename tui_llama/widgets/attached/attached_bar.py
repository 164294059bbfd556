"""The attachments of the message that is being written, above the composer; no line where there are none."""

from collections.abc import Sequence

from textual import on
from textual.containers import VerticalScroll
from textual.message import Message

from tui_llama.attachments.facts import AttachedFacts
from tui_llama.chat import Attachment
from tui_llama.widgets.attached.chip import Chip


class AttachedBar(VerticalScroll, can_focus=False):
    """A line for each attachment. A few are seen at once; the others are scrolled to."""

    class Left(Message):
        """Posted when the user has left the attachments, forwards or by Esc."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.display = False

    @property
    def chips(self) -> list[Chip]:
        """The lines, in order, without any that is being removed."""
        return [chip for chip in self.query(Chip) if not chip._pruning]

    def show(self, attachments: Sequence[tuple[Attachment, AttachedFacts]]) -> None:
        """Shows these attachments. Lines of those that stay keep the focus; else the next one has it."""
        before, focused = self.chips, next((chip for chip in self.chips if chip.has_focus), None)
        position = before.index(focused) if focused is not None else 0
        wanted = [attachment for attachment, _ in attachments]
        if [chip.attachment for chip in before] != wanted:
            kept = {id(chip.attachment): chip for chip in before}
            self.remove_children([chip for chip in before if id(chip.attachment) not in {id(each) for each in wanted}])
            added = [Chip(*each) for each in attachments if id(each[0]) not in kept]
            self.mount_all(added)
            if added:  # else nobody sees that there is one more
                self.call_after_refresh(self.scroll_end, animate=False)
        self.display = bool(attachments)
        for chip in self.chips:
            chip.refresh()
        if focused is not None and focused._pruning:
            self._focus(min(position, len(attachments) - 1))

    def focus_last(self) -> bool:
        """Gives the focus to the last line; returns whether there is one."""
        self._focus(len(self.chips) - 1)
        return bool(self.chips)

    def focus_first(self) -> bool:
        """Gives the focus to the first line; returns whether there is one."""
        self._focus(0)
        return bool(self.chips)

    def _focus(self, position: int) -> None:
        chips = self.chips
        if 0 <= position < len(chips):
            chips[position].focus()
        else:
            self.post_message(self.Left())

    @on(Chip.Left)
    def _go_on(self, event: Chip.Left) -> None:
        event.stop()
        chips = self.chips
        position = chips.index(event.chip) + event.step if event.chip in chips else 0
        if event.step:
            self._focus(max(0, position))
        else:
            self.post_message(self.Left())
