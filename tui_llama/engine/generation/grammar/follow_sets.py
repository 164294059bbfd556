"""First and following characters of the parts of a grammar, as bits of classes of characters.

All characters that no set of the grammar tells apart are one class, and a set of classes is a whole number with a bit
for each.

Source: Aho, Lam, Sethi and Ullman 2006, section 4.4 (first and follow).
"""

from collections.abc import Callable, Iterable, Mapping

from tui_llama.engine.generation.grammar.nodes import (
    Characters,
    Choice,
    Node,
    OneToken,
    Repeat,
    RuleName,
    Sequence,
    code_points,
    walk,
)


class CharacterClasses:
    """The classes of the characters of a grammar.

    Args:
        rules: Its rules.
    """

    def __init__(self, rules: Iterable[Node]) -> None:
        sets = {node for rule in rules for node in walk(rule) if isinstance(node, Characters)}
        starts = {first for each in sets for first, _last in each.ranges}
        starts |= {last + 1 for each in sets for _first, last in each.ranges}
        self._starts = sorted(starts)
        self._numbers = {start: number for number, start in enumerate(self._starts)}
        self._bits = {each: self._bits_of(each) for each in sets}

    def bits(self, characters: Characters) -> int:
        """Returns the classes of a set of the grammar, or of one that was made of its classes."""
        return self._bits[characters]

    def count(self, bits: int) -> int:
        """Returns how many code points some classes have."""
        numbers = (number for number in range(len(self._starts) - 1) if bits >> number & 1)
        return sum(self._starts[each + 1] - self._starts[each] for each in numbers)

    def characters(self, bits: int) -> Characters:
        """Returns the characters of some classes; at least one."""
        numbers = (number for number in range(len(self._starts) - 1) if bits >> number & 1)
        found = Characters(code_points([(self._starts[each], self._starts[each + 1] - 1) for each in numbers]))
        self._bits[found] = bits
        return found

    def _bits_of(self, characters: Characters) -> int:
        bits = 0
        for first, last in characters.ranges:
            bits |= (1 << self._numbers[last + 1]) - (1 << self._numbers[first])
        return bits


class FollowSets:
    """Which parts of a grammar may be empty, and with which characters they begin.

    Args:
        rules: The rules of the grammar, by name.
        classes: The classes of its characters.
    """

    def __init__(self, rules: Mapping[str, Node], classes: CharacterClasses) -> None:
        self._rules = rules
        self._classes = classes
        self._empty: set[str] = set()
        self._first: dict[str, int] = dict.fromkeys(rules, 0)
        _until_stable(self._note_beginnings)

    def may_be_empty(self, node: Node) -> bool:
        """Tells whether a node may be the empty text."""
        match node:
            case Sequence(parts):
                return all(map(self.may_be_empty, parts))
            case Choice(options):
                return any(map(self.may_be_empty, options))
            case Repeat(part, least):
                return least == 0 or self.may_be_empty(part)
            case RuleName(name):
                return name in self._empty
        return False

    def first(self, node: Node) -> int:
        """Returns the characters with which a node may begin; a token by its id has none."""
        match node:
            case Characters():
                return self._classes.bits(node)
            case Sequence(parts):
                return self.first_of(parts, 0)
            case Choice(options):
                bits = 0
                for option in options:
                    bits |= self.first(option)
                return bits
            case Repeat(part):
                return self.first(part)
            case RuleName(name):
                return self._first[name]
            case OneToken():
                return 0

    def first_of(self, parts: Iterable[Node], after: int) -> int:
        """Returns the characters with which a sequence may begin, before what begins with `after`."""
        bits = 0
        for part in parts:
            bits |= self.first(part)
            if not self.may_be_empty(part):
                return bits
        return bits | after

    def of_leaves(self, leaves: Callable[[Node], bool], expanded: Callable[[Node], Node], root: str) -> dict[Node, int]:
        """Returns the nodes for which `leaves` is true, reached from the root, and the characters that may follow each.

        Inside of a leaf nothing is looked at, and what is no leaf is looked at as `expanded` gives it.
        """
        followed: dict[str, int] = {root: 0}
        found: dict[Node, int] = {}

        def note(node: Node, after: int) -> None:
            if leaves(node):
                found[node] = found.get(node, 0) | after
                return
            node = expanded(node)
            match node:
                case Sequence(parts):
                    for place, part in enumerate(parts):
                        note(part, self.first_of(parts[place + 1 :], after))
                case Choice(options):
                    for option in options:
                        note(option, after)
                case Repeat(part, _, most):
                    note(part, after if most is not None and most <= 1 else after | self.first(part))
                case RuleName(name):
                    followed[name] = followed.get(name, 0) | after

        def note_all() -> bool:
            before = dict(followed)
            for name, after in before.items():
                note(self._rules[name], after)
            return followed != before

        _until_stable(note_all)
        return found

    def _note_beginnings(self) -> bool:
        has_changed = False
        for name, rule in self._rules.items():
            first = self.first(rule)
            if first != self._first[name] or (name not in self._empty and self.may_be_empty(rule)):
                has_changed = True
                self._first[name] = first
                self._empty |= {name} if self.may_be_empty(rule) else set()
        return has_changed


def _until_stable(step: Callable[[], bool]) -> None:
    """Repeats a step until it says that nothing has changed."""
    while step():
        pass
