"""Remembers which model files this program put on the machine: those, and no others, it may remove again.

The record is a small JSON file in the data folder. A file counts as ours only while it is the same file: what somebody
else has put in its place since is not.
"""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from tui_llama import paths
from tui_llama.errors import UserError
from tui_llama.files.one_at_a_time import alone_in
from tui_llama.files.own_files import replace_own_file

_FILE_NAME: Final = "pulled-models.json"


class _Companion(msgspec.Struct, frozen=True):
    path: str
    size_bytes: int
    modified_ns: int
    is_link: bool = False


class _Pulled(msgspec.Struct, frozen=True):
    """`companions` is how versions wrote it that knew no more of them than their paths."""

    path: str
    size_bytes: int
    modified_ns: int
    companions: tuple[str, ...] = ()
    with_it: tuple[_Companion, ...] = ()


def note_pulled(path: Path, *companions: Path) -> None:
    """Remembers a file that was fetched just now.

    Args:
        path: The model file.
        companions: Files that were put on the machine together with it and are removed with it: its licence, or the
            other parts of a split model.
    """
    status = path.stat()
    with _alone():
        others = [pulled for pulled in _read() if pulled.path != str(path)]
        with_it = tuple(found for found in map(_companion, companions) if found is not None)
        _write([*others, _Pulled(str(path), status.st_size, status.st_mtime_ns, with_it=with_it)])


def _companion(path: Path) -> _Companion | None:
    """Returns what is at a path now, as the record describes files; None if there is nothing, or no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return _Companion(str(path), status.st_size, status.st_mtime_ns, path.is_symlink())


def was_pulled(path: Path) -> bool:
    """Tells whether this program fetched the file, and nobody has replaced it since."""
    return _find(path) is not None


def size_when_pulled(path: Path) -> int | None:
    """Returns how many bytes a file, or a later part, had when this program fetched it; None where it did not."""
    sizes = {each.path: each.size_bytes for pulled in _read() for each in pulled.with_it}
    sizes.update((pulled.path, pulled.size_bytes) for pulled in _read())
    return sizes.get(str(path))


def remove_pulled(path: Path) -> int:
    """Removes a file that this program fetched, and what belongs to it alone; returns the bytes that are free now.

    In the cache of Hugging Face a model is a link to its bytes. Those go as well, unless another link leads to them.

    Raises:
        UserError: it is none of ours, or cannot be removed.
    """
    with _alone():
        return _remove_pulled(path)


def _remove_pulled(path: Path) -> int:
    pulled = _find(path)
    if pulled is None:
        raise UserError(
            f"{path} was not fetched by this program, so it is not removed", "Remove it with the program that owns it."
        )
    try:
        # The file by which the model is known goes last. Until then, an interrupted removal can begin again.
        freed_bytes = sum(map(_remove, (*_companions(pulled), path)))
    except OSError as error:
        raise UserError(f"{path} cannot be removed: {error.strerror}", "Check its owner and permissions.") from error
    _write([each for each in _read() if each.path != str(path)])
    return freed_bytes


def _companions(pulled: _Pulled) -> Iterator[Path]:
    """Returns the files that are still those that came with the model; what has replaced them since is not ours."""
    for companion in pulled.with_it:
        if _companion(Path(companion.path)) == companion:
            yield Path(companion.path)
    for path in map(Path, pulled.companions):
        now = _companion(path) if path.parent == Path(pulled.path).parent else None
        # They were put there before the model.
        if now is not None and not now.is_link and now.modified_ns <= pulled.modified_ns:
            yield path


def _remove(path: Path) -> int:
    """Removes a file, or the bytes that only this link leads to and then the link; returns how many bytes that were."""
    if not os.path.lexists(path):
        return 0
    target = Path(os.path.realpath(path))
    size_bytes = target.stat().st_size if target.exists() else 0
    if path.is_symlink():
        if _is_blob_of(target, path) and not is_linked(target, path):
            target.unlink(missing_ok=True)
        else:
            size_bytes = 0
    path.unlink()
    return size_bytes


def _find(path: Path) -> _Pulled | None:
    """Returns the record of a file that is still the one that was fetched, or of a link that a broken removal left."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return next((each for each in _read() if each.path == str(path)), None) if paths.is_link(path) else None
    now = (str(path), status.st_size, status.st_mtime_ns)
    return next((each for each in _read() if (each.path, each.size_bytes, each.modified_ns) == now), None)


def _is_blob_of(target: Path, link: Path) -> bool:
    """Tells whether `target` is in the folder of blobs that belongs to the snapshot of `link`."""
    repository = next((folder for folder in link.parents if folder.name == "snapshots"), None)
    return repository is not None and target.parent == Path(os.path.realpath(repository.parent / "blobs"))


def is_linked(blob: Path, known: Path) -> bool:
    """Tells whether another link in the snapshots of the repository than the known one leads to a blob."""
    known = Path(os.path.realpath(known.parent)) / known.name
    blob = Path(os.path.realpath(blob))
    links = (path for path in (blob.parent.parent / "snapshots").rglob("*") if path.is_symlink() and path != known)
    return any(Path(os.path.realpath(link)) == blob for link in links)


def _file() -> Path:
    return paths.data_folder() / _FILE_NAME


@contextmanager
def _alone() -> Iterator[None]:
    """Keeps other programs and threads from changing the record meanwhile."""
    with ExitStack() as stack:
        try:
            stack.enter_context(alone_in(paths.data_folder()))
        except OSError as error:
            cause = error.strerror
            raise UserError(f"{_file()} cannot be written: {cause}", "Check the folder's permissions.") from error
        yield


def _read() -> list[_Pulled]:
    try:
        return msgspec.convert(json.loads(_file().read_bytes()), list[_Pulled])
    except (OSError, ValueError):  # nothing that could be removed is known then
        return []


def _write(record: list[_Pulled]) -> None:
    # Not `msgspec.json`: a path may hold bytes that are no text, which that cannot write.
    content = json.dumps(msgspec.to_builtins(record)).encode("ascii")
    try:
        replace_own_file(_file(), content)
    except OSError as error:
        cause = error.strerror
        raise UserError(f"{_file()} cannot be written: {cause}", "Check the folder's permissions.") from error
