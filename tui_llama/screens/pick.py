"""A dialog with a list that gets shorter as one types."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import ClassVar, Generic, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from tui_llama.screens.dialog import Dialog
from tui_llama.widgets.cutting import cut
from tui_llama.widgets.line_input import LineInput

Result = TypeVar("Result")
Item = TypeVar("Item")


class PickDialog(Dialog[Result], Generic[Item, Result]):
    """Shows items, filters them by what is typed, and hands the chosen one to `choose`.

    What a list is about is said by the methods that a subclass overrides.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"pick--detail", "pick--heading", "pick--dimmed"}
    TITLE_TEXT = ""
    PLACEHOLDER = "Type to search"
    KEYS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move('cursor_up')", "Up", show=False, priority=True),
        Binding("down", "move('cursor_down')", "Down", show=False, priority=True),
        Binding("pageup", "move('page_up')", "Page up", show=False, priority=True),
        Binding("pagedown", "move('page_down')", "Page down", show=False, priority=True),
    ]

    def __init__(self, items: Sequence[Item]) -> None:
        super().__init__()
        self._items = list(items)
        self._rows: list[Item | None] = []  # what is listed; None for a heading
        self._is_wanted: Callable[[Item], bool] | None = None

    # --- for subclasses -----------------------------------------------------------------------------------------

    def line(self, item: Item, width: int) -> Content:
        """How an item is shown, clean and at most `width` cells wide."""
        raise NotImplementedError

    def heading(self, item: Item) -> str:
        """Under which heading an item stands; items of one heading follow each other. Empty for none."""
        return ""

    def details(self, item: Item) -> str:
        """What is said below the list of the item under the cursor; clean, and empty for nothing."""
        return ""

    def words(self, item: Item) -> str:
        """What typing is compared with."""
        raise NotImplementedError

    def choose(self, item: Item) -> None:
        """The user wants this one."""
        raise NotImplementedError

    def choose_typed(self, text: str) -> None:
        """Enter was pressed, and nothing in the list matches what was typed."""

    def advice_when_empty(self, filter_text: str) -> str:
        """What to say when nothing is listed."""
        raise NotImplementedError

    # --- for everyone -------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Filter, list, advice, keys."""
        with Vertical(classes="dialog -list") as box:
            box.border_title = self.TITLE_TEXT
            yield LineInput(placeholder=self.PLACEHOLDER, compact=True)
            yield OptionList(compact=True, markup=False)
            yield Static("", classes="advice", markup=False)
            yield Static("", classes="details", markup=False)
            message = Static("", classes="message", markup=False)
            message.display = False
            yield message
            yield Static(self.KEYS, classes="keys", markup=False)

    def on_mount(self) -> None:
        """The list is filled when its width is known."""
        self.call_after_refresh(self.refill)

    def on_resize(self) -> None:
        """Lines are made for a width."""
        self.call_after_refresh(self.refill)

    @property
    def highlighted(self) -> Item | None:
        """The item under the cursor."""
        index = self.query_one(OptionList).highlighted
        return self._rows[index] if index is not None and index < len(self._rows) else None

    def put_cursor(self, is_wanted: Callable[[Item], bool]) -> None:
        """Moves the cursor to the first item that is wanted, as soon as it is listed."""
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
        """Lists these from now on, which may be before the dialog is drawn; the cursor stays where it is."""
        before, self._items = self._items, list(items)
        if not self.is_there:
            return
        if items and len(before) == len(items) and all(map(self._is_in_place, self._items, before)):
            self._redraw_lines()
        else:
            self.refill()

    def _is_in_place(self, item: Item, other: Item) -> bool:
        """Whether a line only has to be drawn again."""
        return self.is_same(item, other) and self.heading(item) == self.heading(other)

    @on(Input.Changed)
    def _filter(self) -> None:
        """What is typed puts the cursor on the first match, whatever it was on before."""
        self.say("")
        self.refill()
        first = next((index for index, item in enumerate(self._rows) if item is not None), None)
        self.query_one(OptionList).highlighted = first

    def say(self, text: str) -> None:
        """Shows a line about what was just done or not done, until the next letter; clean, and empty for nothing."""
        if self.is_there:
            line = self.query_one(".message", Static)
            line.display = bool(text)
            line.update(text)

    def refill(self) -> None:
        """Lists what matches."""
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
        # A list that was hidden has no width before it is drawn, and lines are made for a width.
        self.call_after_refresh(self.refill if matching and was_hidden else options.scroll_to_highlight)

    def _matching_items(self) -> list[Item]:
        wanted = self.query_one(Input).value.casefold().split()
        return [item for item in self._items if all(word in self.words(item).casefold() for word in wanted)]

    @property
    def _line_width(self) -> int:
        return self.query_one(OptionList).scrollable_content_region.width - 2

    def _redraw_lines(self) -> None:
        """Draws what has changed of lines that stay where they are, and leaves cursor and scrolling alone."""
        matching = self._matching_items()
        places = [index for index, item in enumerate(self._rows) if item is not None]
        if len(matching) != len(places):  # the filter looks at what has changed
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
        """The item that was listed last."""
        return next(item for item in reversed(self._rows) if item is not None)

    def _add_row(self, item: Item | None, line: Content) -> None:
        self._rows.append(item)
        self.query_one(OptionList).add_option(Option(line, disabled=item is None))

    def _place_of_cursor(self, before: Item | None, position: int) -> int | None:
        """The line of the same item if it is still there, else the nearest one with an item."""
        same = [index for index, item in enumerate(self._rows) if item is not None and self.is_same(item, before)]
        if same:
            return same[0]
        with_items = [index for index, item in enumerate(self._rows) if item is not None]
        return min(with_items, key=lambda index: abs(index - position), default=None)

    def is_same(self, item: Item, other: Item | None) -> bool:
        """Whether two items stand for one thing, of which something may have changed."""
        return item == other

    @on(OptionList.OptionHighlighted)
    def _show_details(self) -> None:
        item = self.highlighted
        below = self.query_one(".details", Static)
        words = self.details(item) if item is not None else ""
        below.display = bool(words)
        below.update(words)

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
        """Moves the cursor of the list while one types."""
        getattr(self.query_one(OptionList), f"action_{action}")()


def two_sides(left: str, right: str, width: int, *, is_dimmed: bool = False) -> Content:
    """Two clean texts at the ends of a line; the left one is cut when there is no room."""
    room = max(0, width - Content(right).cell_length - 2)
    start = cut(Content(left), room)
    blank = " " * max(1, width - start.cell_length - Content(right).cell_length)
    return Content.assemble((start.plain, ".pick--dimmed" if is_dimmed else ""), blank, (right, ".pick--detail"))


def count_and_time(count: int, moment: datetime, now: datetime, width: int) -> str:
    """How many messages and when, or only when where a line is short."""
    time = _short_time(moment, now)
    return f"{count:>4} messages  {time:>10}" if width > 50 else time


def _short_time(moment: datetime, now: datetime) -> str:
    """The time for today, else the day."""
    local, today = moment.astimezone(now.tzinfo), now
    if local.date() == today.date():
        return f"{local:%H:%M}"
    if local.year == today.year:
        return f"{local.day} {local:%b}"
    return f"{local:%Y-%m-%d}"
