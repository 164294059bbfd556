"""Keys that mean something in one place only: on a message, in a dialog, on an attachment. Each is declared once.

The bindings of widgets and dialogs are made of these declarations, and so are the help, the hints, the keymap file and
`tui-llama keys`. Commands, whose keys hold everywhere in the chat, are declared in `screens/commands.py`.

Not here is what belongs to writing and choosing themselves: letters, Enter, the arrows of a text, Tab.
"""

from typing import Final

import msgspec
from textual.binding import Binding

from tui_llama.widgets.messages.acts import ACT_KEYS


class LocalKey(msgspec.Struct, frozen=True):
    """A key in one place.

    Attributes:
        name: Its name in the keymap file.
        place: Where it counts, in a few words, such as "on a message".
        keys: The keys by Textual's names, with commas between them.
        action: What Textual does.
        title: What it does, in a few words.
        is_shown: Whether the hints name it.
        is_first: Whether it counts before what has the focus, such as the line of a filter.
    """

    name: str
    place: str
    keys: str
    action: str
    title: str
    is_shown: bool = False
    is_first: bool = False


MESSAGE: Final = "on a message"
DIALOG: Final = "in a dialog"
LIST: Final = "in a list"
CHATS: Final = "in the list of chats"
MODELS: Final = "in the list of models"
PERSONAS: Final = "in the list of personas"
SETTINGS: Final = "in the settings"
TREE: Final = "in the tree"
SHOWN_TEXT: Final = "in a text that is shown"
ATTACHED_TEXT: Final = "in the text of an attachment"
WRITTEN_TEXT: Final = "in a text that is written"
QUESTION: Final = "at a question"
DELETION: Final = "at the question what to delete"
QUEUE: Final = "on a queued message"
UNSAVED: Final = "when something is not saved"
ATTACHMENT: Final = "on an attachment"
THOUGHT: Final = "on a thought"

