"""A dialog with the contents of a message's attachments, one at a time."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.markup import escape
from textual.widgets import Static

from tui_llama.attachments.facts import AttachedFacts, attached_words
from tui_llama.chat import Attachment
from tui_llama.screens.dialogs.dialog import Dialog
from tui_llama.screens.dialogs.whole_text import TextRows
from tui_llama.text_safety import sanitize_line
from tui_llama.widgets.local_keys import ATTACHED_TEXT, local_bindings


class AttachedTexts(Dialog[None]):
    """What is attached to a message, with what is known of it.

    Args:
        attachments: All of them; at least one.
        position: The number of the one that is shown first.
    """

    HELP = """Attachments
    The texts that go to the model with a message, as it gets them.
    """
    AUTO_FOCUS = ".rows"
    BINDINGS: ClassVar[list[BindingType]] = [
        *local_bindings(ATTACHED_TEXT),
    ]

    def __init__(self, attachments: Sequence[tuple[Attachment, AttachedFacts]], position: int = 0) -> None:
        super().__init__()
        self._attachments = attachments
        self._position = position

    def compose(self) -> ComposeResult:
        """Yields a box with the content of one, what is known of it, and the keys."""
        with Vertical(classes="dialog -whole"):
            yield TextRows("")
            yield Static(classes="details", markup=False)
            others = "{attached_before} {attached_after} another · " if len(self._attachments) > 1 else ""
            yield Static(
                self.footer(f"{others}↑ ↓ PgUp PgDn scroll · {{attached_copy}} copy · {{dialog_close}} close"),
                classes="keys",
            )

    async def on_mount(self) -> None:
        """Shows the first one."""
        await self._show()

    async def _show(self) -> None:
        attachment, facts = self._attachments[self._position]
        box, rows = self.query_one(".dialog", Vertical), TextRows(attachment.text)
        number = f"{self._position + 1} of {len(self._attachments)} · " if len(self._attachments) > 1 else ""
        box.border_title = escape(number + sanitize_line(attachment.name))
        details = " · ".join(part for part in (attached_words(attachment, facts), attachment.path) if part)
        self.query_one(".details", Static).update(sanitize_line(details))
        await self.query_one(TextRows).remove()
        await box.mount(rows, before=0)
        rows.focus()

    async def action_turn(self, step: int) -> None:
        """Shows the one before or behind."""
        position = self._position + step
        if 0 <= position < len(self._attachments):
            self._position = position
            await self._show()

    def action_copy(self) -> None:
        """Copies the content of the one that is shown."""
        self.app.copy_to_clipboard(self._attachments[self._position][0].text)
