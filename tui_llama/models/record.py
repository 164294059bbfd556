"""Remembers which model files this program put on the machine: those, and no others, it may remove again.

The record is a small JSON file in the data folder. A file counts as ours only while it is the same file: what somebody
else has put in its place since is not.
"""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from tui_llama import paths
from tui_llama.errors import UserError

_FILE_NAME: Final = "pulled-models.json"


class _Pulled(msgspec.Struct, frozen=True):
    path: str
    size_bytes: int
    modified_ns: int
    companions: tuple[str, ...] = ()


def note_pulled(path: Path, *companions: Path) -> None:
    """Remembers a file that was fetched just now.

    Args:
        path: The model file.
        companions: What was put on the machine together with it, such as its licence, and goes with it.
    """
    status = path.stat()
    others = [pulled for pulled in _read() if pulled.path != str(path)]
    _write([*others, _Pulled(str(path), status.st_size, status.st_mtime_ns, tuple(map(str, companions)))])


def was_pulled(path: Path) -> bool:
    """Whether this program fetched the file, and nobody has replaced it since."""
    return _find(path) is not None


def size_when_pulled(path: Path) -> int | None:
    """How long a file was when this program fetched it; None where it did not."""
    return next((each.size_bytes for each in _read() if each.path == str(path)), None)


def remove_pulled(path: Path) -> int:
    """Removes a file that this program fetched, and what belongs to it alone; returns the bytes that are free now.

    In the cache of Hugging Face a model is a link to its bytes. Those go as well, unless another link leads to them.

    Raises:
        UserError: it is none of ours, or cannot be removed.
    """
    pulled = _find(path)
    if pulled is None:
        raise UserError(
            f"{path} was not fetched by this program, so it is left alone", "Remove it with the program that owns it."
        )
    try:
        freed_bytes = sum(map(_remove, (path, *map(Path, pulled.companions))))
    except OSError as error:
        raise UserError(f"{path} cannot be removed: {error.strerror}", "Check its owner and permissions.") from error
    _write([each for each in _read() if each.path != str(path)])
    return freed_bytes


def _remove(path: Path) -> int:
    """Removes a file, or a link and the bytes that only it leads to; returns how many bytes that were."""
    if not os.path.lexists(path):
        return 0
    target = Path(os.path.realpath(path))
    size_bytes = target.stat().st_size if target.exists() else 0
    is_link = path.is_symlink()
    path.unlink()
    if is_link:
        if not _is_blob_of(target, path) or _is_linked(target):
            return 0
        target.unlink(missing_ok=True)
    return size_bytes


def _find(path: Path) -> _Pulled | None:
    """The record of a file that is still the one that was fetched."""
    try:
        status = path.stat()
    except OSError:
        return None
    now = (str(path), status.st_size, status.st_mtime_ns)
    return next((each for each in _read() if (each.path, each.size_bytes, each.modified_ns) == now), None)


def _is_blob_of(target: Path, link: Path) -> bool:
    """Whether `target` is in the folder of blobs that belongs to the snapshot of `link`."""
    repository = next((folder for folder in link.parents if folder.name == "snapshots"), None)
    return repository is not None and target.parent == Path(os.path.realpath(repository.parent / "blobs"))


def _is_linked(blob: Path) -> bool:
    """Whether any snapshot of the repository still leads to a blob."""
    snapshots = blob.parent.parent / "snapshots"
    return any(Path(os.path.realpath(path)) == blob for path in snapshots.rglob("*") if path.is_symlink())


def _file() -> Path:
    return paths.data_folder() / _FILE_NAME


def _read() -> list[_Pulled]:
    try:
        return msgspec.convert(json.loads(_file().read_bytes()), list[_Pulled])
    except (OSError, ValueError):  # nothing that could be removed is known then
        return []


def _write(record: list[_Pulled]) -> None:
    path = _file()
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        paths.make_private_folder(path.parent)
        # Not `msgspec.json`: a path may hold bytes that are no text, which that cannot write.
        part.write_text(json.dumps(msgspec.to_builtins(record)), encoding="ascii")
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise UserError(f"{path} cannot be written: {error.strerror}", "Check the folder's permissions.") from error
