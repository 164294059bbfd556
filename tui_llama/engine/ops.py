"""The table of compiled operations: every function that the program has compiled, by a name that says what it does.

The functions are in the modules of `kernels`, which only the compiler's processes import. Here they are only named, so
that the program loads and calls their machine code without a compiler. A test compares the table with the functions.
"""

from collections.abc import Iterable
from typing import Any, Final

from tui_llama.engine.layouts.weight_tile import (
    BF16_FORMAT,
    F16_FORMAT,
    FORMATS,
    TileFormat,
)
from tui_llama.engine.toolchain.loader import code_of, is_ready
from tui_llama.engine.toolchain.object_store import Kernel
from tui_llama.errors import CallerError


class Operation(Kernel):
    """A kernel that can be called. Its function in `kernels` describes its arguments and its result."""

    __slots__ = ()

    @property
    def address(self) -> int:
        """The place of its code in this process, for as long as that lives; loaded if it was not yet.

        Raises:
            EngineError: it cannot be compiled.
        """
        return code_of(self).address

    @property
    def is_ready(self) -> bool:
        """True if it can be called without being compiled first."""
        return is_ready(self)

    def __call__(self, *arguments: int) -> Any:
        """Runs it, without the interpreter's lock; raises as `address`."""
        return code_of(self).call(*arguments)


# --- the plan ---------------------------------------------------------------------------------------------------------

TAKE_PART: Final = Operation("plan_loop", "take_part", "ii")
"""Runs a plan as one thread of a team: what every thread calls."""

PLAN_ARGUMENTS: Final = "ppiip"
"""The arguments of each operation of a plan: row, batch, first and last unit, scratch."""


def _planned(module: str, name: str) -> Operation:
    return Operation(module, name, PLAN_ARGUMENTS)


EMBED: Final = _planned("elementwise", "embed")
"""Token ids → rows of the embedding, as float32."""
EMBED_POSITIONS: Final = _planned("elementwise", "embed_positions")
"""Positions of tokens → rows of a learned table, as float32."""
RMS_NORM: Final = _planned("elementwise", "rms_norm")
"""Divides rows by their root mean square and multiplies by learned weights."""
LAYER_NORM: Final = _planned("elementwise", "layer_norm")
"""Subtracts the mean of rows, divides by their deviation, multiplies by learned weights and adds a bias."""
COPY_HEADS: Final = _planned("elementwise", "copy_heads")
"""Copies a part of each head of rows."""
ADD: Final = _planned("elementwise", "add")
"""Adds rows, multiplied by a factor, to others."""
SWIGLU: Final = _planned("gating", "swiglu")
"""SwiGLU: silu(gates) × ups."""
GEGLU: Final = _planned("gating", "geglu")
"""GEGLU: gelu(gates) × ups."""
GATE_BY_SIGMOID: Final = _planned("gating", "gate_by_sigmoid")
"""sigmoid(gates) × values."""
REGLU: Final = _planned("gating", "reglu")
"""ReGLU: relu(gates) × ups."""
GATE_BY_RELU_SQUARED: Final = _planned("gating", "gate_by_relu_squared")
"""relu(gates)² × ups."""
LIMITED_SWIGLU: Final = _planned("gating", "limited_swiglu")
"""SwiGLU whose two factors have a limit."""
CLAMPED_SWIGLU: Final = _planned("gating", "clamped_swiglu")
"""SwiGLU with limits: gates · sigmoid(1.702 · gates) × (ups + 1), as in gpt-oss."""
WEIGH: Final = _planned("gating", "weigh")
"""Multiplies rows by the sigmoid of a number each."""
WEIGH_HEADS: Final = _planned("gating", "weigh_heads")
"""Multiplies each head of rows by a number of its own."""
GELU: Final = _planned("gating", "gelu")
"""GELU of rows, in place."""
RELU_SQUARED: Final = _planned("gating", "relu_squared")
"""The square of the positive part of rows, in place."""
XIELU: Final = _planned("gating", "xielu")
"""xIELU of rows, in place."""
SIGMOID: Final = _planned("gating", "sigmoid")
"""The sigmoid of rows, in place."""
SOFTPLUS: Final = _planned("gating", "softplus")
"""ln(1 + exp(x)) of rows, in place."""
SCALE_AND_CAP: Final = _planned("gating", "scale_and_cap")
"""Multiplies rows and limits them, in place."""
LIMIT: Final = _planned("gating", "limit")
"""Replaces numbers of rows that are beyond a limit, in place."""
ROTATE_QUERIES: Final = _planned("kv_store", "rotate_queries")
"""Rotates queries by their positions and pads each head."""
STORE_KEYS: Final = _planned("kv_store", "store_keys")
"""Rotates keys by their positions and puts them into the KV cache."""
STORE_VALUES: Final = _planned("kv_store", "store_values")
"""Puts values into the KV cache."""
ATTENTION: Final = _planned("attention.kernel", "attention")
"""Softmax attention of queries over the KV cache."""

