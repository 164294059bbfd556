"""The base of dialogs with a list that the user filters by typing."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import ClassVar, Generic, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from tui_llama.screens.dialogs.dialog import Dialog
from tui_llama.widgets.cutting import cut
from tui_llama.widgets.line_input import LineInput
from tui_llama.widgets.local_keys import LIST, local_bindings

Result = TypeVar("Result")
Item = TypeVar("Item")


class PickDialog(Dialog[Result], Generic[Item, Result]):
    """A dialog that shows items, filters them by the typed words, and hands the chosen item to `choose`.

    A subclass overrides methods to say how its items look and what choosing one does.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"pick--detail", "pick--heading", "pick--dimmed"}
    TITLE_TEXT = ""
    PLACEHOLDER = "Type to search"
    KEYS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        *local_bindings(LIST),
    ]

    def __init__(self, items: Sequence[Item]) -> None:
        super().__init__()
        self._items = list(items)
        self._rows: list[Item | None] = []  # the listed items; None stands for a heading
        self._is_wanted: Callable[[Item], bool] | None = None

    # --- for subclasses -----------------------------------------------------------------------------------------

    def above(self) -> ComposeResult:
        """Yields what stands above the filter."""
        yield from ()

    def line(self, item: Item, width: int) -> Content:
        """Returns the line of an item, sanitized and at most `width` cells wide."""
        raise NotImplementedError

    def heading(self, item: Item) -> str:
        """Returns the heading above an item; empty for none. Items with the same heading must follow each other."""
        return ""

    def details(self, item: Item) -> str:
        """Returns the text below the list about the item under the cursor, sanitized; empty for none."""
        return ""

    def words(self, item: Item) -> str:
        """Returns the text in which the filter looks for the typed words."""
        raise NotImplementedError

    def choose(self, item: Item) -> None:
        """Acts on the item that the user has chosen."""
        raise NotImplementedError

    def choose_typed(self, text: str) -> None:
        """Acts on the typed text when the user presses Enter and no item matches it."""

    def advice_when_empty(self, filter_text: str) -> str:
        """Returns the text to show when no item is listed."""
        raise NotImplementedError

    # --- for everyone -------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Yields the filter, the list, the texts below it, and the keys."""
        with Vertical(classes="dialog -list") as box:
            box.border_title = self.TITLE_TEXT
            yield from self.above()
            yield LineInput(placeholder=self.PLACEHOLDER, compact=True)
            yield OptionList(compact=True, markup=False)
            yield Static("", classes="advice", markup=False)
            yield Static("", classes="details", markup=False)
            message = Static("", classes="message", markup=False)
            message.display = False
            yield message
            yield Static(self.footer(self.KEYS), classes="keys", markup=False)

    def on_mount(self) -> None:
        """Fills the list after the first refresh, when its width is known."""
        self.call_after_refresh(self.refill)

    def on_resize(self) -> None:
        """Fills the list again, because each line is made for one width."""
        self.call_after_refresh(self.refill)

    @property
    def highlighted(self) -> Item | None:
        """The item under the cursor."""
        index = self.query_one(OptionList).highlighted
        return self._rows[index] if index is not None and index < len(self._rows) else None

    def put_cursor(self, is_wanted: Callable[[Item], bool]) -> None:
        """Moves the cursor to the first item for which `is_wanted` is true, as soon as such an item is listed."""
        self._is_wanted = is_wanted
        if self.is_there:
            self._find_wanted()

    def _find_wanted(self) -> None:
        if self._is_wanted is None:
            return
        for index, item in enumerate(self._rows):
            if item is not None and self._is_wanted(item):
                self.query_one(OptionList).highlighted = index
                self._is_wanted = None
                return

    def replace_items(self, items: Sequence[Item]) -> None:
        """Lists these items from now on and keeps the cursor on its item. May be called before the dialog is drawn."""
        before, self._items = self._items, list(items)
        if not self.is_there:
            return
        if items and len(before) == len(items) and all(map(self._is_in_place, self._items, before)):
            self._redraw_lines()
        else:
            self.refill()

    def _is_in_place(self, item: Item, other: Item) -> bool:
        """Tells whether an item keeps its line and heading, so that only the line must be drawn again."""
        return self.is_same(item, other) and self.heading(item) == self.heading(other)

    @on(Input.Changed)
    def _filter(self) -> None:
        """Lists the items that match the typed text, and puts the cursor on the first match."""
        self.say("")
        self.refill()
        first = next((index for index, item in enumerate(self._rows) if item is not None), None)
        self.query_one(OptionList).highlighted = first

    def say(self, text: str) -> None:
        """Shows a message below the list until the next letter is typed.

        Args:
            text: The message, sanitized; empty for none.
        """
        if self.is_there:
            line = self.query_one(".message", Static)
            line.display = bool(text)
            line.update(text)

    def refill(self) -> None:
        """Lists the items that match the filter."""
        if not self.is_there:
            return
        text = self.query_one(Input).value
        matching = self._matching_items()
        options = self.query_one(OptionList)
        before = self.highlighted
        position = options.highlighted or 0
        was_hidden = not options.display
        width = self._line_width
        with self.app.batch_update():
            options.clear_options()
            self._rows = []
            for item in matching:
                heading = self.heading(item)
                if heading and (not self._rows or heading != self.heading(self._last_item())):
                    self._add_row(None, Content.styled(heading, ".pick--heading"))
                self._add_row(item, self.line(item, width))
            options.highlighted = self._place_of_cursor(before, position)
            self._find_wanted()
            options.display = bool(matching)
            advice = self.query_one(".advice", Static)
            advice.display = not matching
            advice.update("" if matching else self.advice_when_empty(text.strip()))
        self._show_details()
        # A list that was hidden has no width before it is drawn, and each line is made for one width.
        self.call_after_refresh(self.refill if matching and was_hidden else options.scroll_to_highlight)

    def _matching_items(self) -> list[Item]:
        wanted = self.query_one(Input).value.casefold().split()
        return [item for item in self._items if all(word in self.words(item).casefold() for word in wanted)]

    @property
    def _line_width(self) -> int:
        return self.query_one(OptionList).scrollable_content_region.width - 2

    def _redraw_lines(self) -> None:
        """Draws the changed lines again in their places. The cursor and the scroll position stay."""
        matching = self._matching_items()
        places = [index for index, item in enumerate(self._rows) if item is not None]
        if len(matching) != len(places):  # the changes made items match, or no longer match, the filter
            self.refill()
            return
        options, width = self.query_one(OptionList), self._line_width
        for index, item in zip(places, matching, strict=True):
            if item != self._rows[index]:
                self._rows[index] = item
                options.replace_option_prompt_at_index(index, self.line(item, width))
        self._find_wanted()
        self._show_details()

    def _last_item(self) -> Item:
        """Returns the item that was listed last."""
        return next(item for item in reversed(self._rows) if item is not None)

    def _add_row(self, item: Item | None, line: Content) -> None:
        self._rows.append(item)
        self.query_one(OptionList).add_option(Option(line, disabled=item is None))

    def _place_of_cursor(self, before: Item | None, position: int) -> int | None:
        """Returns the line of the same item if it is still listed, else the nearest line with an item."""
        same = [index for index, item in enumerate(self._rows) if item is not None and self.is_same(item, before)]
        if same:
            return same[0]
        with_items = [index for index, item in enumerate(self._rows) if item is not None]
        return min(with_items, key=lambda index: abs(index - position), default=None)

    def is_same(self, item: Item, other: Item | None) -> bool:
        """Tells whether two items stand for the same thing. Details of the thing may differ."""
        return item == other

    @on(OptionList.OptionHighlighted)
    def _show_details(self) -> None:
        item = self.highlighted
        below = self.query_one(".details", Static)
        words = self.details(item) if item is not None else ""
        below.display = bool(words)
        rows = below.styles.max_height
        width = self.query_one(LineInput).size.width
        below.update(_beginning(words, width, int(rows.value)) if rows is not None and width else words)

    @on(Input.Submitted)
    def _enter(self) -> None:
        item = self.highlighted
        if item is not None:
            self.choose(item)
        else:
            self.choose_typed(self.query_one(Input).value.strip())

    @on(OptionList.OptionSelected)
    def _click(self, event: OptionList.OptionSelected) -> None:
        item = self._rows[event.option_index]
        if item is not None:
            self.choose(item)

    def action_move(self, action: str) -> None:
        """Moves the cursor of the list while the focus stays in the filter."""
        getattr(self.query_one(OptionList), f"action_{action}")()


