"""What of a grammar can be part of an answer that ends, and which of its rules are regular."""

from collections.abc import Mapping, Set

from tui_llama.engine.generation.grammar.gbnf import ROOT, Grammar
from tui_llama.engine.generation.grammar.nodes import (
    EMPTY,
    Choice,
    Node,
    OneToken,
    Repeat,
    RuleName,
    Sequence,
    parts_of,
    walk,
)
from tui_llama.errors import EngineError


def reduced(grammar: Grammar) -> Grammar:
    """Returns the grammar without options that never end and without rules that the root does not use.

    Raises:
        EngineError: no answer could ever end.
    """
    ending = _ending_rules(grammar.rules)
    if ROOT not in ending:
        raise EngineError(
            f"the grammar's rule “{ROOT}” has no end: each of its options needs a rule that needs itself again",
            "Give it an option that ends.",
        )
    rules = {name: _without_endless(rule, ending) for name, rule in grammar.rules.items() if name in ending}
    used, waiting = {ROOT}, [ROOT]
    while waiting:
        named = {node.name for node in walk(rules[waiting.pop()]) if isinstance(node, RuleName)}
        waiting += sorted(named - used)
        used |= named
    return Grammar({name: rule for name, rule in rules.items() if name in used})


def regular_rules(rules: Mapping[str, Node]) -> frozenset[str]:
    """Returns the rules that neither need themselves nor a token by its id: each is a regular expression."""
    regular: set[str] = set()
    while True:
        found = {name for name, rule in rules.items() if name not in regular and is_regular(rule, regular)}
        if not found:
            return frozenset(regular)
        regular |= found


def is_regular(node: Node, regular: Set[str]) -> bool:
    """Tells whether a node is a regular expression, given the rules that are."""
    return not any(
        isinstance(each, OneToken) or (isinstance(each, RuleName) and each.name not in regular) for each in walk(node)
    )


def _ending_rules(rules: Mapping[str, Node]) -> frozenset[str]:
    ending: set[str] = set()
    while True:
        found = {name for name, rule in rules.items() if name not in ending and _ends(rule, ending)}
        if not found:
            return frozenset(ending)
        ending |= found


def _ends(node: Node, ending: Set[str]) -> bool:
    match node:
        case RuleName(name):
            return name in ending
        case Choice(options):
            return any(_ends(option, ending) for option in options)
        case Repeat(_, 0):
            return True
    return all(_ends(part, ending) for part in parts_of(node))


def _without_endless(node: Node, ending: Set[str]) -> Node:
    """Returns a node that ends without its options that do not, and without empty parts."""
    match node:
        case Sequence(parts):
            left = [_without_endless(part, ending) for part in parts]
            return _sequence([part for part in left if part != EMPTY])
        case Choice(options):
            left = list(dict.fromkeys(_without_endless(option, ending) for option in options if _ends(option, ending)))
            return left[0] if len(left) == 1 else Choice(tuple(left))
        case Repeat(part, least, most):
            repeated = _without_endless(part, ending) if _ends(part, ending) and most != 0 else EMPTY
            return EMPTY if repeated == EMPTY else Repeat(repeated, least, most)
    return node


def _sequence(parts: list[Node]) -> Node:
    return parts[0] if len(parts) == 1 else Sequence(tuple(parts))
