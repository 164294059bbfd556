"""All commands, each declared once: as key binding, slash command, palette entry and line of the help.

The app has a method `action_<name>` for each command. This module does not know how a command is carried out.
"""

import re
from difflib import get_close_matches

import msgspec


class Choice(msgspec.Struct, frozen=True):
    """An argument that a slash command may have; neither text needs to be safe to print."""

    value: str
    explanation: str = ""


class Command(msgspec.Struct, frozen=True):
    """A command that a user can give.

    Attributes:
        name: The name of the app's action.
        title: The title in the palette.
        explanation: One line for the palette and the help.
        slashes: The words of its slash commands, without the slash. The help shows the first.
        keys: The keys by Textual's names, separated by commas; empty for none.
        shown_keys: The keys as people write them; empty for none.
        argument: The name of the argument that may follow the slash command; empty for none.
        choices: Arguments to suggest, where they are always the same.
        choice_source: The name of what knows the arguments to suggest, where they are not: a source of
            `controllers/composing/slash_completion.py`; empty for none.
    """

    name: str
    title: str
    explanation: str
    slashes: tuple[str, ...] = ()
    keys: str = ""
    shown_keys: str = ""
    argument: str = ""
    choices: tuple[Choice, ...] = ()
    choice_source: str = ""


REGENERATE_CHOICES = (
    Choice("menu", "choose how"),
    Choice("hotter", "more varied"),
    Choice("colder", "more focused"),
    Choice("sampling", "type the values for this answer, or write temperature=1.2"),
    Choice("model", "choose another model"),
)

COMMANDS = (
    Command("new_chat", "New chat", "Begin an empty chat", ("new", "clear"), "ctrl+n", "Ctrl+N"),
    Command("incognito", "Incognito chat", "Begin a chat that is not saved", ("incognito",)),
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
        argument="how",
        choices=REGENERATE_CHOICES,
    ),
    Command(
        "continue_answer",
        "Continue",
        "Continue the last answer where it was cut off",
        ("continue", "go"),
        "f5",
        "F5",
    ),
    Command(
        "focus_messages",
        "Messages",
        "Go to the messages: edit, copy, delete, branch …",
        ("messages",),
        "alt+up",
        "Alt+↑",
    ),
    Command("edit_message", "Edit message", "Replace your last message; the old one is kept", ("edit",)),
    Command("undo", "Undo", "Undo the last edit, deletion, branch or title", ("undo",), "alt+u", "Alt+U"),
    Command(
        "show_tree",
        "Tree",
        "Show where this chat forks, go there",
        ("tree", "branches", "branch"),
        "alt+t",
        "Alt+T",
    ),
    Command(
        "begin_today",
        "Today's date",
        "Tell the model today's date, not the date on which this chat began",
        ("today", "date"),
    ),
    Command(
        "set_sampling",
        "Sampling",
        "Set a sampling value for this chat, or list them",
        ("set",),
        argument="name value",
        choice_source="sampling",
    ),
    Command(
        "start_reply",
        "Start the reply with …",
        "Give the beginning of the next reply; the model goes on",
        ("start",),
        "f8",
        "F8",
        argument="text",
    ),
    Command(
        "edit_system_prompt",
        "System prompt",
        "Change what the model is told before all messages; says first what that costs",
        ("system",),
        "f9",
        "F9",
        argument="text",
    ),
    Command(
        "choose_persona",
        "Personas",
        "Take, save or delete a persona: system prompt, sampling, model, thinking, start of replies",
        ("persona", "personas"),
        argument="name",
        choice_source="personas",
    ),
    Command(
        "search_history",
        "Earlier messages",
        "Find a message that you sent before, in any chat",
        ("history",),
        "alt+r",
        "Alt+R",
    ),
    Command(
        "open_editor",
        "Editor",
        "Write in your own editor ($VISUAL, $EDITOR)",
        ("editor",),
        "ctrl+g,f4",
        "Ctrl+G",
    ),
    Command("take_back", "Take back", "Edit the message that is queued", ("unqueue",)),
    Command(
        "choose_thinking",
        "Thinking",
        "Let the model think in this chat or not: on, off, low, medium, high, or at most so many tokens",
        ("think",),
        argument="choice",
        choices=(
            Choice("on"),
            Choice("off"),
            Choice("low"),
            Choice("medium"),
            Choice("high"),
            Choice("default", "As in the settings"),
        ),
    ),
    Command(
        "choose_json",
        "JSON",
        "Let all answers be JSON, or the next one: of a schema that you write or name as a file, or of any",
        ("json",),
        argument="schema",
        choices=(
            Choice("once", "The next answer only"),
            Choice("off", "Answers as the model likes"),
        ),
    ),
    Command(
        "choose_grammar",
        "Grammar",
        "Let all answers fit a grammar in GBNF, or the next one; written here, or the name of a file",
        ("grammar",),
        argument="rules",
        choices=(
            Choice("once", "The next answer only"),
            Choice("off", "Answers as the model likes"),
        ),
    ),
    Command(
        "answer_now",
        "Answer now",
        "End the thought; the answer begins. Servers cannot",
        ("answer",),
        "alt+a,ctrl+enter",
        "Alt+A",
    ),
    Command("fold_thoughts", "Fold thoughts", "Show thoughts whole, or as one line", ("thoughts",), "ctrl+t", "Ctrl+T"),
    Command("stop", "Stop", "Stop the answer and keep its text", ("stop",), "escape", "Esc"),
    Command("show_prompt", "Prompt", "Show the exact prompt of the model", ("prompt",)),
    Command(
        "copy_answer",
        "Copy",
        "Copy the message in focus or the last answer, or its code: /copy code 2",
        ("copy",),
        argument="code number",
    ),
    Command(
        "raw_answer",
        "Raw message",
        "Show a message as it was written: the one in focus, or the last answer",
        ("raw",),
        "alt+m",
        "Alt+M",
        argument="message",
        choice_source="messages",
    ),
    Command("whole_message", "Whole message", "Show the whole of your last long message", ("whole",)),
    Command(
        "attach_file",
        "Attach a file",
        "Attach text files to your next message, also by a pattern; @ attaches one",
        ("read", "attach"),
        argument="path",
        choice_source="paths",
    ),
    Command("show_attached", "Attachments", "Show what is attached to your message, or was to the last", ("attached",)),
    Command("detach", "Detach", "Attach nothing to your next message", ("detach",)),
    Command("rename_chat", "Rename chat", "Give this chat another title", ("rename",), argument="title"),
    Command(
        "delete_chat",
        "Delete",
        "Delete this chat for good, or its last message: /delete message",
        ("delete",),
        argument="what",
        choices=(Choice("chat", "this chat, for good"), Choice("message", "the last message; undo brings it back")),
    ),
    Command(
        "choose_model",
        "Model",
        "Choose a model, here or on a server",
        ("model", "models"),
        "ctrl+l",
        "Ctrl+L",
        argument="name",
        choice_source="models",
    ),
    Command(
        "get_starter", "Get the starter", "Fetch a very small model to try the program with", ("starter",), "f3", "F3"
    ),
    Command("settings", "Settings", "Change settings, colours and keys", ("settings", "config"), "f2", "F2"),
    Command("choose_theme", "Theme", "Choose other colours", ("theme",), argument="name"),
    Command("leader", "Leader key", "Show the letters that follow the leader key", ("leader",)),
    Command("help", "Help", "Show the keys and commands", ("help", "?"), "f1", "F1"),
    Command("quit", "Quit", "Quit; everything is saved", ("quit", "bye", "exit"), "ctrl+q", "Ctrl+Q"),
)

