"""The servers of the settings file: what may stand there, and what is said about the rest."""

from pathlib import Path

import msgspec
import pytest

from tests.fakes.refused_settings import refused
from tui_llama.engine.remote import dialects
from tui_llama.errors import SettingsError
from tui_llama.servers.address import DIALECTS, Server
from tui_llama.servers.declared import (
    SERVERS,
    check_name,
    check_servers,
    fields_of,
    find_server,
    key_place,
)
from tui_llama.settings_sources import (
    describe_settings,
    examine_servers,
    examine_values,
    load_servers,
    load_settings,
    load_values,
)

HOME = Server("home", "http://10.0.0.2:8080/v1", key_variable="HOME_KEY")
CLOUD = Server("cloud.example", "https://example.org/api/v1", key_command='pass show "my llm"', dialect="vllm")
DESK = Server("desk_2", "http://127.0.0.1:1234/v1", key_in_keyring=True)
PLAIN = Server("plain", "http://[::1]:8000/v1")

CONTENT = """
threads = 2

[servers.home]
url = "http://10.0.0.2:8080/"
key_variable = "HOME_KEY"

[servers."cloud.example"]
url = "https://example.org/api/v1/chat/completions"
key_command = 'pass show "my llm"'
dialect = "vllm"

[servers.desk_2]
url = "http://127.0.0.1:1234"
key_in_keyring = true
dialect = ""

[servers.plain]
url = "http://[::1]:8000"
key_in_keyring = false
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


def test_the_settings_have_the_servers_of_the_file_in_its_order(file: Path) -> None:
    file.write_text(CONTENT)

    settings = load_settings(file, {})

    assert settings.servers == (HOME, CLOUD, DESK, PLAIN)
    assert settings.threads == 2 and settings.given == {"threads"}


def test_without_servers_there_are_none(file: Path) -> None:
    assert load_settings(file, {}).servers == ()
    file.write_text("[servers]\n")
    assert load_settings(file, {}).servers == ()


def test_settings_with_other_servers_are_other_settings(file: Path) -> None:
    file.write_text(CONTENT)
    settings = load_settings(file, {})

    assert settings != msgspec.structs.replace(settings, servers=settings.servers[:1])
    assert hash(settings) == hash(msgspec.structs.replace(settings))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("servers = 3", "servers must be sections"),
        ('[servers]\nurl = "http://a"', "servers.url must be a section"),
        ("[servers.home]\n", "servers.home: url is missing"),
        ("[servers.home]\nurl = 3", "servers.home.url: this is not text"),
        ('[servers.home]\nurl = "10.0.0.2:8080"', "servers.home.url: 10.0.0.2:8080: this is no URL of a server"),
        ('[servers."my home"]\nurl = "http://a"', "'my home' cannot be the name of a server"),
        ('[servers."-home"]\nurl = "http://a"', "'-home' cannot be the name of a server"),
        ('[servers.""]\nurl = "http://a"', "'' cannot be the name of a server"),
    ],
)
def test_a_section_that_makes_no_sense_is_refused_by_file_and_name(file: Path, content: str, message: str) -> None:
    error = refused(file, content)

    assert str(error) == f"{file}: {message}"
    assert error.hint


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("urls = 1", ": there is no 'urls' for a server"),
        ('key-variable = "K"', ": there is no 'key-variable' for a server"),
        ('key_in_keyring = "yes"', ".key_in_keyring: this is neither true nor false"),
        ("key_in_keyring = 1", ".key_in_keyring: this is neither true nor false"),
        ('key_command = ["pass"]', ".key_command: this is not a command"),
        ('key_command = "pass\\u0000"', ".key_command: this is not a command"),
        ('key_command = "pass \'x"', ".key_command: no closing quotation"),
        ('key_command = "  "', ".key_command: there is no command"),
        ("key_variable = 5", ".key_variable: this is not the name of a variable"),
        ('dialect = "llama"', ".dialect: 'llama' is not allowed"),
        ("dialect = 5", ".dialect: 5 is not allowed"),
        ("dialect = []", ".dialect: [] is not allowed"),
        ('key_variable = "A"\nkey_in_keyring = true', ": key_variable and key_in_keyring are both set"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused_by_file_and_key(file: Path, lines: str, message: str) -> None:
    error = refused(file, f'[servers.home]\nurl = "http://a"\n{lines}')

    assert str(error) == f"{file}: servers.home{message}"
    assert error.hint


@pytest.mark.parametrize("key", ["key", "api_key", "apikey", "API-KEY", "token", "password", "bearer_token"])
def test_a_key_in_the_file_is_refused_with_the_places_where_it_belongs(file: Path, key: str) -> None:
    error = refused(file, f'[servers.home]\nurl = "http://a"\n{key} = "sk-very-secret"')

    assert str(error) == f"{file}: servers.home: a key must not stand in the settings file"
    assert "key_variable, key_command, or key_in_keyring" in error.hint
    assert "secret" not in str(error) + error.hint


@pytest.mark.parametrize(
    "line",
    [
        'key_variable = "sk-very-secret"', 'key_in_keyring = "sk-very-secret"', 'keys = "sk-very-secret"',
        "key_command = \"echo 'sk-very-secret\"", 'url = "https://me:sk-very-secret@example.org"',
        'url = "https://me:sk-very-secret@example.org:99999"', 'url = "https://me:sk-very-secret@exam ple.org"',
        'url = "https://example.org/v1?key=sk-very-secret"', 'url = "https://me:sk-very-secret@[::1"',
    ],
)  # fmt: skip
def test_what_may_be_a_key_is_never_repeated(file: Path, line: str) -> None:
    url = "" if line.startswith("url") else 'url = "http://a"\n'
    error = refused(file, f"[servers.home]\n{url}{line}")

    assert "secret" not in str(error) + error.hint


def test_a_mistyped_key_is_refused_with_the_nearest_one(file: Path) -> None:
    assert refused(file, '[servers.home]\nurl = "http://a"\ndialekt = "vllm"').hint == "Did you mean dialect?"
    assert "key_in_keyring" in refused(file, '[servers.home]\nurl = "http://a"\nxyzzy = 1').hint


def test_every_error_of_the_servers_can_be_known_at_once(file: Path) -> None:
    file.write_text('thread = 1\n[servers.a]\n[servers.b]\nurl = "http://b"\n[servers.c]\nurl = "c"\n')

    servers, errors = examine_servers(file)

    assert [server.name for server in servers] == ["b"]
    assert [str(error).removeprefix(f"{file}: ") for error in errors] == [
        "servers.a: url is missing",
        "servers.c.url: c: this is no URL of a server",
    ]
    assert len(examine_values(file, {})[1]) == 1


def test_the_page_of_all_settings_shows_the_servers_and_changes_nothing_as_the_settings_file(file: Path) -> None:
    file.write_text(CONTENT)
    text = describe_settings(load_values(file, {}), load_servers(file))
    assert '\n[servers.home]\nurl = "http://10.0.0.2:8080/v1"\nkey_variable = "HOME_KEY"\n' in text
    assert '\n[servers.desk_2]\nurl = "http://127.0.0.1:1234/v1"\nkey_in_keyring = true\n' in text

    before = load_settings(file, {})
    file.write_text(text)

    assert load_settings(file, {}) == before


def test_every_dialect_is_allowed() -> None:
    section = {name: {"url": f"http://{name}", "dialect": name} for name in DIALECTS}
    assert [server.dialect for server in check_servers(section, "") if isinstance(server, Server)] == list(DIALECTS)


def test_the_fields_of_a_server_make_the_same_server() -> None:
    for server in (HOME, CLOUD, DESK, PLAIN):
        assert list(check_servers({server.name: fields_of(server)}, "")) == [server]


def test_two_servers_have_two_urls(file: Path) -> None:
    error = refused(file, '[servers.a]\nurl = "http://a"\n[servers.b]\nurl = "HTTP://A/v1/"\nkey_variable = "B"\n')
    assert str(error) == f"{file}: servers.b.url: servers.a has this URL, too"


@pytest.mark.parametrize("name", ["a", "9", "home", "my-home", "a.b", "A_1"])
def test_a_name_has_letters_digits_and_three_signs(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["", "-", ".a", "_a", "a b", "a\n", "ä", "a/b", "a#b", "http://a", "\x1b[31m"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(SettingsError) as refused:
        check_name(name)
    assert "\x1b" not in str(refused.value)


@pytest.mark.parametrize(
    ("words", "server"),
    [
        ("home", HOME),
        ("desk_2", DESK),
        ("http://10.0.0.2:8080", HOME),
        (" http://10.0.0.2:8080/v1/ ", HOME),
        ("http://10.0.0.2:8080/v1#qwen3", HOME),
        ("HTTPS://Example.org/api/v1/models", CLOUD),
        ("http://127.0.0.1:9", Server("127.0.0.1:9", "http://127.0.0.1:9/v1")),
        ("https://other.example", Server("other.example", "https://other.example/v1")),
        ("http://[::2]:80", Server("[::2]:80", "http://[::2]:80/v1")),
    ],
)
def test_a_server_is_found_by_name_else_by_url(words: str, server: Server) -> None:
    assert find_server((HOME, CLOUD, DESK), words) == server


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="there is no server 'hom'") as refused:
        find_server((HOME, CLOUD), "hom")
    assert "home, cloud.example" in refused.value.hint
    with pytest.raises(SettingsError) as refused:
        find_server((), "hom")
    assert "tui-llama servers add" in refused.value.hint


def test_a_bad_url_is_refused() -> None:
    with pytest.raises(SettingsError, match="no URL"):
        find_server((HOME,), "http://")


def test_the_place_of_a_key_is_said_in_words() -> None:
    places = [key_place(server) for server in (HOME, CLOUD, DESK, PLAIN)]
    assert places == ["variable HOME_KEY", 'command pass show "my llm"', "keyring", "no key"]


def test_the_section_is_called_as_the_file_has_it(file: Path) -> None:
    assert f"[{SERVERS}.home]" in CONTENT


def test_the_dialects_are_those_of_the_engine() -> None:
    assert set(DIALECTS) == set(dialects.DIALECTS)