CHOOSE_EXPERTS: Final = _planned("experts.choosing", "choose_experts")
"""Chooses the experts of each token, and their weights."""
GROUP_TOKENS: Final = _planned("experts.grouping", "group_tokens")
"""Groups the tokens of a batch by their experts."""
SPREAD_INPUTS: Final = _planned("experts.grouping", "spread_inputs")
"""Writes the experts' inputs to the rows of their groups, quantised as their weights want them."""
MULTIPLY_EXPERTS: Final = _planned("experts.grouping", "multiply_experts")
"""Multiplies the rows of each group with its expert's matrix."""
MULTIPLY_FILE_EXPERTS: Final = _planned("experts.in_file", "multiply_file_experts")
"""The same with matrices that stay in the model file."""
ASK_FOR_FILE_EXPERTS: Final = _planned("experts.in_file", "ask_for_file_experts")
"""Tells the system which experts will be read from the model file."""
ADD_EXPERTS: Final = _planned("experts.grouping", "add_experts")
"""Adds what the experts of each token return, weighed."""

EXPERTS: Final = (CHOOSE_EXPERTS, GROUP_TOKENS, SPREAD_INPUTS, MULTIPLY_EXPERTS, ADD_EXPERTS)
FILE_EXPERTS: Final = (ASK_FOR_FILE_EXPERTS, MULTIPLY_FILE_EXPERTS)

_QUANTIZATIONS: Final = {columns: _planned("elementwise", f"quantize_{columns}") for columns in (32, 256)}
_MATRIX_PRODUCTS: Final = {
    layout: _planned("matrix.product_kernels", f"matrix_{layout.name.lower()}") for layout in FORMATS.values()
}


def quantization(columns: int) -> Operation:
    """Returns the operation that quantises activations to int8, in blocks of `columns` columns: 32 or 256."""
    return _QUANTIZATIONS[columns]


def matrix_product(layout: TileFormat) -> Operation:
    """Returns the operation that multiplies activations with a matrix whose tiles have this format."""
    return _MATRIX_PRODUCTS[layout]


_PLAN_OPERATIONS: Final = {
    operation.name: operation
    for operation in (
        *(
            EMBED,
            EMBED_POSITIONS,
            RMS_NORM,
            LAYER_NORM,
            COPY_HEADS,
            ADD,
            SWIGLU,
            GEGLU,
            CLAMPED_SWIGLU,
            GATE_BY_SIGMOID,
            GELU,
            RELU_SQUARED,
            XIELU,
            SIGMOID,
            SOFTPLUS,
            REGLU,
            GATE_BY_RELU_SQUARED,
            LIMITED_SWIGLU,
            WEIGH,
            WEIGH_HEADS,
            SCALE_AND_CAP,
            LIMIT,
        ),
        *(ROTATE_QUERIES, STORE_KEYS, STORE_VALUES, ATTENTION),
        *EXPERTS,
        *FILE_EXPERTS,
        *_QUANTIZATIONS.values(),
        *_MATRIX_PRODUCTS.values(),
    )
}


def plan_operation(name: str) -> Operation:
    """Returns the operation of a plan that has this name.

    Raises:
        CallerError: no operation of a plan has it.
    """
    if name not in _PLAN_OPERATIONS:
        raise CallerError(f"no operation of a plan is called {name!r}")
    return _PLAN_OPERATIONS[name]


