"""Makes text of a file's bytes, whatever encoding they are in, and tells text from everything else.

In this order, and the first that fits counts:

    a byte order mark       UTF-8, UTF-16 or UTF-32
    UTF-8                   strictly
    zero bytes              UTF-16 without a mark, if all of them are first or all of them second bytes; else no text
    any other bytes         the encoding that charset-normalizer finds. Of those that it holds equally likely, and for
                            a few odd characters in a text of ASCII, the more common one

Line ends become line feeds. Knows no files.
"""

import codecs
import re
import unicodedata
from typing import TYPE_CHECKING, Final

from tui_llama.errors import AttachmentError

if TYPE_CHECKING:
    from charset_normalizer import CharsetMatch

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark begins it
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_ENCODINGS: Final = (
    *("cp1252", "cp1251", "cp932", "euc_jp", "gb18030", "cp949", "big5", "koi8_r", "cp1250", "iso8859_2"),
    *("cp1254", "cp1253", "cp1255", "cp1256", "cp1257", "cp874", "cp866"),
)
"""The encodings of texts without a mark, by how common they are."""

_BINARY_BEGINNINGS: Final = (b"%PDF-", b"GIF8", b"\xff\xd8\xff", b"\x89PNG", b"PK\x03\x04", b"\x1f\x8b")
_SAMPLE_BYTES: Final = 1 << 18
_FEW: Final = 16
_MOST_ODD_SHARE: Final = 0.01
_EQUAL: Final = 0.01
_LINE_ENDS: Final = re.compile(r"\r\n?")
_ODD: Final = re.compile(r"[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")


def text_of(content: bytes) -> str:
    """Returns the text that the bytes of a file are, with line feeds for line ends.

    Raises:
        AttachmentError: they are no text.
    """
    text = _decoded(content)
    if text is None or not _is_readable(text):
        raise AttachmentError("is not a text")
    return _LINE_ENDS.sub("\n", text)


def _decoded(content: bytes) -> str | None:
    if content.startswith(_BINARY_BEGINNINGS):
        return None
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return _strictly(content[len(mark) :], encoding)
    text = _strictly(content, "utf-8")
    if b"\0" in content:
        return _without_mark(content)
    return text if text is not None else _guessed(content)


def _strictly(content: bytes, encoding: str) -> str | None:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        return None


def _without_mark(content: bytes) -> str | None:
    """Returns the text of UTF-16: the letters of ASCII, and line ends, have a zero byte each, on the same side."""
    if len(content) % 2:
        return None
    if b"\0" not in content[::2]:
        text = _strictly(content, "utf-16-le")
    elif b"\0" not in content[1::2]:
        text = _strictly(content, "utf-16-be")
    else:
        return None
    is_assigned = text is not None and all(
        unicodedata.category(each) not in ("Cn", "Co") for each in text[:_SAMPLE_BYTES]
    )
    return text if is_assigned else None


def _guessed(content: bytes) -> str | None:
    odd = sum(each > 0x7F for each in content[:_SAMPLE_BYTES])
    if odd < _FEW and odd < len(content) / 2:
        text = _strictly(content, _ENCODINGS[0])
        if text is not None:
            return text
    from charset_normalizer import from_bytes  # here, because most files are UTF-8

    matches = list(from_bytes(_whole_lines(content), cp_isolation=list(_ENCODINGS)))
    likely = [each for each in matches if _is_as_likely(each, matches[0])]
    ranked = [*sorted(likely, key=lambda each: _ENCODINGS.index(each.encoding)), *matches]
    return next((text for each in ranked if (text := _strictly(content, each.encoding)) is not None), None)


def _is_as_likely(match: "CharsetMatch", best: "CharsetMatch") -> bool:
    return abs(match.chaos - best.chaos) < _EQUAL and abs(match.coherence - best.coherence) < _EQUAL


def _whole_lines(content: bytes) -> bytes:
    """Returns the beginning of a long content, cut at the end of a line: so no character is cut."""
    if len(content) <= _SAMPLE_BYTES:
        return content
    return content[: content.rfind(b"\n", 0, _SAMPLE_BYTES) + 1] or content


def _is_readable(text: str) -> bool:
    """Tells whether hardly any character is a control character. Those of terminals are: logs have their colours."""
    return "\0" not in text and len(_ODD.findall(text)) <= _MOST_ODD_SHARE * len(text)
