"""The attachments of the message that is being written."""

from collections.abc import Callable, Sequence

from tui_llama.attachments.prompt_text import with_attachments
from tui_llama.chat import Attachment


class PendingAttachments:
    """What will be sent with the next message.

    While an earlier message is edited, these are that message's, and what was attached before is set aside. An answer
    has no attachments: what is attached while one is edited waits with what was set aside.

    Attributes:
        on_change: Called whenever they are others.
    """

    def __init__(self) -> None:
        self._attachments: tuple[Attachment, ...] = ()
        self._set_aside: tuple[Attachment, ...] | None = None
        self._takes_more = True
        self.on_change: Callable[[], None] = lambda: None

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """What is attached now."""
        return self._attachments

    @property
    def set_aside(self) -> tuple[Attachment, ...]:
        """What was attached before an earlier message was edited."""
        return self._set_aside or ()

    @property
    def takes_more(self) -> bool:
        """False while an answer is edited: what is attached waits for the next message."""
        return self._takes_more

    @property
    def kept(self) -> tuple[Attachment, ...]:
        """Those to which `add` adds."""
        return self._attachments if self._takes_more else self.set_aside

    def given(self) -> tuple[Attachment, ...]:
        """Returns what is attached now."""
        return self._attachments

    def message(self, text: str) -> str:
        """Returns what the model will get of a message with this text."""
        return with_attachments(text, self._attachments)

    def add(self, attachment: Attachment) -> None:
        """Attaches something more, in place of the same file as it was before; the same once more changes nothing."""
        if attachment in self.kept:
            return
        others = [each for each in self.kept if not each.path or each.path != attachment.path]
        if self._takes_more:
            self.replace((*others, attachment))
        else:
            self._set_aside = (*others, attachment)
            self.on_change()

    def remove(self, attachment: Attachment) -> None:
        """Attaches it no longer."""
        self.replace([each for each in self._attachments if each != attachment])

    def clear(self) -> None:
        """Attaches nothing."""
        self.replace(())

    def replace(self, attachments: Sequence[Attachment]) -> None:
        """Attaches these, and nothing else."""
        if tuple(attachments) != self._attachments:
            self._attachments = tuple(attachments)
            self.on_change()

    def edit(self, attachments: Sequence[Attachment], *, takes_more: bool = True) -> None:
        """Attaches what belongs to an earlier message that is edited now; `takes_more` where that can have others."""
        self._takes_more = takes_more
        if self._set_aside is None:
            self._set_aside = self._attachments
        self.replace(attachments)

    def end_edit(self) -> None:
        """Attaches again what was attached before any message was edited."""
        before, self._set_aside = self._set_aside, None
        self._takes_more = True
        if before is not None:
            self.replace(before)
