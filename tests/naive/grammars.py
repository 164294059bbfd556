"""The obvious twin of a grammar: which texts it accepts, found by trying everything."""

from collections.abc import Mapping

from tui_llama.engine.generation.grammar.gbnf import ROOT, Grammar
from tui_llama.engine.generation.grammar.nodes import Characters, Choice, Node, Repeat, RuleName, Sequence


def accepts(grammar: Grammar, text: str) -> bool:
    """Tells whether a text is all of what the root stands for."""
    ends: dict[tuple[str, int], frozenset[int]] = {}
    while True:
        found = {
            (name, at): _ends(rule, text, at, ends)
            for name, rule in grammar.rules.items()
            for at in range(len(text) + 1)
        }
        if found == ends:
            return len(text) in ends[ROOT, 0]
        ends = found


def _ends(node: Node, text: str, at: int, ends: Mapping[tuple[str, int], frozenset[int]]) -> frozenset[int]:
    """Returns where a node may end that begins at a place, as far as is known of the rules."""
    match node:
        case Characters(ranges):
            is_one = at < len(text) and any(first <= ord(text[at]) <= last for first, last in ranges)
            return frozenset({at + 1} if is_one else ())
        case Sequence(parts):
            places = frozenset({at})
            for part in parts:
                places = frozenset(end for place in places for end in _ends(part, text, place, ends))
            return places
        case Choice(options):
            return frozenset(end for option in options for end in _ends(option, text, at, ends))
        case Repeat(part, least, most):
            places, found = frozenset({at}), frozenset({at} if least == 0 else ())
            for count in range(1, (least + len(text) + 1 if most is None else most) + 1):
                places = frozenset(end for place in places for end in _ends(part, text, place, ends))
                found |= places if count >= least else frozenset()
            return found
        case RuleName(name):
            return ends.get((name, at), frozenset())
    raise AssertionError("a token has no text")
