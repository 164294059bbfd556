"""The dialogs, one to a file: boxes over the chat, which Esc closes."""