def _beginning(text: str, width: int, most_rows: int) -> Content:
    """Returns as much of a text as there are rows for; an ellipsis says that there is more."""
    rows = Content(text).wrap(width)
    if len(rows) <= most_rows:
        return Content(text)
    last = Content.assemble(rows[most_rows - 1].rstrip(), " …")
    return Content("\n").join([*rows[: most_rows - 1], last if last.cell_length <= width else cut(last, width)])


def two_sides(left: str, right: str, width: int, *, is_dimmed: bool = False) -> Content:
    """Returns a line with two sanitized texts at its ends. The left text is cut where there is no room."""
    room = max(0, width - Content(right).cell_length - 2)
    start = cut(Content(left), room)
    blank = " " * max(1, width - start.cell_length - Content(right).cell_length)
    return Content.assemble((start.plain, ".pick--dimmed" if is_dimmed else ""), blank, (right, ".pick--detail"))


def count_and_time(count: int, moment: datetime, now: datetime, width: int) -> str:
    """Returns the number of messages and the time, or only the time where the line is short."""
    time = short_time(moment, now)
    messages = "message " if count == 1 else "messages"
    return f"{count:>4} {messages}  {time:>10}" if width > 50 else time


def short_time(moment: datetime, now: datetime) -> str:
    """Returns the time of day for a moment of today, else the day."""
    local, today = moment.astimezone(now.tzinfo), now
    if local.date() == today.date():
        return f"{local:%H:%M}"
    if local.year == today.year:
        return f"{local.day} {local:%b}"
    return f"{local:%Y-%m-%d}"
