"""Detects that an answer is in a loop: that it ends in the same passage over and over, token for token.

The rule. A passage is what the answer repeats at its end: its last 1 … 1024 tokens, wherever in the loop they begin.
Its repeats are counted by its shortest period: "ha ha ha ha" is four times "ha" and never two times "ha ha". A period
inside another one is counted separately: a verse that ends in "la la la la" counts as a verse when it comes back. The
answer ends when the passage has been repeated this often, with nothing in between:

    prose         3 times           at least 32 tokens, and at least half of them (or 64) distinct; at least 3 of 4
                                    characters are letters or blanks
    other text   12 times, and 48 tokens in all: short passages
    rows         12 times, and 512 tokens in all: rows of a table, markup, data with words in it, lines of code
    signs        12 times, and 1024 tokens in all: passages without a word

A word consists of letters, two of which differ. In scripts without blanks between words, one letter is a word. One
letter is also a word where a passage consists only of single letters with blanks between them, such as "I I I".
Numbers (0x00 and 1e-5 too), tags, entities, commands of LaTeX and words that stand for a value, such as "null", are not
words. So rows of zeros, empty cells of an HTML table, matrices, rulers, borders and blanks are signs: they are often
intended.

A passage is rows if at least half of its lines have the mark of a row, such as a bar, a tag, a bracket after a name or
an indent, or if each line is one word. A line that contains the end of a sentence counts only for a bar, a tab or a
tag.

The guard sees token ids and the bytes of each token. It does not see logits, and never changes a token.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

LONGEST_PASSAGE: Final = 1024
PROSE_REPEATS: Final = 3
PROSE_TOKENS: Final = 32
VARIED_TOKENS: Final = 64
REPEATS: Final = 12
TEXT_TOKENS: Final = 48
ROW_TOKENS: Final = 512
SIGN_TOKENS: Final = 1024

_LETTER_SHARE: Final = 0.75
_MARKUP: Final = re.compile(r"<[^<>]*>|&#?\w+;|\\[A-Za-z]+")
_SEAMS: Final = (
    re.compile(rb"(?<=\n)"),
    re.compile(rb"(?=\s)"),
    re.compile(rb"(?=[^\w\x80-\xff])"),
    re.compile(rb"(?=[^\x80-\xbf])"),
)
_BEGIN_OF_MARKUP: Final = re.compile(r"[<&\\]")
_NUMBER: Final = re.compile(r"\w*\d\w*")
_WORD: Final = re.compile(r"[^\W\d_]{2,}")
_LETTER_OF_UNSPACED_SCRIPT: Final = re.compile(  # Thai, Lao, Burmese, Khmer, kana, bopomofo, hangul, Yi, ideograms
    r"(?=[^\W\d_])[\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u3096\u30a1-\u30fa\u3105-\u318e\u31a0-\u31ff"
    r"\u3400-\ua4cf\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]"
)
_SINGLE_LETTERS: Final = re.compile(r"\s+[^\W\d_](?:\s+[^\W\d_])*\s*|[^\W\d_](?:\s+[^\W\d_])*\s+")
_VALUES: Final = frozenset({"true", "false", "null", "none", "nil", "nan", "inf", "na", "undefined"})

_TABLE: Final = re.compile(r"\||\t|</?[A-Za-z][^<>]*>")
_CODE: Final = re.compile(
    r"""
    [{}=\\] | ; $                         # blocks, assignments, attributes, commands of LaTeX, ends of statements
    | \w\( (?! s\) )                      # a call, and no "item(s)"
    | [^\W_]_[^\W_] | :: | -> | &&        # snake_case, paths, arrows
    | \w\w\. (?: [a-z_]\w | [A-Z][A-Z_\d] )  # np.nan, Color.RED; no "Paris.The"
    | ["'\]] \s* , \s* (?: ["'\[] | $ )    # a list of strings
    | ["'] : \s | ^ [a-z_][\w-]* : (?: \s | $ )  # keys
    | [^\W\d\u0e00-\U0010ffff],\w | \w,[^\W\d\u0e00-\U0010ffff]  # CSV, of scripts that have blanks elsewhere
    | ^ \w+ (?: \ \w+ )? (?: ,\ \w+ (?: \ \w+ )? )+ $  # cells of a word or two
    | \[ $ | ^ \] | ^ \$\                 # lists, commands for a shell
    """,
    re.VERBOSE,
)
_INDENT: Final = re.compile(r"\s{2,}(?![-*+•] |\d+[.)] )")
_ONE_WORD: Final = re.compile(r"\W*(?:[^\W\u0e00-\U0010ffff]+|\w(?:\W+\w)*)\W*")
_END_OF_SENTENCE: Final = re.compile(r"[^\W\d_]{2}[.!?…]+(?:\s|$)|[。！？।؟]")

_NO_TOKEN: Final = -1
_MEMORY_TOKENS: Final = 8 * LONGEST_PASSAGE


class LoopGuard:
    """Watches one answer.

    Args:
        piece: Returns the bytes of a token.
    """

    def __init__(self, piece: Callable[[int], bytes]) -> None:
        self._piece = piece
        self._count = 0
        # The newest token comes first, so that the token p places back is at index p - 1 for every period p.
        self._tokens = np.full(_MEMORY_TOKENS, _NO_TOKEN, np.int32)
        self._newest = _MEMORY_TOKENS - LONGEST_PASSAGE
        self._periods = np.arange(1, LONGEST_PASSAGE + 1, dtype=np.int32)
        self._agreeing = np.zeros(LONGEST_PASSAGE, np.int32)
        self._least_agreeing = _fewest_tokens(self._periods) - self._periods
        self._is_same = np.zeros(LONGEST_PASSAGE, np.bool_)
        self._is_suspect = np.zeros(LONGEST_PASSAGE, np.bool_)
        self._limits: dict[int, tuple[int, int]] = {}

    def push(self, token_id: int) -> bool:
        """Takes the next token of the answer; tells whether the answer is now in a loop."""
        # For each period: how many tokens at the end equal the token one period before; nearly always 0.
        np.equal(self._recent(), token_id, out=self._is_same)
        self._agreeing += 1
        self._agreeing *= self._is_same
        self._remember(token_id)
        np.greater_equal(self._agreeing, self._least_agreeing, out=self._is_suspect)
        return bool(self._is_suspect.any()) and self._is_in_loop()

    def _recent(self) -> npt.NDArray[np.int32]:
        return self._tokens[self._newest : self._newest + LONGEST_PASSAGE]

    def _remember(self, token_id: int) -> None:
        if self._newest == 0:
            self._tokens[-LONGEST_PASSAGE:] = self._recent()
            self._newest = _MEMORY_TOKENS - LONGEST_PASSAGE
        self._newest -= 1
        self._tokens[self._newest] = token_id
        self._count += 1

    def _is_in_loop(self) -> bool:
        """Checks the periods that are repeated often enough for some kind of passage."""
        lengths = self._agreeing + self._periods
        longest_before = np.maximum.accumulate(lengths)
        # A period is skipped if a shorter one repeats as far: the shorter one counts.
        self._is_suspect[1:] &= lengths[1:] > longest_before[:-1]
        return any(
            int(lengths[index]) >= self._limit(int(index) + 1, int(lengths[index]))
            for index in np.flatnonzero(self._is_suspect)
        )

    def _limit(self, period: int, length: int) -> int:
        """Returns how many tokens the repeats of the last `period` tokens may have; kept as long as they go on."""
        start = self._count - length
        known_start, limit = self._limits.get(period, (None, 0))
        if known_start != start:
            limit = most_tokens([int(token_id) for token_id in self._recent()[:period][::-1]], self._piece)
            self._limits[period] = (start, limit)
        return limit


def most_tokens(passage: Sequence[int], piece: Callable[[int], bytes]) -> int:
    """Returns how many tokens the repeats of a passage have when they end the answer.

    Args:
        passage: One period, beginning anywhere in it.
        piece: Returns the bytes of a token.
    """
    period = len(passage)
    text = _from_a_seam(b"".join(map(piece, passage))).decode(errors="ignore")
    if not _has_word(text):
        return max(REPEATS * period, SIGN_TOKENS)
    if _has_rows(text):
        return max(REPEATS * period, ROW_TOKENS)
    if _is_varied(passage) and _is_prose(text):
        return PROSE_REPEATS * period
    return max(REPEATS * period, TEXT_TOKENS)


def _fewest_tokens(periods: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Returns the lowest result of `most_tokens` for passages of these lengths."""
    return np.where(periods >= PROSE_TOKENS, PROSE_REPEATS * periods, np.maximum(REPEATS * periods, TEXT_TOKENS))


def _is_varied(passage: Sequence[int]) -> bool:
    return len(passage) >= PROSE_TOKENS and len(set(passage)) >= min(len(passage) / 2, VARIED_TOKENS)


def _from_a_seam(passage: bytes) -> bytes:
    """Rotates the passage so that it begins at a line, else a blank, else a sign, else a character."""
    seams = (seam.search(passage) for seam in _SEAMS)
    start = next((found.start() for found in seams if found), 0)
    return passage[start:] + passage[:start]


def _has_word(text: str) -> bool:
    plain = _NUMBER.sub(" ", _without_marks(_without_markup(text))).casefold()
    if _LETTER_OF_UNSPACED_SCRIPT.search(plain) or _SINGLE_LETTERS.fullmatch(text):
        return True
    return any(len(set(word)) > 1 and word not in _VALUES for word in _WORD.findall(plain))


def _has_rows(text: str) -> bool:
    """Tells whether a text is rows of a table, data or code rather than prose; without a line end it is one line."""
    lines = [line for line in text.splitlines() if line.strip()]
    return sum(map(_is_row, lines)) * 2 >= len(lines) or ("\n" in text and all(map(_is_word_alone, lines)))


def _is_row(line: str) -> bool:
    if _TABLE.search(line.strip()):
        return True
    return not _END_OF_SENTENCE.search(line) and bool(_CODE.search(line.strip()) or _INDENT.match(line))


def _is_word_alone(line: str) -> bool:
    return bool(_ONE_WORD.fullmatch(line)) and not _END_OF_SENTENCE.search(line)


def _is_prose(text: str) -> bool:
    """Tells whether most of a text is letters and blanks; a run of blanks counts as one, so indents do not matter."""
    plain = " ".join(_without_marks(_without_markup(text)).split())
    letters = sum(character.isalpha() or character == " " for character in plain)
    return letters >= _LETTER_SHARE * len(" ".join(_without_marks(text).split()))


def _without_markup(text: str) -> str:
    """Returns the text of a loop without its markup; markup that the start of the passage has cut is joined first."""
    begin = _BEGIN_OF_MARKUP.search(text)
    if begin is None:
        return text
    return _MARKUP.sub(" ", text[begin.start() :] + text[: begin.start()])


def _without_marks(text: str) -> str:
    """Returns the text without the signs that many scripts put above, below and around their letters."""
    if text.isascii():
        return text
    return "".join(character for character in text if not unicodedata.category(character).startswith("M"))
