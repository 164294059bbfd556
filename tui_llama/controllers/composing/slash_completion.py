"""Suggests slash commands and their arguments for what is written in the composer."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from tui_llama.screens.commands import COMMANDS, Choice, Command, find_slash
from tui_llama.widgets.completion.suggestion import Completion, CursorPlace, Suggestion

ChoiceSource: TypeAlias = Callable[[str], Sequence[Choice]]
"""Returns the whole arguments that may be meant by the part of one that is typed. Others are left out of the list."""

_WORD = re.compile(r"/(\?|[A-Za-z]*)")
_WORD_AND_ARGUMENT = re.compile(r"/(\?|[A-Za-z]+)[ \t]+(.*)")


class SlashCompletion:
    """A provider of suggestions.

    Args:
        sources: What knows the arguments that change, by the names of `Command.choice_source`.
    """

    def __init__(self, sources: Mapping[str, ChoiceSource]) -> None:
        self._sources = sources

    def __call__(self, place: CursorPlace) -> Completion | None:
        """Returns the commands that may be meant, or behind a whole command its arguments."""
        if not place.is_whole_text or place.after or not place.before.startswith("/"):
            return None
        if word := _WORD.fullmatch(place.before):
            return Completion(len(place.before), list(_commands(word[1].lower())))
        if match := _WORD_AND_ARGUMENT.fullmatch(place.before):
            command = find_slash(match[1].lower())
            if command is not None:
                typed = match[2]
                # Who types a path or an address means what is typed.
                is_name = bool(typed) and "/" not in typed
                return Completion(len(typed), self._arguments(command, typed), chooses_first=is_name)
        return None

    def _arguments(self, command: Command, typed: str) -> list[Suggestion]:
        source = self._sources.get(command.choice_source)
        choices = [*command.choices, *(source(typed) if source is not None else ())]
        wanted = typed.casefold()
        first = [choice for choice in choices if choice.value.casefold().startswith(wanted)]
        others = [choice for choice in choices if choice not in first and wanted in choice.value.casefold()]
        return [Suggestion(choice.value, explanation=choice.explanation) for choice in [*first, *others]]


def _commands(typed: str) -> "list[Suggestion]":
    """Returns the commands with a word that begins with what is typed, then those that have it in a word or title."""
    begun = [(command, word) for command in COMMANDS if (word := _word_that(command, typed, str.startswith))]
    begun.sort(key=lambda found: found[1] != typed)
    listed = [command for command, _ in begun]
    others = [
        (command, _word_that(command, typed, str.__contains__) or command.slashes[0])
        for command in COMMANDS
        if command.slashes and command not in listed and typed and _is_about(command, typed)
    ]
    return [_suggestion(command, word) for command, word in [*begun, *others]]


def _word_that(command: Command, typed: str, matches: Callable[[str, str], bool]) -> str:
    """Returns the command's first slash word that matches, the one that is typed before all others; empty if none."""
    if typed in command.slashes:
        return typed
    return next((word for word in command.slashes if matches(word, typed)), "")


def _is_about(command: Command, typed: str) -> bool:
    return any(typed in word for word in command.slashes) or typed in command.title.lower()


def _suggestion(command: Command, word: str) -> Suggestion:
    argument = f" {command.argument}" if command.argument else ""
    has_choices = command.choices or command.choice_source
    return Suggestion(
        f"/{word} " if has_choices else f"/{word}", f"/{word}{argument}", command.shown_keys, command.explanation
    )
