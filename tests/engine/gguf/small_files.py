"""Small GGUF files, and what a test calls to open one that must be refused."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.fakes.gguf_bytes import array, gguf_bytes, scalar, tensor
from tui_llama.engine.gguf.file import ValueType
from tui_llama.errors import ModelFileError

F32, Q8_0 = 0, 8
FLOATS_32 = np.arange(8, dtype="<f4").tobytes()  # one padded tensor: 32 bytes
Refusal = Callable[[bytes], ModelFileError]
ONE_OF_EACH = [
    scalar("int", ValueType.UINT32, 1),
    scalar("float", ValueType.FLOAT32, 1.0),
    scalar("str", ValueType.STRING, "1"),
    scalar("bool", ValueType.BOOL, 1),
    array("strings", ValueType.STRING, ["1"]),
    array("ints", ValueType.INT32, [1]),
    array("floats", ValueType.FLOAT32, [1.0]),
]


def one_tensor(alignment: int = 32, **row: Any) -> bytes:
    """A file of one F32 tensor of eight elements, with what is given instead of the right row."""
    return gguf_bytes(
        [scalar("general.alignment", ValueType.UINT32, alignment)],
        [tensor(**{"name": "t", "shape": (8,), **row})],
        FLOATS_32,
        alignment=alignment,
    )
