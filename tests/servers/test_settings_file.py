"""Servers come into the settings file and out of it, and everything else there stays as it is."""

import fcntl
import shlex
import stat
import threading
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patience import HANG_SECONDS
from tui_llama.errors import SettingsError
from tui_llama.files.own_files import replace_own_file
from tui_llama.servers.address import Server
from tui_llama.servers.settings_file import add_server, remove_server
from tui_llama.settings_sources import load_servers

HOME = Server("home", "http://10.0.0.2:8080/v1", key_variable="HOME_KEY", dialect="vllm")
DESK = Server("desk.2", "http://127.0.0.1:1234/v1", key_command='pass show "my\\llm"')
SECTION = '[servers.home]\nurl = "http://10.0.0.2:8080/v1"\nkey_variable = "HOME_KEY"\ndialect = "vllm"\n'

LOOKS_LIKE_A_SECTION = 'system_prompt = """\n[servers.home]\nurl = "http://a"\n\n[sampling]\n"""\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config" / "settings.toml"


def write(file: Path, content: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content.encode())


def text(file: Path) -> str:
    return file.read_bytes().decode()


def test_the_first_server_makes_the_file(file: Path) -> None:
    add_server(file, HOME)

    assert text(file) == SECTION
    assert load_servers(file) == (HOME,)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_two_servers_that_are_added_at_once_are_both_there(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second comes between the reading and the writing of the first: it has to wait there."""
    second = threading.Thread(target=add_server, args=(file, DESK))
    waits_or_is_done = threading.Event()
    lock = fcntl.flock

    def watched_lock(descriptor: int, operation: int) -> None:
        if threading.current_thread() is second:
            waits_or_is_done.set()
        lock(descriptor, operation)

    def replace_late(path: Path, content: bytes) -> None:
        if threading.current_thread() is not second:
            second.start()
            assert waits_or_is_done.wait(HANG_SECONDS)
        replace_own_file(path, content)
        waits_or_is_done.set()

    monkeypatch.setattr(fcntl, "flock", watched_lock)
    monkeypatch.setattr("tui_llama.files.toml_file.replace_own_file", replace_late)
    add_server(file, HOME)
    second.join(HANG_SECONDS)

    assert load_servers(file) == (HOME, DESK)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("threads = 2\n", "threads = 2\n\n" + SECTION),
        ("threads = 2", "threads = 2\n\n" + SECTION),
        ("# only words", "# only words\n\n" + SECTION),
        ("threads=2 # two\r\n", "threads=2 # two\r\n\r\n" + SECTION.replace("\n", "\r\n")),
        ("[servers]\n", "[servers]\n\n" + SECTION),
        ("[sampling]\ntop_p = nan\n", "[sampling]\ntop_p = nan\n\n" + SECTION),
        ("[servers.a]\nurl='http://a'\n\n[sampling]\n", "[servers.a]\nurl='http://a'\n\n[sampling]\n\n" + SECTION),
        (LOOKS_LIKE_A_SECTION, f"{LOOKS_LIKE_A_SECTION}\n{SECTION}"),
    ],
)
def test_a_server_comes_to_the_end_of_what_is_there(file: Path, before: str, after: str) -> None:
    write(file, before)

    add_server(file, HOME)

    assert text(file) == after
    assert HOME in load_servers(file) or "nan" in before
    remove_server(file, "home")
    assert text(file) == (before if before.endswith("\n") else f"{before}\n")


def test_two_servers_are_told_apart_and_removed_one_by_one(file: Path) -> None:
    add_server(file, HOME)
    add_server(file, DESK)
    assert load_servers(file) == (HOME, DESK)

    remove_server(file, "home")
    assert load_servers(file) == (DESK,)
    remove_server(file, "desk.2")
    assert load_servers(file) == () and text(file) == ""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # A comment in the section goes with it; one behind it belongs to what follows.
        ("[servers.home]\n# mine\nurl='http://a'#x\n\n# how\n[sampling]\n", "\n# how\n[sampling]\n"),
        ("a = 1\n\n[ servers . 'home' ] # mine\nurl='http://a'\n[sampling]\n", "a = 1\n\n[sampling]\n"),
        ("a = 1\n\n[servers.home]\r\nurl='http://a'\r\n\r\n[sampling]\n", "a = 1\n\r\n[sampling]\n"),
        ("[servers.home]\nurl='http://a'\n\n[servers.b]\nurl='http://b'", "\n[servers.b]\nurl='http://b'"),
        ("[servers]\n[servers.home]\nurl='http://a'", "[servers]\n"),
        ("[servers.b]\nurl='''\n[b]'''\n[servers.home]\nurl='''\n[a]'''\n[c]\n", "[servers.b]\nurl='''\n[b]'''\n[c]\n"),
        (f"{LOOKS_LIKE_A_SECTION}[servers.home]\nurl='http://a'\n", LOOKS_LIKE_A_SECTION),
        ("[servers.home]\nurl='http://a'\nx = [\n[1],\n[2]]\n[b]\n", "[b]\n"),
        ("a = '\u2028[servers.home]'\n[servers.home]\nurl='http://a'\n", "a = '\u2028[servers.home]'\n"),
        ("[servers.home]\n", ""),
    ],
)
def test_removing_takes_the_section_and_nothing_else(file: Path, before: str, after: str) -> None:
    write(file, before)
    remove_server(file, "home")
    assert text(file) == after


@pytest.mark.parametrize(
    "content",
    ["servers.home.url = 'http://a'\nthreads = 2\n", "servers = {home = {url='http://a'}}\n",
     "[servers]\nhome = {url='http://a'}\n", "[servers]\nhome.url = 'http://a'\n"],
)  # fmt: skip
def test_what_is_no_section_is_left_to_the_user(file: Path, content: str) -> None:
    write(file, content)
    with pytest.raises(SettingsError, match="is not written as a section") as refused:
        remove_server(file, "home")
    assert "by hand" in refused.value.hint
    assert text(file) == content


def test_nothing_can_be_added_to_servers_on_one_line(file: Path) -> None:
    write(file, "servers = {a = {url='http://a'}}\n")
    with pytest.raises(SettingsError, match="not written as sections"):
        add_server(file, HOME)
    assert text(file) == "servers = {a = {url='http://a'}}\n"


def test_a_name_is_there_once(file: Path) -> None:
    write(file, SECTION)
    with pytest.raises(SettingsError, match="there is a server home already") as refused:
        add_server(file, Server("home", "http://other/v1"))
    assert "servers remove home" in refused.value.hint
    assert text(file) == SECTION


def test_a_url_is_there_once(file: Path) -> None:
    write(file, SECTION)
    with pytest.raises(SettingsError, match=r"servers\.home has this URL"):
        add_server(file, Server("other", HOME.url))
    assert text(file) == SECTION


def test_what_is_not_there_cannot_be_removed(file: Path) -> None:
    with pytest.raises(SettingsError, match="there is no server 'home'"):
        remove_server(file, "home")
    write(file, SECTION)
    with pytest.raises(SettingsError, match="there is no server 'hom'") as refused:
        remove_server(file, "hom")
    assert "home" in refused.value.hint


@pytest.mark.parametrize("content", [b"threads 3\n", b"\xff\n"])
def test_a_file_that_is_no_toml_is_left_alone(file: Path, content: bytes) -> None:
    write(file, "")
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"not valid TOML|not UTF-8"):
        add_server(file, HOME)
    with pytest.raises(SettingsError, match=r"not valid TOML|not UTF-8"):
        remove_server(file, "home")
    assert file.read_bytes() == content


def test_a_link_stays_a_link(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "dotfiles.toml"
    target.write_text("threads = 2\n")
    file.parent.mkdir()
    file.symlink_to(target)

    add_server(file, HOME)

    assert file.is_symlink() and target.read_text() == "threads = 2\n\n" + SECTION


def test_a_file_that_cannot_be_written_is_told(file: Path) -> None:
    file.parent.write_text("no folder")
    with pytest.raises(SettingsError, match="cannot be written"):
        add_server(file, HOME)
    file.parent.unlink()
    file.mkdir(parents=True)
    with pytest.raises(SettingsError, match="cannot be read"):
        add_server(file, HOME)


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
LINES = st.sampled_from(
    [
        "threads = 2\n", "# words [servers.home]\n", "\n", "[servers]\n", "[sampling]\n",
        "[servers.b]\nurl='http://b'\n", LOOKS_LIKE_A_SECTION, "x = [\n[1],\n]\n", "\r\n", "servers.c.url = 'http://c'\n",
        "y = '''\n[servers.home]\n#'''\n",
        "z = 1.50\n", "[[t]]\n", "[servers.d] # d\nurl = 'http://d'\n# end\n",
    ]
)  # fmt: skip


@given(lines=st.lists(LINES, max_size=8), command=TEXTS)
def test_a_server_that_was_added_and_removed_leaves_the_file_as_it_was(
    lines: list[str], command: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = "".join(lines)
    try:
        content = tomllib.loads(before)
    except tomllib.TOMLDecodeError:
        return
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_bytes(before.encode())
    server = Server("home", HOME.url, key_command=shlex.quote(command))

    add_server(file, server)

    assert text(file).startswith(before)
    added = tomllib.loads(text(file))
    assert added["servers"].pop("home") == {"url": HOME.url, "key_command": shlex.quote(command)}
    assert {**added, "servers": added["servers"]} == {**content, "servers": content.get("servers", {})}
    remove_server(file, "home")
    assert text(file) == before
