"""A simulated power cut loses, tears and reorders what was not synced, and nothing else."""

from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.disk_operations import SECTOR_BYTES
from tests.fakes.power_cuts import MOST_SUBSET_OPERATIONS, crash_states, every_crash_point
from tests.fakes.simulated_disk import SimulatedDisk


def disk_with(content: bytes = b"") -> tuple[SimulatedDisk, int]:
    """Returns a disk with one durable file `x`, and that file opened."""
    disk = SimulatedDisk({"x": content})
    return disk, disk.open("x", writable=True)


def sectors(letters: str) -> bytes:
    return b"".join(bytes([ord(letter)]) * SECTOR_BYTES for letter in letters)


def letters_of(content: bytes | None) -> str:
    """Returns a letter for each sector of a file, "." for zeros. Each sector must repeat one byte."""
    assert content is not None and len(content) % SECTOR_BYTES == 0
    pieces = [content[start : start + SECTOR_BYTES] for start in range(0, len(content), SECTOR_BYTES)]
    assert all(len(set(piece)) == 1 for piece in pieces)
    return "".join(chr(piece[0] or ord(".")) for piece in pieces)


def outcomes(states: Iterable[SimulatedDisk], name: str = "x") -> set[str | None]:
    """Returns the contents of one file in all states, None where it does not exist."""
    return {letters_of(found[name]) if name in found else None for found in (state.contents() for state in states)}


def write(disk: SimulatedDisk, descriptor: int, letters: str, first_sector: int) -> None:
    content = sectors(letters)
    assert disk.write(descriptor, memoryview(content), first_sector * SECTOR_BYTES) == len(content)


def replace_file(is_synced: bool) -> Callable[[SimulatedDisk], None]:
    def script(disk: SimulatedDisk) -> None:
        descriptor = disk.create("temporary")
        write(disk, descriptor, "new", 0)
        if is_synced:
            disk.sync(descriptor)
        disk.close(descriptor)
        disk.rename("temporary", "x")
        disk.sync_folder("")

    return script


def test_without_changes_there_is_one_state() -> None:
    disk = SimulatedDisk({"a": None, "a/x": b"text"}, {"a/x": 5.0})
    (state,) = crash_states(disk)
    assert state.contents() == {"a": None, "a/x": b"text"}
    assert state.used_at(state.open("a/x")) == 5.0


def test_unsynced_writes_are_lost_reordered_and_torn() -> None:
    disk, descriptor = disk_with(sectors("oooo"))
    write(disk, descriptor, "ab", 0)
    write(disk, descriptor, "c", 3)
    first = {"oo", "ao", "ob", "ab"}
    assert outcomes(crash_states(disk)) == {start + "o" + end for start in first for end in "oc"}


def test_a_synced_write_is_in_every_state() -> None:
    disk, descriptor = disk_with(sectors("oo"))
    write(disk, descriptor, "a", 0)
    disk.sync(descriptor)
    write(disk, descriptor, "b", 1)
    assert outcomes(crash_states(disk)) == {"ao", "ab"}


def test_a_growing_file_is_shorter_or_has_zeros() -> None:
    disk, descriptor = disk_with(sectors("o"))
    write(disk, descriptor, "ab", 1)
    assert outcomes(crash_states(disk)) == {"o", "oa", "oa.", "o..", "o.b", "oab"}


def test_a_later_record_may_be_there_without_an_earlier_one() -> None:
    disk, descriptor = disk_with()
    write(disk, descriptor, "a", 0)
    write(disk, descriptor, "b", 1)
    assert outcomes(crash_states(disk)) == {"", "a", "a.", "..", ".b", "ab"}


def test_one_sector_never_holds_a_mixture_that_nobody_could_have_read() -> None:
    disk, descriptor = disk_with(b"0" * SECTOR_BYTES)
    disk.write(descriptor, memoryview(b"1"), 0)
    disk.write(descriptor, memoryview(b"2"), 1)
    beginnings = {(content or b"")[:2] for state in crash_states(disk) for content in state.contents().values()}
    assert beginnings == {b"00", b"10", b"12"}


def test_a_truncation_may_be_lost_and_a_synced_one_may_not() -> None:
    disk, descriptor = disk_with(sectors("ooo"))
    disk.truncate(descriptor, SECTOR_BYTES)
    assert outcomes(crash_states(disk)) == {"o", "ooo"}
    disk.sync(descriptor)
    write(disk, descriptor, "a", 1)
    assert outcomes(crash_states(disk)) == {"o", "o.", "oa"}


