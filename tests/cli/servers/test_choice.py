"""Which model of a server a command means, and which options make no sense with it."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from tui_llama import app, paths
from tui_llama.chats.store import Store
from tui_llama.cli import headless, main, screen
from tui_llama.cli.main import command_line
from tui_llama.cli.servers.choice import refuse_options_of_our_engine, server_model
from tui_llama.engine.process.attached import AttachingEngine
from tui_llama.engine.remote.engine import RemoteEngine
from tui_llama.engine.routed import RoutedEngine
from tui_llama.errors import SettingsError, UserError
from tui_llama.servers.address import Server
from tui_llama.settings import Settings
from tui_llama.system import standard_streams

HOME = Server("home", "http://10.0.0.2:8080/v1", key_variable="HOME_KEY")
SETTINGS = Settings(servers=(HOME,))
SECTION = '[servers.home]\nurl = "http://10.0.0.2:8080/v1"\nkey_variable = "HOME_KEY"\n'


def run(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(command_line, arguments, input=stdin)


def write_settings(content: str) -> None:
    file = paths.settings_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content, encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "address"),
    [
        ({}, None),
        ({"model": "qwen3"}, None),
        ({"server": "home"}, "http://10.0.0.2:8080/v1#"),
        ({"server": "home", "model": "org/qwen3:8b"}, "http://10.0.0.2:8080/v1#org/qwen3:8b"),
        ({"server": "http://127.0.0.1:9"}, "http://127.0.0.1:9/v1#"),
        ({"server": " http://127.0.0.1:9/v1/models ", "model": "a"}, "http://127.0.0.1:9/v1#a"),
        ({"server": "http://127.0.0.1:9/v1#b"}, "http://127.0.0.1:9/v1#b"),
        ({"server": "http://127.0.0.1:9/v1#b", "model": "a"}, "http://127.0.0.1:9/v1#a"),
    ],
)
def test_a_server_and_a_model_make_an_address(options: dict[str, object], address: str | None) -> None:
    assert server_model(options, SETTINGS) == address


@pytest.mark.parametrize("server", ["", "hom", "10.0.0.2:8080", "http://"])
def test_what_is_no_server_is_refused(server: str) -> None:
    with pytest.raises(SettingsError):
        server_model({"server": server}, SETTINGS)


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("context_size", "--ctx"), ("threads", "--threads"), ("cpu_mask", "--cpu-mask"), ("draft_max", "--draft-max"),
        ("prompt_cache_mib", "--prompt-cache-mib"), ("loop_guard", "--no-loop-guard"),
        ("context_overflow", "--context-shift and --no-context-shift"), ("group_size", "--grp-attn-n"),
    ],
)  # fmt: skip
def test_options_of_our_engine_are_refused_by_their_flags(name: str, flag: str) -> None:
    with pytest.raises(click.UsageError, match=f"^{flag} cannot be used with a model of a server"):
        refuse_options_of_our_engine({name: 1})


def test_options_that_a_server_knows_are_not_refused() -> None:
    known = {"temperature": 1.0, "max_tokens": 5, "stop_texts": ("a",), "system_prompt": "b"}
    refuse_options_of_our_engine(known)
    with pytest.raises(click.UsageError, match=r"^--threads cannot be used"):  # and is the only one that is named
        refuse_options_of_our_engine({**known, "threads": 2})


# --- ask, and commands that need a file


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that were asked, without asking them."""
    models: list[str] = []
    monkeypatch.setattr(headless, "ask", lambda model, *_arguments, **_options: models.append(model))
    return models


def test_ask_takes_a_server_before_or_behind_its_name(asked: list[str]) -> None:
    write_settings(SECTION)
    for arguments in (("ask", "hi", "--server", "home"), ("--server", "home", "ask", "hi")):
        assert run(*arguments, "-m", "qwen3").exit_code == 0
    assert asked == ["http://10.0.0.2:8080/v1#qwen3"] * 2


def test_ask_takes_the_address_of_a_model_as_its_path_and_the_server_used_last(asked: list[str]) -> None:
    assert run("ask", "hi", "-m", "http://127.0.0.1:9/v1#a").stderr == ""
    with Store(paths.database_file()) as store:
        store.set_preference("last_model", "http://127.0.0.1:9/v1#b")
    assert "note: the question goes to http://127.0.0.1:9/v1, the server used last" in run("ask", "hi").stderr
    assert asked == ["http://127.0.0.1:9/v1#a", "http://127.0.0.1:9/v1#b"]


