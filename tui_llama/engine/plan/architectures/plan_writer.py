"""The operations that architectures are written in.

`plan.PlanBuilder` turns them into rows that can be run; `coverage` only notes which tensors they read.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from tui_llama.engine.tensors.hyperparameters import Hyperparameters

Values = TypeVar("Values")
"""Stands for the numbers that go from one operation to the next."""


class PlanWriter(Protocol[Values]):
    """Receives the operations of a forward pass, one after the other."""

    @property
    def sizes(self) -> "Hyperparameters":
        """The model's sizes."""
        ...

    @property
    def logits(self) -> Values:
        """Buffer for the logits."""
        ...

    def has(self, name: str) -> bool:
        """Tells whether the model has a tensor of that name."""
        ...

    def buffer(self, name: str, width: int) -> Values:
        """Returns memory for `width` numbers of each token."""
        ...

    def embed(self, name: str) -> Values:
        """Looks up the embedding rows of token ids."""
        ...

    def rms_norm(self, source: Values, name: str) -> Values:
        """Computes the root-mean-square norm of whole rows."""
        ...

    def head_norm(self, buffer: Values, name: str, heads: int) -> None:
        """Computes the root-mean-square norm of every head, in place."""
        ...

    def multiply(
        self, source: Values, targets: Mapping[str, Values], *, add: bool = False, bias_required: bool = False
    ) -> None:
        """Multiplies one input with the matrices of some names, and adds their biases."""
        ...

    def rotate(self, queries: Values, neighbours: bool) -> Values:
        """Rotates the queries for their positions."""
        ...

    def store(self, keys: Values, values: Values, layer: int, neighbours: bool) -> None:
        """Rotates the keys for their positions, and stores keys and values in the KV cache."""
        ...

    def continue_with_output_tokens(self) -> None:
        """Restricts all further operations to tokens whose logits are wanted."""
        ...

    def attention(
        self, rotated: Values, layer: int, scale: float, *, window: int = 0, soft_cap: float = 0.0, sinks: str = ""
    ) -> Values:
        """Computes softmax attention over the KV cache."""
        ...

    def swiglu(self, gates: Values, ups: Values) -> Values:
        """Computes silu(gates) × ups."""
        ...
