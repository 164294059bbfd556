"""The tree of a chat: where it forks, and what was said on each of its branches."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Final

import msgspec
from rich.style import Style
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static, Tree
from textual.widgets.tree import TreeNode

from tui_llama.chat import Role
from tui_llama.chats.stored import TreeMessage
from tui_llama.engine.prompt_cache.stored_tree import Stored
from tui_llama.screens.dialogs.dialog import Dialog
from tui_llama.text_safety import sanitize_line
from tui_llama.widgets.cutting import cut
from tui_llama.widgets.local_keys import TREE, local_bindings

_LONGEST_SAID = 160
_SHORTEST_LABEL = 12
_STORED_WIDTH = 2  # of the mark at the end of a line
_STORED_MARKS: Final = {Stored.NOTHING: " ", Stored.PART: "▫", Stored.ALL: "▪"}
_LEGEND = "▪ keys and values on disk · ▫ in part"
_NOTHING_STORED = "No keys and values on disk for this model."
_LOOKING = "Looking at what is on disk …"


class TreeLine(msgspec.Struct, frozen=True):
    """A message as a line of the tree, sanitized. `number` tells which version it is, such as "2/3"."""

    message_id: int
    number: str
    who: str
    said: str
    is_shown: bool


class MessageTree(Tree[TreeLine]):
    """A tree whose lines are messages."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        *("message-tree--mark", "message-tree--who", "message-tree--other", "message-tree--stored")
    }
    BINDINGS = [  # noqa: RUF012 - declared so by the base class; these keep its keys, in the words of our help
        Binding("up", "cursor_up", "Up", show=False),
        Binding("down", "cursor_down", "Down", show=False),
        Binding("enter", "select_cursor", "Go there", show=False),
        Binding("space", "toggle_node", "Fold or unfold", show=False),
    ]
    stored: Mapping[int, Stored] = MappingProxyType({})

    def render_label(self, node: TreeNode[TreeLine], base_style: Style, style: Style) -> Text:
        """Returns a line: whether the message is shown, which version it is, who said it, and how it begins."""
        line = node.data
        if line is None:
            return Text()
        text_style = style if line.is_shown else style + self._style("other", style)
        fold = ("▾ " if node.is_expanded else "▸ ") if node.allow_expand and node.children else ""
        label = Text.assemble(
            ("● " if line.is_shown else "○ ", style + self._style("mark" if line.is_shown else "other", style)),
            (fold, text_style),
            (f"{line.number} " if line.number else "", style + Style(bold=True)),
            (f"{line.who}: ", style + self._style("who" if line.is_shown else "other", style)),
            (line.said, text_style),
        )
        width = max(_SHORTEST_LABEL, self.scrollable_content_region.width - self._indent(node)) - _STORED_WIDTH
        label.truncate(width, overflow="ellipsis")
        label.append(" " * (width - label.cell_len + 1), style)
        mark = _STORED_MARKS[self.stored.get(line.message_id, Stored.NOTHING)]
        return label.append(mark, style + self._style("stored", style))

    def show_stored(self, stored: Mapping[int, Stored]) -> None:
        """Marks the messages whose keys and values are on the disk."""
        self.stored = stored
        waiting = [*self.root.children]
        while waiting:
            node = waiting.pop()
            waiting += node.children
            node.refresh()

    def _indent(self, node: TreeNode[TreeLine]) -> int:
        """Returns the columns of the guides before a line."""
        depth = -1
        while node.parent is not None and node.parent is not self.root:
            node, depth = node.parent, depth + 1
        return (depth + 1) * self.guide_depth

    def _style(self, name: str, style: Style) -> Style:
        """Returns the colour of a part of a line; its background is that of the line."""
        return Style(color=self.get_component_rich_style(f"message-tree--{name}").color, bgcolor=style.bgcolor)


