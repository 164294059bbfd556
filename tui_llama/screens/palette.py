"""The palette of commands: Textual's, for hasty hands."""

from textual.command import CommandPalette

from tui_llama.screens.ends_once import EndsOnce
from tui_llama.screens.lasting_focus import LastingFocus


class Palette(EndsOnce, LastingFocus, CommandPalette):
    """Has no ID: Textual's has one, which an old one that is just being closed would still have."""
