"""Makes GGUF files byte by byte, right or wrong, for tests of the code that reads or refuses them."""

import struct
from collections.abc import Sequence

from tui_llama.engine.gguf.file import ValueType

_SCALARS = {
    ValueType.UINT8: "<B",
    ValueType.INT8: "<b",
    ValueType.UINT16: "<H",
    ValueType.INT16: "<h",
    ValueType.UINT32: "<I",
    ValueType.INT32: "<i",
    ValueType.FLOAT32: "<f",
    ValueType.BOOL: "<B",
    ValueType.UINT64: "<Q",
    ValueType.INT64: "<q",
    ValueType.FLOAT64: "<d",
}


def string(text: str | bytes, length: int | None = None) -> bytes:
    """Returns a string whose header claims `length` bytes, by default the true length."""
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw) if length is None else length) + raw


def value(kind: ValueType, content: float | str | bytes) -> bytes:
    """Returns one value without its type."""
    if isinstance(content, str | bytes):
        return string(content)
    return struct.pack(_SCALARS[kind], content)


def entry(key: str | bytes, kind: int, payload: bytes) -> bytes:
    """Returns a metadata entry whose value is `payload`, whatever that is."""
    return string(key) + struct.pack("<I", kind) + payload


def scalar(key: str | bytes, kind: ValueType, content: float | str | bytes) -> bytes:
    """Returns a metadata entry of one value."""
    return entry(key, kind, value(kind, content))


def array(
    key: str | bytes, kind: ValueType, contents: Sequence[float | str | bytes], count: int | None = None
) -> bytes:
    """Returns a metadata entry of an array that claims `count` elements, by default the true number."""
    head = struct.pack("<IQ", kind, len(contents) if count is None else count)
    return entry(key, ValueType.ARRAY, head + b"".join(value(kind, content) for content in contents))


def tensor(
    name: str | bytes, shape: Sequence[int], type_id: int = 0, offset: int = 0, dimensions: int | None = None
) -> bytes:
    """Returns a row of the tensor table that claims `dimensions` sizes, by default the true number."""
    count = struct.pack("<I", len(shape) if dimensions is None else dimensions)
    sizes = b"".join(struct.pack("<Q", size & (2**64 - 1)) for size in shape)
    return string(name) + count + sizes + struct.pack("<IQ", type_id, offset)


def gguf_bytes(
    entries: Sequence[bytes] = (),
    tensors: Sequence[bytes] = (),
    data: bytes = b"",
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    tensor_count: int | None = None,
    entry_count: int | None = None,
    alignment: int = 32,
) -> bytes:
    """Returns a whole file. Its counts are the true ones unless they are given."""
    counts = struct.pack(
        "<Iqq",
        version,
        len(tensors) if tensor_count is None else tensor_count,
        len(entries) if entry_count is None else entry_count,
    )
    header = magic + counts + b"".join(entries) + b"".join(tensors)
    return header + bytes(-len(header) % alignment) + data if tensors else header
