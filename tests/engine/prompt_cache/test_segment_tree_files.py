"""The files behind the tree of segments: which are found, which are trusted, and which are set aside or cut back."""

import errno

import pytest

from tests.fakes.fake_model import FakeModel
from tests.fakes.segments import FOLDER, Folder, as_ids
from tests.fakes.simulated_disk import SimulatedDisk
from tests.fakes.storage_wrappers import CountingStorage, FaultyStorage
from tests.fakes.stored_prompts import OWNER, tokens
from tui_llama.engine.prompt_cache.cache_files import DAMAGED_SUFFIX, SUFFIX
from tui_llama.engine.prompt_cache.segment_tree import PathPart, SegmentTree
from tui_llama.engine.state_file import MOST_HEADER_BYTES, NO_PARENT

RECORD_BYTES = 64  # of a record that only commits


@pytest.fixture
def folder() -> Folder:
    return Folder()


def ends(tree: SegmentTree) -> dict[str, int]:
    """The position after the last token of every segment, by name."""
    return {known.name: known.segment.end for known in tree}


# --- files that come, change and go ---------------------------------------------------------------------------------


def test_a_missing_folder_has_no_segments() -> None:
    tree = SegmentTree(SimulatedDisk(), FOLDER)
    tree.refresh()
    assert (len(tree), list(tree), tree.take_damages()) == (0, [], [])


def test_segments_are_found_and_other_files_are_passed_over(folder: Folder) -> None:
    one, two = folder.write(1, tokens(10)), folder.write(2, tokens(70))
    for name in (one + DAMAGED_SUFFIX, one + ".part", "notes.txt"):
        folder.replace(name, b"something else")
    tree = folder.tree()
    assert ends(tree) == {one: 10, two: 70}
    assert len(tree) == 2
    assert tree.take_damages() == []


def test_a_segment_is_known_by_its_file(folder: Folder) -> None:
    name = folder.write(1, tokens(10))
    known = folder.tree().get(name)
    assert known is not None
    assert (known.segment_id, known.parent_id, known.owner, known.first) == (b"\1" * 16, NO_PARENT, OWNER, 0)
    assert (known.file_bytes, known.used_at) == (len(folder.read(name)), folder.disk.now)
    assert known.segment.token_ids.tolist() == tokens(10)


def test_a_file_that_is_gone_is_forgotten(folder: Folder) -> None:
    one, two = folder.write(1, tokens(10)), folder.write(2, tokens(20, 1))
    tree = folder.tree()
    folder.disk.unlink(f"{FOLDER}/{two}")
    tree.refresh()
    assert ends(tree) == {one: 10}
    assert tree.get(two) is None
    assert tree.find(as_ids(tokens(20, 1))) == []


def test_a_file_that_has_grown_is_read_again(folder: Folder) -> None:
    name, grown = folder.write(1, tokens(10)), Folder()
    grown.write(1, tokens(10), tokens(5, 1))
    tree = folder.tree()
    folder.replace(name, grown.read(name))
    tree.refresh()
    assert ends(tree) == {name: 15}


def test_a_file_of_the_same_length_with_other_tokens_is_read_again(folder: Folder) -> None:
    name, other = folder.write(1, tokens(10)), Folder()
    other.write(1, tokens(10, 1))
    tree = folder.tree()
    folder.replace(name, other.read(name))
    tree.refresh()
    [known] = tree
    assert known.segment.token_ids.tolist() == tokens(10, 1)


def test_bytes_that_are_committed_later_are_seen_although_the_file_is_as_long_as_before(folder: Folder) -> None:
    name = folder.write(1, tokens(10), tokens(5, 1))
    whole = folder.read(name)
    folder.replace(name, whole[:-RECORD_BYTES] + bytes(RECORD_BYTES))
    tree = folder.tree()
    assert ends(tree) == {name: 10}
    folder.replace(name, whole)
    tree.refresh()
    assert ends(tree) == {name: 15}


