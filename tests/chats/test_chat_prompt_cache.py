"""What is stored of a chat goes with it."""

import sys
from pathlib import Path

import pytest

from tests.fakes.stored_prompts import cache_on, store
from tui_llama import paths
from tui_llama.chats import chat_prompt_cache
from tui_llama.chats.store import Store
from tui_llama.chats.stored import new_chat_id
from tui_llama.engine.prompt_cache.owner import is_served_owner, served_owner_id
from tui_llama.engine.requests import LoadRequest
from tui_llama.errors import StateFileError


def segments() -> list[Path]:
    return list(paths.prompt_cache_folder().rglob("*.tlk"))


def test_what_is_stored_of_chats_that_are_gone_is_removed(home_folder: Path) -> None:
    with Store(paths.database_file()) as chats:
        kept = chats.create_chat()
        cache = cache_on(paths.prompt_cache_folder())
        store(cache, range(100), bytes.fromhex(kept))
        store(cache, range(50, 200), bytes(15) + b"x")
        assert len(segments()) == 2
        chat_prompt_cache.forget_orphans(chats)
        assert len(segments()) == 1
        chat_prompt_cache.forget_chat(kept)
        assert segments() == []


def test_what_is_stored_of_served_programs_stays(home_folder: Path) -> None:
    served = served_owner_id(b"system prompt")
    with Store(paths.database_file()) as chats:
        cache = cache_on(paths.prompt_cache_folder())
        store(cache, range(100), bytes.fromhex(served))
        store(cache, range(150, 250), bytes(15) + b"x")
        chat_prompt_cache.forget_orphans(chats)
        assert len(segments()) == 1
        chat_prompt_cache.forget_chat(served)
        assert segments() == []


def test_no_chat_is_taken_for_a_served_program() -> None:
    assert not any(is_served_owner(new_chat_id()) for _ in range(1000))


def test_without_anything_stored_nothing_is_made(home_folder: Path) -> None:
    with Store(paths.database_file()) as chats:
        chat_prompt_cache.forget_orphans(chats)
    assert not paths.prompt_cache_folder().exists()


@pytest.mark.parametrize(
    ("program", "cause"),
    [
        ("""print('{"owners": [], "cause": "Read-only file system"}')""", "Read-only file system"),
        ("raise SystemExit(3)", "its process ended with status 3"),
    ],
)
def test_what_could_not_be_removed_is_said_with_its_cause(
    program: str, cause: str, home_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(cache_on(paths.prompt_cache_folder()), range(100), bytes(15) + b"x")
    monkeypatch.setattr(chat_prompt_cache, "child_command", lambda *arguments: (sys.executable, "-c", program))
    with pytest.raises(
        StateFileError, match=rf"^The stored prompt of a deleted chat could not be removed \({cause}\)\.$"
    ):
        chat_prompt_cache.forget_chat("78" * 16)


def test_a_folder_that_cannot_be_read_is_said(home_folder: Path) -> None:
    link = paths.prompt_cache_folder()
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(link.name)  # which leads to itself
    with pytest.raises(StateFileError, match="could not be removed"):
        chat_prompt_cache.forget_chat("78" * 16)


def test_the_setting_says_how_much_is_stored(home_folder: Path) -> None:
    request = LoadRequest("model.gguf")
    folder = str(paths.prompt_cache_folder())
    assert chat_prompt_cache.with_prompt_cache(request, -1) == request
    assert chat_prompt_cache.with_prompt_cache(request, 0).prompt_cache_folder == folder
    assert chat_prompt_cache.with_prompt_cache(request, 3).prompt_cache_bytes == 3 << 20
