"""Segments of stored tokens: in files of a simulated disk, whole or damaged."""

from collections.abc import Sequence

import numpy as np

from tests.fakes.fake_model import FakeModel
from tests.fakes.simulated_disk import SimulatedDisk
from tests.fakes.stored_prompts import MODEL, OWNER, sequence_of
from tui_llama.engine.prompt_cache.cache_files import SUFFIX
from tui_llama.engine.prompt_cache.segment_tree import SegmentTree
from tui_llama.engine.prompt_cache.segment_writer import append, begin_segment
from tui_llama.engine.state_file import NO_PARENT, SegmentHeader, TokenIds
from tui_llama.engine.token_sequence import stored_kv

FOLDER = "f" * 32


def as_ids(token_ids: Sequence[int]) -> TokenIds:
    return np.array(token_ids, np.uint32)


def header_of(
    number: int,
    parent_id: bytes = NO_PARENT,
    first: int = 0,
    owner: bytes = OWNER,
    *,
    is_foreign: bool = False,
    model: FakeModel = MODEL,
) -> SegmentHeader:
    segment_id = bytes([number]) * 16
    digest = model.fingerprint.chain.digest
    return SegmentHeader(model.fingerprint, model.state_shape, segment_id, parent_id, first, digest, owner, is_foreign)


class Folder:
    """A folder on a simulated disk, to which a test writes segments without a parent."""

    def __init__(self) -> None:
        self.disk = SimulatedDisk()
        self.disk.make_folder(FOLDER)

    def write(self, number: int, *turns: Sequence[int], model: FakeModel = MODEL) -> str:
        """Writes a segment that was committed after every turn; returns the name of its file."""
        header, said = header_of(number, model=model), [token_id for turn in turns for token_id in turn]
        name, rows_of = header.segment_id.hex() + SUFFIX, stored_kv(sequence_of(said, model))
        descriptor = self.disk.create(f"{FOLDER}/{name}")
        segment, chain = begin_segment(self.disk, descriptor, header), model.fingerprint.chain
        for turn in turns:
            segment = append(self.disk, descriptor, segment, chain, as_ids(turn), rows_of)
            chain = chain.extended(as_ids(turn))
        self.disk.close(descriptor)
        return name

    def read(self, name: str) -> bytes:
        content = self.disk.contents()[f"{FOLDER}/{name}"]
        assert content is not None
        return content

    def replace(self, name: str, content: bytes) -> None:
        """Puts other bytes into a file, which may not exist yet, at a later time."""
        self.disk.now += 1
        exists = f"{FOLDER}/{name}" in self.disk.contents()
        path = f"{FOLDER}/{name}"
        descriptor = self.disk.open(path, writable=True) if exists else self.disk.create(path)
        self.disk.truncate(descriptor, 0)
        self.disk.write(descriptor, memoryview(content), 0)
        self.disk.close(descriptor)

    def flip(self, name: str, place: int) -> None:
        content = self.read(name)
        self.replace(name, content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])

    def names(self) -> list[str]:
        return sorted(self.disk.list_folder(FOLDER))

    def tree(self) -> SegmentTree:
        tree = SegmentTree(self.disk, FOLDER, MODEL.fingerprint)
        tree.refresh()
        return tree
