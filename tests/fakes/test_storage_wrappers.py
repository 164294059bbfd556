"""Tests that failing storages fail at the given call, and that counting storages count."""

import errno
from pathlib import Path

import pytest

from tests.fakes.power_cuts import crash_states
from tests.fakes.simulated_disk import SimulatedDisk
from tests.fakes.storage_wrappers import CountingStorage, FaultyStorage, every_fault
from tui_llama.files.storage import DiskStorage, Storage


def save(storage: Storage, content: bytes) -> None:
    """Is a script that goes on after a short write."""
    descriptor = storage.create("temporary")
    try:
        view, offset = memoryview(content), 0
        while offset < len(content):
            offset += storage.write(descriptor, view[offset:], offset)
        storage.sync(descriptor)
    finally:
        storage.close(descriptor)
    storage.rename("temporary", "x")
    storage.sync_folder("")


SAVE_CALLS = ["create", "write", "sync", "close", "rename", "sync_folder"]


def empty_disk() -> SimulatedDisk:
    return SimulatedDisk({"": None})


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EINTR, errno.EDQUOT])
def test_every_call_fails_in_turn(error: int) -> None:
    failed = []
    for storage in every_fault(empty_disk, error):
        try:
            save(storage, b"text")
        except OSError as caught:
            assert caught.errno == error
            failed.append(str(caught))
    assert [message.rpartition(" ")[2].rstrip(")") for message in failed] == SAVE_CALLS
    assert not storage.is_reached
    assert storage.inner.list_folder("") == ["x"]


def test_calls_of_one_method_are_counted_alone() -> None:
    storages = list(every_fault_of_writes())
    assert [storage.calls for storage in storages] == [1, 2, 2]


def every_fault_of_writes() -> list[FaultyStorage]:
    storages = []
    for storage in every_fault(empty_disk, method="write"):
        storages.append(storage)
        descriptor = storage.create("x")
        for _ in range(2):
            try:
                storage.write(descriptor, memoryview(b"x"), 0)
            except OSError:
                break
    return storages


def test_a_fault_comes_once_or_stays() -> None:
    for persistent in (False, True):
        storage = FaultyStorage(empty_disk(), 2, method="make_folder", persistent=persistent)
        storage.make_folder("a")
        with pytest.raises(OSError, match="Input/output error"):
            storage.make_folder("b")
        assert storage.list_folder("") == ["a"]
        if persistent:
            with pytest.raises(OSError, match="on purpose"):
                storage.make_folder("b")
        else:
            storage.make_folder("b")


def test_reads_and_writes_are_short_without_an_error() -> None:
    storage = FaultyStorage(empty_disk(), 1, None, persistent=True)
    save(storage, b"0123456789")
    descriptor = storage.open("x")
    out = bytearray(b"-" * 10)
    assert storage.read(descriptor, memoryview(out), 0) == 5
    assert out == b"01234-----"
    assert storage.size(descriptor) == 10
    assert storage.calls == 5 + 1  # 5, 2, 1, 1, 1 bytes


def test_a_disk_that_gets_full_takes_half_first() -> None:
    storage = FaultyStorage(empty_disk(), 1, errno.ENOSPC, method="write", short_first=True)
    descriptor = storage.create("x")
    assert storage.write(descriptor, memoryview(b"0123"), 0) == 2
    with pytest.raises(OSError, match="No space left"):
        storage.write(descriptor, memoryview(b"23"), 2)
    assert storage.write(descriptor, memoryview(b"23"), 2) == 2


def test_a_file_whose_closing_fails_is_closed() -> None:
    disk = empty_disk()
    storage = FaultyStorage(disk, 1, method="close")
    descriptor = storage.create("x")
    with pytest.raises(OSError, match="Input/output error"):
        storage.close(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        disk.size(descriptor)


def test_a_sync_that_is_tried_again_after_it_failed_saves_nothing() -> None:
    disk = SimulatedDisk({"x": b"old"})
    storage = FaultyStorage(disk, 1, method="sync")
    descriptor = storage.open("x", writable=True)
    storage.write(descriptor, memoryview(b"new"), 0)
    with pytest.raises(OSError, match="Input/output error"):
        storage.sync(descriptor)
    storage.sync(descriptor)
    assert {state.contents()["x"] for state in crash_states(disk)} == {b"old", b"new"}


def test_calls_and_bytes_are_counted(tmp_path: Path) -> None:
    for inner in (DiskStorage(tmp_path), empty_disk()):
        storage = CountingStorage(inner)
        save(storage, b"0123456789")
        out = memoryview(bytearray(100))
        storage.read(storage.open("x"), out, 4)
        assert (storage.written_bytes, storage.read_bytes, storage.syncs) == (10, 6, 1)
        assert storage.calls == {"open": 1, "read": 1} | dict.fromkeys(SAVE_CALLS, 1)
