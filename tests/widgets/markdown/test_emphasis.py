"""Emphasis beside Chinese, Japanese and Korean, which CommonMark leaves as asterisks."""

import pytest

from tui_llama.widgets.markdown.rules import markdown_parser


def marked(source: str) -> str:
    """The text, with ‹ and › in place of each emphasis that the parser finds."""
    inline = markdown_parser().parseInline(source)[0].children or []
    signs = {"strong_open": "‹", "strong_close": "›", "em_open": "‹", "em_close": "›"}
    return "".join(signs.get(token.type, token.content) for token in inline)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("**重要：**これは", "‹重要：›これは"),
        ("これは**“強調”**です", "これは‹“強調”›です"),
        ("**注意！**请", "‹注意！›请"),
        ("**스크립트(script)**를", "‹스크립트(script)›를"),
        ("然后*“斜体”*。", "然后‹“斜体”›。"),
        ("日**本**語", "日‹本›語"),
    ],
)
def test_ideographs_count_as_blanks(source: str, shown: str) -> None:
    assert marked(source) == shown


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ('a**"b"**c', 'a**"b"**c'),
        ("2 * 3 * 4", "2 * 3 * 4"),
        ("snake_case_name", "snake_case_name"),
        ("** 重要**", "** 重要**"),
        ("**a** *b*", "‹a› ‹b›"),
    ],
)
def test_all_else_is_as_commonmark_has_it(source: str, shown: str) -> None:
    assert marked(source) == shown