# The help also lists these keys: those of the composer, and what general keys do there.
COMPOSER_KEYS = (
    ("Enter", "Send; during an answer: when it ends"),
    ("Ctrl+J, Alt+Enter", "New line; also Shift+Enter, or \\ and Enter"),
    ("↑", "Edit your last message, when no text is written"),
    ("↑ ↓", "Messages that were sent before, in this chat and in others"),
    ("/", "All commands as a list; // begins a message with a slash"),
    ("← →", "Other versions of the last answer, when no text is written"),
    ("@", "Attach a file; its path is completed"),
    ("Shift+Tab, Tab", "To what is attached, what is queued, the messages; round and back"),
    ("Backspace", "To what is attached, when no text is written"),
    ("Esc", "Stop the answer; a queued message comes back"),
    ("Ctrl+C", "Copy, or stop, or clear, or quit"),
    ("Ctrl+_, Alt+Z", "Undo; Ctrl+Y redoes"),
    ("Ctrl+Z", "Suspend the program; fg in the shell brings it back"),
    ("Ctrl+D", "Quit, when no text is written"),
    ("Ctrl+P", "All commands"),
)
TRANSCRIPT_KEYS = (
    ("PgUp, PgDn", "Scroll"),
    ("Ctrl+Home, Ctrl+End", "Towards the beginning, to the end"),
    ("End", "Follow the answer again"),
)

_NEAR_ENOUGH = 0.6
_SLASH_COMMAND = re.compile(r"/(\?|[A-Za-z]+)(?:[ \t]+(.*))?")


def parse_slash(text: str) -> tuple[str, str] | None:
    """Returns the word after the slash and the argument, or None if `text` is not a command but a message.

    A path such as /usr/bin is not a command. Neither is a text that begins with a blank or has more than one line.
    """
    match = _SLASH_COMMAND.fullmatch(text.rstrip())
    return (match[1].lower(), (match[2] or "").strip()) if match else None


def unescaped(text: str) -> str:
    """Returns a message as it is sent: one line that begins with two slashes loses one of them.

    So "//new" sends what would be a command. A comment in code, which has a blank there or more lines, stays.
    """
    return text[1:] if re.fullmatch(r"//[^\s/].*", text) else text


def nearest_slash(word: str) -> str | None:
    """Returns the slash word that is most like a word that is none; None if none is like it."""
    words = [slash for command in COMMANDS for slash in command.slashes]
    return next(iter(get_close_matches(word, words, 1, _NEAR_ENOUGH)), None)


def find_slash(word: str) -> Command | None:
    """Returns the command that has this slash word, or None."""
    return next((command for command in COMMANDS if word in command.slashes), None)
