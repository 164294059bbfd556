"""Reads GBNF, llama.cpp's notation for grammars.

    root  ::= "yes" | "no" | (digit{1,3} [%°])
    digit ::= [0-9]

A rule ends at the end of its line, but not within brackets, nor before or behind a bar. A `#` begins a comment. Names
are letters, digits, `-` and `_`; the text of an answer is what `root` stands for. `<[7]>` and `<name>` are one token by
its id or name, `!<…>` is any other one. Escapes: \\x2 \\u4 \\U8 hexadecimal digits of a code point, \\n \\r \\t \\\\
\\" \\[ \\] \\- \\^.

Source: llama.cpp, grammars/README.md and src/llama-grammar.cpp.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tui_llama.engine.generation.grammar.nodes import (
    Characters,
    Choice,
    Node,
    OneToken,
    Ranges,
    Repeat,
    RuleName,
    Sequence,
    code_points,
    text_node,
    walk,
)
from tui_llama.errors import EngineError

ROOT: Final = "root"
MOST_REPEATS: Final = 2000
"""The most times that a number in braces may ask for; llama.cpp takes as many."""

_MOST_DEPTH: Final = 100
_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")
_BLANKS: Final = re.compile(r"(?:[ \t]|#[^\r\n]*)*")
_BLANKS_AND_LINES: Final = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")
_NEXT_BAR: Final = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*(?=\|)")
_BRACES: Final = re.compile(r"\{\s*(\d+)\s*(?:(,)\s*(\d+)?\s*)?\}")
_TOKEN_ID: Final = re.compile(r"<\[(\d+)\]>")
_TOKEN_NAME: Final = re.compile(r"<[^<>\s]+>")
_HEXADECIMAL: Final = re.compile(r"[0-9A-Fa-f]+")
_ESCAPED: Final = {"n": "\n", "r": "\r", "t": "\t", **{sign: sign for sign in '\\"[]-^'}}
_ESCAPED_DIGITS: Final = {"x": 2, "u": 4, "U": 8}
_REPEATS: Final = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_SHOWN_CHARACTERS: Final = 24

FindToken = Callable[[str], int | None]
"""Returns the token that the vocabulary writes so, or None."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """The rules of a grammar by their names; there is one named `root`."""

    rules: Mapping[str, Node]


def read_gbnf(text: str, find_token: FindToken = lambda name: None) -> Grammar:
    """Reads a grammar.

    Args:
        text: The grammar.
        find_token: Knows the tokens that `<name>` may stand for.

    Raises:
        EngineError: it is not GBNF, or a rule is missing; the message names line and column.
    """
    return _Reader(text, find_token).grammar()


class _Reader:
    def __init__(self, text: str, find_token: FindToken) -> None:
        self._text = text
        self._find_token = find_token
        self._at = 0
        self._depth = 0
        self._named_at: dict[str, int] = {}

    def grammar(self) -> Grammar:
        rules: dict[str, Node] = {}
        self._skip(_BLANKS_AND_LINES)
        while self._at < len(self._text):
            start, name = self._at, self._name("a rule begins with its name")
            self._skip(_BLANKS)
            self._expect("::=", f"“::=” follows the name of the rule “{name}”")
            if name in rules:
                raise self._wrong(f"there are two rules named “{name}”", start)
            self._skip(_BLANKS_AND_LINES)
            rules[name] = self._choice(is_nested=False)
            if self._at < len(self._text) and self._text[self._at] not in "\r\n":
                raise self._wrong(f"the rule “{name}” cannot go on so")
            self._skip(_BLANKS_AND_LINES)
        if ROOT not in rules:
            raise self._wrong(f"no rule is named “{ROOT}”, and an answer begins with that one", 0)
        missing = (node.name for rule in rules.values() for node in walk(rule) if isinstance(node, RuleName))
        for name in missing:
            if name not in rules:
                raise self._wrong(f"no rule is named “{name}”", self._named_at[name])
        return Grammar(rules)

    def _choice(self, *, is_nested: bool) -> Node:
        options = [self._sequence(is_nested)]
        while self._has_bar(is_nested):
            self._at += 1
            self._skip(_BLANKS_AND_LINES)
            options.append(self._sequence(is_nested))
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def _has_bar(self, is_nested: bool) -> bool:
        """Goes to the bar before another option, which may stand on the next line."""
        if not is_nested and (found := _NEXT_BAR.match(self._text, self._at)):
            self._at = found.end()
        return self._peek() == "|"

    def _sequence(self, is_nested: bool) -> Node:
        blanks = _BLANKS_AND_LINES if is_nested else _BLANKS
        parts: list[Node] = []
        self._skip(blanks)
        while (part := self._part()) is not None:
            self._skip(blanks)
            while (times := self._times()) is not None:
                part = Repeat(part, *times)
                self._skip(blanks)
            parts.append(part)
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _part(self) -> Node | None:
        match self._peek():
            case '"':
                node = text_node(self._quoted())
            case "[":
                node = Characters(self._character_class())
            case ".":
                self._at += 1
                node = Characters(code_points([], is_negated=True))
            case "(":
                node = self._group()
            case "<" | "!":
                node = self._token()
            case _:
                return self._rule_name()
        return node

    def _rule_name(self) -> RuleName | None:
        found = _NAME.match(self._text, self._at)
        if found is None:
            return None
        self._named_at.setdefault(found[0], self._at)
        self._at = found.end()
        return RuleName(found[0])

    def _group(self) -> Node:
        start = self._at
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise self._wrong(f"more than {_MOST_DEPTH} brackets are open")
        self._at += 1
        inside = self._choice(is_nested=True)
        if self._peek() != ")":
            message = "this bracket is not closed" if not self._peek() else "this cannot stand within brackets"
            raise self._wrong(message, start if not self._peek() else self._at)
        self._at += 1
        self._depth -= 1
        return inside

    def _times(self) -> tuple[int, int | None] | None:
        sign = self._peek()
        if sign in _REPEATS and sign:
            self._at += 1
            return _REPEATS[sign]
        if sign != "{":
            return None
        found = _BRACES.match(self._text, self._at)
        if found is None:
            raise self._wrong("braces hold a number of times, such as {3}, {3,} or {3,5}")
        least = int(found[1])
        most = least if not found[2] else int(found[3]) if found[3] else None
        if max(least, most or 0) > MOST_REPEATS or (most is not None and most < least):
            raise self._wrong(f"the numbers in braces grow, up to {MOST_REPEATS}")
        self._at = found.end()
        return least, most

    def _token(self) -> Node:
        start = self._at
        is_negated = self._peek() == "!"
        self._at += is_negated
        if found := _TOKEN_ID.match(self._text, self._at):
            token_id: int | None = int(found[1])
        elif found := _TOKEN_NAME.match(self._text, self._at):
            token_id = self._find_token(found[0])
        else:
            raise self._wrong("a token is written <name> or <[number]>", start)
        if token_id is None:
            raise self._wrong(f"the model has no token {found[0]}", start)
        self._at = found.end()
        return OneToken(token_id, is_negated)

    def _quoted(self) -> str:
        start, text = self._at, ""
        self._at += 1
        while self._peek() != '"':
            if self._peek() in ("", "\r", "\n"):
                raise self._wrong("this quotation mark is not closed", start)
            text += self._character()
        self._at += 1
        return text

    def _character_class(self) -> Ranges:
        start = self._at
        self._at += 1
        is_negated = self._peek() == "^"
        self._at += is_negated
        ranges: list[tuple[int, int]] = []
        while self._peek() != "]":
            if self._peek() in ("", "\r", "\n"):
                raise self._wrong("this bracket is not closed", start)
            first = last = ord(self._character())
            if self._text[self._at : self._at + 1] == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                last = ord(self._character())
            if last < first:
                raise self._wrong("the end of a range comes behind its begin", start)
            ranges.append((first, last))
        self._at += 1
        found = code_points(ranges, is_negated=is_negated)
        if not found:
            raise self._wrong("no character is in this class", start)
        return found

    def _character(self) -> str:
        """Reads one character or escape."""
        start, sign = self._at, self._peek()
        self._at += 1
        if sign != "\\":
            return sign
        escape = self._peek()
        self._at += 1
        if escape in _ESCAPED:
            return _ESCAPED[escape]
        digits = self._text[self._at : self._at + _ESCAPED_DIGITS.get(escape, 0)]
        is_whole = escape in _ESCAPED_DIGITS and len(digits) == _ESCAPED_DIGITS[escape]
        code_point = int(digits, 16) if is_whole and _HEXADECIMAL.fullmatch(digits) else None
        if code_point is None or not code_points([(code_point, code_point)]):
            raise self._wrong(f"“\\{escape}{digits}” is no escape", start)
        self._at += len(digits)
        return chr(code_point)

    def _name(self, complaint: str) -> str:
        found = _NAME.match(self._text, self._at)
        if found is None:
            raise self._wrong(complaint)
        self._at = found.end()
        return found[0]

    def _expect(self, sign: str, complaint: str) -> None:
        if not self._text.startswith(sign, self._at):
            raise self._wrong(complaint)
        self._at += len(sign)

    def _skip(self, blanks: re.Pattern[str]) -> None:
        found = blanks.match(self._text, self._at)
        self._at = self._at if found is None else found.end()

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _wrong(self, message: str, at: int | None = None) -> EngineError:
        at = self._at if at is None else at
        line, column = self._text.count("\n", 0, at) + 1, at - (self._text.rfind("\n", 0, at) + 1) + 1
        rest = self._text[at:].split("\n")[0].rstrip()
        shown = rest if len(rest) <= _SHOWN_CHARACTERS else f"{rest[:_SHOWN_CHARACTERS]}…"
        place = f"line {line}, column {column}" + (f", at “{shown}”" if shown else "")
        return EngineError(f"the grammar is wrong in {place}: {message}", "Mend the grammar there.")
