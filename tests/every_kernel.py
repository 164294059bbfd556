"""Lists all kernels that the program has, for what is true of each of them."""

from tui_llama.engine import ops
from tui_llama.engine.layouts.weight_tile import FORMATS
from tui_llama.engine.ops import Operation


def every_kernel() -> list[Operation]:
    """Returns the whole table of `engine.ops`, each operation once."""
    named = (value for value in vars(ops).values() if isinstance(value, Operation))
    of_formats = (operation(layout) for operation in (ops.matrix_product, ops.packing) for layout in FORMATS.values())
    return list(dict.fromkeys([*named, *map(ops.quantization, (32, 256)), *of_formats]))
