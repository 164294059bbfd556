"""Downloads of GGUF files from the Hugging Face hub, into the cache that every program with huggingface_hub shares.

A download that breaks off goes on where it stopped, by itself a few times and then at the next call, in another process
too. Nothing gets its name in the cache before it was fetched whole, its hash was right and it is a GGUF file; the parts
of a split model get theirs together, when all are here. With no network, a file that is there already is found all the
same.

Everything happens in the calling thread, so whatever `report` raises ends it at once; where no bytes come, after
`HF_HUB_DOWNLOAD_TIMEOUT` seconds (10) at the latest.
"""

import re
import time
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from typing import Final

from tui_llama.models.downloads import Downloaded, DownloadError, Progress, ReportProgress, size_words
from tui_llama.models.hub.cache import LOCK_POLL_SECONDS, HubCache
from tui_llama.models.hub.choice import HubFile, choose
from tui_llama.models.hub.client import HubClient, HubListing, HubResponse
from tui_llama.models.hub.patience import HubUnreachableError, PassingFailure, Patience, pause
from tui_llama.models.hub.reference import HubReference
from tui_llama.models.record import is_linked, size_when_pulled

REPORT_SECONDS: Final = 0.25
"""The least time between two reports of one step."""

MOST_BYTES: Final = 50_000_000_000
"""The largest file that the hub serves over plain HTTP (`MAX_HTTP_DOWNLOAD_SIZE` in huggingface_hub 2.4)."""

RENEWING_BYTES: Final = 1 << 20
"""The bytes that a try must bring to reset the count of failures; with fewer, a download might crawl for ever."""

_MAGIC: Final = b"GGUF"
_CHOOSE_ANOTHER: Final = "Choose another file or repository."
_CONTENT_RANGE = re.compile(r"bytes (?P<first>[0-9]+)-[0-9]+/(?P<total>[0-9]+|\*)")


def fetch(reference: HubReference, report: ReportProgress) -> Downloaded:
    """Brings a model file onto this machine, unless it is here already.

    Args:
        reference: Which one. Where it names neither a file nor a quantization, the one that suits most people.
        report: Told how far it is, about four times a second; may raise to stop it.

    Returns:
        Where the file is in the cache of huggingface_hub.

    Raises:
        DownloadError: It could not be had.
    """
    return _Fetch(reference, report).run()


