"""That there is no terminal any more, as the driver tells the program."""

from textual.message import Message


class TerminalGone(Message):
    """Nothing can be read from the terminal any more: it was closed."""
