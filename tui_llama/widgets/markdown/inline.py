"""The text of one paragraph, heading or cell: emphasis, code, links and images."""

import re
from typing import Final

from markdown_it.token import Token
from textual.content import Content, Span

_BLANKS: Final = re.compile(r"\s+")
_STYLES: Final = {"em_open": ".em", "strong_open": ".strong", "s_open": ".s", "link_open": ".link"}
_IMAGE: Final = "▣ "


def inline_content(token: Token | None) -> Content:
    """Returns what an inline token shows, with a line break wherever there was one."""
    text: list[str] = []
    spans: list[Span] = []
    opened: list[tuple[str, int]] = []
    length = 0
    for child in token.children or () if token is not None else ():
        shown, style = _shown(child)
        if child.nesting > 0:
            opened.append((_STYLES.get(child.type, ""), length))
        elif child.nesting < 0 and opened:
            style_name, start = opened.pop()
            if style_name and start < length:
                spans.append(Span(start, length, style_name))
        if shown:
            if style:
                spans.append(Span(length, length + len(shown), style))
            text.append(shown)
            length += len(shown)
    return Content("".join(text), spans=spans)


def _shown(token: Token) -> tuple[str, str]:
    """Returns the text of a token inside a paragraph, and its style."""
    match token.type:
        case "text":
            return _BLANKS.sub(" ", token.content), ""
        case "code_inline":
            return token.content, ".code_inline"
        case "hardbreak" | "softbreak":
            return "\n", ""
        case "image":
            return _IMAGE + "".join(_shown(child)[0] for child in token.children or ()), ".link"
    return token.content, ""
