"""The roofline: the least cost of a batch of tokens, and the least time in which a machine could do it.

The cost is computed from the model's plan:

- *bytes read*: for every batch all tiles of all matrices, with the output matrix, but of experts only of as many as the
  batch's tokens can use; and once the keys and values of the tokens so far. Norms, biases, the embedding rows of the
  tokens and the activations, which stay in caches, are left out.
- *multiply-accumulates*: rows × columns of every matrix for every token that goes through it. Only the last token of a
  batch goes through the output matrix and through the last layer from its attention on. The products of attention
  (queries with keys, probabilities with values, for positions up to the token's own) are counted too, as if they were
  products of bytes.

A machine needs at least bytes / (bytes read a second). It also needs at least multiply-accumulates /
(multiply-accumulates of bytes a second, in the fastest way). The longer of the two times is the limit. No program
reaches it, because other work is not part of it.

Source of the idea: Williams, Waterman and Patterson 2009 (Roofline).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tui_llama.bench.machine_limits import LimitSample
from tui_llama.engine.layouts.plan_row import PER_CHOSEN_EXPERT
from tui_llama.engine.plan.plan import Plan, PlanStep

ATTENTION = "attention"
"""The operation that reads keys and values."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The least cost of some tokens.

    Args:
        weight_bytes: The bytes of tiles read, counted again for each batch.
        cache_bytes: The bytes of keys and values read.
        matrix_macs: The multiply-accumulates with weights.
        attention_macs: The multiply-accumulates of attention.
    """

    weight_bytes: int = 0
    cache_bytes: int = 0
    matrix_macs: int = 0
    attention_macs: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.weight_bytes + other.weight_bytes,
            self.cache_bytes + other.cache_bytes,
            self.matrix_macs + other.matrix_macs,
            self.attention_macs + other.attention_macs,
        )

    @property
    def bytes(self) -> int:
        """All bytes read."""
        return self.weight_bytes + self.cache_bytes

    @property
    def macs(self) -> int:
        """All multiply-accumulates."""
        return self.matrix_macs + self.attention_macs

    def read_seconds(self, limits: LimitSample) -> float:
        """Returns the least time for reading, in seconds."""
        return self.bytes / (limits.read_gb_s * 1e9)

    def multiply_seconds(self, limits: LimitSample) -> float:
        """Returns the least time for multiplying, in seconds."""
        return self.macs / (limits.multiply_gmac_s * 1e9)

    def least_seconds(self, limits: LimitSample) -> float:
        """Returns the least time for everything, in seconds."""
        return max(self.read_seconds(limits), self.multiply_seconds(limits))


def batch_cost(plan: Plan, cache_bytes_per_token: int, first_position: int, token_count: int) -> Cost:
    """Returns the least cost of one batch of which the last token's logits are wanted.

    Args:
        plan: The model's plan.
        cache_bytes_per_token: The bytes of one token's keys and values over all layers.
        first_position: The number of tokens in the cache before.
        token_count: The number of tokens in the batch, at least 1.
    """
    last = first_position + token_count
    all_positions = sum(range(first_position + 1, last + 1))
    weight_bytes = matrix_macs = attention_macs = 0
    for row, step in zip(plan.rows, plan.steps, strict=True):
        only_last = bool(row["output_tokens_only"])
        weight_bytes += _weight_bytes(row, step, 1 if only_last else token_count)
        matrix_macs += step.macs_per_token * (1 if only_last else token_count)
        if step.operation == ATTENTION:
            positions = last if only_last else all_positions
            attention_macs += 2 * int(row["heads"]) * int(row["head_dim"]) * positions
    return Cost(weight_bytes, cache_bytes_per_token * last, matrix_macs, attention_macs)


def _weight_bytes(row: np.void, step: PlanStep, token_count: int) -> int:
    """Returns the bytes of weights that a step reads for a batch, if its tokens use as many experts as they can."""
    if row["per_token"] != PER_CHOSEN_EXPERT:
        return step.weight_bytes
    used, count = int(row["used_count"]), int(row["expert_count"])
    return step.weight_bytes * min(count, used * token_count) // used


def batch_lengths(token_count: int, batch_tokens: int) -> Iterator[int]:
    """Yields the lengths of the batches into which `token_count` tokens are cut, each at most `batch_tokens`."""
    for first in range(0, token_count, batch_tokens):
        yield min(batch_tokens, token_count - first)
