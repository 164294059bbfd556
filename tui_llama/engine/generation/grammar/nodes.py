"""What the rules of a grammar are made of. Nodes are compared by value, so equal parts of a grammar are one."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

Ranges: TypeAlias = tuple[tuple[int, int], ...]
"""Code points: ranges with both ends, in order, without overlaps and without surrogates."""

_LAST_CODE_POINT: Final = 0x10FFFF
_SURROGATES: Final = (0xD800, 0xDFFF)


@dataclass(frozen=True, slots=True)
class Characters:
    """One character of a set, which is not empty."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Sequence:
    """Its parts, one after the other; without parts, the empty text."""

    parts: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of its options; at least one."""

    options: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Repeat:
    """Its part, `least` to `most` times; None: without an end."""

    part: "Node"
    least: int
    most: int | None


@dataclass(frozen=True, slots=True)
class RuleName:
    """What the rule of this name stands for."""

    name: str


@dataclass(frozen=True, slots=True)
class OneToken:
    """One token by its id, or any other one if it `is_negated`; its text does not matter."""

    token_id: int
    is_negated: bool = False


Node: TypeAlias = Characters | Sequence | Choice | Repeat | RuleName | OneToken


EMPTY: Final = Sequence(())


def parts_of(node: Node) -> "tuple[Node, ...]":
    """Returns the nodes of which a node consists directly."""
    match node:
        case Sequence(parts):
            return parts
        case Choice(options):
            return options
        case Repeat(part):
            return (part,)
    return ()


def walk(node: Node) -> Iterator[Node]:
    """Yields a node and all nodes inside it; rules that it names are not entered."""
    yield node
    for part in parts_of(node):
        yield from walk(part)


def text_node(text: str) -> Node:
    """Returns the node of a fixed text."""
    characters = [Characters(((ord(each), ord(each)),)) for each in text]
    return characters[0] if len(characters) == 1 else Sequence(tuple(characters))


def code_points(ranges: list[tuple[int, int]], *, is_negated: bool = False) -> Ranges:
    """Returns those of the code points up to U+10FFFF that are in a range, or in none; surrogates are left out."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return tuple(_without_surrogates(_gaps(joined) if is_negated else joined))


def _gaps(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    starts = [0, *(last + 1 for _first, last in ranges)]
    ends = [*(first - 1 for first, _last in ranges), _LAST_CODE_POINT]
    return [(start, end) for start, end in zip(starts, ends, strict=True) if start <= end]


def _without_surrogates(ranges: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    below, above = _SURROGATES[0] - 1, _SURROGATES[1] + 1
    for first, last in ranges:
        for part in ((first, min(last, below)), (max(first, above), min(last, _LAST_CODE_POINT))):
            if part[0] <= part[1]:
                yield part
