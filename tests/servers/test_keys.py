"""The keys of servers: where they come from, and that no message has one."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends.chainer import ChainerBackend
from keyring.errors import KeyringLocked, NoKeyringError

from tests.fakes.memory_keyring import MemoryKeyring, keyring_in_memory
from tui_llama.errors import SettingsError
from tui_llama.servers import keys
from tui_llama.servers.address import Server
from tui_llama.servers.keys import KEYRING_SERVICE, key_of, remove_key, store_key

URL = "http://127.0.0.1:8080/v1"
KEY = "sk-very-secret"

IN_KEYRING = Server("home", URL, key_in_keyring=True)


@pytest.fixture
def memory() -> Iterator[MemoryKeyring]:
    with keyring_in_memory() as memory:
        yield memory


def command(statements: str, *arguments: str) -> Server:
    """A server whose key is what Python statements print."""
    return Server("home", URL, key_command=shlex.join([sys.executable, "-S", "-c", statements, *arguments]))


def refused(act: Callable[[], object]) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        act()
    said = str(caught.value) + caught.value.hint
    assert "secret" not in said and KEY not in said
    assert caught.value.hint
    return caught.value


def test_a_server_without_a_place_has_no_key() -> None:
    assert key_of(Server("home", URL)) == ""


# --- a variable


def test_a_variable_has_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME_KEY", f" {KEY}\n")
    assert key_of(Server("home", URL, key_variable="HOME_KEY")) == KEY


def test_a_missing_variable_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME_KEY", raising=False)
    error = refused(lambda: key_of(Server("home", URL, key_variable="HOME_KEY")))
    assert str(error) == "the variable HOME_KEY with the key of home is not set"


@pytest.mark.parametrize("value", ["", "  ", f"{KEY}\nX: y", "sk-very-secret-ü", "sk-very-secret\x1b", "s" * 20_000])
def test_what_cannot_stand_in_a_header_is_no_key(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME_KEY", value)
    refused(lambda: key_of(Server("home", URL, key_variable="HOME_KEY")))


# --- a command


def test_the_first_line_that_a_command_prints_is_the_key() -> None:
    assert key_of(command(f"print('{KEY} '); print('user: me')")) == KEY


def test_a_command_gets_its_words_as_they_are_quoted_and_no_shell() -> None:
    assert key_of(command("import sys; print(*sys.argv[1:], sep='|')", "a b", "$HOME", ";ls", "*")) == "a b|$HOME|;ls|*"


def test_a_command_has_no_terminal_and_an_empty_input() -> None:
    statements = "import os, sys; print(len(sys.stdin.read()), os.getsid(0) == os.getpid())"
    assert key_of(command(statements)) == "0 True"


def test_what_a_command_says_of_its_failure_is_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    error = refused(lambda: key_of(command(f"import sys; print('{KEY}'); sys.exit('{KEY} is wrong')")))
    assert str(error) == "key_command of home failed with exit status 1"
    assert capfd.readouterr() == ("", "")


def test_a_command_that_prints_nothing_gives_no_key() -> None:
    assert str(refused(lambda: key_of(command("pass")))) == "the output of key_command of home is empty"


def test_bytes_that_are_no_text_are_no_key() -> None:
    refused(lambda: key_of(command(r"import sys; sys.stdout.buffer.write(b'\xff\xfe\x00')")))


def test_a_command_that_is_not_there_is_told() -> None:
    error = refused(lambda: key_of(Server("home", URL, key_command="./no-such-command-secret")))
    assert str(error) == "key_command of home cannot be run: No such file or directory"


def test_a_command_that_does_not_end_is_killed_with_what_it_has_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(keys, "_COMMAND_SECONDS", 1.0)
    noted = tmp_path / "process"
    os.mkfifo(noted)
    watching = os.open(noted, os.O_RDONLY | os.O_NONBLOCK)
    # The child of the command holds the pipe open, until it is killed as well.
    statements = "import subprocess, sys; subprocess.run(['sleep', '600'], stdout=open(sys.argv[1], 'wb'))"

    error = refused(lambda: key_of(command(statements, str(noted))))

    assert str(error) == "key_command of home has not ended after 1 seconds"
    os.set_blocking(watching, True)
    assert os.read(watching, 1) == b""
    os.close(watching)


def test_a_command_that_waits_ends_with_the_program(tmp_path: Path) -> None:
    told = tmp_path / "told"
    os.mkfifo(told)
    wait = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
    leave = (
        "import sys, threading; from tui_llama.servers.keys import Server, key_of\n"
        "server = Server('home', sys.argv[1], key_command=sys.argv[2])\n"
        "threading.Thread(target=key_of, args=(server,), daemon=True).start(); print(open(sys.argv[3]).read())"
    )
    arguments = [URL, command(wait, str(told)).key_command, str(told)]
    ended = subprocess.run([sys.executable, "-c", leave, *arguments], capture_output=True, text=True, check=True)
    with pytest.raises(ProcessLookupError):
        os.kill(int(ended.stdout), 0)


def test_a_command_without_end_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_COMMAND_SECONDS", 1.0)
    refused(lambda: key_of(Server("home", URL, key_command="cat /dev/zero")))


def test_a_command_that_was_killed_has_failed() -> None:
    error = refused(lambda: key_of(command(f"import os; print('{KEY}', flush=True); os.kill(os.getpid(), 15)")))
    assert str(error) == f"key_command of home failed with exit status {-signal.SIGTERM}"


# --- the keyring


def test_a_key_is_stored_found_replaced_and_removed(memory: MemoryKeyring) -> None:
    store_key(IN_KEYRING, "first")
    store_key(IN_KEYRING, f"{KEY}\n")

    assert memory.entries == {(KEYRING_SERVICE, "home"): KEY}
    assert key_of(IN_KEYRING) == KEY

    remove_key(IN_KEYRING)
    remove_key(IN_KEYRING)
    assert memory.entries == {}


def test_a_keyring_without_the_key_is_told(memory: MemoryKeyring) -> None:
    error = refused(lambda: key_of(IN_KEYRING))
    assert str(error) == "the keyring has no key of home"
    assert "servers add home" in error.hint


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (NoKeyringError(KEY), "this system has no keyring"),
        (KeyringLocked(KEY), "the keyring is locked"),
        (OSError(KEY), "the keyring fails (OSError)"),
    ],
)
def test_a_keyring_that_fails_is_told(memory: MemoryKeyring, fault: Exception, words: str) -> None:
    memory.fault = fault
    for act in (lambda: key_of(IN_KEYRING), lambda: store_key(IN_KEYRING, KEY), lambda: remove_key(IN_KEYRING)):
        assert str(refused(act)) == f"the key of home cannot be reached: {words}"


def test_a_keyring_in_plain_text_gets_no_key(memory: MemoryKeyring) -> None:
    class PlaintextKeyring(MemoryKeyring):
        """A keyring that is no better than a file of ours."""

    plain = PlaintextKeyring()
    keyring.set_keyring(plain)
    assert "a file in plain text" in str(refused(lambda: store_key(IN_KEYRING, KEY)))
    assert plain.entries == {}


def test_a_key_goes_to_the_first_keyring_of_several_that_takes_it_and_to_none_in_plain_text(
    memory: MemoryKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ReadOnlyKeyring(MemoryKeyring):
        """A keyring that takes no keys."""

        def set_password(self, service: str, username: str, password: str) -> None:
            raise NotImplementedError

    class PlaintextKeyring(MemoryKeyring):
        """A keyring that is no better than a file of ours."""

    locked, plain, read_only = MemoryKeyring(), PlaintextKeyring(), ReadOnlyKeyring()
    locked.fault = KeyringLocked()
    chain: list[KeyringBackend] = []
    monkeypatch.setattr(ChainerBackend, "backends", chain)
    keyring.set_keyring(ChainerBackend())  # type: ignore[no-untyped-call]
    for backends, words in (
        ([plain, memory], "a file in plain text"),
        ([read_only, plain], "a file in plain text"),
        ([locked, memory], "the keyring is locked"),
        ([read_only], "no keyring takes one"),
    ):
        chain[:] = backends
        assert words in str(refused(lambda: store_key(IN_KEYRING, KEY)))
    assert (plain.entries, memory.entries) == ({}, {})
    chain[:] = [read_only, memory, plain]
    store_key(IN_KEYRING, KEY)
    assert key_of(IN_KEYRING) == KEY and not plain.entries


def test_without_the_package_the_other_places_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert "the package keyring is missing" in str(refused(lambda: key_of(IN_KEYRING)))


@pytest.mark.parametrize("key", ["", "  \n", "sk-very-secret\nb"])
def test_what_is_no_key_is_not_stored(memory: MemoryKeyring, key: str) -> None:
    refused(lambda: store_key(IN_KEYRING, key))
    assert memory.entries == {}
