"""What is asked about the tokens of a whole tree, and the answer: how much of each branch has stored keys and values.

Here without NumPy, for the process that draws; `stored_tree_process.py` finds the answer.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum

import msgspec


class Stored(IntEnum):
    """How much of the own tokens of a node has keys and values on the disk."""

    NOTHING = 0
    PART = 1
    ALL = 2


class FedNode(msgspec.Struct, frozen=True, array_like=True):
    """The tokens of one node: the first `kept_tokens` of those of its parent, then its own.

    Attributes:
        node_id: Its number; parents have smaller ones, and come first.
        parent_id: Of the node that it goes on from; None for none.
        kept_tokens: How many tokens of its parent it keeps; None where it adds none to them.
        prompt_ids: Own tokens that were read, little-endian uint32.
        generated_ids: Own tokens that were generated, behind them.
    """

    node_id: int
    parent_id: int | None
    kept_tokens: int | None = None
    prompt_ids: bytes = b""
    generated_ids: bytes = b""


class StoredTreeRequest(msgspec.Struct, frozen=True):
    """Asks for all nodes of a tree, in the model's folder of the prompt cache, as an owner may use it."""

    folder: str
    owner: str
    nodes: Sequence[FedNode]


class StoredTreeAnswer(msgspec.Struct, frozen=True):
    """How much of the prompt and of the generated tokens of each node is stored, or what the disk refused."""

    nodes: Mapping[int, tuple[Stored, Stored]] = {}
    cause: str = ""
