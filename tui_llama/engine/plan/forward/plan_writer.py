"""The operations that forward passes are written in.

`plan.PlanBuilder` turns them into rows that can be run; `coverage` only notes which tensors they read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from tui_llama.engine.tensors.hyperparameters import Activation, NormKind

if TYPE_CHECKING:
    from tui_llama.engine.plan.forward.expert_writer import ExpertWriter
    from tui_llama.engine.tensors.hyperparameters import Hyperparameters

Values = TypeVar("Values")
"""Stands for the numbers that go from one operation to the next."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A range of rows of a tensor that holds several matrices, one below the other.

    Args:
        name: The tensor's name, without `.weight`.
        first: The first row.
        total: Rows of the whole tensor.
        own_name: The name that the matrix would have in a tensor of its own; its bias may have that name.
        slabs: Matrices of the tensor where they lie in a third dimension, else 1.
    """

    name: str
    first: int
    total: int
    own_name: str
    slabs: int = 1


MatrixName: TypeAlias = str | Rows
"""Names a matrix: a tensor's name without `.weight`, or a range of its rows, as many as the product is wide."""


class PlanWriter(Protocol[Values]):
    """Receives the operations of a forward pass, one after the other. Names of tensors are without `.weight`."""

    @property
    def sizes(self) -> "Hyperparameters":
        """The model's sizes."""
        ...

    @property
    def logits(self) -> Values:
        """Buffer for the logits."""
        ...

    @property
    def experts(self) -> "ExpertWriter[Values]":
        """The operations on mixtures of experts."""
        ...

    def has(self, name: str) -> bool:
        """Tells whether the model has a tensor of that name."""
        ...

    def buffer(self, name: str, width: int) -> Values:
        """Returns memory for `width` numbers of each token."""
        ...

    def embed(self, name: str, target: Values, scale: float) -> None:
        """Looks up the embedding rows of token ids, as wide as the target, and multiplies them."""
        ...

    def embed_positions(self, name: str, target: Values) -> None:
        """Looks up the rows of tokens' positions in a table of floats, one row for each of the trained context."""
        ...

    def part(self, values: Values, first: int, width: int) -> Values:
        """Returns `width` numbers of each token, from the number `first` on, of a buffer."""
        ...

    def norm(
        self, source: Values, name: str, kind: NormKind, *, bias_required: bool = False, target: str = "normed"
    ) -> Values:
        """Computes the norm of rows into a buffer that its next norm overwrites; without weights if the name is "".

        Those of kind "layer" have a bias if the file has one, all others only where it is required.
        """
        ...

    def norm_in_place(self, values: Values, name: str, kind: NormKind) -> None:
        """Computes the norm of whole rows over the rows themselves."""
        ...

    def head_norm(
        self, values: Values, name: str, heads: int, kind: NormKind, *, vector_per_head: bool = False
    ) -> None:
        """Computes the norm of each of the heads in a row, in place. Without weights if the name is ""."""
        ...

    def bare_head_norm(self, source: Values, target: Values, heads: int) -> None:
        """Computes root-mean-square norms of heads without weights; the target may be the source."""
        ...

    def multiply(
        self, source: Values, targets: Mapping[MatrixName, Values], *, add: bool = False, bias_required: bool = False
    ) -> None:
        """Multiplies one input with the matrices of some names, and adds their biases."""
        ...

    def multiply_heads(self, sources: Sequence[Values], matrices: Sequence[Rows], targets: Sequence[Values]) -> None:
        """Multiplies each input with a matrix of its own."""
        ...

    def copy_heads(self, source: Values, source_step: int, target: Values, target_step: int, heads: int) -> None:
        """Copies a part of each head, as wide as the narrower buffer; heads are so many numbers apart."""
        ...

    def add(self, target: Values, source: Values, scale: float) -> None:
        """Adds values, multiplied by a factor, to others."""
        ...

    def rotate(self, queries: Values, layer: int) -> Values:
        """Rotates the queries for their positions, and applies the layer's temperature."""
        ...

    def rotate_in_place(self, values: Values, layer: int, heads: int) -> None:
        """Rotates queries or keys for their positions where they are, before they are normed."""
        ...

    def arrange(self, queries: Values, layer: int) -> Values:
        """Does as `rotate` with queries that were rotated before."""
        ...

    def store(self, keys: Values, values: Values | None, layer: int, *, is_rotated: bool = False) -> None:
        """Rotates the keys for their positions, unless they are, and stores keys and values in the KV cache.

        Without values, the keys' first elements are the values.
        """
        ...

    def continue_with_output_tokens(self) -> None:
        """Restricts all further operations to tokens whose logits are wanted."""
        ...

    def attention(self, rotated: Values, layer: int, *, sinks: str = "") -> Values:
        """Computes softmax attention over the layer's keys and values; the sinks' name is a whole one."""
        ...

    def gate(self, gates: Values, ups: Values, activation: Activation, limit: float = 0.0) -> Values:
        """Computes activation(gates) × ups.

        Unless the limit is 0, the first factor is at most that, and the second one lies within it on both sides.
        """
        ...

    def weigh(self, values: Values, weights: Values) -> None:
        """Multiplies the values of each token by the sigmoid of a number, in place."""
        ...

    def weigh_heads(self, values: Values, weights: Values) -> None:
        """Multiplies each head of values by a number of its own, in place; as many heads as there are numbers."""
        ...

    def activate(self, values: Values, activation: Activation, numbers: Sequence[float] = ()) -> None:
        """Computes the activation of values, in place; some have numbers that differ from layer to layer."""
        ...

    def scale_and_cap(self, values: Values, scale: float, cap: float) -> None:
        """Multiplies values, and limits them to cap · tanh(value / cap), in place; a cap of 0 is none."""
        ...

    def limit(self, values: Values, most: float) -> None:
        """Replaces values above a limit or below its negative, in place."""
        ...

    def multiply_by(self, values: Values, name: str) -> None:
        """Multiplies values by the only number of a tensor, in place."""
        ...
