"""The tree of segments: which of them hold given tokens, and which nobody can use."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.segments import FOLDER, as_ids, header_of
from tests.fakes.simulated_disk import SimulatedDisk
from tests.fakes.stored_prompts import OTHER_OWNER, OWNER
from tui_llama.engine.prompt_cache.cache_files import SUFFIX
from tui_llama.engine.prompt_cache.owner import served_owner_id
from tui_llama.engine.prompt_cache.segment_tree import KnownSegment, PathPart, SegmentTree, has_foreign, tokens_of
from tui_llama.engine.state_file import NO_PARENT, Commit, Segment


def known_segment(
    number: int,
    token_ids: Sequence[int],
    parent: KnownSegment | None = None,
    first: int = 0,
    *,
    owner: bytes = OWNER,
    is_foreign: bool = False,
) -> KnownSegment:
    """A segment that is in no file."""
    parent_id = NO_PARENT if parent is None else parent.segment_id
    header = header_of(number, parent_id, first, owner, is_foreign=is_foreign)
    commit = Commit(first + len(token_ids), 0, 0, 0, 0)
    segment = Segment(header, header.chain_digest, as_ids(token_ids), (), (commit,))
    return KnownSegment(header.segment_id.hex() + SUFFIX, segment, 0, 0.0)


def tree_of(*segments: KnownSegment) -> SegmentTree:
    tree = SegmentTree(SimulatedDisk(), FOLDER)
    for known in segments:
        tree.add(known)
    return tree


def parts(path: list[PathPart]) -> list[tuple[int, int, int]]:
    """The number of each segment of a path, and the positions that it gives."""
    return [(part.known.segment_id[0], part.first, part.last) for part in path]


ROOT = known_segment(1, [1, 2, 3, 4])
CHILD = known_segment(2, [7, 8, 9], ROOT, 2)
GRANDCHILD = known_segment(3, [5, 6], CHILD, 4)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ([], []),
        ([9], []),
        ([1], [(1, 0, 1)]),
        ([1, 2, 3, 4, 5], [(1, 0, 4)]),
        ([1, 2, 7, 9], [(1, 0, 2), (2, 2, 3)]),
        ([1, 2, 7, 8, 9, 9], [(1, 0, 2), (2, 2, 5)]),
        ([1, 2, 7, 8, 5, 6, 7], [(1, 0, 2), (2, 2, 4), (3, 4, 6)]),
        ([1, 2, 7, 7, 5, 6], [(1, 0, 2), (2, 2, 3)]),
        ([1, 3, 7, 8], [(1, 0, 1)]),
    ],
)
def test_the_longest_known_prefix_is_found_along_the_branches(
    asked: list[int], expected: list[tuple[int, int, int]]
) -> None:
    path = tree_of(ROOT, CHILD, GRANDCHILD).find(as_ids(asked))
    assert parts(path) == expected
    assert tokens_of(path).tolist() == asked[: expected[-1][2] if expected else 0]


def test_a_foreign_segment_and_what_goes_on_from_it_are_found_by_their_owner_only() -> None:
    foreign = known_segment(4, [1, 2, 3, 4, 5], is_foreign=True)
    after = known_segment(5, [6, 7], foreign, 5, owner=OTHER_OWNER)
    tree = tree_of(foreign, after)
    asked = as_ids([1, 2, 3, 4, 5, 6, 7])
    assert tree.find(asked) == tree.find(asked, OTHER_OWNER) == []
    path = tree.find(asked, OWNER)
    assert parts(path) == [(4, 0, 5), (5, 5, 7)]
    assert has_foreign(path)


def test_a_served_program_finds_nothing_of_a_chat_and_nothing_that_goes_on_from_a_chat() -> None:
    program, other_program = (bytes.fromhex(served_owner_id(text)) for text in (b"one", b"two"))
    after_chat = known_segment(4, [5, 6], ROOT, 4, owner=program)
    served = known_segment(5, [1, 2, 3], owner=other_program)
    tree = tree_of(ROOT, after_chat, served)
    asked = as_ids([1, 2, 3, 4, 5, 6])
    assert parts(tree.find(asked, program)) == [(5, 0, 3)]
    assert parts(tree.find(asked, OWNER)) == [(1, 0, 4), (4, 4, 6)]


@pytest.mark.parametrize("foreign_comes_first", [True, False])
def test_of_equally_long_paths_the_one_without_foreign_segments_is_taken(foreign_comes_first: bool) -> None:
    foreign, longer = known_segment(4, [1, 2, 3], is_foreign=True), known_segment(5, [1, 2, 3, 4], is_foreign=True)
    segments = [foreign, ROOT] if foreign_comes_first else [ROOT, foreign]
    path = tree_of(*segments).find(as_ids([1, 2, 3]), OWNER)
    assert parts(path) == [(1, 0, 3)]
    assert not has_foreign(path)
    assert parts(tree_of(known_segment(1, [1, 2, 3]), longer).find(as_ids([1, 2, 3, 4]), OWNER)) == [(5, 0, 4)]


def test_a_segment_that_begins_after_its_parents_end_is_nobodys_child() -> None:
    at_the_end, beyond = known_segment(4, [5], ROOT, 4), known_segment(5, [6], ROOT, 5)
    tree = tree_of(ROOT, at_the_end, beyond)
    assert tree.children(ROOT) == [at_the_end]
    assert tree.orphans() == [beyond]
    assert parts(tree.find(as_ids([1, 2, 3, 4, 5, 6]))) == [(1, 0, 4), (4, 4, 5)]


def test_a_segment_and_all_that_goes_on_from_it_are_orphans_once_their_parent_is_gone() -> None:
    tree = tree_of(ROOT, CHILD, GRANDCHILD)
    assert tree.orphans() == []
    tree.forget(ROOT.name)
    assert tree.orphans() == [CHILD, GRANDCHILD]
    assert list(tree.paths()) == []
    assert tree.find(as_ids([1, 2, 7])) == []


def test_parents_are_found_by_their_children() -> None:
    tree = tree_of(ROOT, CHILD)
    assert (tree.parent(CHILD), tree.parent(ROOT)) == (ROOT, None)
    tree.forget(ROOT.name)
    assert tree.parent(CHILD) is None


def test_a_segment_is_needed_up_to_where_its_last_child_begins() -> None:
    early, beyond = known_segment(4, [5], ROOT, 1), known_segment(5, [6], ROOT, 9)
    assert tree_of(ROOT).kept_until(ROOT) == 0
    assert tree_of(ROOT, CHILD).kept_until(CHILD) == 2
    assert tree_of(ROOT, CHILD, early, beyond).kept_until(ROOT) == 2


def test_paths_lead_to_every_usable_segment_once_and_to_children_before_their_parents() -> None:
    sibling, other_root = known_segment(4, [5], ROOT, 3), known_segment(5, [9])
    orphan = known_segment(7, [1], known_segment(6, [1]), 1)
    tree = tree_of(ROOT, CHILD, GRANDCHILD, sibling, other_root, orphan)
    paths = list(tree.paths())
    assert sorted([known.name for known in path] for path in paths) == sorted(
        [known.name for known in path]
        for path in ([ROOT], [ROOT, CHILD], [ROOT, CHILD, GRANDCHILD], [ROOT, sibling], [other_root])
    )
    seen: set[str] = set()
    for path in paths:
        assert not seen & {known.name for known in path}
        seen.add(path[-1].name)


def test_a_segment_that_was_added_again_replaces_the_one_before() -> None:
    tree = tree_of(ROOT, CHILD)
    longer = known_segment(1, [1, 2, 3, 4, 5])
    tree.add(longer)
    assert len(tree) == 2
    assert tree.get(ROOT.name) is tree.parent(CHILD) is longer
    tree.forget(longer.name)
    tree.forget(longer.name)
    assert [known.name for known in tree] == [CHILD.name]


BRANCHES = st.lists(
    st.tuples(st.integers(0, 6), st.integers(1, 5), st.lists(st.integers(0, 1), min_size=1, max_size=4)), max_size=8
)


@given(BRANCHES, st.lists(st.integers(0, 1), max_size=10))
def test_no_path_is_longer_than_the_one_that_is_found(
    branches: list[tuple[int, int, list[int]]], asked: list[int]
) -> None:
    segments: list[KnownSegment] = []
    texts: list[list[int] | None] = []  # all tokens up to the end of each segment; None for those that nobody can use
    for number, (parent, offset, own) in enumerate(branches, 1):
        if parent == 0 or parent > len(segments):
            segments.append(known_segment(number, own))
            texts.append(own)
        else:
            first = segments[parent - 1].first + offset
            text = texts[parent - 1]
            segments.append(known_segment(number, own, segments[parent - 1], first))
            texts.append(None if text is None or first > len(text) else text[:first] + own)
    longest = max(
        (next(n for n in range(len(asked), -1, -1) if text[:n] == asked[:n]) for text in texts if text is not None),
        default=0,
    )
    path = tree_of(*segments).find(as_ids(asked))
    assert tokens_of(path).tolist() == asked[:longest]
    assert [part.last for part in path[:-1]] == [part.first for part in path[1:]]
