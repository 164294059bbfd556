"""Layout of a routing: which experts of a layer each token of a batch uses, and where its rows lie meanwhile.

The tokens of a batch are grouped by expert, so that an expert's weights are read and unpacked once for all its tokens.
A token has a row for each expert that it uses, and an expert's rows lie one after the other, in the order of the
tokens: they are its group. The groups lie in the order of the experts. Experts without a token have no group.

The quantised inputs of a group may begin at another row than everything else: processors with AMX need the rows of a
large group interleaved, 16 at a time (layouts/activations.py), so that such a group takes a multiple of 16 rows.

The arrays and their sizes: `chosen`, `weights` and `rows` are (tokens, used_count), in the order of rank, which is the
order in which the experts' results are added. `experts`, `first_rows`, `row_counts` and `first_inputs` have an element
for each group, in the order of the groups, and `groups` an element for each expert.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tui_llama.engine.layouts.activations import FEWEST_GROUPED_TOKENS, GROUP_TOKENS, SUMMARY_BYTES
from tui_llama.engine.layouts.plan_row import BATCH, ROW
from tui_llama.engine.machine.memory import padded

IntArray: TypeAlias = npt.NDArray[np.int64]

SOFTMAX, SIGMOID, SOFTMAX_OF_CHOSEN = 0, 1, 2  # what turns the router's numbers into weights

SOURCE_IS_A_TOKEN, SOURCE_IS_A_PAIR = 0, 1  # rows that the groups' inputs come from

# Scratch memory of a kernel that calls another one: a row, a batch, the scratch memory of the inner kernel.
BATCH_AT = padded(ROW.itemsize, 64)
INNER_SCRATCH_AT = BATCH_AT + padded(BATCH.itemsize, 64)
SCALED_INPUT_AT = INNER_SCRATCH_AT + SUMMARY_BYTES[256]  # behind the scratch memory of quantising

LEAST_WEIGHT_SUM = 6.103515625e-5
"""Sum of weights below which they are divided by this number instead: the smallest normal float16."""

ROUTING = np.dtype(
    [
        ("expert_count", np.int64),
        ("used_count", np.int64),
        ("expert_group_count", np.int64),  # equal runs of experts, of which only the best are chosen from
        ("used_expert_group_count", np.int64),
        ("gating", np.int32),
        ("selects_by_logits", np.int32),  # 1: the greatest of the router's numbers choose, not of the gated ones
        ("normalises", np.int32),
        ("weighs_input", np.int32),  # 1: the weight multiplies the expert's input, not its output
        ("weights_scale", np.float32),
        ("chosen", np.uint64),  # int32: experts
        ("weights", np.uint64),  # float32
        ("rows", np.uint64),  # int32: rows of the tokens' pairs with experts
        ("groups", np.uint64),  # int32: number of an expert's group; -1 for none
        ("experts", np.uint64),  # int32: expert of each group
        ("first_rows", np.uint64),  # int32
        ("row_counts", np.uint64),  # int32
        ("first_inputs", np.uint64),  # int32: first row of a group's quantised inputs
        ("group_count", np.uint64),  # int64: groups of the batch
    ],
    align=True,
)
"""One layer's rule, and the addresses of the arrays, which all layers share."""


def most_groups(tokens: IntArray, used_count: IntArray, expert_count: IntArray) -> IntArray:
    """Returns the most groups that batches of so many tokens have; numbers or arrays of the same shape."""
    groups: IntArray = np.minimum(expert_count, tokens * used_count)
    return groups


def most_input_rows(tokens: int, used_count: int, expert_count: int) -> int:
    """Returns the most rows of quantised inputs that a batch has: large groups are filled up to a multiple of 16."""
    pairs = tokens * used_count
    return pairs + (GROUP_TOKENS - 1) * min(expert_count, pairs // FEWEST_GROUPED_TOKENS)
