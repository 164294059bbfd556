"""The cache of huggingface_hub, written by its rules, so that every program that uses it finds our downloads.

    models--OWNER--REPO/blobs/HASH                 the content; HASH.incomplete while it is being fetched
    models--OWNER--REPO/snapshots/COMMIT/FILE      a link to the content; a file where there can be no links
    models--OWNER--REPO/refs/REVISION              the commit that a branch or tag was when it was last looked up
    .locks/models--OWNER--REPO/HASH.lock           held by the process that fetches that content

Source: https://huggingface.co/docs/huggingface_hub/guides/manage-cache, and huggingface_hub 2.4, `file_download.py`.

The unfinished content has one name for all. Up to version 1, huggingface_hub went on with such a file itself; version
2.4 starts again from nothing and removes what it had, which is why we write into the cache and do not let it do so.
"""

import errno
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from tui_llama import paths
from tui_llama.models.downloads import DownloadError, no_space
from tui_llama.models.hub.choice import HubFile

LOCK_POLL_SECONDS: Final = 0.25

_COMMIT = re.compile(r"[0-9a-f]{40}")
_CONTENT_HASH = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")
_HASHED_AT_ONCE: Final = 1 << 20


class HubCache:
    """The part of the cache that holds one repository.

    Args:
        folder: The whole cache.
        repository: "OWNER/REPO", checked.
    """

    def __init__(self, folder: Path, repository: str) -> None:
        self.folder = folder
        name = "--".join(("models", *repository.split("/")))
        self._repository = folder / name
        self._locks = folder / ".locks" / name

    def commit_of(self, revision: str) -> str:
        """Returns the commit that a revision was when it was last looked up; empty where it never was."""
        if _COMMIT.fullmatch(revision):
            return revision
        try:
            commit = (self._repository / "refs" / revision).read_text("ascii").strip()
        except (OSError, ValueError):
            return ""
        return commit if _COMMIT.fullmatch(commit) else ""

    def files_of(self, commit: str) -> list[HubFile]:
        """Returns the GGUF files that are here of a commit, in the order of names."""
        try:
            return list(_gguf_files(self._repository / "snapshots" / commit))
        except OSError:  # closed to us, or just being removed: as good as not there
            return []

    def pointer(self, commit: str, file: HubFile) -> Path:
        """Returns where a file of a commit is, or would be."""
        return (self._repository / "snapshots" / commit).joinpath(*file.name.split("/")).absolute()

    def content(self, file: HubFile) -> Path:
        """Returns where its content is, or would be."""
        return self._repository / "blobs" / file.content_hash

    def unfinished(self, file: HubFile) -> Path:
        """Returns where its content is while it is being fetched."""
        return self._repository / "blobs" / f"{file.content_hash}.incomplete"

    def prepare(self) -> None:
        """Makes the folder of contents."""
        with self.writing():
            (self._repository / "blobs").mkdir(parents=True, exist_ok=True)

    def check_space(self, wanted_bytes: int) -> None:
        """Raises `DownloadError` if the disk of the cache has no room for so many bytes."""
        free_bytes = self._free_bytes()
        if 0 <= free_bytes < wanted_bytes:
            raise no_space(self.folder, wanted_bytes, free_bytes)

    def hash_unfinished(self, file: HubFile, show: Callable[[int], None]) -> str:
        """Hashes the fetched content the way the hub has; the length of the hub's hash tells which way that is.

        Args:
            file: The fetched file.
            show: Called with the number of bytes behind us.
        """
        path = self.unfinished(file)
        if len(file.content_hash) == 64:
            digest = hashlib.sha256()
        else:  # Git's name for a content: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
            digest = hashlib.sha1(b"blob %d\0" % file.size_bytes, usedforsecurity=False)
        with self.writing():
            content = path.open("rb")
        with content:
            while piece := self._read(content):
                digest.update(piece)
                show(content.tell())
        return digest.hexdigest()

    def publish(self, file: HubFile) -> None:
        """Makes the fetched content, which was checked, the content."""
        with self.writing():
            unfinished = self.unfinished(file)
            with unfinished.open("rb+") as written:
                os.fsync(written.fileno())
            unfinished.replace(self.content(file))

    def link(self, commit: str, file: HubFile) -> Path:
        """Gives the content its name in a commit.

        Returns:
            That name, absolute.
        """
        pointer = self.pointer(commit, file)
        with self.writing():
            pointer.parent.mkdir(parents=True, exist_ok=True)
            _link_or_move(self.content(file), pointer)
        return pointer

    def remember(self, revision: str, commit: str) -> None:
        """Notes the commit of a branch or tag, for a user without a network. Failing to note it does no harm."""
        if revision == commit or self.commit_of(revision) == commit:
            return
        reference = self._repository / "refs" / revision
        unfinished = reference.with_name(f"{reference.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            reference.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_text(commit, "ascii")
            unfinished.replace(reference)
        except OSError:  # someone else's cache may be closed to us, and the file is here all the same
            unfinished.unlink(missing_ok=True)

    @contextmanager
    def locked(self, file: HubFile, wait: Callable[[], None]) -> Iterator[None]:
        """Keeps every other program from fetching the same content.

        Args:
            file: What will be fetched.
            wait: Called again and again while another program does; waits a little, or raises to give up.
        """
        from filelock import FileLock, Timeout

        with self.writing():
            self._locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._locks / f"{file.content_hash}.lock")
        while True:
            try:
                with self.writing():
                    lock.acquire(timeout=0)
                break
            except Timeout:
                wait()
            except NotImplementedError:
                # Some network disks cannot lock. Two who fetch the same then write the same bytes to the same places.
                break
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def writing(self, wanted_bytes: int = 0) -> Iterator[None]:
        """Translates what can go wrong on the disk; to be put around the disk alone, not around what reports.

        Args:
            wanted_bytes: How much is still to be written, to say so where the disk is full.
        """
        try:
            yield
        except TimeoutError:  # of the lock; also an OSError
            raise
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise no_space(self.folder, wanted_bytes, max(self._free_bytes(), 0)) from error
            raise DownloadError(
                f"the download folder {self.folder} cannot be used: {error.strerror or 'unknown reason'}",
                "Set HF_HUB_CACHE to a writable folder.",
            ) from error

    def _read(self, content: BinaryIO) -> bytes:
        with self.writing():
            return content.read(_HASHED_AT_ONCE)

    def _free_bytes(self) -> int:
        """Returns how many bytes can be put into the cache; -1 where that cannot be told."""
        for folder in (self.folder, *self.folder.parents):
            try:
                return shutil.disk_usage(folder).free
            except OSError:  # not made yet; the disk is that of the next folder above
                continue
        return -1


def is_commit(text: str) -> bool:
    """Tells whether it can be the name of a commit, and so of a folder."""
    return _COMMIT.fullmatch(text) is not None


def is_content_hash(text: str) -> bool:
    """Tells whether it can be the hash of a content, and so the name of a file."""
    return _CONTENT_HASH.fullmatch(text) is not None


def _gguf_files(snapshot: Path) -> Iterator[HubFile]:
    for path in sorted(snapshot.rglob("*")):
        size_bytes = paths.file_bytes(path) if path.suffix.lower() == ".gguf" else None
        if size_bytes is not None:
            yield HubFile(path.relative_to(snapshot).as_posix(), size_bytes)


def _link_or_move(content: Path, pointer: Path) -> None:
    """Links the content under a name; where there can be no links the content itself goes there, as the hub does it."""
    unfinished = pointer.with_name(f".{uuid.uuid4().hex[:8]}.link")
    try:
        unfinished.symlink_to(os.path.relpath(content, pointer.parent))
    except (OSError, NotImplementedError):
        content.replace(pointer)
        return
    unfinished.replace(pointer)
