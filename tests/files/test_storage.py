"""What every storage does: the one on the disk, and the simulated one that stands in for it."""

import errno
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.simulated_disk import SimulatedDisk
from tui_llama.files.storage import DiskStorage, Storage

NAMES = ["", "a", "b", "a/x", "a/y", "b/x"]
FILES = NAMES[1:]
Call: TypeAlias = tuple[str, tuple[object, ...]]


@pytest.fixture(params=["disk", "simulated"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return DiskStorage(tmp_path / "root") if request.param == "disk" else SimulatedDisk()


@pytest.fixture
def full(storage: Storage) -> Storage:
    """A storage with a folder and a file: `a/x`."""
    storage.make_folder("a")
    storage.close(make_file(storage, "a/x", b"some text"))
    return storage


def make_file(storage: Storage, name: str, content: bytes) -> int:
    descriptor = storage.create(name)
    assert storage.write(descriptor, memoryview(content), 0) == len(content)
    return descriptor


def content_of(storage: Storage, descriptor: int) -> bytes:
    out = bytearray(storage.size(descriptor))
    assert storage.read(descriptor, memoryview(out), 0) == len(out)
    return bytes(out)


def errno_of(call: Callable[[], object]) -> int | None:
    with pytest.raises(OSError) as caught:
        call()
    return caught.value.errno


def test_the_files_in_a_folder_are_seen_with_their_sizes_and_when_they_were_used(full: Storage) -> None:
    descriptor = make_file(full, "a/y", b"")
    full.touch(descriptor, 5.0)
    files = full.files("a")
    assert {name: status.size_bytes for name, status in files.items()} == {"x": 9, "y": 0}
    assert files["y"].used_at == full.used_at(descriptor) == 5.0
    assert full.files("") == {}
    full.close(descriptor)


def test_nothing_is_there_before_a_folder_is_made(storage: Storage) -> None:
    assert storage.list_folder("") == storage.list_folder("a") == []
    assert storage.files("") == storage.files("a") == {}
    with pytest.raises(FileNotFoundError):
        storage.create("x")
    with pytest.raises(FileNotFoundError):
        storage.sync_folder("")
    free, total = storage.free_bytes()
    assert 0 < free <= total


def test_a_folder_is_made_with_the_root_and_only_once(storage: Storage) -> None:
    storage.make_folder("a")
    storage.make_folder("a")
    storage.make_folder("")
    assert storage.list_folder("") == ["a"]
    storage.sync_folder("")
    storage.sync_folder("a")


def test_a_file_holds_what_was_written(full: Storage) -> None:
    descriptor = full.open("a/x", writable=True)
    assert full.size(descriptor) == 9
    assert full.write(descriptor, memoryview(b"TEXT!"), 5) == 5
    assert full.write(descriptor, memoryview(b"far"), 20) == 3
    assert full.write(descriptor, memoryview(b""), 100) == 0
    full.sync(descriptor)
    assert content_of(full, descriptor) == b"some TEXT!" + bytes(10) + b"far"
    full.truncate(descriptor, 4)
    full.truncate(descriptor, 6)
    assert content_of(full, descriptor) == b"some\0\0"


def test_reading_stops_at_the_end(full: Storage) -> None:
    descriptor = full.open("a/x")
    out = bytearray(b"-" * 8)
    assert full.read(descriptor, memoryview(out), 5) == 4
    assert out == b"text----"
    assert full.read(descriptor, memoryview(out), 9) == full.read(descriptor, memoryview(out), 1000) == 0
    assert full.read(descriptor, memoryview(bytearray()), 0) == 0


def test_a_file_is_made_once(full: Storage) -> None:
    with pytest.raises(FileExistsError):
        full.create("a/x")
    with pytest.raises(FileExistsError):
        full.create("a")
    with pytest.raises(NotADirectoryError):
        full.make_folder("a/x")


def test_what_is_no_file_is_not_opened(full: Storage) -> None:
    with pytest.raises(FileNotFoundError):
        full.open("a/nothing")
    with pytest.raises(FileNotFoundError):
        full.open("nothing/x")
    with pytest.raises(PermissionError):
        full.open("a")
    with pytest.raises(IsADirectoryError):
        full.open("a", writable=True)
    with pytest.raises(NotADirectoryError):
        full.sync_folder("a/x")
    assert full.list_folder("a/x") == []
    assert full.files("a/x") == {}


def test_a_file_opened_to_read_is_not_written(full: Storage) -> None:
    descriptor = full.open("a/x")
    assert errno_of(lambda: full.write(descriptor, memoryview(b"x"), 0)) == errno.EBADF
    assert errno_of(lambda: full.truncate(descriptor, 0)) == errno.EINVAL
    full.sync(descriptor)
    full.touch(descriptor)
    assert full.lock(descriptor, exclusive=True)


def test_negative_places_are_refused(full: Storage) -> None:
    descriptor = full.open("a/x", writable=True)
    assert errno_of(lambda: full.write(descriptor, memoryview(b"x"), -1)) == errno.EINVAL
    assert errno_of(lambda: full.truncate(descriptor, -1)) == errno.EINVAL


def test_a_closed_descriptor_is_refused(full: Storage) -> None:
    descriptor = full.open("a/x", writable=True)
    full.close(descriptor)
    calls: list[Callable[[], object]] = [
        lambda: full.close(descriptor),
        lambda: full.size(descriptor),
        lambda: full.used_at(descriptor),
        lambda: full.is_linked(descriptor),
        lambda: full.read(descriptor, memoryview(bytearray(1)), 0),
        lambda: full.write(descriptor, memoryview(b"x"), 0),
        lambda: full.truncate(descriptor, 0),
        lambda: full.sync(descriptor),
        lambda: full.lock(descriptor, exclusive=False),
        lambda: full.touch(descriptor),
    ]
    assert {errno_of(call) for call in calls} == {errno.EBADF}


def test_a_file_without_a_name_can_still_be_read_and_written(full: Storage) -> None:
    descriptor = full.open("a/x", writable=True)
    assert full.is_linked(descriptor)
    full.unlink("a/x")
    assert not full.is_linked(descriptor)
    assert full.write(descriptor, memoryview(b"SOME"), 0) == 4
    full.close(make_file(full, "a/x", b"another"))
    assert content_of(full, descriptor) == b"SOME text"
    with pytest.raises(FileNotFoundError):
        full.unlink("a/nothing")


def test_renaming_takes_the_place_of_another_file(full: Storage) -> None:
    old = full.open("a/x")
    new = make_file(full, "a/new", b"new")
    full.rename("a/new", "a/x")
    assert full.list_folder("a") == ["x"]
    assert (full.is_linked(old), full.is_linked(new)) == (False, True)
    assert content_of(full, full.open("a/x")) == b"new"
    full.rename("a/x", "a/x")
    full.rename("a/x", "x")
    assert (full.list_folder("a"), sorted(full.list_folder(""))) == ([], ["a", "x"])


def test_renaming_needs_a_file_and_a_folder(full: Storage) -> None:
    with pytest.raises(FileNotFoundError):
        full.rename("a/nothing", "a/y")
    with pytest.raises(FileNotFoundError):
        full.rename("a/x", "nothing/x")
    full.make_folder("b")
    with pytest.raises(IsADirectoryError):
        full.rename("a/x", "b")
    assert errno_of(lambda: full.rename("a/x", "a")) == errno.ENOTEMPTY
    assert full.list_folder("a") == ["x"]


def test_locks_of_two_descriptors_exclude_each_other(full: Storage) -> None:
    first, second = full.open("a/x"), full.open("a/x")
    assert full.lock(first, exclusive=True)
    assert full.lock(first, exclusive=True)
    assert not full.lock(second, exclusive=True)
    assert not full.lock(second, exclusive=False)
    assert full.lock(first, exclusive=False)
    assert full.lock(second, exclusive=False)
    full.close(second)
    assert full.lock(first, exclusive=True)


def test_a_lock_that_cannot_be_made_exclusive_is_lost(full: Storage) -> None:
    first, second, third = (full.open("a/x") for _ in range(3))
    assert full.lock(first, exclusive=False)
    assert full.lock(second, exclusive=False)
    assert not full.lock(first, exclusive=True)
    assert full.lock(second, exclusive=True)
    assert not full.lock(third, exclusive=False)


def test_touching_and_writing_note_the_time(full: Storage) -> None:
    descriptor = full.open("a/x", writable=True)
    before = full.used_at(descriptor)
    if isinstance(full, SimulatedDisk):
        full.now += 5
    full.touch(descriptor)
    touched = full.used_at(descriptor)
    assert touched >= before
    full.write(descriptor, memoryview(b"x"), 0)
    assert full.used_at(descriptor) >= touched


def as_call(method: str, *arguments: st.SearchStrategy[object]) -> st.SearchStrategy[Call]:
    return st.tuples(st.just(method), st.tuples(*arguments))


FILE_NAMES = st.sampled_from(FILES)
DESCRIPTORS = st.integers(0, 3)
PLACES = st.integers(-1, 1500)
CALLS = st.one_of(
    as_call("make_folder", st.sampled_from(["", "a", "b"])),
    as_call("list_folder", st.sampled_from(NAMES)),
    as_call("sync_folder", st.sampled_from(NAMES)),
    as_call("create", FILE_NAMES),
    as_call("open", FILE_NAMES, st.booleans()),
    as_call("unlink", FILE_NAMES),
    as_call("rename", FILE_NAMES, FILE_NAMES),
    as_call("close", DESCRIPTORS),
    as_call("size", DESCRIPTORS),
    as_call("is_linked", DESCRIPTORS),
    as_call("read", DESCRIPTORS, st.integers(0, 2000), st.integers(0, 1500)),
    as_call("write", DESCRIPTORS, st.binary(max_size=700), PLACES),
    as_call("truncate", DESCRIPTORS, PLACES),
    as_call("sync", DESCRIPTORS),
    as_call("touch", DESCRIPTORS),
    as_call("lock", DESCRIPTORS, st.booleans()),
)


class Caller:
    """Calls a storage and says what came of it, so that two storages can be compared."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.opened: list[int] = []

    def outcome(self, method: str, arguments: tuple[object, ...]) -> object:
        try:
            return self._result(method, arguments)
        except OSError as error:
            # None: raised by our own code.
            return "error", errno.EACCES if isinstance(error, PermissionError) else error.errno

    def close_all(self) -> None:
        for descriptor in self.opened:
            self.storage.close(descriptor)

    def _result(self, method: str, arguments: tuple[object, ...]) -> object:
        match method, arguments:
            case "create", (str(name),):
                self.opened.append(self.storage.create(name))
            case "open", (str(name), bool(writable)):
                self.opened.append(self.storage.open(name, writable=writable))
            case "close", (int(place),):
                if place < len(self.opened):
                    self.storage.close(self.opened.pop(place))
            case "list_folder", (str(name),):
                return sorted(self.storage.list_folder(name))
            case (("make_folder" | "sync_folder" | "unlink" | "rename"), _):
                getattr(self.storage, method)(*arguments)
            case _, (int(place), *others):
                return self._result_of_file(method, self.opened[place], others) if place < len(self.opened) else None
        return None

    def _result_of_file(self, method: str, descriptor: int, arguments: list[object]) -> object:
        match method, arguments:
            case "read", [int(size), int(place)]:
                out = bytearray(size)
                return self.storage.read(descriptor, memoryview(out), place), out
            case "write", [bytes(content), int(place)]:
                return self.storage.write(descriptor, memoryview(content), place)
            case "lock", [bool(exclusive)]:
                return self.storage.lock(descriptor, exclusive=exclusive)
        return getattr(self.storage, method)(descriptor, *arguments)


@given(calls=st.lists(CALLS, max_size=30), is_prepared=st.booleans())
def test_the_simulated_disk_answers_as_the_real_one_does(calls: list[Call], is_prepared: bool) -> None:
    preparation: list[Call] = [("make_folder", ("a",)), ("create", ("a/x",)), ("open", ("a/x", False))]
    with tempfile.TemporaryDirectory() as folder:
        real, simulated = Caller(DiskStorage(Path(folder) / "root")), Caller(SimulatedDisk())
        for method, arguments in [*preparation * is_prepared, *calls]:
            if method == "rename" and any(Path(folder, "root", str(name)).is_dir() for name in arguments[:1]):
                continue  # folders are not renamed, and the simulated disk has no such thing
            assert simulated.outcome(method, arguments) == real.outcome(method, arguments), (method, arguments)
        real.close_all()


def test_files_and_folders_on_the_disk_are_the_users_alone(tmp_path: Path) -> None:
    storage = DiskStorage(tmp_path / "above" / "root")
    storage.make_folder("a")
    storage.close(storage.create("a/x"))
    modes = [stat.S_IMODE((storage.root / name).stat().st_mode) for name in ("..", "", "a", "a/x")]
    assert modes == [0o700, 0o700, 0o700, 0o600]


def test_links_and_pipes_on_the_disk_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    storage = DiskStorage(tmp_path)
    for name in ("link", "pipe"):
        for writable in (False, True):
            with pytest.raises(PermissionError):
                storage.open(name, writable=writable)
    with pytest.raises(FileExistsError):
        storage.create("link")


def test_a_full_simulated_disk_writes_less_and_then_nothing() -> None:
    disk = SimulatedDisk({"x": b"1234"}, capacity_bytes=10)
    descriptor = disk.open("x", writable=True)
    assert disk.free_bytes() == (6, 10)
    assert disk.write(descriptor, memoryview(b"a" * 20), 2) == 8
    assert errno_of(lambda: disk.write(descriptor, memoryview(b"a"), 10)) == errno.ENOSPC
    assert disk.write(descriptor, memoryview(b"b"), 0) == 1
    disk.unlink("x")
    assert disk.free_bytes() == (0, 10)
    disk.close(descriptor)
    assert disk.free_bytes() == (10, 10)


def test_the_clock_of_a_simulated_disk_is_the_tests() -> None:
    disk = SimulatedDisk({"x": b""}, {"x": 3.0}, now=7.0)
    descriptor = disk.open("x")
    assert disk.used_at(descriptor) == 3.0
    disk.touch(descriptor)
    assert disk.used_at(descriptor) == 7.0
