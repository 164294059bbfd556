"""Readers of every version of the state file, written from its card alone; none is ever removed."""

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MAGIC = bytes.fromhex("89544C4B0D0A1A0A")


@dataclass
class PlainState:
    """The content of a file: token ids from `first_position` on, and rows (layers, 2, tokens, kv_heads, head)."""

    first_position: int
    token_ids: list[int]
    rows: npt.NDArray[Any]
    parent_id: bytes = bytes(16)


def read_plainly(content: bytes) -> PlainState:
    """Reads a whole file of any version; anything wrong is an `AssertionError`."""
    assert content[:8] == MAGIC
    (version,) = struct.unpack_from("<H", content, 8)
    return {1: _read_version_1, 2: _read_version_2}[version](content)


def _read_version_1(content: bytes) -> PlainState:
    (header_bytes,) = struct.unpack_from("<I", content, 12)
    element, layers, heads, head_dim, parts = struct.unpack_from("<5I", content, 76)
    first, count, length = struct.unpack_from("<3Q", content, 96)
    assert (length, parts) == (len(content), 1 + 2 * layers)
    assert zlib.crc32(content[: header_bytes - 4]) == struct.unpack_from("<I", content, header_bytes - 4)[0]
    checksums = struct.unpack_from(f"<{parts}I", content, 192)
    offset, pieces = header_bytes, []
    for part in range(parts):
        size = 4 * count if part == 0 else count * heads * _head_bytes(element, head_dim)
        pieces.append(content[offset : offset + size])
        assert zlib.crc32(content[offset : offset + _padded(size)]) == checksums[part]
        offset += _padded(size)
    planes = [np.frombuffer(piece, _dtype(element)).reshape(count, heads, -1) for piece in pieces[1:]]
    token_ids = np.frombuffer(pieces[0], "<u4").tolist()
    return PlainState(first, token_ids, np.stack(planes).reshape(layers, 2, count, heads, -1))


def _read_version_2(content: bytes) -> PlainState:
    assert zlib.crc32(content[:252]) == struct.unpack_from("<I", content, 252)[0]
    element, layers, heads, head_dim = struct.unpack_from("<4I", content, 76)
    segment_id, parent_id = content[96:112], content[112:128]
    (first,) = struct.unpack_from("<Q", content, 128)
    (checksum,) = struct.unpack_from("<I", content, 252)
    offset, number, position = 256, 0, first
    token_ids: list[int] = []
    rows: list[npt.NDArray[Any]] = []
    good = (0, 0)
    while offset < len(content):
        kind, count, at, part_of_id, counted = struct.unpack_from("<4sIQ8sI", content, offset)
        payload_checksum, stated = struct.unpack_from("<I", content, offset + 44)[0], content[offset + 60 : offset + 64]
        ids_end = offset + 64 + _padded(4 * count)
        checksum = zlib.crc32(content[offset + 64 : ids_end], zlib.crc32(content[offset : offset + 60], checksum))
        assert stated == struct.pack("<I", checksum)
        assert (part_of_id, counted, at) == (segment_id[:8], number, position)
        size = count * layers * 2 * heads * _head_bytes(element, head_dim)
        if kind == b"DONE":
            assert count == 0
            good = len(token_ids), len(rows)
        else:
            assert kind == b"TOKS"
            assert zlib.crc32(content[ids_end : ids_end + _padded(size)]) == payload_checksum
            token_ids += np.frombuffer(content, "<u4", count, offset + 64).tolist()
            payload = np.frombuffer(content[ids_end : ids_end + size], _dtype(element))
            rows.append(payload.reshape(layers, 2, count, heads, -1))
        offset, number, position = ids_end + _padded(size), number + 1, position + count
    assert offset == len(content)
    return PlainState(first, token_ids[: good[0]], np.concatenate(rows[: good[1]], axis=2), parent_id)


def _head_bytes(element: int, head_dim: int) -> int:
    return 2 * head_dim if element == 1 else -(-head_dim // 32) * 34


def _dtype(element: int) -> str:
    return "<f2" if element == 1 else "u1"


def _padded(size: int) -> int:
    return -(-size // 64) * 64
