"""Decodes blocks of weights: by the gguf package, and in plain NumPy where that does not know a type of ggml's yet."""

import gguf
import numpy as np
import numpy.typing as npt

Q1_0, Q2_0 = 41, 42


def decode(type_id: int, raw: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Returns the weights of rows as in a file: (rows, bytes) uint8 → (rows, columns) float32."""
    if type_id not in (Q1_0, Q2_0):
        decoded: npt.NDArray[np.float32] = gguf.quants.dequantize(raw, gguf.GGMLQuantizationType(type_id))
        return decoded
    blocks = raw.reshape(-1, 18)
    d = np.ascontiguousarray(blocks[:, :2]).view(np.float16).astype(np.float32)
    bits = np.unpackbits(blocks[:, 2:], axis=1, bitorder="little").astype(np.float32)
    # A bit for each of 128 weights, -d or d; or two bits for each of 64 weights, -d, 0, d or 2·d.
    factors = 2 * bits - 1 if type_id == Q1_0 else bits[:, ::2] + 2 * bits[:, 1::2] - 1
    return (d * factors).reshape(len(raw), -1)
