"""Brings a text to the user's clipboard: by a program of the desktop, else through the terminal, else into a file.

The terminal takes a text by the sequence OSC 52, also from another machine. It never says whether it did, so the words
for the user name the way. Multiplexers take the sequence for themselves unless it is wrapped for the terminal around
them; tmux has a command of its own, which also works where it lets nothing pass.

Sources: XTerm Control Sequences, "Manipulate Selection Data"; tmux(1), "allow-passthrough"; screen(1), "Device Control
String", whose strings may have 768 bytes.
"""

import asyncio
import base64
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from tui_llama.files.own_files import replace_own_file

TOOL_SECONDS: Final = 3.0
"""A program that has not taken the text by then is ended, and the next way is tried."""
LONGEST_SEQUENCE_BYTES: Final = 75_000
"""Many terminals drop longer sequences without a word."""
_SCREEN_CHUNK: Final = 512
_DEAF_TERMINALS: Final = frozenset({"Apple_Terminal"})


class Tool(msgspec.Struct, frozen=True):
    """A program that takes a text from its standard input. `shown` is its name for the user."""

    shown: str
    command: tuple[str, ...]
    encoding: str = "utf-8"


class Copied(msgspec.Struct, frozen=True):
    """How a text was copied. `words` say it to the user, such as "by wl-copy"; `is_certain` is whether it is known."""

    words: str
    is_certain: bool = True


_TMUX: Final = Tool("tmux", ("tmux", "load-buffer", "-w", "-"))
_WAYLAND: Final = Tool("wl-copy", ("wl-copy",))
_X11: Final = (
    Tool("xclip", ("xclip", "-selection", "clipboard", "-in")),
    Tool("xsel", ("xsel", "--clipboard", "--input")),
)
_MAC: Final = Tool("pbcopy", ("pbcopy",))
_WINDOWS: Final = Tool("clip.exe", ("clip.exe",), "utf-16")


def tools(environment: Mapping[str, str], platform: str = sys.platform) -> list[Tool]:
    """Returns the programs that can reach the clipboard in front of the user, best first.

    A session from another machine has none but tmux: the others would fill the clipboard of the wrong machine.
    """
    found: list[Tool] = []
    if not (environment.get("SSH_CONNECTION") or environment.get("SSH_TTY")):
        if platform == "darwin":
            found.append(_MAC)
        if environment.get("WSL_DISTRO_NAME"):
            found.append(_WINDOWS)
        if environment.get("WAYLAND_DISPLAY"):
            found.append(_WAYLAND)
        if environment.get("DISPLAY"):
            found += _X11
    if environment.get("TMUX"):
        found.append(_TMUX)
    return found


def sequence(text: str, environment: Mapping[str, str]) -> str:
    """Returns what tells the terminal to copy `text`; empty if it is known not to, or the text is too long for it."""
    if environment.get("TERM_PROGRAM") in _DEAF_TERMINALS or environment.get("TERM") in ("linux", "dumb"):
        return ""
    data = base64.b64encode(text.encode("utf-8", "replace")).decode()
    if len(data) > LONGEST_SEQUENCE_BYTES:
        return ""
    plain = f"\x1b]52;c;{data}\a"
    if environment.get("TMUX"):
        return f"\x1bPtmux;{plain.replace(chr(27), chr(27) * 2)}\x1b\\"
    if environment.get("STY"):
        chunks = [plain[start : start + _SCREEN_CHUNK] for start in range(0, len(plain), _SCREEN_CHUNK)]
        return "".join(f"\x1bP{chunk}\x1b\\" for chunk in chunks)
    return plain


async def copy(
    text: str,
    environment: Mapping[str, str],
    write: Callable[[str], None],
    file: Path | None,
    platform: str = sys.platform,
) -> Copied | None:
    """Copies `text` by the best way there is.

    Args:
        text: Any text.
        environment: The variables of this process.
        write: Writes a sequence to the terminal.
        file: Where the text is put if nothing else works; None: nowhere.
        platform: As `sys.platform` names it.

    Returns:
        The way; None if there is none.

    Raises:
        OSError: The file, the last way, cannot be written.
    """
    for tool in tools(environment, platform):
        if await _took(tool, text):
            return Copied(f"by {tool.shown}")
    by_terminal = sequence(text, environment)
    if by_terminal:
        write(by_terminal)
        return Copied("through the terminal (OSC 52), if it allows that", is_certain=False)
    if file is None:
        return None
    await asyncio.to_thread(replace_own_file, file, text.encode("utf-8", "replace"))
    return Copied(f"into {file}, because nothing here reaches a clipboard")


async def _took(tool: Tool, text: str) -> bool:
    """Gives the text to a program. Returns whether it is there and took it."""
    path = shutil.which(tool.command[0])
    if path is None:
        return False
    return await _run([path, *tool.command[1:]], text.encode(tool.encoding, "replace"))


async def _run(command: Sequence[str], data: bytes) -> bool:
    nowhere = asyncio.subprocess.DEVNULL  # programs that stay to serve the clipboard would keep a pipe open
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=nowhere, stderr=nowhere, start_new_session=True
        )
    except OSError:
        return False
    try:
        async with asyncio.timeout(TOOL_SECONDS):
            await process.communicate(data)
    except (TimeoutError, BrokenPipeError, ConnectionResetError):
        pass
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode == 0