def test_names_need_a_sync_of_their_folder() -> None:
    disk, descriptor = disk_with(sectors("o"))
    disk.sync(disk.create("y"))
    disk.unlink("x")
    assert {frozenset(state.contents()) for state in crash_states(disk)} == {
        frozenset(names) for names in ["", "x", "y", "xy"]
    }
    disk.sync_folder("")
    assert [set(state.contents()) for state in crash_states(disk)] == [{"y"}]
    assert disk.size(descriptor) == SECTOR_BYTES


def test_what_lies_in_a_lost_folder_is_lost() -> None:
    disk = SimulatedDisk({"": None})
    disk.make_folder("a")
    disk.sync(disk.create("a/x"))
    disk.sync_folder("a")
    assert {frozenset(state.contents()) for state in crash_states(disk)} == {frozenset(), frozenset(["a", "a/x"])}
    disk.sync_folder("")
    assert [set(state.contents()) for state in crash_states(disk)] == [{"a", "a/x"}]


def test_a_renaming_between_folders_is_one_step() -> None:
    disk = SimulatedDisk({"a": None, "b": None})
    disk.sync(disk.create("a/x"))
    disk.rename("a/x", "b/x")
    expected: list[set[str]] = [{"a", "b"}, {"a", "b", "a/x"}, {"a", "b", "b/x"}]
    assert sorted(map(sorted, (state.contents() for state in crash_states(disk)))) == sorted(map(sorted, expected))
    disk.sync_folder("b")
    assert [set(state.contents()) for state in crash_states(disk)] == [{"a", "b", "b/x"}]


def test_a_file_renamed_before_it_was_synced_may_be_empty() -> None:
    states = every_crash_point(replace_file(is_synced=False), SimulatedDisk({"x": sectors("old")}))
    assert {"old", "new", "", "..."} <= outcomes(states)


def test_a_file_synced_before_it_was_renamed_is_the_old_or_the_new_one() -> None:
    states = every_crash_point(replace_file(is_synced=True), SimulatedDisk({"x": sectors("old")}))
    assert outcomes(states) == {"old", "new"}


def test_a_failed_sync_is_never_made_up_for() -> None:
    disk, descriptor = disk_with(sectors("oo"))
    write(disk, descriptor, "a", 0)
    disk.fail_sync(descriptor)
    write(disk, descriptor, "b", 1)
    disk.sync(descriptor)
    disk.sync(descriptor)
    assert outcomes(crash_states(disk)) == {"ob", "ab"}
    assert letters_of(disk.contents()["x"]) == "ab"
    write(disk, descriptor, "c", 0)
    disk.sync(descriptor)
    assert outcomes(crash_states(disk)) == {"cb"}


def test_what_a_failed_sync_lost_does_not_come_back_over_later_writes() -> None:
    disk, descriptor = disk_with(sectors("oooo"))
    write(disk, descriptor, "abcd", 0)
    disk.fail_sync(descriptor)
    write(disk, descriptor, "x", 1)
    disk.truncate(descriptor, 3 * SECTOR_BYTES)
    disk.sync(descriptor)
    assert outcomes(crash_states(disk)) == {"oxo", "axo", "oxc", "axc"}


def test_a_sync_after_a_failed_one_records_what_was_written_since() -> None:
    disk, descriptor = disk_with()
    write(disk, descriptor, "ab", 0)
    disk.fail_sync(descriptor)
    write(disk, descriptor, "c", 1)
    disk.sync(descriptor)
    assert outcomes(crash_states(disk)) == {".c", "ac"}


def test_states_have_nothing_in_common_with_the_disk() -> None:
    disk, descriptor = disk_with(sectors("o"))
    assert disk.lock(descriptor, exclusive=True)
    states = list(crash_states(disk))
    (state,) = states
    with pytest.raises(OSError, match="Bad file descriptor"):
        state.size(descriptor)
    other = state.open("x", writable=True)
    assert state.lock(other, exclusive=True)
    write(state, other, "a", 0)
    write(disk, descriptor, "b", 0)
    assert (letters_of(state.contents()["x"]), letters_of(disk.contents()["x"])) == ("a", "b")
    assert outcomes(crash_states(state)) == {"o", "a"}


def test_a_script_is_cut_after_each_of_its_steps_and_its_marks_are_known() -> None:
    def script(disk: SimulatedDisk) -> None:
        disk.make_folder("")
        descriptor = disk.create("x")
        disk.sync_folder("")
        for letter in "ab":
            write(disk, descriptor, letter, 0)
            disk.sync(descriptor)
            disk.mark(letter)

    states = list(every_crash_point(script))
    found = {(state.marks, letters_of(state.contents().get("x") or b"")) for state in states}
    assert found == {((), ""), ((), "."), ((), "a"), (("a",), "a"), (("a",), "b"), (("a", "b"), "b")}
    assert len(states) == len(found) + 2  # no root, and no file yet


