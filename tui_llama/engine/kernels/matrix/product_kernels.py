"""The matrix kernels: one for each weight type, which multiplies its tiles with all tokens of a batch.

products.py has their code.
"""

from tui_llama.engine.kernels.matrix.products import product
from tui_llama.engine.layouts import weight_tile

# Written out one by one, because the compiler finds a kernel by its name in the module.
_f32 = product(weight_tile.F32_FORMAT, "f32")
_f16 = product(weight_tile.F16_FORMAT, "f16")
_bf16 = product(weight_tile.BF16_FORMAT, "bf16")
_q4_0 = product(weight_tile.Q4_0_FORMAT, "q4_0")
_q4_1 = product(weight_tile.Q4_1_FORMAT, "q4_1")
_q5_0 = product(weight_tile.Q5_0_FORMAT, "q5_0")
_q5_1 = product(weight_tile.Q5_1_FORMAT, "q5_1")
_q8_0 = product(weight_tile.Q8_0_FORMAT, "q8_0")
_iq4_nl = product(weight_tile.IQ4_NL_FORMAT, "iq4_nl")
_mxfp4 = product(weight_tile.MXFP4_FORMAT, "mxfp4")
_nvfp4 = product(weight_tile.NVFP4_FORMAT, "nvfp4")
_q1_0 = product(weight_tile.Q1_0_FORMAT, "q1_0")
_q2_0 = product(weight_tile.Q2_0_FORMAT, "q2_0")
_q2_k = product(weight_tile.Q2_K_FORMAT, "q2_k")
_q3_k = product(weight_tile.Q3_K_FORMAT, "q3_k")
_q4_k = product(weight_tile.Q4_K_FORMAT, "q4_k")
_q5_k = product(weight_tile.Q5_K_FORMAT, "q5_k")
_q6_k = product(weight_tile.Q6_K_FORMAT, "q6_k")
_iq4_xs = product(weight_tile.IQ4_XS_FORMAT, "iq4_xs")
_tq1_0 = product(weight_tile.TQ1_0_FORMAT, "tq1_0")
_tq2_0 = product(weight_tile.TQ2_0_FORMAT, "tq2_0")
_iq1_s = product(weight_tile.IQ1_S_FORMAT, "iq1_s")
_iq1_m = product(weight_tile.IQ1_M_FORMAT, "iq1_m")
_iq2_xxs = product(weight_tile.IQ2_XXS_FORMAT, "iq2_xxs")
_iq2_xs = product(weight_tile.IQ2_XS_FORMAT, "iq2_xs")
_iq2_s = product(weight_tile.IQ2_S_FORMAT, "iq2_s")
_iq3_xxs = product(weight_tile.IQ3_XXS_FORMAT, "iq3_xxs")
_iq3_s = product(weight_tile.IQ3_S_FORMAT, "iq3_s")


def matrix_f32(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Multiplies F32 tiles with float32 activations."""
    _f32(row, batch, first, last, scratch)


def matrix_f16(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Multiplies F16 tiles with float32 activations."""
    _f16(row, batch, first, last, scratch)


def matrix_bf16(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Multiplies BF16 tiles with float32 activations."""
    _bf16(row, batch, first, last, scratch)


def matrix_q4_0(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Multiplies Q4_0 tiles with activations quantised in blocks of 32."""
    _q4_0(row, batch, first, last, scratch)


def matrix_q4_1(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Multiplies Q4_1 tiles with activations quantised in blocks of 32."""
    _q4_1(row, batch, first, last, scratch)


def matrix_q5_0(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Multiplies Q5_0 tiles with activations quantised in blocks of 32."""
    _q5_0(row, batch, first, last, scratch)


def matrix_q5_1(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Multiplies Q5_1 tiles with activations quantised in blocks of 32."""
    _q5_1(row, batch, first, last, scratch)


def matrix_q8_0(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Multiplies Q8_0 tiles with activations quantised in blocks of 32."""
    _q8_0(row, batch, first, last, scratch)


def matrix_iq4_nl(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Multiplies IQ4_NL tiles with activations quantised in blocks of 32."""
    _iq4_nl(row, batch, first, last, scratch)


def matrix_mxfp4(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Multiplies MXFP4 tiles with activations quantised in blocks of 32."""
    _mxfp4(row, batch, first, last, scratch)


def matrix_nvfp4(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Multiplies NVFP4 tiles with activations quantised in blocks of 32."""
    _nvfp4(row, batch, first, last, scratch)


def matrix_q1_0(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Multiplies Q1_0 tiles with activations quantised in blocks of 32."""
    _q1_0(row, batch, first, last, scratch)


def matrix_q2_0(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Multiplies Q2_0 tiles with activations quantised in blocks of 32."""
    _q2_0(row, batch, first, last, scratch)


def matrix_q2_k(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Multiplies Q2_K tiles with activations quantised in blocks of 256."""
    _q2_k(row, batch, first, last, scratch)


def matrix_q3_k(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Multiplies Q3_K tiles with activations quantised in blocks of 256."""
    _q3_k(row, batch, first, last, scratch)


def matrix_q4_k(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Multiplies Q4_K tiles with activations quantised in blocks of 256."""
    _q4_k(row, batch, first, last, scratch)


def matrix_q5_k(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Multiplies Q5_K tiles with activations quantised in blocks of 256."""
    _q5_k(row, batch, first, last, scratch)


def matrix_q6_k(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Multiplies Q6_K tiles with activations quantised in blocks of 256."""
    _q6_k(row, batch, first, last, scratch)


def matrix_iq4_xs(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Multiplies IQ4_XS tiles with activations quantised in blocks of 256."""
    _iq4_xs(row, batch, first, last, scratch)


def matrix_tq1_0(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Multiplies TQ1_0 tiles with activations quantised in blocks of 256."""
    _tq1_0(row, batch, first, last, scratch)


def matrix_tq2_0(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Multiplies TQ2_0 tiles with activations quantised in blocks of 256."""
    _tq2_0(row, batch, first, last, scratch)


def matrix_iq1_s(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Multiplies IQ1_S tiles with activations quantised in blocks of 256."""
    _iq1_s(row, batch, first, last, scratch)


def matrix_iq1_m(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Multiplies IQ1_M tiles with activations quantised in blocks of 256."""
    _iq1_m(row, batch, first, last, scratch)


def matrix_iq2_xxs(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Multiplies IQ2_XXS tiles with activations quantised in blocks of 256."""
    _iq2_xxs(row, batch, first, last, scratch)


def matrix_iq2_xs(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Multiplies IQ2_XS tiles with activations quantised in blocks of 256."""
    _iq2_xs(row, batch, first, last, scratch)


def matrix_iq2_s(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Multiplies IQ2_S tiles with activations quantised in blocks of 256."""
    _iq2_s(row, batch, first, last, scratch)


def matrix_iq3_xxs(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Multiplies IQ3_XXS tiles with activations quantised in blocks of 256."""
    _iq3_xxs(row, batch, first, last, scratch)


def matrix_iq3_s(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Multiplies IQ3_S tiles with activations quantised in blocks of 256."""
    _iq3_s(row, batch, first, last, scratch)
