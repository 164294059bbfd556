"""Finds pairs of regular expressions that a lexer which takes the longest match would confuse.

Source: Glushkov 1961 (an automaton whose states are the characters of the expression).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tui_llama.engine.generation.grammar.nodes import Characters, Choice, Node, Repeat, RuleName, Sequence

_MOST_EXACT_POSITIONS: Final = 64
"""A part that is repeated into more characters than these counts as repeated without an end: then more seems confused,
and nothing that is confused is missed."""
_MOST_POSITIONS: Final = 1500
_MOST_PAIRS: Final = 300_000


@dataclass(slots=True)
class _Ends:
    """The positions with which an expression may begin and end, and whether it may be empty."""

    first: list[int]
    last: list[int]
    is_empty: bool


@dataclass(slots=True)
class Positions:
    """The automaton of an expression: one state for each of its characters.

    Attributes:
        classes: The characters of each position, as bits.
        after: The positions that may follow each.
        first: The positions with which the expression may begin.
        last: The positions with which it may end.
    """

    classes: list[int] = field(default_factory=list)
    after: list[set[int]] = field(default_factory=list)
    first: list[int] = field(default_factory=list)
    last: set[int] = field(default_factory=set)


def positions_of(node: Node, rules: Mapping[str, Node], bits: Callable[[Characters], int]) -> Positions | None:
    """Returns the automaton of a regular expression; None if it is too large.

    Args:
        node: The expression.
        rules: The rules that it may name.
        bits: Returns the classes of a set of characters.
    """
    positions = Positions()
    try:
        ends = _Builder(positions, rules, bits).build(node)
    except _TooManyPositionsError:
        return None
    positions.first, positions.last = ends.first, set(ends.last)
    return positions


def is_confused(ended: Positions, longer: Positions, follow: int) -> bool:
    """Tells whether a text that `ended` accepts may go on both in `longer` and in what follows `ended`.

    True also where that takes too long to find out.

    Args:
        ended: The expression after which something else could follow.
        longer: An expression that may be read at the same time.
        follow: The characters that may follow `ended`, as bits.
    """
    waiting = [(one, other) for one in ended.first for other in longer.first]
    seen: set[tuple[int, int]] = set()
    while waiting:
        pair = waiting.pop()
        one, other = pair
        if pair in seen or not ended.classes[one] & longer.classes[other]:
            continue
        seen.add(pair)
        if len(seen) > _MOST_PAIRS:
            return True
        if one in ended.last and any(longer.classes[each] & follow for each in longer.after[other]):
            return True
        waiting += [(next_one, next_other) for next_one in ended.after[one] for next_other in longer.after[other]]
    return False


class _TooManyPositionsError(Exception):
    """Ends the making of an automaton."""


class _Builder:
    def __init__(self, positions: Positions, rules: Mapping[str, Node], bits: Callable[[Characters], int]) -> None:
        self._positions = positions
        self._rules = rules
        self._bits = bits

    def build(self, node: Node) -> _Ends:
        match node:
            case Characters():
                if len(self._positions.classes) >= _MOST_POSITIONS:
                    raise _TooManyPositionsError
                self._positions.classes.append(self._bits(node))
                self._positions.after.append(set())
                place = len(self._positions.classes) - 1
                return _Ends([place], [place], False)
            case Sequence(parts):
                ends = _Ends([], [], True)
                for part in parts:
                    ends = self._joined(ends, self.build(part))
                return ends
            case Choice(options):
                built = [self.build(option) for option in options]
                first = [place for each in built for place in each.first]
                last = [place for each in built for place in each.last]
                return _Ends(first, last, any(each.is_empty for each in built))
            case Repeat(part, least, most):
                return self._repeated(part, least, most)
            case RuleName(name):
                return self.build(self._rules[name])
        raise AssertionError("a token by its id is no regular expression")

    def _joined(self, before: _Ends, behind: _Ends) -> _Ends:
        for place in before.last:
            self._positions.after[place].update(behind.first)
        first = [*before.first, *behind.first] if before.is_empty else before.first
        last = [*before.last, *behind.last] if behind.is_empty else behind.last
        return _Ends(first, last, before.is_empty and behind.is_empty)

    def _repeated(self, part: Node, least: int, most: int | None) -> _Ends:
        start = len(self._positions.classes)
        ends = self.build(part)
        characters = len(self._positions.classes) - start
        if most is None or most * characters > _MOST_EXACT_POSITIONS:
            for place in ends.last:
                self._positions.after[place].update(ends.first)
            return _Ends(ends.first, ends.last, ends.is_empty or least == 0)
        if most == 0:
            return _Ends([], [], True)
        ends = _Ends(ends.first, ends.last, ends.is_empty or least == 0)
        for number in range(1, most):
            more = self.build(part)
            ends = self._joined(ends, _Ends(more.first, more.last, more.is_empty or number >= least))
        return ends
