"""Carries out what is typed: a slash command, or a message to send; and lists the commands for the palette."""

import inspect
from collections.abc import Iterator
from typing import Protocol

from textual.app import SystemCommand

from tui_llama.controllers.turns.turn import TurnController
from tui_llama.controllers.views import HintView, ScreenView
from tui_llama.screens.commands import COMMANDS, find_slash, nearest_slash, parse_slash, unescaped


class CommandsView(ScreenView, HintView, Protocol):
    """Carries the commands out: the app, which has a method `action_<name>` for each."""


class CommandsController:
    """The commands of an app.

    Args:
        turn: Sends what is no command.
        view: The app.
    """

    def __init__(self, turn: TurnController, view: CommandsView) -> None:
        self._turn = turn
        self._view = view

    def listed(self) -> Iterator[SystemCommand]:
        """Yields the commands as the palette takes them."""
        for command in COMMANDS:
            yield SystemCommand(command.title, command.explanation, getattr(self._view, f"action_{command.name}"))

    async def submit(self, text: str) -> None:
        """Carries out a command or sends anything else; what cannot be sent stays where it was written."""
        slash = parse_slash(text)
        if slash is not None:
            await self._run(*slash)
        else:
            self._turn.send(unescaped(text.strip("\n")))

    async def _run(self, word: str, argument: str) -> None:
        command = find_slash(word)
        if command is None:
            near = nearest_slash(word)
            advice = f"Did you mean /{near}?" if near else "/help lists all."
            self._view.show_hint(f"There is no command /{word}. {advice} //{word} sends it as text.")
            return
        if argument and not command.argument:
            self._view.show_hint(f"/{word} takes no argument; your text stays here. //{word} sends it as text.")
            return
        self._view.chat_screen.composer.accept()
        action = getattr(self._view, f"action_{command.name}")
        result = action(argument) if argument else action()
        if inspect.iscoroutine(result):
            await result
