"""`tui-llama servers`: the list of servers, and how it changes."""

from collections.abc import Iterator

import keyring
import pytest
from click.testing import CliRunner, Result

from tests.fakes.memory_keyring import MemoryKeyring, keyring_in_memory
from tests.servers.test_keys import KEY
from tui_llama import paths
from tui_llama.cli.main import command_line
from tui_llama.servers.address import Server
from tui_llama.servers.keys import KEYRING_SERVICE, key_of
from tui_llama.settings_sources import load_servers

URL = "http://10.0.0.2:8080/v1"


@pytest.fixture
def memory() -> Iterator[MemoryKeyring]:
    with keyring_in_memory() as memory:
        yield memory


def run(*arguments: str, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(command_line, ["servers", *arguments], input=stdin)


def declared() -> tuple[Server, ...]:
    return load_servers(paths.settings_file())


def test_without_servers_the_list_is_empty_and_says_how_to_add_one() -> None:
    result = run("list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "servers add" in result.stderr


def test_what_is_added_is_listed_with_the_place_of_its_key() -> None:
    for arguments in (
        ("home", "http://10.0.0.2:8080/", "--key-variable", "HOME_KEY"),
        ("cloud", "https://example.org/api/v1", "--key-command", "pass show llm", "--dialect", "vllm"),
        ("plain", "http://127.0.0.1:1"),
    ):
        result = run("add", *arguments)
        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr.startswith(f"Added {arguments[0]}: ")
    assert declared()[0] == Server("home", URL, key_variable="HOME_KEY")
    assert run("list").stdout == (
        "home   http://10.0.0.2:8080/v1     variable HOME_KEY\n"
        "cloud  https://example.org/api/v1  command pass show llm  vllm\n"
        "plain  http://127.0.0.1:1/v1       no key\n"
    )


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("my home", URL), 1, "cannot be the name of a server"),
        (("home", "10.0.0.2:8080"), 1, "this is no URL of a server"),
        (("home", "http://me:sk-very-secret@a"), 1, "must not contain a name or a password"),
        (("home", URL, "--key-variable", "sk-very-secret"), 1, "this is not the name of a variable"),
        (("home", URL, "--key-variable", "A", "--key-command", "b"), 1, "key_variable and key_command are both set"),
        (("home", URL, "--key-variable", "A", "--keyring"), 1, "key_variable and key_in_keyring are both set"),
        (("home", URL, "--dialect", "llama"), 2, "llama-server"),
        (("home",), 2, "URL"),
    ],
)
def test_what_makes_no_sense_is_not_added(arguments: tuple[str, ...], status: int, words: str) -> None:
    result = run("add", *arguments)
    assert (result.exit_code, result.stdout) == (status, "")
    assert words in result.stderr and "secret" not in result.stderr
    assert declared() == ()


def test_a_server_is_added_once() -> None:
    run("add", "home", URL)
    again = run("add", "home", URL)
    assert (again.exit_code, again.stderr) == (0, "home is there already.\n")
    other = run("add", "home", "http://other")
    assert other.exit_code == 1 and "there is a server home already" in other.stderr
    same_url = run("add", "other", URL)
    assert same_url.exit_code == 1 and "has this URL, too" in same_url.stderr
    assert declared() == (Server("home", URL),)


def test_a_key_from_a_pipe_goes_to_the_keyring_and_nowhere_else(memory: MemoryKeyring) -> None:
    result = run("add", "home", URL, "--keyring", stdin=f"{KEY}\nmore\n")

    assert result.exit_code == 0 and KEY not in result.output
    assert key_of(declared()[0]) == KEY
    assert KEY not in paths.settings_file().read_text()
    assert "keyring" in run("list").stdout


def test_a_key_can_be_stored_anew(memory: MemoryKeyring) -> None:
    run("add", "home", URL, "--keyring", stdin="old\n")
    assert run("add", "home", URL, "--keyring", stdin=KEY).exit_code == 0
    assert memory.entries == {(KEYRING_SERVICE, "home"): KEY}
    assert len(declared()) == 1


def test_another_server_of_the_same_name_keeps_its_key(memory: MemoryKeyring) -> None:
    run("add", "home", URL, "--keyring", stdin="old\n")
    result = run("add", "home", "http://other", "--keyring", stdin=KEY)
    assert result.exit_code == 1 and "there is a server home already" in result.stderr
    assert memory.entries == {(KEYRING_SERVICE, "home"): "old"}


def test_no_key_stays_of_a_server_that_cannot_be_added(memory: MemoryKeyring) -> None:
    run("add", "home", URL)
    same_url = run("add", "other", URL, "--keyring", stdin=KEY)
    assert same_url.exit_code == 1 and "has this URL, too" in same_url.stderr
    assert memory.entries == {}


@pytest.mark.parametrize("stdin", ["", "\n", b"\xff\n", "sk-very-secret-ü\n"])
def test_without_a_key_nothing_is_added(stdin: str | bytes, memory: MemoryKeyring) -> None:
    result = run("add", "home", URL, "--keyring", stdin=stdin)
    assert result.exit_code == 1 and "secret" not in result.stderr
    assert (declared(), memory.entries) == ((), {})


def test_a_keyring_that_is_locked_adds_nothing(memory: MemoryKeyring) -> None:
    memory.fault = keyring.errors.KeyringLocked()
    result = run("add", "home", URL, "--keyring", stdin=KEY)
    assert result.exit_code == 1 and "the keyring is locked" in result.stderr
    assert declared() == ()


def test_a_key_is_typed_unseen_on_a_terminal(memory: MemoryKeyring, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def prompt(text: str, *, hide_input: bool, err: bool) -> str:
        asked.append(hide_input and err)
        return KEY

    monkeypatch.setattr("tui_llama.cli.servers.changes.click.prompt", prompt)
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _stream: True, raising=False)
    assert run("add", "home", URL, "--keyring").exit_code == 0
    assert asked == [True] and memory.entries == {(KEYRING_SERVICE, "home"): KEY}


def test_a_server_is_removed_with_its_key(memory: MemoryKeyring) -> None:
    run("add", "home", URL, "--keyring", stdin=KEY)
    run("add", "other", "http://other")

    result = run("remove", "home")

    assert (result.exit_code, result.stderr) == (0, "Removed home.\n")
    assert [server.name for server in declared()] == ["other"] and memory.entries == {}


def test_a_key_that_cannot_be_removed_is_told_and_the_server_is_gone(memory: MemoryKeyring) -> None:
    run("add", "home", URL, "--keyring", stdin=KEY)
    memory.fault = keyring.errors.KeyringLocked()

    result = run("remove", "home")

    assert result.exit_code == 0
    assert "may still be in the keyring" in result.stderr
    assert declared() == ()


def test_what_is_not_there_cannot_be_removed() -> None:
    result = run("remove", "home")
    assert result.exit_code == 1 and "there is no server 'home'" in result.stderr


def test_a_broken_settings_file_is_told(memory: MemoryKeyring) -> None:
    file = paths.settings_file()
    file.parent.mkdir(parents=True)
    file.write_text("threads 3\n")
    for arguments in (("list",), ("add", "home", URL), ("remove", "home"), ("check", "home")):
        result = run(*arguments)
        assert result.exit_code == 1 and "not valid TOML" in result.stderr


def test_an_unknown_server_cannot_be_checked() -> None:
    result = run("check", "home")
    assert result.exit_code == 1 and "there is no server 'home'" in result.stderr