class ChatTree(Dialog[int | None]):
    """A dialog whose result is the id of the message to go to, or None.

    What follows a message without a fork stands below it on the same level; only versions in one place stand deeper. So
    a long chat that never forked is a plain list.

    Args:
        messages: All messages of the chat, parents before what follows them; their texts are not trusted.
        path: The ids of the messages that are shown, the first of them first.
    """

    HELP = """The tree
    All messages of the chat. Where it forks, the versions stand below each other with their numbers.
    A small square at the end of a line: the message's keys and values are on disk, and are not computed again.
    """
    BINDINGS = [  # noqa: RUF012 - declared so by the base class
        *local_bindings(TREE),
    ]

    def __init__(self, messages: Sequence[TreeMessage], path: Sequence[int]) -> None:
        super().__init__()
        self._messages = messages
        self._path = frozenset(path)
        self._tip = path[-1] if path else None
        self._stored: Mapping[int, Stored] = {}
        self._legend = _LOOKING

    def compose(self) -> ComposeResult:
        """Yields the tree and the keys."""
        with Vertical(classes="dialog -tree") as box:
            box.border_title = "The tree of this chat"
            tree = MessageTree("", id="tree")
            tree.show_root = False
            tree.guide_depth = 3
            tree.auto_expand = False
            yield tree
            advice = Static("This chat has no messages yet.", classes="advice", markup=False)
            advice.display = not self._messages
            yield advice
            legend = Static(self._legend, classes="legend", markup=False)
            legend.display = bool(self._messages)
            yield legend
            yield Static(
                self.footer("Enter go there · {tree_fold}{tree_unfold} fold · ● shown now · {dialog_close} close"),
                classes="keys",
            )

    def on_mount(self) -> None:
        """Fills the tree, with the cursor on the end of the path that is shown."""
        tree = self.tree
        tree.display = bool(self._messages)
        followers: defaultdict[int | None, list[TreeMessage]] = defaultdict(list)
        for message in self._messages:
            followers[message.parent_id].append(message)
        nodes: dict[int, TreeNode[TreeLine]] = {}
        waiting = [(tree.root, followers[None])]
        while waiting:
            place, versions = waiting.pop()
            waiting += self._add(place, versions, followers, nodes)
        tree.show_stored(self._stored)
        tree.focus()
        if self._tip in nodes and tree.last_line >= 0:  # asked for its last line, the tree numbers all of them
            tree.move_cursor(nodes[self._tip])  # at once: keys may be waiting already
            self.call_after_refresh(self._show_cursor)

    def _add(
        self,
        place: TreeNode[TreeLine],
        versions: Sequence[TreeMessage],
        followers: Mapping[int | None, list[TreeMessage]],
        nodes: dict[int, TreeNode[TreeLine]],
    ) -> list[tuple[TreeNode[TreeLine], list[TreeMessage]]]:
        """Adds what follows in one place, up to the next forks; returns those with the nodes that they are below."""
        forks: list[tuple[TreeNode[TreeLine], list[TreeMessage]]] = []
        for version in versions:
            is_fork = len(versions) > 1
            line = self._line(version, f"{version.version}/{version.version_count}" if is_fork else "")
            below = place.add("", line, expand=True) if is_fork else place
            nodes[version.message_id] = below if is_fork else place.add_leaf("", line)
            following = followers.get(version.message_id, [])
            while len(following) == 1:
                nodes[following[0].message_id] = below.add_leaf("", self._line(following[0]))
                following = followers.get(following[0].message_id, [])
            if following:
                forks.append((below, following))
            elif is_fork and not below.children:
                below.allow_expand = False
        return forks

    def _line(self, message: TreeMessage, number: str = "") -> TreeLine:
        said = sanitize_line(" ".join(message.beginning.split())) or "…"
        return TreeLine(
            message.message_id,
            number,
            "You" if message.role is Role.USER else "Model",
            cut(Content(said), _LONGEST_SAID).plain,
            is_shown=message.message_id in self._path,
        )

    def show_stored(self, stored: Mapping[int, Stored], why_not: str = "") -> None:
        """Marks what is on the disk and explains the marks; may be called before the dialog is drawn.

        Args:
            stored: How much of the messages has keys and values on the disk.
            why_not: Why there are no marks, as a sentence; empty if there can be some.
        """
        self._stored = stored
        self._legend = why_not or (_LEGEND if any(stored.values()) else _NOTHING_STORED)
        if self.is_attached and self.query(".legend"):
            self.tree.show_stored(stored)
            self.query_one(".legend", Static).update(self._legend)

    def _show_cursor(self) -> None:
        if self.tree.cursor_node is not None:
            self.tree.scroll_to_node(self.tree.cursor_node, animate=False)

    @property
    def tree(self) -> MessageTree:  # type: ignore[override] # Textual's is a drawing of the widgets, for debugging
        """The tree."""
        return self.query_one("#tree", MessageTree)

    @on(Tree.NodeSelected)
    def _choose(self, event: "Tree.NodeSelected[TreeLine]") -> None:
        event.stop()
        if event.node.data is not None:
            self.dismiss(event.node.data.message_id)

    def action_expand(self) -> None:
        """Unfolds the fork under the cursor."""
        node = self.tree.cursor_node
        if node is not None and node.allow_expand:
            node.expand()

    def action_collapse(self) -> None:
        """Folds the fork under the cursor, or goes to the one that it is below."""
        tree, node = self.tree, self.tree.cursor_node
        if node is None:
            return
        if node.allow_expand and node.is_expanded:
            node.collapse()
        elif node.parent is not None and node.parent is not tree.root:
            tree.move_cursor(node.parent)

    def action_tree(self, action: str) -> None:
        """Moves the cursor of the tree."""
        getattr(self.tree, f"action_{action}")()
