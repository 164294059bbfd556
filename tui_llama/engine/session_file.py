"""One sequence of tokens in one file, for programs that keep their sessions themselves: a segment without a parent."""

import contextlib
import secrets
from pathlib import Path

import numpy as np

from tui_llama.engine.prompt_cache import RowSequence
from tui_llama.engine.state_file import (
    ID_BYTES,
    NO_PARENT,
    SegmentHeader,
    StateFingerprint,
    StateShape,
    append,
    begin_segment,
    read_rows,
    scan,
)
from tui_llama.engine.storage import DiskStorage
from tui_llama.errors import StateFileError


def save_session(path: Path, fingerprint: StateFingerprint, shape: StateShape, sequence: RowSequence) -> None:
    """Replaces the file at `path` in one step; when it returns, all that the sequence holds is on the disk.

    Args:
        path: In a folder that is there; the file gets mode 0600.
        fingerprint: What keys and values belong to.
        shape: Their sizes.
        sequence: At least one token; none of them moved.

    Raises:
        StateFileError: it could not be written, and the old file is as it was; or the sequence cannot be saved.
    """
    token_ids = np.asarray(sequence.token_ids, np.uint32)
    if sequence.exact_tokens < len(token_ids) or not len(token_ids):
        raise StateFileError("not written (no tokens, or tokens that have moved)")
    chain = fingerprint.chain
    header = SegmentHeader(
        fingerprint=fingerprint, shape=shape, segment_id=secrets.token_bytes(ID_BYTES), parent_id=NO_PARENT,
        first_position=0, chain_digest=chain.digest, owner=bytes(ID_BYTES),
    )  # fmt: skip
    storage, part = DiskStorage(path.parent), f".{path.name}.{secrets.token_hex(8)}.part"
    try:
        descriptor = storage.create(part)
        try:
            segment = begin_segment(storage, descriptor, header)
            append(storage, descriptor, segment, chain, token_ids, sequence.rows)
            storage.rename(part, path.name)
        except BaseException:
            with contextlib.suppress(OSError):
                storage.unlink(part)
            raise
        finally:
            storage.close(descriptor)
        storage.sync_folder("")
    except OSError as error:
        raise StateFileError(f"not written ({error.strerror or type(error).__name__})") from error


def restore_session(
    path: Path, fingerprint: StateFingerprint, shape: StateShape, max_tokens: int, sequence: RowSequence
) -> None:
    """Lets a sequence hold what a file holds, after all of it was checked, instead of what it held.

    Args:
        path: A regular file of this user; links are refused.
        fingerprint: What keys and values must belong to.
        shape: The sizes that they must have.
        max_tokens: More are refused.
        sequence: Left without tokens where the file turns out to be damaged while it is read.

    Raises:
        StateFileError: it must not be used. The text is the cause in a few words.
    """
    storage = DiskStorage(path.parent)
    try:
        descriptor = storage.open(path.name)
        try:
            segment = scan(storage, descriptor)
            header = segment.header
            if (header.fingerprint, header.shape) != (fingerprint, shape):
                raise StateFileError("of another model or configuration")
            if header.parent_id != NO_PARENT:
                raise StateFileError("not a whole session")
            if segment.end_digest != fingerprint.chain.extended(segment.token_ids).digest or segment.has_lost_tail:
                raise StateFileError("damaged")
            if segment.end > max_tokens:
                raise StateFileError(f"longer than the context ({segment.end} of {max_tokens} tokens)")
            sequence.rewind(0)
            for place in segment.records:
                sequence.fill(place.position, read_rows(storage, descriptor, shape, place))
            sequence.adopt(segment.token_ids.tolist())
        finally:
            storage.close(descriptor)
    except FileNotFoundError as error:
        raise StateFileError("missing") from error
    except OSError as error:
        raise StateFileError(f"not readable ({error.strerror or error})") from error
