"""`tui-llama cache`: what is stored of which chat, and how it goes."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.fakes.stored_prompts import OTHER_OWNER, cache_on, store
from tui_llama import paths
from tui_llama.chats.store import Store
from tui_llama.cli.main import command_line
from tui_llama.engine.prompt_cache.owner import served_owner_id


def run(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(command_line, ["cache", *arguments], input=stdin)


def segments() -> list[Path]:
    return list(paths.prompt_cache_folder().rglob("*.tlk"))


@pytest.fixture
def chat_id() -> str:
    """A chat of which 1,200 tokens are stored; of another one that is gone, 100 are."""
    with Store(paths.database_file()) as chats:
        made = chats.create_chat(title="Llamas \x1b[31mred\x1b]0;x\x07")
    cache = cache_on(paths.prompt_cache_folder())
    store(cache, range(1200), bytes.fromhex(made))
    store(cache, range(500, 600), OTHER_OWNER)
    return made


def test_it_shows_chats_models_and_room(chat_id: str) -> None:
    (path, *_) = segments()
    path.with_name(f"{'1' * 32}.tlk.damaged").write_bytes(bytes(2048))
    result = run("show", "--prompt-cache-mib", "3")
    lines = result.stdout.splitlines()
    assert (result.exit_code, len(lines)) == (0, 5)
    mine, gone = sorted(lines[:2], key=lambda line: chat_id not in line)
    assert "1,200 tokens" in mine and mine.endswith("Llamas red")
    assert "100 tokens" in gone and gone.endswith(f"{OTHER_OWNER.hex()}  (deleted chat)")
    assert lines[2] == "   2.0 KiB  that no chat can use any more"
    assert lines[3].endswith(f"of model {path.parent.name}")
    assert " of 3.0 MiB; " in lines[4] and lines[4].endswith("of the disk are free")


def test_it_says_which_prompts_are_of_served_programs(chat_id: str) -> None:
    served = served_owner_id(b"an agent")
    store(cache_on(paths.prompt_cache_folder()), range(700, 800), bytes.fromhex(served))
    (line,) = [line for line in run("show").stdout.splitlines() if served in line]
    assert line.endswith(f"{served}  (a program that tui-llama serve answered)")
    result = run("strip", served, chat_id)
    assert result.stderr.startswith("Removed the stored prompts of 1 chat and 1 served program: 1,300 tokens, ")
    assert len(segments()) == 1


def test_what_a_terminal_would_obey_is_not_shown(chat_id: str) -> None:
    assert "\x1b" not in run("show").stdout


def test_with_nothing_stored_it_says_so_and_makes_nothing() -> None:
    result = run("show")
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 1)
    assert "0 B  of " in result.stdout
    assert not paths.database_file().exists() and not paths.prompt_cache_folder().exists()


def test_switched_off_it_says_so(chat_id: str) -> None:
    assert "nothing more is stored" in run("show", "--prompt-cache-mib", "-1").stdout


def test_stripping_keeps_the_chat_and_drops_what_is_stored(chat_id: str) -> None:
    result = run("strip", chat_id[:8].upper())
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("Removed the stored prompts of 1 chat: 1,200 tokens, ")
    assert len(segments()) == 1
    with Store(paths.database_file()) as chats:
        assert [chat.chat_id for chat in chats.list_chats()] == [chat_id]


def test_stripping_what_is_not_there_is_an_error_and_removes_nothing(chat_id: str) -> None:
    result = run("strip", chat_id, "zz")
    assert (result.exit_code, len(segments())) == (1, 2)
    assert "error: there is no stored prompt of a chat 'zz'" in result.stderr
    assert "hint: tui-llama cache show" in result.stderr


def test_an_id_that_fits_two_chats_is_an_error(chat_id: str) -> None:
    cache = cache_on(paths.prompt_cache_folder())
    store(cache, range(900, 1000), b"pq" + bytes(14))
    result = run("strip", "70")
    assert (result.exit_code, len(segments())) == (1, 3)
    assert "error: 2 chats' ids begin with '70'" in result.stderr


@pytest.mark.parametrize("arguments", [("strip",), ("strip", "--all", "abc")])
def test_stripping_needs_ids_or_all(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_all_chats_can_be_stripped(chat_id: str) -> None:
    assert run("strip", "--all").exit_code == 0
    assert segments() == []


@pytest.mark.parametrize(
    ("arguments", "answer", "status", "left"),
    [((), "n\n", 1, 2), ((), "", 1, 2), ((), "y\n", 0, 0), (("--yes",), "", 0, 0)],
    ids=["no", "nobody answers", "yes", "not asked"],
)
def test_clearing_asks_first(chat_id: str, arguments: tuple[str, ...], answer: str, status: int, left: int) -> None:
    result = run("clear", *arguments, stdin=answer)
    assert (result.exit_code, result.stdout, len(segments())) == (status, "", left)


def test_what_cannot_be_removed_is_an_error(chat_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tui_llama.files.storage.DiskStorage.unlink", refuse)
    result = run("clear", "--yes")
    assert result.exit_code == 1
    assert "error: The stored prompts could not be removed (Permission denied)." in result.stderr
