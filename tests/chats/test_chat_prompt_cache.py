"""What is stored of a chat goes with it."""

import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.fakes.stored_prompts import cache_on, store
from tui_llama import paths
from tui_llama.chats import chat_prompt_cache
from tui_llama.chats.store import Store
from tui_llama.chats.stored import new_chat_id
from tui_llama.engine.prompt_cache.cache import PromptCache
from tui_llama.engine.prompt_cache.owner import is_served_owner, served_owner_id
from tui_llama.engine.prompt_cache.stored_tree import FedNode, Stored
from tui_llama.engine.requests import LoadRequest
from tui_llama.errors import StateFileError


def ids(numbers: Iterable[int]) -> bytes:
    """Returns token ids as little-endian uint32."""
    return b"".join(number.to_bytes(4, "little") for number in numbers)


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


# --- how much of a tree is stored -------------------------------------------------------------------------------

TREE = [
    FedNode(1, None),  # the user's
    FedNode(2, 1, 0, ids(range(100)), ids(range(100, 120))),
    FedNode(3, 2),
    FedNode(4, 3, 120, ids(range(120, 130)), ids(range(130, 150))),
    FedNode(5, 2),  # another branch
    FedNode(6, 5, 120, ids(range(200, 210)), ids(range(210, 220))),
    FedNode(7, 6),  # not answered
]


def folder_of(cache: PromptCache) -> str:
    return str(paths.prompt_cache_folder() / cache.folder)


@pytest.mark.parametrize(
    ("stored_tokens", "expected"),
    [
        (150, {1: Stored.ALL, 2: Stored.ALL, 3: Stored.ALL, 4: Stored.ALL, 5: Stored.NOTHING, 6: Stored.NOTHING}),
        (149, {1: Stored.ALL, 2: Stored.ALL, 3: Stored.ALL, 4: Stored.ALL, 5: Stored.NOTHING, 6: Stored.NOTHING}),
        (140, {1: Stored.ALL, 2: Stored.ALL, 3: Stored.ALL, 4: Stored.PART, 5: Stored.NOTHING, 6: Stored.NOTHING}),
        (125, {1: Stored.ALL, 2: Stored.ALL, 3: Stored.PART, 4: Stored.NOTHING, 5: Stored.NOTHING, 6: Stored.NOTHING}),
        (60, {1: Stored.PART, **dict.fromkeys(range(2, 7), Stored.NOTHING)}),
    ],
)  # fmt: skip
def test_of_each_message_it_is_known_how_much_is_stored(
    home_folder: Path, stored_tokens: int, expected: dict[int, Stored]
) -> None:
    cache, owner = cache_on(paths.prompt_cache_folder()), new_chat_id()
    store(cache, range(stored_tokens), bytes.fromhex(owner))
    assert chat_prompt_cache.stored_messages(folder_of(cache), owner, TREE, ()) == expected


def test_what_follows_a_deleted_message_is_not_marked(home_folder: Path) -> None:
    cache, owner = cache_on(paths.prompt_cache_folder()), new_chat_id()
    store(cache, range(150), bytes.fromhex(owner))
    marks = chat_prompt_cache.stored_messages(folder_of(cache), owner, TREE, {3, 4})
    assert marks == {1: Stored.ALL, 2: Stored.ALL, 5: Stored.NOTHING, 6: Stored.NOTHING}


def test_where_nothing_was_ever_stored_nothing_is_marked(home_folder: Path) -> None:
    cache = cache_on(paths.prompt_cache_folder())
    assert chat_prompt_cache.stored_messages(folder_of(cache), new_chat_id(), TREE, ()) == dict.fromkeys(
        range(1, 7), Stored.NOTHING
    )


def test_a_process_that_cannot_look_is_told_of(home_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_prompt_cache, "child_command", lambda *_: (sys.executable, "-c", "raise SystemExit(3)"))
    with pytest.raises(StateFileError, match="its process ended with status 3"):
        chat_prompt_cache.stored_messages(str(home_folder), new_chat_id(), TREE, ())