def test_a_script_goes_on_where_a_power_cut_ended_another() -> None:
    def append(disk: SimulatedDisk) -> None:
        descriptor = disk.open("x", writable=True)
        write(disk, descriptor, "a", disk.size(descriptor) // SECTOR_BYTES)

    start = SimulatedDisk({"x": b""})
    twice = {
        found for first in every_crash_point(append, start) for found in outcomes(every_crash_point(append, first))
    }
    assert twice == {"", ".", "a", "..", ".a", "a.", "aa"}
    assert start.contents() == {"x": b""}


def test_states_tell_what_became_of_each_operation() -> None:
    disk, descriptor = disk_with()
    write(disk, descriptor, "ab", 0)
    disk.unlink("x")
    (state,) = [state for state in crash_states(disk) if state.contents() == {"x": sectors("\0b")}]
    assert state.history == (
        "write of sectors 0..1024 of x: all but the first sector",
        "removing of x: nothing",
        "growth of files: as the bytes",
    )


@pytest.mark.parametrize("count", [MOST_SUBSET_OPERATIONS, MOST_SUBSET_OPERATIONS + 1])
def test_many_writes_are_all_combined_up_to_a_limit_and_sampled_beyond(count: int) -> None:
    disk, descriptor = disk_with(sectors("oo" * count))
    for number in range(count):
        write(disk, descriptor, "ab", 2 * number)
    found = outcomes(crash_states(disk))
    if count <= MOST_SUBSET_OPERATIONS:
        assert len({text for text in found if text and "ao" not in text and "ob" not in text}) == 2**count
    assert len(found) < 4 * 2**MOST_SUBSET_OPERATIONS
    wholes = ["oo"] * count
    for place in range(count + 1):
        assert "ab" * place + "oo" * (count - place) in found
        assert "oo" * place + "ab" * (count - place) in found
    for place in range(count):
        for one, others in [("ab", "oo"), ("oo", "ab"), ("ao", "ab"), ("ob", "ab"), ("ao", "oo"), ("ob", "oo")]:
            wholes = [others] * count
            wholes[place] = one
            assert "".join(wholes) in found


def test_states_are_the_same_in_every_run() -> None:
    def contents() -> list[dict[str, bytes | None]]:
        disk, descriptor = disk_with()
        for number in range(MOST_SUBSET_OPERATIONS + 2):
            write(disk, descriptor, "ab", number)
        return [state.contents() for state in crash_states(disk)]

    assert contents() == contents()


WRITES = st.lists(
    st.tuples(st.sampled_from(["write", "truncate", "sync", "fail"]), st.integers(0, 1300), st.integers(1, 1100)),
    max_size=7,
)


@given(steps=WRITES)
@settings(max_examples=40)
def test_every_sector_of_every_state_is_one_that_programs_saw_since_it_was_synced(
    steps: list[tuple[str, int, int]],
) -> None:
    disk, descriptor = disk_with(b"o" * 700)
    seen = [disk.contents()["x"] or b""]
    has_failed = False
    for number, (step, place, size) in enumerate(steps, 1):
        if step == "write":
            disk.write(descriptor, memoryview(bytes([number]) * size), place)
        elif step == "truncate":
            disk.truncate(descriptor, place)
        elif step == "fail":
            disk.fail_sync(descriptor)
            has_failed = True
        else:
            disk.sync(descriptor)
            if not has_failed:
                seen.clear()
        seen.append(disk.contents()["x"] or b"")
    states = [state.contents()["x"] or b"" for state in crash_states(disk)]
    # What a failed sync lost is seen by programs and never reaches the disk, whatever is synced after it.
    assert has_failed or (seen[-1] in states and seen[0] in states)
    most = max(len(content) for content in seen) + SECTOR_BYTES
    for start, after in pairwise(range(0, most, SECTOR_BYTES)):
        possible = {content[start:after].ljust(SECTOR_BYTES, b"\0") for content in seen} | {bytes(SECTOR_BYTES)}
        for state in states:
            found = state[start:after].ljust(SECTOR_BYTES, b"\0")
            assert any(_is_cut_of(found, sector) for sector in possible)


def _is_cut_of(found: bytes, sector: bytes) -> bool:
    """Tells whether a sector is another one with zeros from some byte on, as a shorter size leaves it."""
    kept = len(found.rstrip(b"\0"))
    return found[:kept] == sector[:kept]
