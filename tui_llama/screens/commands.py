"""Everything that a user can ask for, declared once: it becomes key, slash command, palette entry and help.

The app has a method `action_<name>` for each. Knows nothing of how they are carried out.
"""

import re

import msgspec


class Command(msgspec.Struct, frozen=True):
    """One thing to ask for.

    Attributes:
        name: The app's action.
        title: What the palette and the help call it.
        explanation: One line.
        slashes: What may be typed for it, without the slash; the first is the usual one.
        keys: Keys in Textual's names, separated by commas; empty for none.
        shown_keys: The keys as people write them.
        argument: What may follow the slash command, empty for nothing.
    """

    name: str
    title: str
    explanation: str
    slashes: tuple[str, ...] = ()
    keys: str = ""
    shown_keys: str = ""
    argument: str = ""


COMMANDS = (
    Command("new_chat", "New chat", "Begin an empty chat", ("new", "clear"), "ctrl+n", "Ctrl+N"),
    Command("incognito", "Incognito chat", "Begin a chat of which nothing is kept", ("incognito",)),
    Command(
        "list_chats",
        "Chats",
        "Open, rename or delete a chat",
        ("chats", "resume"),
        "ctrl+s,ctrl+o",
        "Ctrl+S",
    ),
    Command(
        "next_chat", "Next chat", "Go to the chat below this one in the list", ("next",), "ctrl+pagedown", "Ctrl+PgDn"
    ),
    Command(
        "previous_chat",
        "Previous chat",
        "Go to the chat above this one in the list",
        ("previous",),
        "ctrl+pageup",
        "Ctrl+PgUp",
    ),
    Command(
        "regenerate",
        "Regenerate",
        "Answer again; the old answer is kept",
        ("regen", "retry"),
        "ctrl+r",
        "Ctrl+R",
    ),
    Command(
        "continue_answer",
        "Continue",
        "Go on with the last answer where it was cut off",
        ("continue", "go"),
        "f5",
        "F5",
    ),
    Command(
        "edit_message",
        "Edit message",
        "Say something else in place of an earlier message; what was said is kept",
        ("edit",),
        "alt+up",
        "Alt+↑",
    ),
    Command(
        "begin_today",
        "Today's date",
        "Tell the model today's date, not that of the day on which this chat began",
        ("today", "date"),
    ),
    Command("list_branches", "Branches", "Go to another way that this chat went", ("branches", "branch")),
    Command("stop", "Stop", "Stop the answer and keep what there is", ("stop",), "escape", "Esc"),
    Command("show_prompt", "Prompt", "Show what the model is given, word for word", ("prompt",)),
    Command("copy_answer", "Copy answer", "Copy the last answer to the clipboard", ("copy",)),
    Command("whole_message", "Whole message", "Show all of your last message that is too long for here", ("whole",)),
    Command("rename_chat", "Rename chat", "Give this chat another title", ("rename",), argument="title"),
    Command("delete_chat", "Delete chat", "Delete this chat for good", ("delete",)),
    Command(
        "choose_model",
        "Model",
        "Choose a model file",
        ("model", "models"),
        "ctrl+l",
        "Ctrl+L",
        argument="path",
    ),
    Command(
        "get_starter", "Get the starter", "Fetch a very small model to try the program with", ("starter",), "f3", "F3"
    ),
    Command("help", "Help", "Show the keys and commands", ("help", "?"), "f1", "F1"),
    Command("quit", "Quit", "Leave; everything is kept", ("quit", "bye", "exit"), "ctrl+q", "Ctrl+Q"),
)

# Keys that belong to one widget and are no command, for the help.
COMPOSER_KEYS = (
    ("Enter", "Send"),
    ("Ctrl+J, Alt+Enter", "New line; also Shift+Enter, or \\ and Enter"),
    ("↑ ↓", "What was sent before"),
    ("← →", "Other versions of the last answer, when nothing is written"),
    ("Alt+↑ Alt+↓", "Edit an earlier message, go back to a later one"),
    ("Esc", "Stop the answer"),
    ("Ctrl+C", "Copy, or stop, or clear, or quit"),
    ("Ctrl+_, Alt+Z", "Undo; Ctrl+Y takes that back"),
    ("Ctrl+Z", "Suspend the program; fg in the shell brings it back"),
    ("Ctrl+D", "Quit, when nothing is written"),
    ("Ctrl+P", "All commands"),
)
TRANSCRIPT_KEYS = (
    ("PgUp, PgDn", "Scroll"),
    ("Ctrl+Home, Ctrl+End", "Towards the beginning, to the end"),
    ("End", "Follow the answer again"),
)

_SLASH_COMMAND = re.compile(r"/(\?|[A-Za-z]+)(?:[ \t]+(.*))?")


def parse_slash(text: str) -> tuple[str, str] | None:
    """The word after the slash and what follows it; None when `text` is no command but something to send.

    A path such as /usr/bin is no command, and neither is anything that begins with a blank or has more than one line.
    """
    match = _SLASH_COMMAND.fullmatch(text.rstrip())
    return (match[1].lower(), (match[2] or "").strip()) if match else None


def find_slash(word: str) -> Command | None:
    """The command of that name."""
    return next((command for command in COMMANDS if word in command.slashes), None)
