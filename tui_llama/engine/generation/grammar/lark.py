"""Writes a grammar in the notation of llguidance, which resembles that of the parser Lark.

Source: https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md
"""

from collections.abc import Callable, Iterable

from tui_llama.engine.generation.grammar.gbnf import ROOT, Grammar
from tui_llama.engine.generation.grammar.lexemes import Lexemes
from tui_llama.engine.generation.grammar.nodes import (
    Characters,
    Choice,
    Node,
    OneToken,
    Repeat,
    RuleName,
    Sequence,
    walk,
)
from tui_llama.engine.generation.grammar.reduced import reduced

Write = Callable[[Node], str]


def lark_of(grammar: Grammar, ends: Iterable[int] = ()) -> str:
    """Returns the text of a grammar that accepts the same.

    Args:
        grammar: What was read.
        ends: The tokens that end an answer, which no other token's place may take.

    Raises:
        EngineError: no answer could ever end.
    """
    return _Writer(Lexemes(reduced(grammar)), ends).text()


class _Writer:
    """Names rules in small letters, lexemes and what they are made of in capital ones."""

    def __init__(self, lexemes: Lexemes, ends: Iterable[int]) -> None:
        self._lexemes = lexemes
        self._ends = sorted(ends)
        self._rules: dict[str, str] = {}
        self._lines: dict[str, str] = {}
        self._lexeme_names: dict[Node, str] = {}

    def text(self) -> str:
        start = self._rule(ROOT)
        return "\n".join([f"start: {start}", *(f"{name}: {body}" for name, body in self._lines.items()), ""])

    def _rule(self, name: str) -> str:
        if name not in self._rules:
            self._rules[name] = written = f"rule_{len(self._rules)}"
            self._lines[written] = ""
            self._lines[written] = self._in_rule(self._lexemes.rules[name])
        return self._rules[name]

    def _in_rule(self, node: Node) -> str:
        if self._lexemes.is_lexeme(node):
            return self._lexeme(node)
        node = self._lexemes.expanded(node)
        match node:
            case RuleName(name):
                return self._rule(name)
            case OneToken(token_id, is_negated):
                excluded = ",".join(map(str, dict.fromkeys([token_id, *self._ends])))
                return f"<[^{excluded}]>" if is_negated else f"<[{token_id}]>"
        return _composed(node, self._in_rule)

    def _lexeme(self, node: Node) -> str:
        if node not in self._lexeme_names:
            self._lexeme_names[node] = written = f"LEXEME_{len(self._lexeme_names)}"
            self._lines[written] = ""
            self._lines[written] = self._in_lexeme(
                self._lexemes.rules[node.name] if isinstance(node, RuleName) else node
            )
        return self._lexeme_names[node]

    def _in_lexeme(self, node: Node) -> str:
        if isinstance(node, RuleName):
            return self._lexeme(node)
        if any(isinstance(each, RuleName) for each in walk(node)):
            return _composed(node, self._in_lexeme)
        return f"/{_expression(node)}/"


def _composed(node: Node, write: Write) -> str:
    match node:
        case Sequence(parts):
            return " ".join(map(write, parts)) if parts else '""'
        case Choice(options):
            return f"({' | '.join(map(write, options))})"
        case Repeat(part, least, most):
            return f"({write(part)}){_times(least, most)}"
    raise AssertionError(f"{type(node).__name__} has no parts")


def _times(least: int, most: int | None) -> str:
    if most is None and least in (0, 1):
        return "*+"[least]
    return f"{{{least},{'' if most is None else most}}}"


def _expression(node: Node) -> str:
    """Returns the regular expression of a node without rules."""
    match node:
        case Characters(ranges):
            return f"[{''.join(_range(*each) for each in ranges)}]"
        case Sequence(parts):
            return "".join(map(_expression, parts)) or "(?:)"
        case Choice(options):
            return f"(?:{'|'.join(map(_expression, options))})"
        case Repeat(part, least, most):
            return f"(?:{_expression(part)}){_times(least, most)}"
    raise AssertionError(f"{type(node).__name__} is no regular expression")


def _range(first: int, last: int) -> str:
    return f"\\x{{{first:x}}}" + (f"-\\x{{{last:x}}}" if last > first else "")
