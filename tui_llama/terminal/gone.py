"""The message by which the driver tells the program that the terminal is gone."""

from textual.message import Message


class TerminalGone(Message):
    """Posted when nothing can be read from the terminal any more, because it was closed."""
