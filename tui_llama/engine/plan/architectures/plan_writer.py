"""The vocabulary that architectures are written in: what a forward pass is made of.

`plan.PlanBuilder` makes rows of it that can be run; `coverage` only notes which tensors it reads.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from tui_llama.engine.tensors.hyperparameters import Hyperparameters

Values = TypeVar("Values")
"""What stands for the numbers that go from one operation to the next."""


class PlanWriter(Protocol[Values]):
    """Takes down one operation after the other."""

    @property
    def sizes(self) -> "Hyperparameters":
        """The model's sizes."""
        ...

    @property
    def logits(self) -> Values:
        """Where the logits go."""
        ...

    def has(self, name: str) -> bool:
        """Whether the model has a tensor of that name."""
        ...

    def buffer(self, name: str, width: int) -> Values:
        """Room for so many numbers of each token."""
        ...

    def embed(self, name: str) -> Values:
        """Token ids → embedding rows."""
        ...

    def rms_norm(self, source: Values, name: str) -> Values:
        """Root-mean-square norm of whole rows."""
        ...

    def head_norm(self, buffer: Values, name: str, heads: int) -> None:
        """Root-mean-square norm of every head, in place."""
        ...

    def multiply(
        self, source: Values, targets: Mapping[str, Values], *, add: bool = False, bias_required: bool = False
    ) -> None:
        """Multiplies one input with the matrices of some names, and adds their biases."""
        ...

    def rotate(self, queries: Values, neighbours: bool) -> Values:
        """Rotary positions of the queries."""
        ...

    def store(self, keys: Values, values: Values, layer: int, neighbours: bool) -> None:
        """Rotary positions of the keys; keys and values into the cache."""
        ...

    def continue_with_output_tokens(self) -> None:
        """From here on, only tokens whose logits are wanted."""
        ...

    def attention(
        self, rotated: Values, layer: int, scale: float, *, window: int = 0, soft_cap: float = 0.0, sinks: str = ""
    ) -> Values:
        """Softmax attention over the cache."""
        ...

    def gate(self, gates: Values, ups: Values) -> Values:
        """silu(gates) × ups."""
        ...