class _Fetch:
    """One download."""

    def __init__(self, reference: HubReference, report: ReportProgress) -> None:
        self._reference = reference
        self._report = report
        # One for all requests, so that what the hub asks to wait adds up.
        self._patience = Patience(report)
        self._client = HubClient()
        self._cache = HubCache(self._client.cache_folder, reference.repository)
        self._parts = _Parts([])

    def run(self) -> Downloaded:
        kept = self._kept()
        try:
            # A user who has the file already shall not wait for a network that does not answer.
            listing = self._listing(_Impatience(self._report) if kept else self._patience)
        except HubUnreachableError:
            if kept is None:
                raise
            return Downloaded(str(kept), was_there=True)
        files = [
            self._client.describe(self._reference, listing.commit, file, self._patience)
            for file in choose(self._reference, listing.files)
        ]
        downloaded = self._had(listing, files)
        self._cache.remember(self._reference.revision, listing.commit)
        return downloaded

    def _kept(self) -> Path | None:
        """Returns the model that is meant among those that are here, by what was known of the revision last.

        A damaged file is none: the hub is asked for it again.
        """
        commit = self._cache.commit_of(self._reference.revision)
        files = self._cache.files_of(commit) if commit else []
        try:
            kept = [self._cache.pointer(commit, file) for file in choose(self._reference, files)]
        except DownloadError:
            return None
        return kept[0] if all(map(_seems_whole, kept)) else None

    def _listing(self, patience: Patience) -> HubListing:
        self._report(Progress("looking it up"))
        listing = self._client.list_files(self._reference, patience)
        patience.renew()
        return listing

    def _had(self, listing: HubListing, files: Sequence[HubFile]) -> Downloaded:
        """Has the files of a model in the cache, under their names."""
        pointers = [self._cache.pointer(listing.commit, file) for file in files]
        missing = [file for file, pointer in zip(files, pointers, strict=True) if not _has(pointer, file)]
        if missing:
            self._cache.prepare()
        self._parts = _Parts(missing)
        ours = {file.name for file in missing if self._has_content(listing, file)}
        for file in missing:
            with self._cache.locked(file, self._wait_for_another_program):
                if _size_bytes(self._cache.pointer(listing.commit, file)) != file.size_bytes:
                    self._cache.link(listing.commit, file)
        placed = zip(files[1:], pointers[1:], strict=True)
        companions = tuple(str(pointer) for file, pointer in placed if file.name in ours)
        return Downloaded(str(pointers[0]), files[0].name not in ours, companions)

    def _has_content(self, listing: HubListing, file: HubFile) -> bool:
        """Has the content of a file in the cache; tells whether it is there by our doing."""
        content = self._cache.content(file)
        # What has no name is the part that an earlier call of ours had fetched when it was stopped.
        was_left = _size_bytes(content) == file.size_bytes and not is_linked(content, content)
        with self._cache.locked(file, self._wait_for_another_program):
            # Another revision may have brought it, or the other program that held the lock.
            was_there = _size_bytes(content) == file.size_bytes
            if was_there:
                _check_magic(content)
            else:
                self._fetch_content(listing, file)
                self._check_hash(file)
                self._cache.publish(file)
        self._parts.finish(file)
        return was_left or not was_there

    def _wait_for_another_program(self) -> None:
        self._report(Progress("waiting for another program that downloads it"))
        pause(LOCK_POLL_SECONDS)

    # --- fetching ---

    def _fetch_content(self, listing: HubListing, file: HubFile) -> None:
        """Fetches what is missing of the unfinished content."""
        if file.size_bytes > MOST_BYTES:
            raise DownloadError(
                f"{file.name} is larger than {size_words(MOST_BYTES)}, the most that this program downloads",
                f"Download it with: hf download {self._reference.repository} {file.name}. This program then finds it.",
            )
        unfinished = self._cache.unfinished(file)
        with self._cache.writing():
            # A download cannot go on with this, whichever program made it. Through a link it would write elsewhere.
            if unfinished.is_symlink() or _size_bytes(unfinished) > file.size_bytes:
                unfinished.unlink()
            unfinished.touch()
        self._cache.check_space(sum(map(self._missing_bytes, self._parts.left)))
        meter = self._parts.meter(self._report, "downloading")
        while (had_bytes := _size_bytes(unfinished)) < file.size_bytes:
            try:
                self._fetch_rest(listing, file, unfinished, meter)
            except PassingFailure as failure:
                has_bytes = _size_bytes(unfinished)
                if has_bytes - had_bytes >= RENEWING_BYTES:
                    self._patience.renew()
                failure = _with_way_on(failure, has_bytes, file.size_bytes)
                self._patience.bear(failure, self._parts.done_bytes + has_bytes, self._parts.total_bytes)
        self._check_unfinished_magic(file)

    def _missing_bytes(self, file: HubFile) -> int:
        if _size_bytes(self._cache.content(file)) == file.size_bytes:
            return 0
        return file.size_bytes - max(_size_bytes(self._cache.unfinished(file)), 0)

    def _fetch_rest(self, listing: HubListing, file: HubFile, unfinished: Path, meter: "_Meter") -> None:
        """Sends one request and writes what comes of it over what is there, which is the same as far as both go.

        Raises:
            PassingFailure: It broke off.
        """
        done_bytes = max(_size_bytes(unfinished), 0)
        with self._client.content(self._reference, listing.commit, file, done_bytes) as response:
            first_byte = _first_byte(response, file, done_bytes)
            with self._cache.writing():
                # Unbuffered, so that what was written is there for the next try, however this one ends.
                target = unfinished.open("rb+", buffering=0)
            with target:
                target.seek(first_byte)
                self._write(response, file, target, meter)
                if target.tell() < file.size_bytes:
                    raise PassingFailure(HubUnreachableError(f"{file.name} arrived incomplete", "Try again."))

    def _write(self, response: HubResponse, file: HubFile, target: FileIO, meter: "_Meter") -> None:
        done_bytes = target.tell()
        for piece in response.iter_raw():
            if done_bytes + len(piece) > file.size_bytes:
                raise _wrong_length(file)
            left = memoryview(piece)
            with self._cache.writing(file.size_bytes - done_bytes):
                while left:
                    left = left[target.write(left) :]
            was_checked = done_bytes >= len(_MAGIC)
            done_bytes += len(piece)
            if not was_checked and done_bytes >= len(_MAGIC):
                self._check_unfinished_magic(file)  # now, rather than after gigabytes
            meter.show(done_bytes)

    def _check_unfinished_magic(self, file: HubFile) -> None:
        """Refuses what is no GGUF file, and does not let it stay."""
        unfinished = self._cache.unfinished(file)
        with self._cache.writing():
            if _begins_as_gguf(unfinished):
                return
            unfinished.unlink()
        raise DownloadError(f"{file.name} is not a GGUF file, despite its name", _CHOOSE_ANOTHER)

    def _check_hash(self, file: HubFile) -> None:
        """Refuses what is not what the hub has, and does not let it stay."""
        meter = self._parts.meter(self._report, "checking")
        if self._cache.hash_unfinished(file, meter.show) != file.content_hash:
            with self._cache.writing():
                self._cache.unfinished(file).unlink()
            raise DownloadError(f"{file.name} arrived damaged: its checksum is not the hub's", "Download it again.")


