"""What is stored of a chat goes with it."""

from pathlib import Path

from tests.fakes.stored_prompts import cache_on, store
from tui_llama import paths
from tui_llama.chats import chat_prompt_cache
from tui_llama.chats.store import Store
from tui_llama.engine.protocol import LoadRequest


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


def test_without_anything_stored_nothing_is_made(home_folder: Path) -> None:
    with Store(paths.database_file()) as chats:
        chat_prompt_cache.forget_orphans(chats)
    assert not paths.prompt_cache_folder().exists()


def test_the_setting_says_how_much_is_stored(home_folder: Path) -> None:
    request = LoadRequest("model.gguf")
    folder = str(paths.prompt_cache_folder())
    assert chat_prompt_cache.with_prompt_cache(request, -1) == request
    assert chat_prompt_cache.with_prompt_cache(request, 0).prompt_cache_folder == folder
    assert chat_prompt_cache.with_prompt_cache(request, 3).prompt_cache_bytes == 3 << 20
