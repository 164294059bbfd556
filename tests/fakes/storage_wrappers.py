"""Storages that wrap another storage: one whose calls fail, and one that counts.

Several threads may call them at the same time if they may call the wrapped storage so.
"""

import errno
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count

from tests.fakes.simulated_disk import SimulatedDisk
from tui_llama.files.storage import FileStatus, Storage


class ForwardingStorage:
    """A storage that calls `before` and then passes the call on."""

    def __init__(self, inner: Storage) -> None:
        self.inner = inner

    def before(self, method: str) -> None:
        """Comes before every call, with the method's name. The call raises whatever this raises."""

    def make_folder(self, name: str) -> None:
        self.before("make_folder")
        self.inner.make_folder(name)

    def list_folder(self, name: str) -> list[str]:
        self.before("list_folder")
        return self.inner.list_folder(name)

    def files(self, name: str) -> dict[str, FileStatus]:
        self.before("files")
        return self.inner.files(name)

    def create(self, name: str) -> int:
        self.before("create")
        return self.inner.create(name)

    def open(self, name: str, *, writable: bool = False) -> int:
        self.before("open")
        return self.inner.open(name, writable=writable)

    def close(self, descriptor: int) -> None:
        try:
            self.before("close")
        finally:
            # A file whose closing fails is closed nevertheless.
            self.inner.close(descriptor)

    def size(self, descriptor: int) -> int:
        self.before("size")
        return self.inner.size(descriptor)

    def used_at(self, descriptor: int) -> float:
        self.before("used_at")
        return self.inner.used_at(descriptor)

    def is_linked(self, descriptor: int) -> bool:
        self.before("is_linked")
        return self.inner.is_linked(descriptor)

    def read(self, descriptor: int, out: memoryview, offset: int) -> int:
        self.before("read")
        return self.inner.read(descriptor, out, offset)

    def write(self, descriptor: int, content: memoryview, offset: int) -> int:
        self.before("write")
        return self.inner.write(descriptor, content, offset)

    def truncate(self, descriptor: int, size: int) -> None:
        self.before("truncate")
        self.inner.truncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        self.before("sync")
        self.inner.sync(descriptor)

    def rename(self, name: str, new_name: str) -> None:
        self.before("rename")
        self.inner.rename(name, new_name)

    def unlink(self, name: str) -> None:
        self.before("unlink")
        self.inner.unlink(name)

    def sync_folder(self, name: str) -> None:
        self.before("sync_folder")
        self.inner.sync_folder(name)

    def lock(self, descriptor: int, *, exclusive: bool) -> bool:
        self.before("lock")
        return self.inner.lock(descriptor, exclusive=exclusive)

    def touch(self, descriptor: int, seconds: float | None = None) -> None:
        self.before("touch")
        self.inner.touch(descriptor, seconds)

    def free_bytes(self) -> tuple[int, int]:
        self.before("free_bytes")
        return self.inner.free_bytes()


class FaultyStorage(ForwardingStorage):
    """A storage whose n-th call fails.

    A failed call has done nothing, with two exceptions: `close` has closed the file, and after a failed `sync` a
    `SimulatedDisk` believes that the bytes are on the disk, as Linux does (Rebello et al., USENIX ATC 2020).

    Args:
        inner: The storage that gets the other calls. If failed syncs matter, it must be a `SimulatedDisk` without
            another storage around it.
        n: The number of the counted call that fails, from 1 on.
        error: The number of the error, such as `errno.EIO`. With None the call reads or writes only half, without an
            error.
        method: The method whose calls are counted. By default all calls are counted, or all reads and writes if
            `error` is None.
        persistent: Whether every later counted call fails as well.
        short_first: Whether a failing write first writes half, and only the next write fails, as on a disk that gets
            full.
    """

    def __init__(
        self,
        inner: Storage,
        n: int,
        error: int | None = errno.EIO,
        *,
        method: str | None = None,
        persistent: bool = False,
        short_first: bool = False,
    ) -> None:
        super().__init__(inner)
        self.n = n
        self.error = error
        self.method = method
        self.persistent = persistent
        self.short_first = short_first
        self.calls = 0
        self._next_write_fails = False
        self._counting = threading.Lock()

    @property
    def is_reached(self) -> bool:
        """True once the n-th call was made."""
        return self.calls >= self.n

    def before(self, method: str) -> None:
        if self._is_hit(method) and self.error is not None:
            self._fail(method)

    def read(self, descriptor: int, out: memoryview, offset: int) -> int:
        if self._is_hit("read"):
            if self.error is not None:
                self._fail("read")
            out = _half(out)
        return self.inner.read(descriptor, out, offset)

    def write(self, descriptor: int, content: memoryview, offset: int) -> int:
        is_hit = self._is_hit("write")
        if self._next_write_fails:
            self._next_write_fails = self.persistent
            self._fail("write")
        if is_hit:
            if self.error is not None and not self.short_first:
                self._fail("write")
            self._next_write_fails = self.short_first
            content = _half(content)
        return self.inner.write(descriptor, content, offset)

    def sync(self, descriptor: int) -> None:
        try:
            self.before("sync")
        except OSError:
            if isinstance(self.inner, SimulatedDisk):
                self.inner.fail_sync(descriptor)
            raise
        self.inner.sync(descriptor)

    def _is_hit(self, method: str) -> bool:
        counted = (self.method,) if self.method else ("read", "write") if self.error is None else (method,)
        if method not in counted:
            return False
        with self._counting:
            self.calls += 1
            return self.calls >= self.n if self.persistent else self.calls == self.n

    def _fail(self, method: str) -> None:
        assert self.error is not None
        raise OSError(self.error, f"{os.strerror(self.error)} (on purpose, call {self.calls}, {method})")


def every_fault(
    make_storage: Callable[[], Storage],
    error: int | None = errno.EIO,
    *,
    method: str | None = None,
    persistent: bool = False,
    short_first: bool = False,
) -> Iterator[FaultyStorage]:
    """Yields storages whose first, second, … call fails, until their user makes fewer calls than that.

    Args:
        make_storage: Makes the storage that the script finds, again for each failure.
        error: The same as for `FaultyStorage`, like the other arguments.
    """
    for n in count(1):
        storage = FaultyStorage(make_storage(), n, error, method=method, persistent=persistent, short_first=short_first)
        yield storage
        if not storage.is_reached:
            return


class CountingStorage(ForwardingStorage):
    """A storage that counts calls by their names, and bytes."""

    def __init__(self, inner: Storage) -> None:
        super().__init__(inner)
        self.calls: Counter[str] = Counter()
        self.read_bytes = 0
        self.written_bytes = 0
        self._counting = threading.Lock()

    @property
    def syncs(self) -> int:
        """The number of syncs of files. Those of folders are `calls["sync_folder"]`."""
        return self.calls["sync"]

    def before(self, method: str) -> None:
        with self._counting:
            self.calls[method] += 1

    def read(self, descriptor: int, out: memoryview, offset: int) -> int:
        read_bytes = super().read(descriptor, out, offset)
        with self._counting:
            self.read_bytes += read_bytes
        return read_bytes

    def write(self, descriptor: int, content: memoryview, offset: int) -> int:
        written_bytes = super().write(descriptor, content, offset)
        with self._counting:
            self.written_bytes += written_bytes
        return written_bytes


def _half(view: memoryview) -> memoryview:
    # At least one byte, because a read of no bytes would mean the end of the file, and no disk writes no bytes.
    return view.cast("B")[: max(1, view.nbytes // 2)] if view.nbytes else view