class _Impatience(Patience):
    """Bears nothing."""

    def bear(self, failure: PassingFailure, done_bytes: int = 0, total_bytes: int = 0) -> None:
        raise failure.error from failure


class _Parts:
    """The files that are fetched, one after the other, so that progress is told of all together.

    Attributes:
        left: Those that are not finished.
        done_bytes: The bytes of the finished ones.
        total_bytes: The bytes of all.
    """

    def __init__(self, files: Sequence[HubFile]) -> None:
        self.left = list(files)
        self.done_bytes = 0
        self.total_bytes = sum(file.size_bytes for file in files)

    def finish(self, file: HubFile) -> None:
        """Notes that a file's content is there."""
        self.left.remove(file)
        self.done_bytes += file.size_bytes

    def meter(self, report: ReportProgress, step: str) -> "_Meter":
        """Returns what tells of a step with the file that is next."""
        return _Meter(report, step, self.done_bytes, self.total_bytes)


class _Meter:
    """Reports the first and the last of a step, and of what is between them only so much as people can read."""

    def __init__(self, report: ReportProgress, step: str, before_bytes: int, total_bytes: int) -> None:
        self._report = report
        self._step = step
        self._before_bytes = before_bytes
        self._total_bytes = total_bytes
        self._next_seconds = 0.0

    def show(self, done_bytes: int) -> None:
        """Reports the progress if the last report is long enough ago, and at the end."""
        now_seconds = time.monotonic()
        done_bytes += self._before_bytes
        if now_seconds >= self._next_seconds or done_bytes == self._total_bytes:
            self._next_seconds = now_seconds + REPORT_SECONDS
            self._report(Progress(self._step, done_bytes, self._total_bytes))


def _first_byte(response: HubResponse, file: HubFile, done_bytes: int) -> int:
    """Returns where in the file an answer begins; raises where it belongs to a file of another length.

    An answer that is not the file, such as the login page of a network, must not cost what is there already.
    """
    if response.status_code == 206:
        answered = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if answered is None or answered["total"] not in {"*", str(file.size_bytes)}:
            raise _wrong_length(file)
        if int(answered["first"]) > done_bytes:
            raise DownloadError(f"the server sent another part of {file.name} than requested", "Try again later.")
        return int(answered["first"])
    shown_bytes = response.headers.get("Content-Length", str(file.size_bytes))
    if "html" in response.headers.get("Content-Type", ""):
        raise HubUnreachableError(
            f"a web page arrived instead of {file.name}",
            "Check HF_ENDPOINT and the proxy; some networks require a login in the browser first.",
        )
    if shown_bytes != str(file.size_bytes):
        raise _wrong_length(file)
    return 0


def _with_way_on(failure: PassingFailure, done_bytes: int, total_bytes: int) -> PassingFailure:
    """Adds that nothing is lost, where something is there."""
    if not done_bytes:
        return failure
    has = f"{size_words(done_bytes)} of {size_words(total_bytes)} are on this machine"
    error = HubUnreachableError(str(failure.error), f"{has}; the next try continues from there.")
    return PassingFailure(error, failure.wait_seconds)


def _wrong_length(file: HubFile) -> DownloadError:
    return DownloadError(
        f"{file.name} does not have the size that the hub lists, {size_words(file.size_bytes)}",
        "Try again later. If HF_ENDPOINT is set, the mirror may be wrong.",
    )


def _has(pointer: Path, file: HubFile) -> bool:
    """Tells whether a file has its name in the cache; raises `DownloadError` where that is no GGUF file."""
    if _size_bytes(pointer) != file.size_bytes:
        return False
    _check_magic(pointer)
    return True


def _seems_whole(path: Path) -> bool:
    """Tells whether a file in the cache begins as GGUF, and has the size that it had if this program fetched it."""
    try:
        return _begins_as_gguf(path) and size_when_pulled(path) in {None, path.stat().st_size}
    except OSError:
        return False


def _check_magic(path: Path) -> None:
    """Raises `DownloadError` where a file in the cache that has the hub's size is no GGUF file."""
    try:
        is_gguf = _begins_as_gguf(path)
    except OSError as error:
        raise DownloadError(
            f"{path} cannot be read: {error.strerror}", "Set HF_HUB_CACHE to another folder."
        ) from error
    if not is_gguf:
        raise DownloadError(f"{path.name} is not a GGUF file", _CHOOSE_ANOTHER)


def _begins_as_gguf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # not there
        return -1