def test_an_unchanged_file_is_not_opened_again_and_one_that_was_used_is_not_read_again(folder: Folder) -> None:
    one, two = folder.write(1, tokens(10)), folder.write(2, tokens(20))
    storage = CountingStorage(folder.disk)
    tree = SegmentTree(storage, FOLDER)
    tree.refresh()
    storage.calls.clear()
    tree.refresh()
    assert storage.calls["open"] == 0
    storage.read_bytes = 0
    folder.disk.now += 60
    descriptor = folder.disk.open(f"{FOLDER}/{two}")
    folder.disk.touch(descriptor)
    folder.disk.close(descriptor)
    tree.refresh()
    assert storage.calls["open"] == 1
    assert storage.read_bytes < MOST_HEADER_BYTES
    assert {known.name: known.used_at for known in tree} == {one: folder.disk.now - 60, two: folder.disk.now}


# --- files that must not be used ------------------------------------------------------------------------------------


def test_a_damaged_file_is_set_aside_and_its_cause_is_told_once(folder: Folder) -> None:
    one, two = folder.write(1, tokens(10)), folder.write(2, tokens(10))
    folder.flip(two, 100)
    tree = folder.tree()
    assert ends(tree) == {one: 10}
    assert folder.names() == [one, two + DAMAGED_SUFFIX]
    assert tree.take_damages() == ["damaged (header)"]
    assert tree.take_damages() == []
    tree.refresh()
    assert tree.take_damages() == []


def test_equal_causes_are_told_once_in_the_order_of_the_first(folder: Folder) -> None:
    names = [folder.write(number, tokens(10)) for number in (1, 2, 3)]
    folder.flip(names[0], 100)
    folder.replace(names[1], b"")
    folder.flip(names[2], 100)
    assert folder.tree().take_damages() == ["damaged (header)", "empty"]


def test_a_segment_under_the_name_of_another_is_set_aside(folder: Folder) -> None:
    name = folder.write(1, tokens(10))
    other = bytes(range(16)).hex() + SUFFIX
    folder.disk.rename(f"{FOLDER}/{name}", f"{FOLDER}/{other}")
    tree = folder.tree()
    assert list(tree) == []
    assert folder.names() == [other + DAMAGED_SUFFIX]
    assert tree.take_damages() == ["stored under a wrong name"]


def test_files_of_another_model_another_version_and_another_program_stay_as_they_are(folder: Folder) -> None:
    foreign = folder.write(1, tokens(10), model=FakeModel(name="other", context_size=512))
    newer = folder.write(2, tokens(10))
    folder.replace(newer, folder.read(newer)[:8] + b"\xff\x7f" + folder.read(newer)[10:])
    stranger = bytes(15).hex() + "ff" + SUFFIX
    folder.replace(stranger, b"a text of somebody else")
    before = folder.disk.contents()
    tree = folder.tree()
    assert (list(tree), tree.take_damages()) == ([], [])
    assert folder.disk.contents() == before
    every_model = SegmentTree(folder.disk, FOLDER)
    every_model.refresh()
    assert ends(every_model) == {foreign: 10}


def test_a_file_that_another_program_is_writing_is_not_set_aside(folder: Folder) -> None:
    name = folder.write(1, tokens(10))
    whole = folder.read(name)
    folder.flip(name, 100)
    writer = folder.disk.open(f"{FOLDER}/{name}", writable=True)
    assert folder.disk.lock(writer, exclusive=True)
    tree = folder.tree()
    assert (list(tree), tree.take_damages(), folder.names()) == ([], [], [name])
    folder.disk.close(writer)
    folder.replace(name, whole)
    tree.refresh()
    assert ends(tree) == {name: 10}


