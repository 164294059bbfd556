"""Fetches a model by its name: the starter, an entry of the catalogue, or any repository of Hugging Face.

`pull` works in this process; `pull_beside` has a process of its own do it, for the screen: nothing of a download can
hold the screen up then, and to cancel is to end that process. The child ends when its standard input does, so that it
outlives no screen.
"""

import asyncio
import json
import os
import sys
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path
from time import monotonic
from typing import Final

import msgspec

from tui_llama.errors import UserError
from tui_llama.models.catalogue import STARTER, find_entry, suggest_names
from tui_llama.models.downloads import (
    Downloaded,
    DownloadError,
    DownloadEvent,
    DownloadFailed,
    DownloadStoppedError,
    Progress,
    ReportProgress,
)
from tui_llama.models.record import note_pulled
from tui_llama.system.child_process import child_command
from tui_llama.system.endings import endings_as_exits

_REPORT_SECONDS: Final = 0.1
_ENDING_SECONDS: Final = 5.0
_LOST: Final = DownloadFailed("the download ended without an error message", "Try again.")


def pull(name: str, report: ReportProgress) -> Downloaded:
    """Fetches a model.

    Args:
        name: A name of the catalogue, or `hf:OWNER/REPOSITORY`, with `:FILE` or `:QUANTIZATION` behind it if need be.
        report: Told how far it is; may raise `DownloadStoppedError`.

    Raises:
        DownloadError: why it cannot be had, and what to do.
        DownloadStoppedError: as `report` says.
    """
    with endings_as_exits():  # so that a downloader is ended and its folder removed
        downloaded = _fetch(name, report)
    if not downloaded.was_there:
        note_pulled(Path(downloaded.path), *map(Path, downloaded.companions))
    return downloaded


def _fetch(name: str, report: ReportProgress) -> Downloaded:
    entry = find_entry(name)
    if entry is not None and entry.name == STARTER:
        from tui_llama.models.starter.fetch import fetch_starter

        return fetch_starter(report)
    from tui_llama.models.hub.fetch import fetch
    from tui_llama.models.hub.reference import parse_reference

    if entry is not None:
        name = f"hf:{entry.repository}:{entry.file}"
    reference = parse_reference(name)
    if reference is None:
        near = suggest_names(name)
        known = f"Did you mean {' or '.join(near)}?" if near else "tui-llama models list --all shows the names."
        hint = f"{known} Or give hf:OWNER/REPOSITORY."
        raise DownloadError(f"there is no model {name[:80]!r} in the catalogue", hint)
    return fetch(reference, report)


# --- in a process of its own --------------------------------------------------------------------------------------


async def pull_beside(name: str) -> AsyncGenerator[DownloadEvent, None]:
    """Yields how far a download is, then exactly one of `Downloaded` and `DownloadFailed`.

    A caller that stops iterating cancels the download. Of the starter, nothing is left then. Of a file of the hub, the
    beginning is left, without the name of a model; the next try goes on from it.
    """
    process = await asyncio.create_subprocess_exec(
        *child_command(__name__, name),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None
    last: DownloadEvent | None = None
    try:
        async for line in process.stdout:
            last = msgspec.convert(json.loads(line), DownloadEvent)
            yield last
        if not isinstance(last, Downloaded | DownloadFailed):
            yield _LOST
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _ENDING_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()


def main(arguments: Sequence[str]) -> None:
    """Runs the child: fetches what is named, prints events as lines of JSON, and stops when standard input ends."""
    (name,) = arguments
    is_stopped = threading.Event()
    threading.Thread(target=_wait_for_the_end, args=(is_stopped,), daemon=True).start()
    reported_at = 0.0

    def report(progress: Progress) -> None:
        nonlocal reported_at
        if is_stopped.is_set():
            raise DownloadStoppedError
        if monotonic() - reported_at >= _REPORT_SECONDS:
            reported_at = monotonic()
            _say(progress)

    try:
        with redirect_stdout(sys.stderr):  # whatever a library prints is no event
            downloaded = pull(name, report)
        _say(downloaded)
    except DownloadStoppedError:
        pass
    except UserError as error:
        _say(DownloadFailed(str(error), error.hint))
    except Exception as error:  # a mistake of ours, but the waiting process must learn of it
        _say(DownloadFailed(f"the download failed: {type(error).__name__}: {error}"))


def _wait_for_the_end(is_stopped: threading.Event) -> None:
    # Not through `sys.stdin`: at the end of the process a thread that reads from it would be in the way.
    while os.read(sys.stdin.fileno(), 1024):
        pass
    is_stopped.set()


def _say(event: DownloadEvent) -> None:
    assert sys.__stdout__ is not None
    with suppress(BrokenPipeError):
        # Not `msgspec.json`: a path may hold bytes that are no text, which that can neither write nor read.
        sys.__stdout__.buffer.write(json.dumps(msgspec.to_builtins(event)).encode("ascii") + b"\n")
        sys.__stdout__.buffer.flush()
