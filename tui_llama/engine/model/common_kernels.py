"""The kernels that a kind of model needs, known before there is a file of it: so that they can be compiled early."""

from collections.abc import Iterable

from tui_llama.engine.generation.top_logits import SAMPLING_KERNELS
from tui_llama.engine.gguf.compiled_strings import FIND_STRINGS
from tui_llama.engine.layouts.weight_tile import Q4_1_FORMAT, Q8_0_FORMAT, TileFormat
from tui_llama.engine.model.kv_moves import MOVE_POSITIONS
from tui_llama.engine.plan.plan import kernel_named
from tui_llama.engine.tensors.repacking import repack_kernels
from tui_llama.engine.threads.team import TAKE_PART
from tui_llama.engine.tokenizer.merging import MERGE_KERNELS
from tui_llama.engine.toolchain.object_store import Kernel

STARTER_FORMATS = (Q4_1_FORMAT, Q8_0_FORMAT)
"""The weight types of the starter model."""

KERNELS_OF_EVERY_MODEL = (*SAMPLING_KERNELS, TAKE_PART, FIND_STRINGS, MOVE_POSITIONS)

_OPERATIONS = ("embed", "rms_norm", "store_keys", "store_values", "rotate_queries", "attention", "gate")


def kernels_for(formats: Iterable[TileFormat]) -> list[Kernel]:
    """The kernels of a model whose matrices have these formats and whose tokenizer is of the byte-pair kind."""
    from tui_llama.bench.machine_limits import READ_PASS  # here, for a start of the engine does without

    layouts = list(formats)
    operations = [
        *_OPERATIONS,
        *(f"quantize_{layout.columns}" for layout in layouts if not layout.is_float),
        *(f"matrix_{layout.name.lower()}" for layout in layouts),
    ]
    named = [kernel_named(operation) for operation in operations]
    return list(dict.fromkeys([*named, *repack_kernels(layouts), *MERGE_KERNELS, *KERNELS_OF_EVERY_MODEL, READ_PASS]))