def test_a_file_that_cannot_be_read_stays_and_is_told_of(folder: Folder) -> None:
    name = folder.write(1, tokens(10))
    tree = SegmentTree(FaultyStorage(folder.disk, 1, errno.EIO, method="read"), FOLDER)
    tree.refresh()
    [damage] = tree.take_damages()
    assert damage.startswith("not readable (")
    assert (list(tree), folder.names()) == ([], [name])
    tree.refresh()
    assert ends(tree) == {name: 10}


def test_a_segment_that_has_lost_its_end_is_used_up_to_there_and_told_of(folder: Folder) -> None:
    one_turn = Folder()
    first_turn_bytes = len(one_turn.read(one_turn.write(1, tokens(10))))
    name = folder.write(1, tokens(10), tokens(5, 1), tokens(5, 2))
    folder.flip(name, first_turn_bytes + 70)  # a token of the second turn
    tree = folder.tree()
    assert ends(tree) == {name: 10}
    assert folder.names() == [name]
    assert tree.take_damages() == ["damaged (its end is lost)"]


def test_looking_at_a_file_that_is_gone_gives_nothing_and_is_no_damage(folder: Folder) -> None:
    name = folder.write(1, tokens(10))
    tree = folder.tree()
    folder.disk.unlink(f"{FOLDER}/{name}")
    assert tree.look_at(name) is None
    assert (len(tree), tree.take_damages()) == (0, [])


def test_a_file_that_cannot_be_renamed_is_forgotten_all_the_same(folder: Folder) -> None:
    name = folder.write(1, tokens(10))
    tree = SegmentTree(FaultyStorage(folder.disk, 1, errno.EROFS, method="rename"), FOLDER)
    tree.refresh()
    tree.set_aside(name, "wrong numbers")
    assert (list(tree), folder.names(), tree.take_damages()) == ([], [name], ["wrong numbers"])


# --- cutting back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("position", "kept"), [(64, 64), (128, 128), (1000, 150)])
def test_a_segment_is_cut_back_to_the_records_before_a_position(folder: Folder, position: int, kept: int) -> None:
    name = folder.write(1, tokens(150))
    tree = folder.tree()
    [known] = tree
    tree.cut_back(known, position, "wrong numbers")
    assert ends(tree) == {name: kept}
    assert ends(folder.tree()) == {name: kept}
    assert tree.take_damages() == ["wrong numbers"]


def test_a_segment_of_which_no_record_is_good_is_set_aside(folder: Folder) -> None:
    name = folder.write(1, tokens(150))
    tree = folder.tree()
    [known] = tree
    tree.cut_back(known, 0, "wrong numbers")
    assert (list(tree), folder.names(), tree.take_damages()) == ([], [name + DAMAGED_SUFFIX], ["wrong numbers"])


@pytest.mark.parametrize("reason", ["another program uses it", "another program has changed it"])
def test_a_file_is_not_cut_under_another_programs_hands(folder: Folder, reason: str) -> None:
    name = folder.write(1, tokens(150))
    tree = folder.tree()
    [known] = tree
    if reason == "another program uses it":
        assert folder.disk.lock(folder.disk.open(f"{FOLDER}/{name}"), exclusive=False)
    else:
        other = Folder()
        other.write(1, tokens(150, 1))
        folder.replace(name, other.read(name))
    before = folder.disk.contents()
    tree.cut_back(known, 64, "wrong numbers")
    assert folder.disk.contents() == before
    assert ends(tree) == {name: 150}
    assert tree.take_damages() == ["wrong numbers"]


def test_the_places_of_a_part_are_those_of_the_records_that_hold_some_of_it(folder: Folder) -> None:
    folder.write(1, tokens(200))
    [known] = folder.tree()

    def positions(first: int, last: int) -> list[int]:
        return [place.position for place in PathPart(known, first, last).places]

    assert positions(0, 200) == [0, 64, 128, 192]
    assert positions(0, 64) == [0]
    assert positions(63, 65) == [0, 64]
    assert positions(64, 128) == [64]
    assert positions(195, 196) == [192]
