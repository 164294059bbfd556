"""The views of the transcript's messages: the user's message, the model's answer, and the program's remark."""

import asyncio
from collections.abc import Callable, Sequence
from time import thread_time
from typing import TYPE_CHECKING, TypeAlias

import msgspec
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.css.query import NoMatches
from textual.message import Message
from textual.selection import Selection
from textual.style import Style
from textual.widget import MountError, Widget
from textual.widgets import Static

from tui_llama.attachments.facts import AttachedFacts, attached_words
from tui_llama.chat import Attachment
from tui_llama.text_safety import TextSanitizer, drawn, sanitize, sanitize_line
from tui_llama.widgets.arranged_once import ArrangedOnce
from tui_llama.widgets.cutting import cut
from tui_llama.widgets.extracting import extracted
from tui_llama.widgets.long_text import beginning, extent, is_long
from tui_llama.widgets.thought_view import ThoughtView

if TYPE_CHECKING:
    from tui_llama.widgets.markdown.answer_text import AnswerText

FRAME_SECONDS = 0.045  # at most 22 updates a second
LONGEST_FRAME_SECONDS = 0.5
REST_FOR_WORK = 8.0  # seconds of pause for each second of work, so that the work takes an eighth of one core
_NOTE_STYLE = "italic $faint-words"
_ATTACHED_STYLE = "$quiet-words"
_NAME_CELLS = 28
_ATTACHMENT_MARK = "▪ "
_ATTACHED = "attached"  # marks the lines of attachments for clicks

FactsOf: TypeAlias = Callable[[Attachment], AttachedFacts | None]


class ShownMessage(msgspec.Struct, frozen=True):
    """A message as the transcript takes it. `note` is shown below it: stopped, interrupted, version 2 of 3 …

    Its attachments are shown above it, folded, and so is the thought before an answer; `thought_words` tell its cost.
    """

    is_answer: bool
    text: str
    note: str = ""
    attachments: tuple[Attachment, ...] = ()
    thought: str = ""
    thought_words: str = ""


class UserMessage(Static):
    """A message of the user, as plain text. Only the beginning of a long message is shown."""

    class WholeWanted(Message):
        """Posted when the user clicks on a message that is shown in part. `text` is the whole message."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class AttachmentsWanted(Message):
        """Posted when the user wants to see the contents of the message's attachments."""

        def __init__(self, attachments: tuple[Attachment, ...]) -> None:
            super().__init__()
            self.attachments = attachments

    def __init__(
        self,
        text: str,
        note: str = "",
        attachments: tuple[Attachment, ...] = (),
        facts_of: FactsOf = lambda _attachment: None,
    ) -> None:
        self._text = text
        self._note = note
        self._attachments = attachments
        self._facts_of = facts_of
        self._begins = beginning(text) if is_long(text) else text
        notes = [f"… {extent(text)}. A click or /whole shows them all."] if is_long(text) else []
        notes += [sanitize_line(note)] if note else []
        self._below = "".join(f"\n{line}" for line in notes)
        super().__init__(self._drawn(), markup=False)

    def _drawn(self) -> Content:
        above = Content.styled(self._above, _ATTACHED_STYLE).stylize(Style.from_meta({_ATTACHED: True}))
        return Content.assemble(above, drawn(self._begins), (self._below, _NOTE_STYLE))

    @property
    def _above(self) -> str:
        """The lines of the attachments, as they are drawn."""
        lines = [f"{_ATTACHMENT_MARK}{_short_name(each)} · {self._words_of(each)}\n" for each in self._attachments]
        return "".join(lines) if self._text else "".join(lines).removesuffix("\n")

    def _words_of(self, attachment: Attachment) -> str:
        return attached_words(attachment, self._facts_of(attachment), with_lines=False)

    def redraw_attached(self) -> None:
        """Draws what is known of the attachments again: it is more now."""
        if self._attachments:
            self.update(self._drawn())

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """Returns the selected text as it was written. Each of its characters is drawn as one character."""
        marks = (len(_ATTACHMENT_MARK),) * len(self._attachments)
        return extracted(self._above + self._begins + self._below, selection, marks), "\n\n"

    def on_click(self, event: events.Click) -> None:
        """Shows the attachments if the click is on their lines; else all of a message that is shown in part."""
        if event.style.meta.get(_ATTACHED):
            event.stop()
            self.action_show_attachments()
        elif is_long(self._text):
            event.stop()
            self.post_message(self.WholeWanted(self._text))

    def action_unfold(self) -> None:
        """Shows what is folded here: the attachments, or else all of a message that is shown in part."""
        if self._attachments:
            self.action_show_attachments()
        elif is_long(self._text):
            self.post_message(self.WholeWanted(self._text))

    def action_show_attachments(self) -> None:
        """Posts that the attachments are wanted, if there are any."""
        if self._attachments:
            self.post_message(self.AttachmentsWanted(self._attachments))

    @property
    def shown(self) -> ShownMessage:
        """The data from which the same view can be made again."""
        return ShownMessage(is_answer=False, text=self._text, note=self._note, attachments=self._attachments)

    @property
    def parts(self) -> Sequence[Widget]:
        """The message as a whole; only answers have several parts."""
        return (self,)