# --- weights ----------------------------------------------------------------------------------------------------------

REPACK_UNITS: Final = Operation("matrix.repack", "repack_units", "iiii")
"""Fills tiles of matrices from rows as the file has them, unit after unit, together with other threads."""

_PACKERS: Final = {
    layout: Operation("matrix.grid_packing_kernels", f"pack_{layout.name.lower()}", "iiiii")
    if layout.grid_width
    else Operation("matrix.packing_kernels", f"pack_{layout.name.lower()}", "iiii")
    for layout in FORMATS.values()
    if layout != BF16_FORMAT
}
_PACKERS[BF16_FORMAT] = _PACKERS[F16_FORMAT]  # packing looks at sizes only


def packing(layout: TileFormat) -> Operation:
    """Returns what packs blocks of 16 rows into tiles of this format; `REPACK_UNITS` calls it."""
    return _PACKERS[layout]


def repacking(layouts: Iterable[TileFormat]) -> list[Operation]:
    """Returns all that it takes to fill tiles of some formats."""
    return [REPACK_UNITS, *map(packing, layouts)]


# --- the KV cache -----------------------------------------------------------------------------------------------------

MOVE_POSITIONS: Final = Operation("kv_moves", "move_positions", "i" * 9)
"""Takes tokens in the KV cache to other positions: moves keys and values, and turns keys."""

# --- sampling ---------------------------------------------------------------------------------------------------------

SUMMARISE_LOGITS: Final = Operation("top_logits", "summarise", "iii")
"""Finds the highest logit of each block of the vocabulary."""
COLLECT_TOP_LOGITS: Final = Operation("top_logits", "collect", "iiiiiii")
"""Finds the highest logits and their tokens among the blocks that can hold them."""
SAMPLING: Final = (SUMMARISE_LOGITS, COLLECT_TOP_LOGITS)

# --- the tokenizer ----------------------------------------------------------------------------------------------------

ENTER_TEXTS: Final = Operation("byte_pair_merge", "enter_texts", "iiiiii")
"""Puts the texts of a vocabulary into a hash table."""
READ_MERGES: Final = Operation("byte_pair_merge", "read_merges", "iiiiiiiiii", returns=True)
"""Cuts the lines of merges and finds the tokens that each speaks of; returns the first line that cannot be cut."""
ENTER_MERGES: Final = Operation("byte_pair_merge", "enter_merges", "iiii")
"""Puts merges into a hash table, by their two symbols."""
MERGE_WORDS: Final = Operation("byte_pair_merge", "merge_words", "i" * 17, returns=True)
"""Turns words into tokens by byte-pair merging; returns how many tokens these are."""
BYTE_PAIR_MERGING: Final = (ENTER_TEXTS, READ_MERGES, ENTER_MERGES, MERGE_WORDS)

# --- model files ------------------------------------------------------------------------------------------------------

FIND_STRINGS: Final = Operation("gguf_strings", "find_strings", "iiiii", returns=True)
"""Finds where the strings of a GGUF array begin; returns how many it found."""

# --- the machine's limits ---------------------------------------------------------------------------------------------

READ_PASS: Final = Operation("machine_limits", "read_pass", "pippiii", returns=True)
"""Reads a block of memory, together with other threads."""

_MULTIPLY_ARGUMENTS: Final = "pippii"
MULTIPLY_PASS_4_BY_3: Final = Operation("machine_limits", "multiply_pass_4_by_3", _MULTIPLY_ARGUMENTS)
"""Multiplies bytes by vector dot products, 4 × 3 at a time: for processors with 32 vector registers."""
MULTIPLY_PASS_2_BY_3: Final = Operation("machine_limits", "multiply_pass_2_by_3", _MULTIPLY_ARGUMENTS)
"""The same, 2 × 3 at a time: for processors with 16 vector registers."""
MULTIPLY_PASS_TILES: Final = Operation("machine_limits", "multiply_pass_tiles", _MULTIPLY_ARGUMENTS)
"""Multiplies bytes by the tile multiplier, where the processor has one."""
