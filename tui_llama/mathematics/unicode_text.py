r"""Turns simple LaTeX mathematics into readable Unicode, such as `x_i^2 \le \frac{a}{b}` into "xᵢ² ≤ a/b".

It says nothing rather than something wrong: what it does not know, and what one line cannot show (matrices, cases),
is None, and the reader gets the source. Libraries that do this (pylatexenc 2, unicodeit) drop commands that they do not
know, and write \frac{a+b}{2} as a+b/2.
"""

import re
from typing import Final
from unicodedata import normalize

from tui_llama.mathematics.symbols import (
    ACCENTS,
    DOUBLE_STRUCK,
    FUNCTIONS,
    LOWERED,
    PLAIN_STYLES,
    RAISED,
    RELATIONS,
    SCRIPT,
    SPACES,
    SYMBOLS,
)

LONGEST_SOURCE: Final = 400  # characters; what is longer is not simple
_MOST_NESTED: Final = 12
_TOKEN: Final = re.compile(r"\\(?:[A-Za-z]+|.)|\s+|.", re.DOTALL)
_SPACED: Final = frozenset("=<>+")
_LETTERS: Final = {"-": "−", "'": "′", "~": " "}
_SIMPLE: Final = re.compile(r"[\w.,′∞∂]+")  # needs no parentheses above or below the line of a fraction
_ROOTS: Final = {"": "√", "2": "√", "3": "∛", "4": "∜"}
_IGNORED: Final = frozenset(
    [
        "displaystyle",
        "limits",
        "nolimits",
        "left",
        "right",
        "big",
        "Big",
        "bigl",
        "bigr",
        "Bigl",
        "Bigr",
        "bigg",
        "Bigg",
    ]
)


class _NotSimpleError(Exception):
    """There is something that one line of text cannot show."""


def unicode_of(source: str) -> str | None:
    """Returns the text of a formula, without its dollar signs, or None if it is not simple."""
    if len(source) > LONGEST_SOURCE or "\n\n" in source:
        return None
    try:
        shown = _Reader(source).read_all()
    except _NotSimpleError:
        return None
    return normalize("NFC", re.sub(r" {2,}", " ", shown).strip())


class _Reader:
    """Reads one formula from left to right."""

    def __init__(self, source: str) -> None:
        self._tokens = _TOKEN.findall(source.strip())
        self._place = 0
        self._depth = 0

    def read_all(self) -> str:
        shown = self._sequence()
        if self._place < len(self._tokens):
            raise _NotSimpleError  # a bracket was closed that was not opened
        return shown

    def _peek(self) -> str:
        return self._tokens[self._place] if self._place < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        if not token:
            raise _NotSimpleError
        self._place += 1
        return token

    def _sequence(self, end: str = "") -> str:
        """Reads up to the token `end`, which stays, or to the end."""
        shown: list[str] = []
        while (token := self._peek()) and token not in (end, "}"):
            shown.append(self._atom())
        return "".join(shown)

    def _atom(self) -> str:
        token = self._next()
        match token:
            case "{":
                return self._rest_of_group()
            case "^":
                return _script(self._argument(), RAISED, "^")
            case "_":
                return _script(self._argument(), LOWERED, "_")
            case "&" | "#" | "%" | "}" | "$":
                raise _NotSimpleError
        if token.startswith("\\"):
            return self._command(token[1:])
        if token.isspace():
            return " "
        return f" {token} " if token in _SPACED else _LETTERS.get(token, token)

    def _rest_of_group(self) -> str:
        self._depth += 1
        if self._depth > _MOST_NESTED:
            raise _NotSimpleError
        shown = self._sequence()
        if self._next() != "}":
            raise _NotSimpleError
        self._depth -= 1
        return shown

    def _argument(self) -> str:
        """Reads what a command takes: a group, or one character or command."""
        while self._peek().isspace():
            self._next()
        if self._peek() in ("^", "_", "}"):
            raise _NotSimpleError
        return self._atom().strip()

    def _command(self, name: str) -> str:
        if (shown := SYMBOLS.get(name, SPACES.get(name))) is not None:
            return shown
        if name in RELATIONS:
            return f" {RELATIONS[name]} "
        if name in FUNCTIONS:
            return f" {name}" + (" " if re.match(r"\s|[^\W_]|\\[A-Za-z]", self._peek()) else "")
        if name in ("{", "}", "$", "%", "&", "#", "_", "|"):
            return "‖" if name == "|" else name
        if name in _IGNORED:
            return self._after_ignored()
        return self._with_argument(name)

    def _after_ignored(self) -> str:
        if self._peek() == ".":  # `\left.` is a bracket that is not shown
            self._next()
        return ""

    def _with_argument(self, name: str) -> str:
        match name:
            case "frac" | "dfrac" | "tfrac":
                return f"{_grouped(self._argument())}/{_grouped(self._argument())}"
            case "sqrt":
                return self._root()
            case "mathbb" | "mathcal" | "mathscr":
                return _letters(self._argument(), DOUBLE_STRUCK if name == "mathbb" else SCRIPT)
            case "boxed":
                return f"[{self._argument()}]"
        if name in PLAIN_STYLES:
            return self._words() if self._peek() == "{" else self._argument()
        letter = self._argument() if name in ACCENTS else ""
        if len(letter) != 1:
            raise _NotSimpleError
        return letter + ACCENTS[name]

    def _words(self) -> str:
        """Reads a group of plain words."""
        self._next()
        words: list[str] = []
        while (token := self._next()) != "}":
            if token[0] in "\\{$^_":
                raise _NotSimpleError
            words.append(token)
        return "".join(words)

    def _root(self) -> str:
        degree = ""
        if self._peek() == "[":
            self._next()
            degree = self._sequence("]")
            self._next()
        if degree not in _ROOTS:
            raise _NotSimpleError
        return _ROOTS[degree] + _grouped(self._argument())


def _grouped(shown: str) -> str:
    """Puts an expression into parentheses, unless it is a number or a word."""
    return shown if _SIMPLE.fullmatch(shown) else f"({shown})"


def _script(shown: str, letters: dict[str, str], mark: str) -> str:
    """Raises or lowers an expression; keeps the mark if there are no such letters."""
    tight = shown.replace(" ", "")
    if tight == "∘" and mark == "^":
        return "°"
    if tight and all(letter in letters for letter in tight):
        return "".join(map(letters.__getitem__, tight))
    return mark + (tight if len(tight) == 1 else f"({shown})")


def _letters(shown: str, letters: dict[str, str]) -> str:
    if not shown or any(letter not in letters for letter in shown):
        raise _NotSimpleError
    return "".join(map(letters.__getitem__, shown))
