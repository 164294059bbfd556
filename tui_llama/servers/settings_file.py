"""Adds servers to the settings file and removes them. Everything else in the file stays as it is, byte for byte.

A server is a section of its own, and a new one comes to the end. The new text is parsed before it is written: where it
says more than the old text and the change, the file is left alone. So what looks like a section inside a long text is
not taken for one.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tui_llama.errors import SettingsError
from tui_llama.files.toml_file import changing, check_writable, parsed, parsed_or_none, read_text, write_text
from tui_llama.servers.address import Server
from tui_llama.servers.declared import SERVERS, check_servers, fields_of, section_text

_HEADER: Final = re.compile(r"[ \t]*\[")
_NO_CONTENT: Final = re.compile(r"[ \t\r]*(#.*)?")


def add_server(file: Path, server: Server) -> None:
    """Adds a server to the settings file. Makes the file if there is none.

    Args:
        file: The settings file. If it is a link, the file to which it leads is replaced.
        server: The server, as `declared.check_server` returns it.

    Raises:
        SettingsError: a server of that name or that URL is there, or the file cannot be read or written.
    """
    with changing(file):
        write_text(file, _text_with(file, server))


def check_addition(file: Path, server: Server) -> None:
    """Checks that `add_server` would work, for callers that have to do something else before.

    Raises:
        SettingsError: it would not; the disk may still fail.
    """
    _text_with(file, server)
    check_writable(file)


def _text_with(file: Path, server: Server) -> str:
    """Returns the text of the file with a server more."""
    before = read_text(file)
    content = parsed(before, file)
    others = _servers(content)
    if server.name in others:
        hint = f"Choose another name, or remove it first: tui-llama servers remove {server.name}"
        raise SettingsError(f"there is a server {server.name} already", hint)
    section = {**others, server.name: fields_of(server)}
    *_, added = check_servers(section, "")
    if isinstance(added, SettingsError):
        raise added
    gap = "" if not before else "\n" if before.endswith("\n") else "\n\n"
    text = f"{gap}{section_text(server)}"
    after = before + (text.replace("\n", "\r\n") if "\r\n" in before else text)
    if parsed_or_none(after) != {**content, SERVERS: section}:
        hint = f"Write each of them as a section [{SERVERS}.NAME], and try again."
        raise SettingsError(f"{file}: the servers in it are not written as sections", hint)
    return after


def remove_server(file: Path, name: str) -> None:
    """Removes a server from the settings file.

    Args:
        file: The settings file. If it is a link, the file to which it leads is replaced.
        name: The server's name.

    Raises:
        SettingsError: there is no such server, or the file cannot be read or written.
    """
    with changing(file):
        _remove(file, name)


def _remove(file: Path, name: str) -> None:
    before = read_text(file)
    content = parsed(before, file)
    servers = _servers(content)
    if name not in servers:
        hint = f"Known servers: {', '.join(servers)}." if servers else "There is none."
        raise SettingsError(f"there is no server {name[:80]!r} in {file}", hint)
    others = {other: fields for other, fields in servers.items() if other != name}
    for after in _texts_without_section(before, name):
        found = parsed_or_none(after)
        if found is not None and {**found, SERVERS: _servers(found)} == {**content, SERVERS: others}:
            write_text(file, after)
            return
    raise SettingsError(f"{file}: {name} is not written as a section [{SERVERS}.{name}]", "Remove it there by hand.")


def _texts_without_section(text: str, name: str) -> Iterator[str]:
    """Yields the text without what looks like the section of a server, in each way in which it may be one.

    Comments behind its last line stay, because they belong to what follows. The empty line before it goes as well,
    unless something that is not empty follows at once.
    """
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)  # not `splitlines`, which knows more ends of lines than TOML
    starts = [number for number, line in enumerate(lines) if _HEADER.match(line)]
    for position, start in enumerate(starts):
        if not _names_server(lines[start], name):
            continue
        for end in (*starts[position + 1 :], len(lines)):
            last = end
            while last > start and _NO_CONTENT.fullmatch(lines[last - 1].rstrip("\n")):
                last -= 1
            before = lines[:start]
            is_apart = last == len(lines) or not lines[last].strip()
            if before and not before[-1].strip() and is_apart:
                before = before[:-1]
            yield "".join([*before, *lines[last:]])


def _names_server(line: str, name: str) -> bool:
    """Tells whether a line is the header of a server's section."""
    return parsed_or_none(line) == {SERVERS: {name: {}}}


def _servers(content: dict[str, Any]) -> dict[str, Any]:
    servers = content.get(SERVERS, {})
    return servers if isinstance(servers, dict) else {}
