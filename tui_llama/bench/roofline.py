"""What a batch of tokens costs a model at least, and how fast a machine could be at it.

The cost is counted from the plan that is run:

- *bytes read*: for every pass over the weights (one for each batch) all tiles of all matrices, the output matrix among
  them, and once the keys and values of the tokens so far. Norms, biases, the embedding rows of the tokens and
  activations, which stay in caches, are left out.
- *multiply-accumulates*: rows × columns of every matrix for every token that goes through it. That is the last token of
  a batch alone in the output matrix, and in the last layer from the attention on. Attention's products (queries with
  keys, probabilities with values, for positions up to the token's own) are counted too, as if they could be done in
  bytes.

A machine needs at least bytes / (bytes read a second) and at least multiply-accumulates / (multiply-accumulates of
bytes a second, by what is fastest at them); the longer of both is the limit. Whatever else has to be done is not in it,
so no program reaches it.

Source of the idea: Williams, Waterman and Patterson 2009 (Roofline).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tui_llama.bench.machine_limits import LimitSample
from tui_llama.engine.plan.plan import Plan

ATTENTION = "attention"
"""The operation that reads keys and values."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What some tokens cost at least.

    Args:
        weight_bytes: Of tiles, each pass over them counted.
        cache_bytes: Of keys and values.
        matrix_macs: Multiply-accumulates with weights.
        attention_macs: Multiply-accumulates of attention.
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
        """How long reading takes at least."""
        return self.bytes / (limits.read_gb_s * 1e9)

    def multiply_seconds(self, limits: LimitSample) -> float:
        """How long multiplying takes at least."""
        return self.macs / (limits.multiply_gmac_s * 1e9)

    def least_seconds(self, limits: LimitSample) -> float:
        """How long all of it takes at least."""
        return max(self.read_seconds(limits), self.multiply_seconds(limits))


def batch_cost(plan: Plan, cache_bytes_per_token: int, first_position: int, token_count: int) -> Cost:
    """What one batch costs whose last token's logits are wanted.

    Args:
        plan: The model's.
        cache_bytes_per_token: Bytes of one token's keys and values over all layers.
        first_position: Tokens in the cache before.
        token_count: Tokens of the batch, at least 1.
    """
    last = first_position + token_count
    all_positions = sum(range(first_position + 1, last + 1))
    matrix_macs = attention_macs = 0
    for row, step in zip(plan.rows, plan.steps, strict=True):
        only_last = bool(row["output_tokens_only"])
        matrix_macs += step.macs_per_token * (1 if only_last else token_count)
        if step.operation == ATTENTION:
            positions = last if only_last else all_positions
            attention_macs += 2 * int(row["heads"]) * int(row["head_dim"]) * positions
    weight_bytes = sum(step.weight_bytes for step in plan.steps)
    return Cost(weight_bytes, cache_bytes_per_token * last, matrix_macs, attention_macs)


def batch_lengths(token_count: int, batch_tokens: int) -> Iterator[int]:
    """How `token_count` tokens are cut into batches of at most `batch_tokens`."""
    for first in range(0, token_count, batch_tokens):
        yield min(batch_tokens, token_count - first)
