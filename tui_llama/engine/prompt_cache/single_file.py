"""Saves one sequence to one file, for programs that keep their sessions themselves: a segment without a parent."""

import secrets
from pathlib import Path
from typing import Final

import numpy as np

from tui_llama.engine.prompt_cache.restore_points import first_needed, restore_point
from tui_llama.engine.prompt_cache.segment_scan import read_kv, scan
from tui_llama.engine.prompt_cache.segment_writer import append, begin_segment
from tui_llama.engine.state_file import ID_BYTES, MAGIC, NO_PARENT, SegmentHeader, StateFingerprint
from tui_llama.engine.state_shape import StateShape
from tui_llama.engine.token_sequence import TokenSequence, stored_kv
from tui_llama.errors import StateFileError
from tui_llama.files.new_files import FileKind, new_file
from tui_llama.files.storage import DiskStorage

_SAVED_SESSION: Final = FileKind("a saved session", MAGIC)


def save_session(path: Path, fingerprint: StateFingerprint, shape: StateShape, sequence: TokenSequence) -> None:
    """Writes all that a sequence holds to a file on the disk; replaces an older saved session.

    Args:
        path: In a folder that is there; the file gets mode 0600.
        fingerprint: What the keys and values belong to.
        shape: Their sizes.
        sequence: At least one token; none of them moved.

    Raises:
        ResultFileError: the file cannot be written, or something else has that name and stays as it was.
        StateFileError: the sequence cannot be saved.
    """
    token_ids = np.asarray(sequence.token_ids, np.uint32)
    if sequence.exact_tokens < len(token_ids) or not len(token_ids):
        raise StateFileError("not written (no tokens, or tokens that have moved)")
    chain = fingerprint.chain
    header = SegmentHeader(
        fingerprint=fingerprint, shape=shape, segment_id=secrets.token_bytes(ID_BYTES), parent_id=NO_PARENT,
        first_position=0, chain_digest=chain.digest, owner=bytes(ID_BYTES),
    )  # fmt: skip
    with new_file(path, _SAVED_SESSION, may_replace=True) as descriptor:
        storage = DiskStorage(path.parent)
        segment = begin_segment(storage, descriptor, header)
        append(storage, descriptor, segment, chain, token_ids, stored_kv(sequence))


def restore_session(
    path: Path, fingerprint: StateFingerprint, shape: StateShape, max_tokens: int, sequence: TokenSequence
) -> None:
    """Replaces the tokens of a sequence by those of a file, after all of the file was checked.

    Args:
        path: A regular file of this user; links are refused.
        fingerprint: What the keys and values must belong to.
        shape: The sizes that they must have.
        max_tokens: The most tokens that the file may have.
        sequence: Has no tokens afterwards if the file turns out to be damaged.

    Raises:
        StateFileError: the file must not be used. The text is the cause in a few words.
    """
    storage = DiskStorage(path.parent)
    try:
        descriptor = storage.open(path.name)
        try:
            segment = scan(storage, descriptor)
            header = segment.header
            if (header.fingerprint, header.shape) != (fingerprint, shape):
                raise StateFileError("made with another model or configuration")
            if header.parent_id != NO_PARENT:
                raise StateFileError("not a whole session")
            if segment.end_digest != fingerprint.chain.extended(segment.token_ids).digest or segment.has_lost_tail:
                raise StateFileError("damaged")
            if segment.end > max_tokens:
                raise StateFileError(f"longer than the context ({segment.end} of {max_tokens} tokens)")
            if restore_point(shape, [(0, segment.end, segment.records)]) < segment.end:
                raise StateFileError("damaged (it lacks keys and values)")
            firsts = [first_needed(group, segment.end) for group in shape.groups]
            sequence.rewind(0)
            sequence.expect(segment.end, firsts)
            for place in segment.records:
                for group, first in enumerate(firsts):
                    if place.end_position > first:
                        start = max(first, place.position)
                        kv = read_kv(storage, descriptor, shape, place, group)
                        sequence.fill(group, start, kv[:, start - place.position :])
            sequence.adopt(segment.token_ids.tolist())
        finally:
            storage.close(descriptor)
    except FileNotFoundError as error:
        raise StateFileError("missing") from error
    except OSError as error:
        raise StateFileError(f"not readable ({error.strerror or error})") from error
