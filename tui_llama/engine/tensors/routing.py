"""Memory of a routing: the arrays of layouts/routing.py for a batch, which all layers of a model share."""

import numpy as np
import numpy.typing as npt

from tui_llama.engine.layouts.routing import ROUTING, SIGMOID, SOFTMAX, SOFTMAX_OF_CHOSEN, most_input_rows
from tui_llama.engine.tensors.expert_sizes import ExpertSizes, Gating

_GATINGS: dict[Gating, int] = {"softmax": SOFTMAX, "sigmoid": SIGMOID, "softmax of chosen": SOFTMAX_OF_CHOSEN}


class Routing:
    """Arrays for the choice and the groups of one layer at a time.

    Args:
        batch_tokens: Most tokens of a batch.
        count: Most experts of a layer.
        used: Most experts that a token uses in a layer.
    """

    def __init__(self, batch_tokens: int, count: int, used: int) -> None:
        groups = min(count, batch_tokens * used)
        self.most_input_rows = most_input_rows(batch_tokens, used, count)
        self.chosen = np.zeros((batch_tokens, used), np.int32)
        self.weights = np.zeros((batch_tokens, used), np.float32)
        self.rows = np.zeros((batch_tokens, used), np.int32)
        self._groups = np.zeros(count, np.int32)
        self._group_count = np.zeros(1, np.int64)
        self._experts, self._first_rows, self._row_counts, self._first_inputs = (
            np.zeros(groups, np.int32) for _ in range(4)
        )

    def rule(self, sizes: ExpertSizes) -> npt.NDArray[np.void]:
        """Returns the rule of a layer with the addresses of the arrays, which live as long as this: () ROUTING."""
        rule = np.zeros((), ROUTING)
        rule["expert_count"], rule["used_count"] = sizes.count, sizes.used_count
        rule["expert_group_count"], rule["used_expert_group_count"] = sizes.group_count, sizes.used_group_count
        rule["gating"], rule["weights_scale"] = _GATINGS[sizes.gating], sizes.weights_scale
        for name in ("selects_by_logits", "normalises", "weighs_input"):
            rule[name] = int(getattr(sizes, name))
        arrays: dict[str, npt.NDArray[np.generic]] = {
            "chosen": self.chosen, "weights": self.weights, "rows": self.rows, "groups": self._groups,
            "experts": self._experts, "first_rows": self._first_rows, "row_counts": self._row_counts,
            "first_inputs": self._first_inputs, "group_count": self._group_count,
        }  # fmt: skip
        for name, array in arrays.items():
            rule[name] = int(array.ctypes.data)
        return rule

    def groups_of_batch(self) -> list[tuple[int, int, int]]:
        """Returns the expert, the first row and the number of rows of each group of the last batch."""
        count = int(self._group_count[0])
        parts = (self._experts, self._first_rows, self._row_counts)
        return list(zip(*(part[:count].tolist() for part in parts), strict=True))
