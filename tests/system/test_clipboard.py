"""How a text gets to the clipboard."""

import base64
from pathlib import Path

import pytest

from tui_llama.system.clipboard import LONGEST_SEQUENCE_BYTES, copy, sequence, tools


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("environment", "platform", "names"),
    [
        ({}, "linux", []),
        ({"WAYLAND_DISPLAY": "wayland-0", "DISPLAY": ":0"}, "linux", ["wl-copy", "xclip", "xsel"]),
        ({"DISPLAY": ":0", "TMUX": "x"}, "linux", ["xclip", "xsel", "tmux"]),
        ({"DISPLAY": ":0", "SSH_CONNECTION": "a b"}, "linux", []),
        ({}, "darwin", ["pbcopy"]),
        ({"WSL_DISTRO_NAME": "Debian"}, "linux", ["clip.exe"]),
    ],
)
def test_the_programs_of_the_desktop_in_front_of_the_user(
    environment: dict[str, str], platform: str, names: list[str]
) -> None:
    assert [tool.shown for tool in tools(environment, platform)] == names


def test_the_sequence_is_wrapped_for_what_stands_around_the_program() -> None:
    plain = f"\x1b]52;c;{encoded('é')}\a"
    assert sequence("é", {}) == plain
    assert sequence("é", {"TMUX": "x"}) == f"\x1bPtmux;\x1b{plain}\x1b\\"
    assert sequence("é", {"STY": "x"}) == f"\x1bP{plain}\x1b\\"


def test_screen_gets_a_long_sequence_in_strings_that_it_can_hold() -> None:
    text = "long " * 1000
    strings = sequence(text, {"STY": "x"}).split("\x1b\\")[:-1]
    assert len(strings) > 1
    assert all(len(string) < 768 and string.startswith("\x1bP") for string in strings)
    assert "".join(string.removeprefix("\x1bP") for string in strings) == f"\x1b]52;c;{encoded(text)}\a"


@pytest.mark.parametrize(
    ("environment", "text"),
    [({"TERM_PROGRAM": "Apple_Terminal"}, "x"), ({"TERM": "linux"}, "x"), ({}, "x" * LONGEST_SEQUENCE_BYTES)],
)
def test_terminals_that_cannot_take_it_get_no_sequence(environment: dict[str, str], text: str) -> None:
    assert sequence(text, environment) == ""


def a_program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)


async def test_a_program_gets_the_text_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    a_program(tmp_path, "xclip", f'cat > "{tmp_path}/got"')
    written: list[str] = []
    copied = await copy("$(touch x) 'é'\n", {"DISPLAY": ":0"}, written.append, tmp_path / "file", "linux")
    assert copied is not None
    assert copied.words == "by xclip"
    assert (tmp_path / "got").read_text() == "$(touch x) 'é'\n"
    assert not written


async def test_the_next_way_is_taken_if_a_program_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    a_program(tmp_path, "xclip", "exit 1")
    a_program(tmp_path, "xsel", "exit 1")
    written: list[str] = []
    copied = await copy("x", {"DISPLAY": ":0"}, written.append, tmp_path / "file", "linux")
    assert copied is not None
    assert "OSC 52" in copied.words and not copied.is_certain
    assert written == [f"\x1b]52;c;{encoded('x')}\a"]


async def test_the_last_way_is_a_file(tmp_path: Path) -> None:
    written: list[str] = []
    file = tmp_path / "folder" / "copied.txt"
    copied = await copy("words", {"TERM": "linux"}, written.append, file, "linux")
    assert copied is not None
    assert file.read_text() == "words" and str(file) in copied.words
    assert await copy("words", {"TERM": "linux"}, written.append, None, "linux") is None
    assert not written
