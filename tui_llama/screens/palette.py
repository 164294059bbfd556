"""Textual's palette of commands, made safe against keys that follow each other quickly."""

from textual.command import CommandPalette

from tui_llama.screens.ends_once import EndsOnce
from tui_llama.screens.lasting_focus import LastingFocus


class Palette(EndsOnce, LastingFocus, CommandPalette):
    """A palette without an ID. Textual gives its palette one, which would clash with a palette that is just closing."""
