"""What is text, in whatever encoding, and what is not."""

import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tui_llama.attachments.decoding import text_of
from tui_llama.errors import AttachmentError

TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn", "Co")) | st.sampled_from("\n\t"), max_size=200)
FRENCH = "Il était une fois, à l'orée d'une forêt, une fille. Où allait-elle ? Les élèves étaient occupés.\n"
GERMAN = "Es war einmal ein süßes Mädchen. Die Großmutter wußte gar nicht, was über Äpfel zu sagen ist.\n"
POLISH = "Zażółć gęślą jaźń. Dawno temu, za górami, żyła sobie mała dziewczynka, która kochała babcię.\n"
RUSSIAN = "Жила-была девочка. Мать любила её без памяти, а бабушка ещё больше.\n"
JAPANESE = "むかしむかし、あるところに、おじいさんとおばあさんが住んでいました。\n"
CHINESE = "从前有一个小女孩，大家都喜欢她，尤其是她的外婆。\n"
KOREAN = "옛날 옛적에 작은 소녀가 살았습니다. 모두가 그녀를 좋아했습니다.\n"


def is_utf_8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(TEXTS)
def test_utf_8_is_read_with_and_without_a_mark(text: str) -> None:
    wanted = text.removeprefix("\ufeff")
    assert text_of(wanted.encode()) == wanted
    assert text_of(wanted.encode("utf-8-sig")) == wanted


@given(TEXTS, st.sampled_from(["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]))
def test_a_mark_tells_the_encoding(text: str, encoding: str) -> None:
    assert text_of(f"\ufeff{text}".encode(encoding)) == text


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", ["plain\nlines\n", FRENCH, RUSSIAN, JAPANESE])
def test_utf_16_without_a_mark_is_read(text: str, encoding: str) -> None:
    assert text_of(text.encode(encoding)) == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (FRENCH, "cp1252"),
        (FRENCH, "latin-1"),
        (GERMAN, "latin-1"),
        (POLISH, "cp1250"),
        (POLISH, "iso8859_2"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8_r"),
        (JAPANESE, "cp932"),
        (JAPANESE, "euc_jp"),
        (CHINESE, "gb18030"),
        (KOREAN, "cp949"),
    ],
)
def test_texts_of_older_encodings_are_read(text: str, encoding: str) -> None:
    assert text_of((text * 4).encode(encoding)) == text * 4


@given(
    st.text("abc xyz.,\n", min_size=40, max_size=80),
    st.text("àâäçéèêëîïôöùûüßñÅØæ€", min_size=1, max_size=5),
    st.integers(0, 40),
)
def test_a_few_western_letters_in_a_text_are_read(text: str, letters: str, place: int) -> None:
    text = text[:place] + letters + text[place:]
    assume(not is_utf_8(text.encode("cp1252")))
    assert text_of(text.encode("cp1252")) == text


@given(TEXTS, st.sampled_from(["\r\n", "\r"]))
def test_line_ends_become_line_feeds(text: str, end: str) -> None:
    text = text.removeprefix("\ufeff")
    assert text_of(text.replace("\n", end).encode()) == text


def test_the_encoding_of_a_long_text_is_found_in_its_beginning() -> None:
    text = JAPANESE * 8_000
    assert text_of(text.encode("cp932")) == text


def test_the_colours_of_a_log_are_text() -> None:
    assert text_of(b"\x1b[31merror\x1b[0m\n" * 9) == "\x1b[31merror\x1b[0m\n" * 9


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"%PDF-1.7\n1 0 obj\n",
        b"GIF89a",
        b"PK\x03\x04text",
        b"\x7fELF\x02\x01\x01\0\0\0",
        b"a text with one zero byte\0",
        b"\x01\x02\x03\x04\x05",
        b"\xff\xfea",
        b"\xef\xbb\xbf\xff",
        random.Random(0).randbytes(5_000),
        random.Random(1).randbytes(5_000).replace(b"\0", b"a"),
    ],
)
def test_what_is_no_text_is_refused(content: bytes) -> None:
    with pytest.raises(AttachmentError, match="is not a text"):
        text_of(content)


@given(st.binary(max_size=300))
def test_any_bytes_are_text_or_refused(content: bytes) -> None:
    try:
        text = text_of(content)
    except AttachmentError:
        return
    assert "\0" not in text
    assert "\r" not in text
    text.encode()  # has no halves of characters
