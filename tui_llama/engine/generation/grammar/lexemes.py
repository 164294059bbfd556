"""Cuts a grammar into lexemes: regular expressions that are as large as they may be without changing what is accepted.

The engine of grammars reads lexemes with a lexer, fast, and what they form with a parser, slowly. Its lexer takes the
longest match and never goes back. GBNF knows no lexer: in `word "s"`, where a word is any letters, the word may leave
the last letter to what follows. So a regular part of a grammar is a lexeme only if, wherever it may end and something
else may go on with the next character, no lexeme that may be read at the same place could take that character, too.
Where one could, it is cut into its parts, in the worst case into single characters. A run of characters is cut only at
those with which it is confused: with C for these and S for the others, `[SC]*` is `S* (C S*)*`.
"""

from collections.abc import Mapping
from typing import Final

from tui_llama.engine.generation.grammar.follow_sets import CharacterClasses, FollowSets
from tui_llama.engine.generation.grammar.gbnf import ROOT, Grammar
from tui_llama.engine.generation.grammar.nodes import EMPTY, Characters, Choice, Node, Repeat, Sequence
from tui_llama.engine.generation.grammar.overlaps import Positions, is_confused, positions_of
from tui_llama.engine.generation.grammar.reduced import is_regular, regular_rules

_RUNS: Final = ((0, None), (1, None))


class Lexemes:
    """The lexemes of a grammar.

    Args:
        grammar: As `reduced` gives it.

    Attributes:
        rules: The rules of the grammar, in which neighbours that may be one lexeme are one node.
        regular: The rules that are regular expressions.
    """

    def __init__(self, grammar: Grammar) -> None:
        self.regular = regular_rules(grammar.rules)
        self.rules: Mapping[str, Node] = {name: self._joined(rule) for name, rule in grammar.rules.items()}
        self._classes = CharacterClasses(self.rules.values())
        self._follow = FollowSets(self.rules, self._classes)
        self._positions: dict[Node, Positions | None] = {}
        self._cut: dict[Node, Node] = {}
        while found := self._to_cut():
            self._cut |= found

    def is_lexeme(self, node: Node) -> bool:
        """Tells whether a node is a lexeme wherever it stands outside of other lexemes."""
        return node != EMPTY and node not in self._cut and is_regular(node, self.regular)

    def expanded(self, node: Node) -> Node:
        """Returns what stands in place of a node that is no lexeme: itself, or what accepts the same in lexemes."""
        return self._cut.get(node, node)

    def _to_cut(self) -> dict[Node, Node]:
        """Returns lexemes that have to be cut, and what stands in the place of each."""
        followed = self._follow.of_leaves(self.is_lexeme, self.expanded, ROOT)
        large = [node for node in followed if self._automaton(node) is None and not isinstance(node, Characters)]
        if large:
            return {node: node for node in large}
        confusing: dict[Node, list[tuple[Node, int]]] = {}
        for ended, follow in followed.items():
            for longer in followed if follow else ():
                if self._follow.first(ended) & self._follow.first(longer) and self._are_confused(ended, longer, follow):
                    confusing.setdefault(longer, []).append((ended, follow))
        return {node: self._apart(node, causes) for node, causes in confusing.items()}

    def _apart(self, node: Node, causes: list[tuple[Node, int]]) -> Node:
        """Returns a run of characters without an end, cut at those with which it is confused; any other node as it is.

        Args:
            node: A lexeme.
            causes: What it is confused with, and what may follow each.
        """
        if (
            not isinstance(node, Repeat)
            or not isinstance(node.part, Characters)
            or (node.least, node.most) not in _RUNS
        ):
            return node
        bits, single = self._classes.bits(node.part), 0
        for ended, follow in causes:
            # Either the run does not go on where `ended` may end, or it does not begin as `ended` does.
            ways = (bits & follow, bits & self._follow.first(ended)) if ended != node else (bits & follow,)
            single |= min(ways, key=self._classes.count)
        if not bits & ~single:
            return node
        others = self._classes.characters(bits & ~single)
        rest = Sequence((self._classes.characters(single), Repeat(others, 0, None)))
        begin = Repeat(others, 0, None) if node.least == 0 else Choice((Repeat(others, 1, None), rest))
        return Sequence((begin, Repeat(rest, 0, None)))

    def _are_confused(self, ended: Node, longer: Node, follow: int) -> bool:
        if isinstance(longer, Characters):
            return False
        one, other = self._automaton(ended), self._automaton(longer)
        return one is None or other is None or is_confused(one, other, follow)

    def _automaton(self, node: Node) -> Positions | None:
        if node not in self._positions:
            self._positions[node] = positions_of(node, self.rules, self._classes.bits)
        return self._positions[node]

    def _joined(self, node: Node) -> Node:
        """Returns a node in which neighbours that are regular are one sequence."""
        if is_regular(node, self.regular):
            return node
        match node:
            case Sequence(parts):
                groups: list[list[Node]] = []
                for part in parts:
                    is_next = groups and is_regular(part, self.regular) and is_regular(groups[-1][0], self.regular)
                    groups[-1].append(part) if is_next else groups.append([part])
                return Sequence(tuple(self._group(group) for group in groups))
            case Choice(options):
                return Choice(tuple(map(self._joined, options)))
            case Repeat(part, least, most):
                return Repeat(self._joined(part), least, most)
        return node

    def _group(self, parts: list[Node]) -> Node:
        return Sequence(tuple(parts)) if len(parts) > 1 else self._joined(parts[0])
