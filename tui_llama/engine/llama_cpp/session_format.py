"""Session files of llama.cpp: tokens with their keys and values, as its `--prompt-cache` writes and reads them.

     bytes  everything little-endian and without padding
         4  magic: 6E 73 67 67
         4  version: 9 or 10
         4  tokens
         …  token ids, int32 (tokens,)
         4  length of the architecture's name in bytes
         …  the architecture's name, as the model file has it
            version 9 has what the last batch computed:
         4      outputs
         …      which token of the batch each output belongs to, int32 (outputs,)
         8      logits
         …      float32 (outputs, vocab)
         8      elements of embeddings; 0 where text is generated
         …      float32 (outputs, embedding)
            version 10 has instead:
         4      streams: 1
         4  cells
        12  for each cell: position, int32; sequences, uint32: 1; the sequence's id, int32
         4  1 when values are transposed, as without flash attention; else 0
         4  layers
            for each layer, its keys:
         4      element type: 1 = float16
         8      bytes of a row: 2 × kv_heads × head_dim
         …      float16 (cells, kv_heads, head_dim), after rotation
            for each layer, its values: likewise; but transposed values are:
         4      element type: 1 = float16
         4      bytes of an element: 2
         4      elements of a row: kv_heads × head_dim
         …      float16 (kv_heads, head_dim, cells)

Version 9 has a cell for every token. In version 10 the last token has no cell: the file has no logits, so llama.cpp
reads that token again to compute them, and this fails if its position is taken.

The format has no checksum. Apart from the architecture's name, nothing in it says which weights and which rotation the
keys and values belong to. `session_reader` reads such files and `session_writer` writes them. None of the three knows
models or chats.

Sources: llama.cpp, src/llama-context.cpp (`state_save_file`, `state_write_data`) and src/llama-kv-cache.cpp
(`state_write_meta`, `state_write_data`), of February 2025 for version 9 and of October 2026 for version 10.
"""

import struct
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tui_llama.engine.state_file import TokenIds
from tui_llama.engine.state_shape import KvArray, LayerGroup, StateShape
from tui_llama.errors import CallerError, EngineError
from tui_llama.files.new_files import FileKind

Plane: TypeAlias = NDArray[np.float16]
"""Keys or values of a layer: (tokens, kv_heads, head_dim)."""

MAGIC: Final = b"nsgg"
VERSIONS: Final = (9, 10)
LLAMA_SESSION: Final = FileKind("a session of llama.cpp", MAGIC, "--force")

HEADER: Final = struct.Struct("<4sI")
COUNT: Final = struct.Struct("<I")
LONG_COUNT: Final = struct.Struct("<Q")
BODY: Final = struct.Struct("<II")
ROWS: Final = struct.Struct("<IQ")
TRANSPOSED_ROWS: Final = struct.Struct("<III")
CELL: Final = np.dtype([("position", "<i4"), ("sequence_count", "<u4"), ("sequence_id", "<i4")])
HALF: Final = np.dtype("<f2")
F16: Final = 1  # ggml's number of the type


@dataclass(frozen=True, slots=True)
class StoredState:
    """Token ids, (tokens,) uint32, and for each layer their keys and values."""

    token_ids: TokenIds
    layers: list[tuple[Plane, Plane]]

    @property
    def kv(self) -> KvArray:
        """Keys and values as a cache takes them; see `KvArray`."""
        kv: NDArray[np.float16] = np.stack([np.concatenate(layer, axis=-1) for layer in self.layers])
        return kv


@dataclass(frozen=True, slots=True)
class LlamaSession:
    """The content of a session file."""

    state: StoredState
    """The tokens that have keys and values, in the order of their positions."""
    next_token_id: int | None
    """The token after them, which was written down but has no keys and values; None when every token has them."""


@dataclass(frozen=True, slots=True)
class SessionHead:
    """All of a session that is to be written but its keys and values.

    Attributes:
        version: 9 or 10.
        architecture: The model's name for it, as in `general.architecture`.
        shape: Sizes of every plane; of float16.
        token_ids: (tokens,) uint32; at least one, and two for version 10 without `next_token_id`.
        next_token_id: The token after them. Version 10 alone can have it; without it, the last token's keys and
            values are left out, see the top.
        logits: (vocab,) float32 after the last token. Version 9 alone can have them, and its program samples from
            them when the prompt ends with the session; without them, the prompt must go on.
        flash_attention: Whether llama.cpp is run with it; a file for the other way is refused there. On a
            processor it is by default for version 10, and is not for version 9.
    """

    version: int
    architecture: str
    shape: StateShape
    token_ids: TokenIds
    next_token_id: int | None = None
    logits: NDArray[np.float32] | None = None
    flash_attention: bool = True


def row_bytes(shape: StateShape) -> int:
    """Returns the bytes of one token's keys, or of its values, in one layer."""
    group = shape.groups[0]
    return group.kv_heads * shape.head_bytes(group.key_dim)


def session_group(shape: StateShape) -> LayerGroup:
    """Returns the sizes of all layers.

    Raises:
        CallerError: the shape is not of float16.
        EngineError: the layers differ, or see windows: sessions of such models are not read or written.
    """
    if shape.dtype != "f16":
        raise CallerError(f"Sessions of llama.cpp are read and written as f16, not {shape.dtype}.")
    group = shape.groups[0]
    if len(shape.groups) > 1 or group.window or group.key_dim != group.value_dim:
        raise EngineError(
            "sessions of llama.cpp are read and written only for models whose layers are all alike and see all tokens",
            "Take the text of the chat along instead; it is read again there.",
        )
    return group
