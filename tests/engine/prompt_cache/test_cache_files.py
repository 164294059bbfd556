"""Beside stored prompts may lie anything: it is neither removed nor renamed, nor written through a link."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.stored_prompts import OTHER_OWNER, OWNER, cache_on, sequence_of, store
from tui_llama.engine.prompt_cache.eviction import cache_uses, clear, make_room, remove_owner, used_bytes
from tui_llama.engine.state_file import MAGIC
from tui_llama.files.storage import DiskStorage

PAST = range(100)
UNUSABLE_NAME = f"{'1' * 32}.tlk.damaged"

Removal = Callable[[DiskStorage], object]
REMOVALS: dict[str, Removal] = {
    "clear": clear,
    "remove an owner": lambda storage: remove_owner(storage, OWNER),
    "make room": lambda storage: make_room(storage, 0, 0, {}),
}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}


@pytest.fixture
def storage(tmp_path: Path) -> DiskStorage:
    """With a stored prompt."""
    root = tmp_path / "prompts"
    store(cache_on(root), PAST)
    return DiskStorage(root)


@pytest.mark.parametrize("removal", REMOVALS)
def test_what_is_not_ours_stays(storage: DiskStorage, tmp_path: Path, removal: str) -> None:
    (ours,) = storage.root.iterdir()
    elsewhere = tmp_path / "elsewhere"
    names = ("letter.txt", "a.part", "b.damaged", "c.tlk", f"{'2' * 32}.tlk", UNUSABLE_NAME, f"{'3' * 32}.tlk.part")
    for folder in (storage.root, ours, storage.root / "theirs", storage.root / ("4" * 32), elsewhere):
        folder.mkdir(exist_ok=True)
        for name in names:
            (folder / name).write_bytes(b"somebody else's")
    (storage.root / ("5" * 32)).symlink_to(elsewhere)
    (ours / f"{'6' * 32}.tlk.part").symlink_to(elsewhere / "letter.txt")
    os.mkfifo(ours / f"{'7' * 32}.tlk.part")
    (ours / f"{'8' * 32}.tlk.part").mkdir()
    before = contents(tmp_path)
    (segment,) = (name for name in before if before[name].startswith(MAGIC))
    REMOVALS[removal](storage)
    after = contents(tmp_path)
    assert before.keys() - after.keys() == {segment}
    assert all(before[name] == after[name] for name in after)
    assert (ours / f"{'6' * 32}.tlk.part").is_symlink()


@pytest.mark.parametrize("removal", REMOVALS)
@pytest.mark.parametrize("content", [b"", MAGIC[:3], MAGIC + b"damaged", bytes(5000)], ids=["0", "3", "ours", "zeros"])
def test_what_was_left_or_set_aside_goes(storage: DiskStorage, removal: str, content: bytes) -> None:
    (ours,) = storage.root.iterdir()
    (ours / UNUSABLE_NAME).write_bytes(content)
    REMOVALS[removal](storage)
    assert not (ours / UNUSABLE_NAME).exists()


def test_a_file_of_something_else_with_a_name_of_ours_is_not_set_aside(storage: DiskStorage) -> None:
    (ours,) = storage.root.iterdir()
    (ours / f"{'2' * 32}.tlk").write_bytes(b"somebody else's")
    outcome = cache_on(storage.root).restore(sequence_of([]), PAST)
    assert (outcome.tokens, outcome.problems) == (100, ())
    assert (ours / f"{'2' * 32}.tlk").exists()


def test_nothing_is_stored_through_a_link(tmp_path: Path) -> None:
    store(cache_on(tmp_path / "first"), PAST)
    (ours,) = (tmp_path / "first").iterdir()
    root, theirs = tmp_path / "prompts", tmp_path / "theirs"
    root.mkdir()
    theirs.mkdir()
    (root / ours.name).symlink_to(theirs)
    outcome = cache_on(root).save(OTHER_OWNER, sequence_of(PAST))
    assert outcome.tokens == 0 and outcome.problems
    assert not list(theirs.iterdir())


def test_the_folder_of_all_may_be_a_link(tmp_path: Path) -> None:
    """A user may keep it on another disk."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "prompts").symlink_to(tmp_path / "disk")
    store(cache_on(tmp_path / "prompts"), PAST)
    assert used_bytes(DiskStorage(tmp_path / "prompts")) == used_bytes(DiskStorage(tmp_path / "disk")) > 0
    assert [use.tokens for use in cache_uses(DiskStorage(tmp_path / "prompts"))] == [100]
