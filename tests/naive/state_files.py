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
    """The content of a file: token ids from `first_position` on, and rows of each group of layers that are there.

    Rows are (layers, tokens, kv_heads, key and value); before version 3 there is one group, (layers, 2, tokens,
    kv_heads, head).
    """

    first_position: int
    token_ids: list[int]
    rows: list[npt.NDArray[Any]]
    parent_id: bytes = bytes(16)


def read_plainly(content: bytes) -> PlainState:
    """Reads a whole file of any version; anything wrong is an `AssertionError`."""
    assert content[:8] == MAGIC
    (version,) = struct.unpack_from("<H", content, 8)
    return {1: _read_version_1, 2: _read_version_2, 3: _read_version_3}[version](content)


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
    return PlainState(first, token_ids, [np.stack(planes).reshape(layers, 2, count, heads, -1)])


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
    return PlainState(first, token_ids[: good[0]], [np.concatenate(rows[: good[1]], axis=2)], parent_id)


@dataclass
class _PlainGroup:
    layers: int
    heads: int
    head_bytes: int
    rows: list[npt.NDArray[Any]]


def _read_version_3(content: bytes) -> PlainState:
    header_bytes, features = struct.unpack_from("<2I", content, 12)
    (checksum,) = struct.unpack_from("<I", content, header_bytes - 4)
    assert (features, zlib.crc32(content[: header_bytes - 4])) == (0, checksum)
    element, group_count, _layers = struct.unpack_from("<3I", content, 76)
    segment_id, parent_id = content[96:112], content[112:128]
    (first,) = struct.unpack_from("<Q", content, 128)
    groups = []
    for number in range(group_count):
        kind, heads, key_dim, value_dim, _, layers = struct.unpack_from("<6I", content, 192 + 32 * number)
        assert kind == 1
        groups.append(_PlainGroup(layers, heads, _head_bytes(element, key_dim) + _head_bytes(element, value_dim), []))
    offset, number, position, token_ids, good = header_bytes, 0, first, list[int](), (0, [0] * group_count)
    while offset < len(content):
        kind, count, at, part_of_id, counted = struct.unpack_from("<4sIQ8sI", content, offset)
        (present,) = struct.unpack_from("<Q", content, offset + 44)
        head_end = offset + 64 + (_padded(4 * (count + group_count)) if count else 0)
        checksum = zlib.crc32(content[offset + 64 : head_end], zlib.crc32(content[offset : offset + 60], checksum))
        assert content[offset + 60 : offset + 64] == struct.pack("<I", checksum)
        assert (part_of_id, counted, at) == (segment_id[:8], number, position)
        if kind == b"DONE":
            good = len(token_ids), [len(group.rows) for group in groups]
        else:
            token_ids += np.frombuffer(content, "<u4", count, offset + 64).tolist()
            checksums = struct.unpack_from(f"<{group_count}I", content, offset + 64 + 4 * count)
            for index, group in enumerate(groups):
                if present >> index & 1:
                    size = count * group.layers * group.heads * group.head_bytes
                    assert zlib.crc32(content[head_end : head_end + _padded(size)]) == checksums[index]
                    part = np.frombuffer(content[head_end : head_end + size], _dtype(element))
                    group.rows.append(part.reshape(group.layers, count, group.heads, -1))
                    head_end += _padded(size)
        offset, number, position = head_end, number + 1, position + count
    assert offset == len(content)
    rows = [np.concatenate(group.rows[:kept], axis=1) for group, kept in zip(groups, good[1], strict=True)]
    return PlainState(first, token_ids[: good[0]], rows, parent_id)


def _head_bytes(element: int, head_dim: int) -> int:
    return 2 * head_dim if element == 1 else -(-head_dim // 32) * 34


def _dtype(element: int) -> str:
    return "<f2" if element == 1 else "u1"


def _padded(size: int) -> int:
    return -(-size // 64) * 64