def _short_name(attachment: Attachment) -> str:
    """Returns the name of an attachment, or the last part of a long path, as far as there is room."""
    name = Content(sanitize_line(attachment.name))
    if name.cell_length > _NAME_CELLS:
        name = Content(sanitize_line(attachment.name).rpartition("/")[2])
    return cut(name, _NAME_CELLS).plain


class Remark(Static):
    """A line that is not part of the conversation: a notice, or a failure with a hint below it."""

    def __init__(self, text: str, hint: str = "", *, is_failure: bool = False) -> None:
        lines = [line for line in (sanitize_line(text), sanitize_line(hint)) if line]
        super().__init__("\n".join(lines), markup=False, classes="-failure" if is_failure else "")


class AnswerView(Vertical, ArrangedOnce):
    """An answer: Markdown that may still grow, and a note below it.

    One task draws the answer from the first piece of text to the last. It gathers the text that arrives and draws it at
    most 22 times a second. Each time, the last paragraph or code block is laid out and drawn as a whole, which takes
    longer as it grows. So the task draws less often then, and leaves the cores to the engine.

    Args:
        text: The text that there is already.
        note: The note below it.
        is_live: Whether more text will come, until `finish` is called.
        on_grown: Is called after more text was drawn.
        thought: The thought before the text.
        thought_words: What is known of the thought's cost.
    """

    def __init__(
        self,
        text: str = "",
        note: str = "",
        *,
        is_live: bool = False,
        on_grown: Callable[[], None] | None = None,
        thought: str = "",
        thought_words: str = "",
    ) -> None:
        super().__init__()
        self.thought_view = ThoughtView(thought, thought_words, is_live=is_live and not text)
        self._pending_thought: list[str] = []
        self._text = sanitize(text)
        self._note = sanitize_line(note)
        self._has_ended = not is_live
        self._on_grown = on_grown
        self._sanitizer = TextSanitizer()
        self._pending: list[str] = []
        self._thought_words = ""
        self._more = asyncio.Event()
        self.set_class(is_live, "-live")
        self.set_class(not text, "-empty")

    def compose(self) -> ComposeResult:
        """Yields the sign for an answer without text, the Markdown, and the note."""
        # Imported here because the first frame needs no Markdown, and the import is slow.
        from tui_llama.widgets.markdown.answer_text import AnswerText

        yield self.thought_view
        yield Static("· · ·", classes="pending")
        yield AnswerText(self._text, is_growing=self.is_live)
        yield Static(self._note, classes="note", markup=False)

    def on_mount(self) -> None:
        """Starts the task that draws the answer, if it is live."""
        self.set_class(bool(self._note), "-noted")
        if self.is_live:
            self.run_worker(self._draw_what_comes(), name="draw the answer")

    @property
    def shown(self) -> ShownMessage:
        """The data from which the same view can be made again."""
        text = self.markdown.source if self.is_mounted else self._text
        thought = self.thought_view
        return ShownMessage(
            is_answer=True, text=text, note=self._note, thought=thought.thought, thought_words=thought.words
        )

    @property
    def parts(self) -> Sequence[Widget]:
        """The widgets of which the text is made, from top to bottom."""
        return self.markdown.parts if self.is_mounted else ()

    def tend(self, top: float, height: int) -> bool:
        """Lays out the parts near the view, folds those far away. Returns whether any were laid out.

        Args:
            top: The first row of the view, counted from the beginning of this widget.
            height: The height of the view, in rows.
        """
        return self.markdown.tend(top - self.markdown.virtual_region.y, height)

    @property
    def is_live(self) -> bool:
        """True if more text may still be drawn."""
        return self.has_class("-live")

    @property
    def markdown(self) -> "AnswerText":
        """The widget that shows the text."""
        from tui_llama.widgets.markdown.answer_text import AnswerText

        return self.query_one(AnswerText)

    def action_unfold(self) -> None:
        """Folds the thought before the answer, or unfolds it and shows its beginning."""
        self.thought_view.action_toggle_thought()
        self.thought_view.scroll_visible(animate=False, top=True)

    def append(self, text: str, thought: str = "") -> None:
        """Adds text to the answer, and to the thought before it. Both are drawn soon."""
        if thought:
            self._pending_thought.append(thought)
            self._more.set()
        safe = self._sanitizer.push(text)
        if safe:
            self._pending.append(safe)
            self._more.set()

    def finish(self, note: str, thought_words: str = "") -> None:
        """Ends the answer after the last `append`.

        Args:
            note: How it ended; may be empty.
            thought_words: What is known of the cost of its thought.
        """
        self._thought_words = thought_words
        self._pending.append(self._sanitizer.finish())
        self._note = sanitize_line(note)
        self._has_ended = True
        self._more.set()

    def change_note(self, note: str) -> None:
        """Replaces the note with which the answer ended."""
        self._note = sanitize_line(note)
        if self.is_mounted and not self.is_live:  # else the note is drawn with the end of the answer
            self._draw_note()

    async def _draw_what_comes(self) -> None:
        try:
            await self._draw_until_the_end()
        except (NoMatches, MountError):
            # Another chat is shown now. Textual removes the parts of a view before the view and its tasks.
            if self.is_attached and self.display:
                raise

    async def _draw_until_the_end(self) -> None:
        worked_until = thread_time()
        while not self._has_ended:
            await self._more.wait()
            await self._draw_pending()
            # Counted from the last pause on: what is folded away and shown elsewhere is drawn during the pause.
            worked_from, worked_until = worked_until, thread_time()
            if not self._has_ended:
                rest = min(REST_FOR_WORK * (worked_until - worked_from), LONGEST_FRAME_SECONDS)
                await asyncio.sleep(max(FRAME_SECONDS, rest))
        await self._draw_pending()
        self._draw_end()

    async def _draw_pending(self) -> None:
        """Draws the gathered text, up to the terminal."""
        self._more.clear()
        text, self._pending = "".join(self._pending), []
        thought, self._pending_thought = "".join(self._pending_thought), []
        if thought:
            self.thought_view.append(thought)
            self.add_class("-thinking")
            if not text:
                self._report_growth()
                await self._drawn()
        if text:
            if self.has_class("-empty"):
                self.thought_view.finish()
            self.remove_class("-thinking")
            self.remove_class("-empty")
            with self.app.batch_update():  # else it may be arranged twice
                await self.markdown.append(text)
                self._report_growth()
            await self._drawn()

    async def _drawn(self) -> None:
        """Waits until the next refresh is done."""
        drawn = asyncio.Event()
        self.call_after_refresh(drawn.set)
        await drawn.wait()

    def _draw_end(self) -> None:
        self.markdown.finish()
        self.thought_view.finish(self._thought_words)
        self.remove_class("-thinking")
        self._draw_note()
        self.remove_class("-live")
        self._report_growth()

    def _draw_note(self) -> None:
        self.query_one(".note", Static).update(self._note)
        self.set_class(bool(self._note), "-noted")

    def _report_growth(self) -> None:
        if self._on_grown is not None:
            self._on_grown()
