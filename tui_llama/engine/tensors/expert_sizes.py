"""Sizes of a layer's experts, and how its router chooses among them.

A mixture of experts has many small feed-forward blocks in a layer, of which a router chooses a few for each token. The
router's numbers become probabilities, the greatest of them choose, and they weigh what the chosen experts return.

Source: llama.cpp, src/llama-graph.cpp (`build_moe_ffn`), of October 2026.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Gating: TypeAlias = Literal["softmax", "sigmoid", "softmax of chosen"]


@dataclass(frozen=True, slots=True)
class ExpertSizes:
    """Sizes of the experts of one layer, and the rule that chooses and weighs them.

    Args:
        count: Experts of the layer.
        used_count: Experts that a token uses.
        hidden_size: Elements between the two halves of an expert.
        gating: What turns the router's numbers into weights: softmax over all experts, a sigmoid of each number, or
            softmax over the numbers of the chosen experts only.
        selects_by_logits: The greatest numbers of the router choose, whatever the gating does with them.
        normalises: The weights of the chosen experts are divided by their sum.
        weights_scale: Multiplies the weights after that; 1 for none.
        group_count: Experts lie in that many equal groups, of which only the best are chosen from; 1 for no groups.
        used_group_count: Groups that are chosen from.
        weighs_input: The weight multiplies an expert's input; else its output.
        shared_hidden_size: Elements between the two halves of the expert that every token uses; 0 if there is none.
        limit: Limit of the two factors between an expert's halves; 0 for none.
    """

    count: int
    used_count: int
    hidden_size: int
    gating: Gating = "softmax"
    selects_by_logits: bool = False
    normalises: bool = False
    weights_scale: float = 1.0
    group_count: int = 1
    used_group_count: int = 1
    weighs_input: bool = False
    shared_hidden_size: int = 0
    limit: float = 0.0
