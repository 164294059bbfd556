"""The kernels that pack blocks of 16 rows into tiles, one for each weight type; packing.py has their code.

Their arguments: address of the first block, bytes from one row to the next, address of the tiles, number of blocks.
"""

from tui_llama.engine.kernels.matrix.packing import packer
from tui_llama.engine.layouts import weight_tile

# Written out one by one, because the compiler finds a kernel by its name in the module.
_f32 = packer(weight_tile.F32_FORMAT, "f32")
_f16 = packer(weight_tile.F16_FORMAT, "f16")
_q4_0 = packer(weight_tile.Q4_0_FORMAT, "q4_0")
_q4_1 = packer(weight_tile.Q4_1_FORMAT, "q4_1")
_q5_0 = packer(weight_tile.Q5_0_FORMAT, "q5_0")
_q5_1 = packer(weight_tile.Q5_1_FORMAT, "q5_1")
_q8_0 = packer(weight_tile.Q8_0_FORMAT, "q8_0")
_iq4_nl = packer(weight_tile.IQ4_NL_FORMAT, "iq4_nl")
_mxfp4 = packer(weight_tile.MXFP4_FORMAT, "mxfp4")
_nvfp4 = packer(weight_tile.NVFP4_FORMAT, "nvfp4")
_q1_0 = packer(weight_tile.Q1_0_FORMAT, "q1_0")
_q2_0 = packer(weight_tile.Q2_0_FORMAT, "q2_0")
_q2_k = packer(weight_tile.Q2_K_FORMAT, "q2_k")
_q3_k = packer(weight_tile.Q3_K_FORMAT, "q3_k")
_q4_k = packer(weight_tile.Q4_K_FORMAT, "q4_k")
_q5_k = packer(weight_tile.Q5_K_FORMAT, "q5_k")
_q6_k = packer(weight_tile.Q6_K_FORMAT, "q6_k")
_iq4_xs = packer(weight_tile.IQ4_XS_FORMAT, "iq4_xs")
_tq1_0 = packer(weight_tile.TQ1_0_FORMAT, "tq1_0")
_tq2_0 = packer(weight_tile.TQ2_0_FORMAT, "tq2_0")


def pack_f32(source: int, row_bytes: int, target: int, blocks: int) -> None:
    """Packs four columns of F32 at once."""
    _f32(source, row_bytes, target, blocks)


def pack_f16(source: int, row_bytes: int, target: int, blocks: int) -> None:
    """Packs eight columns of F16 or BF16 at once."""
    _f16(source, row_bytes, target, blocks)


def pack_q4_0(source: int, row_bytes: int, target: int, blocks: int) -> None:
    """Packs blocks of Q4_0."""
    _q4_0(source, row_bytes, target, blocks)


def pack_q4_1(source: int, row_bytes: int, target: int, blocks: int) -> None:
    """Packs blocks of Q4_1."""
    _q4_1(source, row_bytes, target, blocks)


def pack_q5_0(source: int, row_bytes: int, target: int, blocks: int) -> None:
    """Packs blocks of Q5_0."""
    _q5_0(source, row_bytes, target, blocks)


def pack_q5_1(source: int, row_bytes: int, target: int, blocks: int) -> None:
    """Packs blocks of Q5_1."""
    _q5_1(source, row_bytes, target, blocks)


def pack_q8_0(source: int, row_bytes: int, target: int, blocks: int) -> None:
    """Packs blocks of Q8_0."""
    _q8_0(source, row_bytes, target, blocks)


def pack_iq4_nl(source: int, row_bytes: int, target: int, blocks: int) -> None:
    """Packs blocks of IQ4_NL."""
    _iq4_nl(source, row_bytes, target, blocks)


def pack_mxfp4(source: int, row_bytes: int, target: int, blocks: int) -> None:
    """Packs blocks of MXFP4."""
    _mxfp4(source, row_bytes, target, blocks)


def pack_nvfp4(source: int, row_bytes: int, target: int, blocks: int) -> None:
    """Packs blocks of NVFP4."""
    _nvfp4(source, row_bytes, target, blocks)


def pack_q1_0(source: int, row_bytes: int, target: int, blocks: int) -> None:
    """Packs blocks of Q1_0."""
    _q1_0(source, row_bytes, target, blocks)


def pack_q2_0(source: int, row_bytes: int, target: int, blocks: int) -> None:
    """Packs blocks of Q2_0."""
    _q2_0(source, row_bytes, target, blocks)


def pack_q2_k(source: int, row_bytes: int, target: int, blocks: int) -> None:
    """Packs blocks of Q2_K."""
    _q2_k(source, row_bytes, target, blocks)


def pack_q3_k(source: int, row_bytes: int, target: int, blocks: int) -> None:
    """Packs blocks of Q3_K."""
    _q3_k(source, row_bytes, target, blocks)


def pack_q4_k(source: int, row_bytes: int, target: int, blocks: int) -> None:
    """Packs blocks of Q4_K."""
    _q4_k(source, row_bytes, target, blocks)


def pack_q5_k(source: int, row_bytes: int, target: int, blocks: int) -> None:
    """Packs blocks of Q5_K."""
    _q5_k(source, row_bytes, target, blocks)


def pack_q6_k(source: int, row_bytes: int, target: int, blocks: int) -> None:
    """Packs blocks of Q6_K."""
    _q6_k(source, row_bytes, target, blocks)


def pack_iq4_xs(source: int, row_bytes: int, target: int, blocks: int) -> None:
    """Packs blocks of IQ4_XS."""
    _iq4_xs(source, row_bytes, target, blocks)


def pack_tq1_0(source: int, row_bytes: int, target: int, blocks: int) -> None:
    """Packs blocks of TQ1_0."""
    _tq1_0(source, row_bytes, target, blocks)


def pack_tq2_0(source: int, row_bytes: int, target: int, blocks: int) -> None:
    """Packs blocks of TQ2_0."""
    _tq2_0(source, row_bytes, target, blocks)