LOCAL_KEYS: Final = (
    LocalKey("message_before", MESSAGE, "up,k,alt+up", "move_focus(-1)", "Message before"),
    LocalKey("message_after", MESSAGE, "down,j,alt+down", "move_focus(1)", "Message after"),
    LocalKey("message_own_before", MESSAGE, "left_curly_bracket", "move_to_own(-1)", "Your message before"),
    LocalKey("message_own_after", MESSAGE, "right_curly_bracket", "move_to_own(1)", "Your message after"),
    LocalKey("message_first", MESSAGE, "home,g", "focus_first", "First message"),
    LocalKey("message_last", MESSAGE, "end,G,shift+g", "focus_last", "Last message"),
    LocalKey("message_half_up", MESSAGE, "ctrl+u", "half_page(-1)", "Half a page up"),
    LocalKey("message_half_down", MESSAGE, "ctrl+d", "half_page(1)", "Half a page down"),
    LocalKey("message_unfold", MESSAGE, "enter,space", "unfold", "Show or fold what is folded in it"),
    LocalKey("message_leave", MESSAGE, "escape,i", "leave", "Back to what is written"),
    *(
        LocalKey(f"message_{each.act.name.lower()}", MESSAGE, each.keys, f"act('{each.act.name}')", each.explanation)
        for each in ACT_KEYS
    ),
    LocalKey("thought_fold", THOUGHT, "enter,space", "toggle_thought", "Fold or unfold the thought", is_shown=True),
    LocalKey("attachment_show", ATTACHMENT, "enter,space", "show", "Show", is_shown=True),
    LocalKey("attachment_remove", ATTACHMENT, "x,delete,backspace", "remove", "Remove", is_shown=True),
    LocalKey("attachment_as_text", ATTACHMENT, "t", "write", "As text", is_shown=True),
    LocalKey("attachment_before", ATTACHMENT, "up,left", "move(-1)", "Previous"),
    LocalKey("attachment_after", ATTACHMENT, "down,right", "move(1)", "Next"),
    LocalKey("attachment_leave", ATTACHMENT, "escape", "move(0)", "Leave", is_shown=True),
    LocalKey("queue_edit", QUEUE, "enter,e", "edit", "Edit", is_shown=True),
    LocalKey("queue_remove", QUEUE, "x,d,delete,backspace", "remove", "Remove", is_shown=True),
    LocalKey("queue_earlier", QUEUE, "shift+up,K,shift+k", "shift(-1)", "Move", is_shown=True),
    LocalKey("queue_later", QUEUE, "shift+down,J,shift+j", "shift(1)", "Move down"),
    LocalKey("queue_before", QUEUE, "up,k", "choose(-1)", "The one before"),
    LocalKey("queue_after", QUEUE, "down,j", "choose(1)", "The one after"),
    LocalKey("queue_leave", QUEUE, "escape,i", "leave", "Leave", is_shown=True),
    LocalKey("dialog_close", DIALOG, "escape,ctrl+c", "dismiss_dialog", "Close", is_first=True),
    LocalKey("list_up", LIST, "up", "move('cursor_up')", "Up", is_first=True),
    LocalKey("list_down", LIST, "down", "move('cursor_down')", "Down", is_first=True),
    LocalKey("list_page_up", LIST, "pageup", "move('page_up')", "Page up", is_first=True),
    LocalKey("list_page_down", LIST, "pagedown", "move('page_down')", "Page down", is_first=True),
    LocalKey("chats_rename", CHATS, "f2", "rename", "Rename", is_first=True),
    LocalKey("chats_delete", CHATS, "delete,ctrl+x", "delete", "Delete", is_first=True),
    LocalKey("models_drop", MODELS, "delete,ctrl+x", "drop", "Cancel, remove", is_first=True),
    LocalKey("personas_save", PERSONAS, "ctrl+s", "save", "Save", is_first=True),
    LocalKey("personas_delete", PERSONAS, "delete,ctrl+x", "delete", "Delete", is_first=True),
    LocalKey("settings_next_scope", SETTINGS, "tab", "scope(1)", "Scope", is_first=True),
    LocalKey("settings_scope_before", SETTINGS, "shift+tab", "scope(-1)", "Scope before", is_first=True),
    LocalKey("settings_reset", SETTINGS, "delete,ctrl+x", "reset", "Reset", is_first=True),
    LocalKey("tree_unfold", TREE, "right,l", "expand", "Unfold"),
    LocalKey("tree_fold", TREE, "left,h", "collapse", "Fold"),
    LocalKey("tree_down", TREE, "j", "tree('cursor_down')", "Down"),
    LocalKey("tree_up", TREE, "k", "tree('cursor_up')", "Up"),
    LocalKey("text_copy", SHOWN_TEXT, "c", "copy", "Copy"),
    LocalKey("attached_copy", ATTACHED_TEXT, "c", "copy", "Copy"),
    LocalKey("attached_before", ATTACHED_TEXT, "left", "turn(-1)", "Previous"),
    LocalKey("attached_after", ATTACHED_TEXT, "right", "turn(1)", "Next"),
    LocalKey("text_save", WRITTEN_TEXT, "ctrl+s", "keep", "Save", is_first=True),
    LocalKey("question_yes", QUESTION, "y", "answer(True)", "Yes"),
    LocalKey("question_no", QUESTION, "n", "answer(False)", "No"),
    LocalKey("deletion_only", DELETION, "o", "answer(True)", "Only this message"),
    LocalKey("deletion_all", DELETION, "a", "answer(False)", "All that follows, too"),
    LocalKey("deletion_nothing", DELETION, "n", "dismiss_dialog", "Nothing"),
    LocalKey("unsaved_again", UNSAVED, "t", "answer('again')", "Try again"),
    LocalKey("unsaved_file", UNSAVED, "f", "answer('file')", "Save as a file"),
    LocalKey("unsaved_lose", UNSAVED, "l", "answer('lose')", "Quit and lose it"),
    LocalKey("unsaved_stay", UNSAVED, "s", "answer('stay')", "Stay"),
)
"""All of them, those of one place together."""


def local_bindings(place: str) -> list[Binding]:
    """Returns the bindings of a place, for the `BINDINGS` of a widget or a screen."""
    return [
        Binding(each.keys, each.action, each.title, show=each.is_shown, priority=each.is_first, id=each.name)
        for each in LOCAL_KEYS
        if each.place == place
    ]
