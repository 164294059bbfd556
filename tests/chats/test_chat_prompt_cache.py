"""What is stored of a chat goes with it."""

import re
import sys
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.stored_prompts import cache_on, store
from tui_llama import paths
from tui_llama.chats import chat_prompt_cache
from tui_llama.chats.store import Store
from tui_llama.chats.stored import new_chat_id
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
    served = chat_prompt_cache.served_owner_id(b"system prompt")
    with Store(paths.database_file()) as chats:
        cache = cache_on(paths.prompt_cache_folder())
        store(cache, range(100), bytes.fromhex(served))
        store(cache, range(150, 250), bytes(15) + b"x")
        chat_prompt_cache.forget_orphans(chats)
        assert len(segments()) == 1
        chat_prompt_cache.forget_chat(served)
        assert segments() == []


@given(beginning=st.binary(max_size=100), other=st.binary(max_size=100))
def test_an_owner_of_a_served_program_is_a_uuid_of_the_version_left_to_programs(beginning: bytes, other: bytes) -> None:
    owner = chat_prompt_cache.served_owner_id(beginning)
    assert re.fullmatch("[0-9a-f]{32}", owner)
    assert (uuid.UUID(owner).version, uuid.UUID(owner).variant) == (8, uuid.RFC_4122)
    assert chat_prompt_cache.is_served_owner(owner)
    assert (owner == chat_prompt_cache.served_owner_id(other)) == (beginning == other)


def test_owners_stay_the_same_from_version_to_version() -> None:
    """Another rule would leave the prompts of all programs behind."""
    assert chat_prompt_cache.served_owner_id(b"system prompt") == "8b1a9b9c4f9f85259cd77e4365509c3c"


def test_no_chat_is_taken_for_a_served_program() -> None:
    assert not any(chat_prompt_cache.is_served_owner(new_chat_id()) for _ in range(1000))
    assert not any(map(chat_prompt_cache.is_served_owner, ("", "8" * 12, "8" * 33, bytes(16).hex(), "7" * 32)))


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
