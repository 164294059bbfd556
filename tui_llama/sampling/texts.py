r"""Texts in the settings of sampling: the order of samplers, the sequence breakers of DRY, the biases of tokens.

    samplers               penalties;dry;top_k;min_p;temperature
    dry_sequence_breakers  \n : " \sand\s
    logit_bias             15043+1 29905-inf "\nOnce"-2.5

Names and letters of samplers are llama.cpp's (common/sampling.cpp).
"""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from tui_llama.declarations import TextForm

LETTERS: Final = {
    "penalties": "e",
    "dry": "d",
    "top_n_sigma": "s",
    "top_k": "k",
    "typ_p": "y",
    "top_p": "p",
    "min_p": "m",
    "xtc": "x",
    "temperature": "t",
    "adaptive_p": "a",
}
"""The samplers in their usual order, and the letter of each for a text without names; adaptive_p is not usual."""

USUAL_SAMPLERS: Final = tuple(name for name in LETTERS if name != "adaptive_p")
_OTHER_NAMES: Final = {
    "nucleus": "top_p",
    "temp": "temperature",
    "typ": "typ_p",
    "typical": "typ_p",
    "typicalp": "typ_p",
}
_NAMES: Final = {name.replace("_", ""): name for name in LETTERS} | _OTHER_NAMES
_MOST_SAMPLERS: Final = 32

_NONE: Final = "none"
_MOST_BREAKERS: Final = 32
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "s": " ", "\\": "\\", '"': '"', "'": "'"}
_ESCAPE: Final = re.compile(r"\\(.?)", re.DOTALL)

_MOST_BIASES: Final = 1000
_BIAS: Final = re.compile(
    r"""[\s,]* (?: (?P<id>\d{1,9}) | (?P<text>"(?:[^"\\]|\\.)*") )
    (?P<bias>[+-] (?: inf | (?:\d+(?:\.\d*)?|\.\d+) (?:e[+-]?\d{1,3})? ) ) (?=[\s,]|\Z)""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)


class TokenBias(NamedTuple):
    """What is added to the logit of a token, or of each token of a text; minus infinity rules them out."""

    token: int | str
    bias: float


def read_samplers(text: str) -> tuple[str, ...]:
    """Returns the names of the samplers in their order.

    Args:
        text: Names with ; or , between them, as llama.cpp writes them; or the letters of `LETTERS`.

    Raises:
        ValueError: there is no such sampler; says which.
    """
    words = [word for word in re.split(r"[;,\s]+", text.strip()) if word]
    if len(words) == 1 and _plain(words[0]) not in _NAMES and set(words[0].lower()) <= set(LETTERS.values()):
        by_letter = {letter: name for name, letter in LETTERS.items()}
        names = [by_letter[letter] for letter in words[0].lower()]
    else:
        unknown = next((word for word in words if _plain(word) not in _NAMES), None)
        if unknown is not None:
            raise ValueError(f"there is no sampler {unknown[:40]!r}")
        names = [_NAMES[_plain(word)] for word in words]
    if len(names) > _MOST_SAMPLERS:
        raise ValueError(f"there are more than {_MOST_SAMPLERS} samplers")
    return tuple(names)


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def samplers_text(names: Iterable[str]) -> str:
    """Returns the text that `read_samplers` reads as these names."""
    return ";".join(names)


def read_breakers(text: str) -> tuple[str, ...]:
    r"""Returns the sequence breakers of a text, in which blanks separate them and \s is a blank.

    Raises:
        ValueError: there are too many, or a backslash stands before another character than `_ESCAPES` has.
    """
    words = [] if text.strip().lower() == _NONE else text.split()
    if len(words) > _MOST_BREAKERS:
        raise ValueError(f"there are more than {_MOST_BREAKERS} sequence breakers")
    return tuple(_ESCAPE.sub(_meant, word) for word in words)


def _meant(match: re.Match[str]) -> str:
    if match[1] not in _ESCAPES:
        raise ValueError(rf"\{match[1]} means nothing")
    return _ESCAPES[match[1]]


def breakers_text(breakers: Iterable[str]) -> str:
    """Returns the text that `read_breakers` reads as these sequence breakers; empty ones are left out."""
    written = {"\\": "\\\\", " ": r"\s", "\n": r"\n", "\t": r"\t", "\r": r"\r"}
    words = ["".join(written.get(character, character) for character in each) for each in breakers if each]
    return " ".join(words) or _NONE


def _joined_breakers(options: Sequence[str]) -> str:
    r"""Returns the text for options that each have one breaker, in which \n means a new line and blanks stay."""
    if [each.strip().lower() for each in options] == [_NONE]:
        return _NONE
    known = re.compile(r"\\([" + re.escape("".join(_ESCAPES)) + "])")
    return breakers_text(known.sub(lambda match: _ESCAPES[match[1]], each) for each in options)


def read_biases(text: str) -> tuple[TokenBias, ...]:
    """Returns the biases of a text, as in 15043+1 29905-inf "Once"-2.

    Raises:
        ValueError: a part of the text is no bias; says which.
    """
    biases: list[TokenBias] = []
    place, text = 0, text.strip(" \t\r\n,")
    while place < len(text):
        match = _BIAS.match(text, place)
        if match is None:
            raise ValueError(f"{text[place : place + 40].strip()!r} is no bias of a token")
        bias = float(match["bias"])
        if bias == math.inf:
            raise ValueError("a bias of +inf would choose nothing else")
        biases.append(TokenBias(_text_in(match["text"]) if match["id"] is None else int(match["id"]), bias))
        place = match.end()
    if len(biases) > _MOST_BIASES:
        raise ValueError(f"there are more than {_MOST_BIASES} biases")
    return tuple(biases)


def _text_in(quoted: str) -> str:
    try:
        return msgspec.json.decode(quoted, type=str)
    except msgspec.DecodeError as error:
        raise ValueError(f"{quoted[:40]} is no text in JSON") from error


def biases_text(biases: Iterable[TokenBias]) -> str:
    """Returns the text that `read_biases` reads as these biases."""
    return " ".join(f"{msgspec.json.encode(each.token).decode()}{each.bias:+}" for each in biases)


SAMPLERS_FORM: Final = TextForm(read_samplers, f"names with ; between them, of {', '.join(LETTERS)}")
BREAKERS_FORM: Final = TextForm(
    read_breakers,
    r"texts with blanks between them, in which \n is a new line and \s a blank; or none",
    _joined_breakers,
)
BIASES_FORM: Final = TextForm(
    read_biases, 'biases such as 15043+1 (a token), 29905-inf (never) and "Once"-2 (a text in quotes)', " ".join
)
