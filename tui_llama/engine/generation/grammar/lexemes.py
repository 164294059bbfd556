"""Cuts a grammar into lexemes: regular expressions that are as large as they may be without changing what is accepted.

The engine of grammars reads lexemes with a lexer, fast, and what they form with a parser, slowly. Its lexer takes the
longest match and never goes back. GBNF knows no lexer: in `word "s"`, where a word is any letters, the word may leave
the last letter to what follows. So a regular part of a grammar is a lexeme only if, wherever it may end and something
else may go on with the next character, no lexeme that may be read at the same place could take that character, too.
Where one could, it is cut into its parts, in the worst case into single characters.
"""

from collections.abc import Mapping

from tui_llama.engine.generation.grammar.follow_sets import CharacterClasses, FollowSets
from tui_llama.engine.generation.grammar.gbnf import ROOT, Grammar
from tui_llama.engine.generation.grammar.nodes import EMPTY, Characters, Choice, Node, Repeat, Sequence
from tui_llama.engine.generation.grammar.overlaps import Positions, is_confused, positions_of
from tui_llama.engine.generation.grammar.reduced import is_regular, regular_rules


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
        self._cut: set[Node] = set()
        while found := self._to_cut():
            self._cut |= found

    def is_lexeme(self, node: Node) -> bool:
        """Tells whether a node is a lexeme wherever it stands outside of other lexemes."""
        return node != EMPTY and node not in self._cut and is_regular(node, self.regular)

    def _to_cut(self) -> set[Node]:
        """Returns lexemes that have to be cut."""
        followed = self._follow.of_leaves(self.is_lexeme, ROOT)
        large: set[Node] = {
            node for node in followed if self._automaton(node) is None and not isinstance(node, Characters)
        }
        if large:
            return large
        return {
            longer
            for ended, follow in followed.items()
            if follow
            for longer in followed
            if self._follow.first(ended) & self._follow.first(longer) and self._are_confused(ended, longer, follow)
        }

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
