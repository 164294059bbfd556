"""The operations on mixtures of experts that forward passes are written in; see plan_writer.py.

Only one layer's experts are at work at a time: `choose` says which ones, and all that follows is about these.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from tui_llama.engine.tensors.expert_sizes import ExpertSizes

Values = TypeVar("Values")


@dataclass(frozen=True, slots=True)
class ExpertRows:
    """A range of rows of each expert's matrix, in a tensor that holds several matrices of an expert.

    Args:
        name: The tensor's name, without `.weight`.
        first: The first row.
        total: Rows of an expert's whole matrix.
    """

    name: str
    first: int
    total: int


ExpertMatrixName: TypeAlias = str | ExpertRows
"""Names the matrices of experts: a tensor's name without `.weight`, or a range of rows, as many as the product is wide.
"""


class ExpertWriter(Protocol[Values]):
    """Receives the operations on experts, one after the other."""

    def norm_for_router(self, source: Values, name: str, scale: float) -> Values:
        """Computes the root-mean-square norm that a router reads; its weights have a whole name and are multiplied."""
        ...

    def choose(self, logits: Values, experts: "ExpertSizes", selection_bias: str) -> None:
        """Chooses and weighs the experts of each token, from the router's numbers.

        Args:
            logits: The router's numbers, one for each expert.
            experts: The layer's experts.
            selection_bias: Name of a tensor (experts,) that is added to the scores that choose, or "".
        """
        ...

    def buffer(self, name: str, width: int, experts: "ExpertSizes") -> Values:
        """Returns memory for `width` numbers of each expert of each token."""
        ...

    def multiply(
        self,
        source: Values,
        targets: Mapping[ExpertMatrixName, Values],
        experts: "ExpertSizes",
        *,
        bias_required: bool = False,
    ) -> None:
        """Multiplies an input with matrices of the chosen experts, and adds their biases.

        Before that, products are multiplied by the factors that the file has for the experts (`NAME.scale`), if any.

        Args:
            source: The input: of each token, or of each expert of each token.
            targets: Names of matrices, and the buffers of their products.
            experts: The layer's experts.
            bias_required: True: a missing bias is an error. A bias that the file has is always added.
        """
        ...

    def add(self, target: Values, outputs: Values, experts: "ExpertSizes", *, add: bool) -> None:
        """Adds what the chosen experts return, times their weights, in the order of rank.

        Args:
            target: Receives the sum.
            outputs: What the experts return.
            experts: The layer's experts.
            add: True: the sum is added to the target's content.
        """
        ...
