"""The keys of servers: a variable, a command or the system's keyring has them, never a file of ours.

No message has a key in it, nor anything that a command has printed.
"""

import atexit
import os
import select
import shlex
import signal
import subprocess
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final

from tui_llama.errors import SettingsError
from tui_llama.servers.address import Server

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    from keyring.backend import KeyringBackend

KEYRING_SERVICE: Final = "tui_llama"
"""The service under which the keyring has the keys. The user is the server's name."""
_PLAIN_TEXT: Final = "Plaintext"
"""A part of the names of keyrings that encrypt nothing."""
_COMMAND_SECONDS: Final = 30.0
_MOST_BYTES: Final = 1 << 14
"""More bytes than any key has; a server would refuse such a long header."""


def key_of(server: Server) -> str:
    """Returns the key of a server, from the place that is declared; empty if none is.

    A command may take some seconds, and a keyring may ask the user, so this is nothing for an event loop's thread.

    Raises:
        SettingsError: the place has no key, or none that can be sent.
    """
    if server.key_variable:
        key, place = _from_variable(server), f"the variable {server.key_variable}"
    elif server.key_command:
        key, place = _from_command(server), f"the output of key_command of {server.name}"
    elif server.key_in_keyring:
        key, place = _from_keyring(server), f"the key of {server.name} in the keyring"
    else:
        return ""
    return checked_key(key, place)


def checked_key(key: str, place: str) -> str:
    """Returns a key without the blanks around it.

    Args:
        key: The key.
        place: Where it comes from, in words for the error.

    Raises:
        SettingsError: it is empty or cannot stand in a header.
    """
    key = key.strip()
    if not key:
        raise SettingsError(f"{place} is empty", "Put the server's key there, or declare no key for this server.")
    if not (key.isascii() and key.isprintable()) or len(key) > _MOST_BYTES:
        raise SettingsError(f"{place} is no key: a key is one line of ASCII characters", "Put the server's key there.")
    return key


def store_key(server: Server, key: str) -> None:
    """Stores a key in the keyring, in place of one that may be there.

    Raises:
        SettingsError: it is no key, there is no keyring, it is locked, or it is a file that everybody could read.
    """
    key = checked_key(key, f"the key of {server.name}")
    try:
        for place in _places_in(_keyring().get_keyring()):
            if _PLAIN_TEXT in type(place).__name__:
                what = f"the key of {server.name} is not stored: the keyring that is set up is a file in plain text"
                raise SettingsError(what, "Set up another one, or name a variable or a command for the key.")
            with suppress(NotImplementedError):  # it can only be read
                place.set_password(KEYRING_SERVICE, server.name, key)
                return
    except SettingsError:
        raise
    except Exception as error:
        raise _keyring_error(server, error) from error
    raise SettingsError(
        f"the key of {server.name} is not stored: no keyring takes one", "Name a variable or a command for the key."
    )


def remove_key(server: Server) -> None:
    """Removes the key of a server from the keyring; does nothing if there is none.

    Raises:
        SettingsError: there is no keyring, or it is locked.
    """
    keyring = _keyring()
    try:
        if keyring.get_password(KEYRING_SERVICE, server.name) is not None:
            keyring.delete_password(KEYRING_SERVICE, server.name)
    except Exception as error:
        raise _keyring_error(server, error) from error


def _from_variable(server: Server) -> str:
    key = os.environ.get(server.key_variable)
    if key is None:
        hint = f"Set it, such as: export {server.key_variable}=…; or declare another place for the key."
        raise SettingsError(f"the variable {server.key_variable} with the key of {server.name} is not set", hint)
    return key


# --- the keyring ----------------------------------------------------------------------------------------------------


def _from_keyring(server: Server) -> str:
    keyring = _keyring()
    try:
        key = keyring.get_password(KEYRING_SERVICE, server.name)
    except Exception as error:  # each keyring has errors of its own besides those of the package
        raise _keyring_error(server, error) from error
    if key is None:
        hint = f"tui-llama servers add {server.name} {server.url} --keyring stores it."
        raise SettingsError(f"the keyring has no key of {server.name}", hint)
    return str(key)


def _keyring() -> "ModuleType":
    """Imports the keyring's package, which takes a while."""
    try:
        import keyring
    except ImportError as error:
        hint = "Install the package keyring, or name a variable or a command for the key."
        raise SettingsError("the system's keyring cannot be used: the package keyring is missing", hint) from error
    return keyring


def _places_in(backend: "KeyringBackend") -> "Iterable[KeyringBackend]":
    """Returns the keyrings to which a key may go, in order: several may be set up as a chain."""
    from keyring.backends.chainer import ChainerBackend

    return backend.backends if isinstance(backend, ChainerBackend) else (backend,)


def _keyring_error(server: Server, error: Exception) -> SettingsError:
    from keyring.errors import KeyringLocked, NoKeyringError

    if isinstance(error, NoKeyringError):
        what, hint = "this system has no keyring", "Name a variable or a command for the key."
    elif isinstance(error, KeyringLocked):
        what, hint = "the keyring is locked", "Unlock it and try again."
    else:  # the text of the error is left out, because nobody knows what is in it
        what, hint = f"the keyring fails ({type(error).__name__})", "Unlock it, or name a variable or a command."
    return SettingsError(f"the key of {server.name} cannot be reached: {what}", hint)


# --- a command ------------------------------------------------------------------------------------------------------


def _from_command(server: Server) -> str:
    """Returns the first line of the command's output.

    The command runs without a shell and has no terminal, so it can neither take keys nor write across the screen.
    """
    what = f"key_command of {server.name}"
    try:
        process = subprocess.Popen(
            shlex.split(server.key_command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or "this is not a command"
        raise SettingsError(f"{what} cannot be run: {cause}", "Correct it in the settings file.") from error
    # The thread that waits for it may be left behind at the end of the program, and the command must not be.
    end = partial(_end, process)
    atexit.register(end)
    try:
        output = _first_line(process, monotonic() + _COMMAND_SECONDS)
    except TimeoutError as error:
        hint = "Run it in a terminal: it may wait for a password, which it cannot ask for here."
        raise SettingsError(f"{what} has not ended after {_COMMAND_SECONDS:.0f} seconds", hint) from error
    finally:
        end()
        atexit.unregister(end)
    if process.returncode:
        hint = "Run it in a terminal to see why."
        raise SettingsError(f"{what} failed with exit status {process.returncode}", hint)
    return output.decode(errors="replace")


def _first_line(process: "subprocess.Popen[bytes]", deadline: float) -> bytes:
    """Returns the first line of a process's output, without its end, once the process has ended.

    Raises:
        TimeoutError: it has not ended at the deadline.
    """
    assert process.stdout is not None
    output = b""
    while b"\n" not in output and len(output) <= _MOST_BYTES:
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - monotonic()))
        if not ready:
            raise TimeoutError
        content = os.read(process.stdout.fileno(), 4096)
        if not content:
            break
        output += content
    try:
        process.wait(max(0.0, deadline - monotonic()))
    except subprocess.TimeoutExpired as error:
        raise TimeoutError from error
    return output.partition(b"\n")[0]


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kills what is left of a process, and of those that it has started in its session."""
    assert process.stdout is not None
    process.stdout.close()
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
