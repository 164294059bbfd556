"""A process that tells how much of each branch of a tree of tokens has stored keys and values.

It is a process of its own, as `owners_process` is: segments are read with NumPy, and an engine that answers takes no
questions meanwhile. It reads a `StoredTreeRequest` from standard input and writes a `StoredTreeAnswer`, both in
MessagePack.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from tui_llama.engine.prompt_cache.segment_tree import SegmentTree
from tui_llama.engine.prompt_cache.stored_tree import FedNode, Stored, StoredTreeAnswer, StoredTreeRequest
from tui_llama.engine.state_file import TokenIds
from tui_llama.files.locks import cause_of
from tui_llama.files.storage import DiskStorage

_ID = np.dtype("<u4")


def main(_arguments: Sequence[str]) -> None:
    """Answers one request."""
    request = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=StoredTreeRequest)
    folder = Path(request.folder)
    tree = SegmentTree(DiskStorage(folder.parent), folder.name)
    try:
        tree.refresh()
    except FileNotFoundError:
        answer = StoredTreeAnswer()
    except OSError as error:
        answer = StoredTreeAnswer(cause=cause_of(error))
    else:
        answer = StoredTreeAnswer(stored_parts(tree, request.nodes, bytes.fromhex(request.owner)))
    sys.stdout.buffer.write(msgspec.msgpack.encode(answer))
    sys.stdout.buffer.flush()


def stored_parts(tree: SegmentTree, nodes: Sequence[FedNode], owner: bytes) -> dict[int, tuple[Stored, Stored]]:
    """Returns how much of the prompt and of the generated tokens of each node is stored; none for one without tokens.

    What ends a node was stored when it was written, so where a later node can go on, an earlier one could. So only the
    ends of branches are looked up, and nodes that end where another one goes on take what is known of that.
    """
    ids = _ids_of(nodes)
    lengths: dict[int, int] = {}
    for node in reversed(nodes):
        own = ids[node.node_id]
        reached = lengths.get(node.node_id)
        if reached is None:
            path = tree.find_restorable(own, owner) if len(own) else []
            reached = path[-1].last if path else 0
        lengths[node.node_id] = min(reached, len(own))
        before = None if node.parent_id is None else ids[node.parent_id]
        if node.parent_id is not None and before is not None and _goes_on(node, len(before)):
            lengths[node.parent_id] = max(lengths.get(node.parent_id, 0), min(reached, len(before)))
    return {
        node.node_id: _parts(node, lengths[node.node_id], len(ids[node.node_id]))
        for node in nodes
        if node.kept_tokens is not None
    }


def _ids_of(nodes: Sequence[FedNode]) -> dict[int, TokenIds]:
    """Returns the tokens of each node from the root on; a node that adds none shares the array of its parent."""
    ids: dict[int, TokenIds] = {}
    nothing = np.empty(0, np.uint32)
    for node in nodes:
        before = nothing if node.parent_id is None else ids.get(node.parent_id, nothing)
        if node.kept_tokens is not None:
            own = np.frombuffer(node.prompt_ids + node.generated_ids, _ID)
            before = np.concatenate((before[: node.kept_tokens], own)).astype(np.uint32)
        ids[node.node_id] = before
    return ids


def _goes_on(node: FedNode, parent_tokens: int) -> bool:
    """Tells whether a node has all tokens of its parent at its beginning."""
    return node.kept_tokens is None or node.kept_tokens >= parent_tokens


def _parts(node: FedNode, reached: int, total: int) -> tuple[Stored, Stored]:
    """Returns how much of the prompt and of the generated tokens of a node the first `reached` tokens hold.

    The last token of an answer was sampled, and is read only when something follows it; it counts as stored.
    """
    kept, generated = node.kept_tokens or 0, len(node.generated_ids) // _ID.itemsize
    begin = total - generated
    prompt = _part(reached, kept, begin)
    return prompt, _part(reached, begin, max(begin, total - 1)) if generated else prompt


def _part(reached: int, first: int, last: int) -> Stored:
    return Stored.ALL if reached >= last else Stored.PART if reached > first else Stored.NOTHING