@pytest.mark.parametrize(
    "arguments", [("--server", "http://127.0.0.1:9"), ("-m", "http://127.0.0.1:9/v1#a")], ids=["server", "address"]
)
def test_ask_refuses_options_of_our_engine_with_a_server(arguments: tuple[str, ...], asked: list[str]) -> None:
    result = run("ask", "hi", *arguments, "--ctx", "512")
    assert (result.exit_code, asked) == (2, [])
    assert "--ctx cannot be used with a model of a server" in result.stderr


def test_ask_refuses_an_unknown_server(asked: list[str]) -> None:
    result = run("ask", "hi", "--server", "hom")
    assert (result.exit_code, asked) == (1, [])
    assert "there is no server 'hom'" in result.stderr and "hint: " in result.stderr


@pytest.mark.parametrize("arguments", [("complete", "x", "--server", "home"), ("--server", "home", "complete", "x")])
def test_complete_refuses_a_server_and_says_why(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "cannot continue a text as it is" in result.stderr and "Use ask" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [("complete", "x"), ("tokenize", "x"), ("bench",), ("state", "import", "x")],
    ids=lambda words: words[0],
)
def test_commands_that_need_a_file_refuse_an_address_in_plain_words(arguments: tuple[str, ...]) -> None:
    result = run(*arguments, "-m", "http://127.0.0.1:9/v1#a")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "this is a model of a server, and not a file" in result.stderr

    with Store(paths.database_file()) as store:
        store.set_preference("last_model", "http://127.0.0.1:9/v1#b")
    result = run(*arguments)
    assert result.exit_code == 2 and "The model last used is one of a server" in result.stderr


@pytest.mark.parametrize("command", ["show", "remove"])
def test_a_model_of_a_server_is_no_model_on_this_machine(command: str) -> None:
    result = run("models", command, "http://127.0.0.1:9/v1#a")
    assert result.exit_code == 1
    assert "is a model of a server, and not a file" in result.stderr


def test_the_page_of_settings_says_what_a_server_is_told() -> None:
    write_settings(SECTION)
    page = run("settings", "-m", "http://127.0.0.1:9/v1#a").stdout
    assert SECTION in page
    assert "# Sampling with http://127.0.0.1:9/v1#a\n# The server is told the values that you have set.\n" in page
    write_settings(page)
    assert run("settings", "-m", "http://127.0.0.1:9/v1#a").stdout == page


# --- the screen


class Opened:
    """The app that the screen would have been, without a terminal."""

    ending_status = None
    return_code = 0

    def __init__(self, **arguments: object) -> None:
        self.arguments = arguments
        openings.append(self)

    def run(self) -> None:
        """Opens no screen."""


openings: list[Opened] = []


def open_screen(monkeypatch: pytest.MonkeyPatch, options: dict[str, object]) -> Opened:
    openings.clear()
    monkeypatch.setattr(app, "ChatApp", Opened)
    monkeypatch.setattr(screen, "is_plain", lambda _environment: False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr(standard_streams, "give_screen_a_terminal", lambda: None)
    with pytest.raises(SystemExit) as ended:
        main._open_screen(options)
    assert ended.value.code == 0
    return openings[0]


def test_the_screen_opens_with_the_model_of_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    write_settings(SECTION)
    opened = open_screen(monkeypatch, {"server": "home", "model": "qwen3"})
    assert opened.arguments["model_path"] == "http://10.0.0.2:8080/v1#qwen3"
    assert open_screen(monkeypatch, {"model": "http://a#b"}).arguments["model_path"] == "http://a/v1#b"


def test_the_screen_refuses_options_of_our_engine_with_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(click.UsageError, match="--ctx cannot be used"):
        open_screen(monkeypatch, {"server": "http://a", "context_size": 5})
    assert openings == []


def test_a_file_that_is_not_there_is_still_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        open_screen(monkeypatch, {"model": str(tmp_path / "none.gguf")})


async def test_the_engine_of_the_screen_is_one_of_files_and_one_of_servers() -> None:
    engine = screen.make_engine((HOME,))
    assert isinstance(engine, RoutedEngine) and not engine.is_alive
    assert isinstance(screen._make_local_engine(), AttachingEngine)
    assert isinstance(screen._make_remote_engine((HOME,)), RemoteEngine)
    await engine.close()
