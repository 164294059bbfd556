"""The kernels that a kind of model needs, known before there is a file of it: so that they can be compiled early."""

from collections.abc import Iterable
from typing import Final

from tui_llama.engine import ops
from tui_llama.engine.layouts.weight_tile import Q4_1_FORMAT, Q8_0_FORMAT, TileFormat

STARTER_FORMATS: Final = (Q4_1_FORMAT, Q8_0_FORMAT)
"""The weight types of the starter model."""

KERNELS_OF_EVERY_MODEL: Final = (*ops.SAMPLING, ops.TAKE_PART, ops.FIND_STRINGS, ops.MOVE_POSITIONS)

_PLAN_OF_EVERY_MODEL: Final = (
    ops.EMBED,
    ops.RMS_NORM,
    ops.STORE_KEYS,
    ops.STORE_VALUES,
    ops.ROTATE_QUERIES,
    ops.ATTENTION,
    ops.SWIGLU,
)


def kernels_for(formats: Iterable[TileFormat]) -> list[ops.Operation]:
    """Returns the kernels of a model with these formats of matrices and a byte-pair tokenizer, each once."""
    layouts = list(formats)
    kernels = [
        *_PLAN_OF_EVERY_MODEL,
        *(ops.quantization(layout.columns) for layout in layouts if not layout.is_float),
        *map(ops.matrix_product, layouts),
        *ops.repacking(layouts),
        *ops.BYTE_PAIR_MERGING,
        *KERNELS_OF_EVERY_MODEL,
        ops.READ_PASS,  # how fast the machine reads memory is measured early, too
    ]
    return list(dict.fromkeys(kernels))
