"""What may be asked for, declared once."""

import pytest

from tui_llama.app import ChatApp
from tui_llama.screens.commands import COMMANDS, find_slash, parse_slash


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_app_carries_out_every_command(command: object) -> None:
    assert callable(getattr(ChatApp, f"action_{getattr(command, 'name', '')}"))


def test_no_two_commands_share_a_key_or_a_word() -> None:
    for names in ([command.keys.split(",") for command in COMMANDS if command.keys], [c.slashes for c in COMMANDS]):
        flat = [name for group in names for name in group]
        assert len(flat) == len(set(flat))


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("/new", ("new", "")),
        ("/NEW ", ("new", "")),
        ("/rename  A better title ", ("rename", "A better title")),
        ("/?", ("?", "")),
        ("/model /path/to a/file.gguf", ("model", "/path/to a/file.gguf")),
        ("/usr/bin/env", None),
        ("/2 + 2", None),
        (" /new", None),
        ("/new\nsecond line", None),
        ("/rename a title\nsecond line", None),
        ("/prompt now\n\nand more", None),
        ("/quit\n", ("quit", "")),
        ("hello /new", None),
        ("/", None),
    ],
)
def test_what_is_a_command_and_what_is_text(text: str, parsed: tuple[str, str] | None) -> None:
    assert parse_slash(text) == parsed


def test_a_command_is_found_by_each_of_its_words() -> None:
    assert find_slash("bye") is find_slash("quit")
    assert find_slash("nonsense") is None
