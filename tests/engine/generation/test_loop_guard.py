"""The loop guard: against a naive twin, and over answers that repeat on purpose and answers that are stuck."""

import re
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.engine.generation.loop_texts import LEGITIMATE, LOOPS
from tests.naive import loops as naive
from tui_llama.engine import open_tokenizer
from tui_llama.engine.generation import loop_guard
from tui_llama.engine.generation.loop_guard import LONGEST_PASSAGE, LoopGuard, most_tokens
from tui_llama.engine.tokenizer.tokenizer import Tokenizer

VOCABULARIES = ("llama-bpe", "llama-spm", "qwen2", "gpt-2", "phi-3", "deepseek-coder")

# Much as a byte-pair tokenizer cuts a text before it merges, so that texts can be tried without a vocabulary.
WORD_PIECE = re.compile(r" ?[^\W\d_]{1,8}|\d|\s|[^\w\s]|_")

Piece = Callable[[int], bytes]


def word(token_id: int) -> bytes:
    """Every token is another word."""
    letters = "".join(chr(ord("a") + int(digit)) for digit in str(token_id))
    return f" word{letters}".encode()


def end_of(token_ids: Iterable[int], piece: Piece = word) -> int | None:
    """After how many tokens the guard ends the answer; None if it never does."""
    guard = LoopGuard(piece)
    return next((count for count, token_id in enumerate(token_ids, 1) if guard.push(token_id)), None)


@cache
def tokenizer(folder: Path, name: str) -> Tokenizer:
    return open_tokenizer(folder / "data" / "vocab" / f"ggml-vocab-{name}.gguf")


def in_word_pieces(text: str) -> tuple[list[int], Piece]:
    pieces = WORD_PIECE.findall(text)
    ids = {piece: token_id for token_id, piece in enumerate(dict.fromkeys(pieces))}
    texts = list(ids)
    return [ids[piece] for piece in pieces], lambda token_id: texts[token_id].encode()


# --- the rule ---------------------------------------------------------------------------------------------------


def test_a_long_passage_ends_the_answer_when_it_stands_there_three_times() -> None:
    assert end_of(list(range(32)) * 5) == 3 * 32
    assert end_of(list(range(200)) * 5) == 3 * 200
    assert end_of([*range(900, 1000), *list(range(1024)) * 5]) == 100 + 3 * 1024


def test_a_short_passage_ends_it_after_twelve_times() -> None:
    assert end_of(list(range(31)) * 20) == 12 * 31
    assert end_of(list(range(7)) * 20) == 12 * 7


def test_one_token_or_two_need_48_in_all() -> None:
    assert end_of([5] * 100) == 48
    assert end_of([5, 6] * 100) == 48


def test_a_passage_of_more_than_1024_tokens_is_not_seen() -> None:
    assert end_of(list(range(1025)) * 4) is None


def test_a_passage_that_is_not_varied_counts_as_a_short_one() -> None:
    few_words = [token_id % 9 for token_id in range(40)]
    assert end_of([*few_words, 77] * 14) == 12 * 41


def test_what_consists_of_repeats_is_counted_by_the_shorter_passage() -> None:
    assert end_of(list(range(16)) * 20) == 12 * 16


def test_a_short_loop_at_the_end_of_a_long_passage_does_not_hide_it() -> None:
    verse = [*range(40), *[99] * 20]
    assert end_of(verse * 5) == 3 * 60


def test_something_in_between_begins_the_count_anew() -> None:
    assert end_of([*range(40), *range(40), 77, *range(40), *range(40), 78]) is None
    assert end_of([*[5] * 47, 6, *[5] * 100]) == 47 + 1 + 48


def test_a_passage_without_a_word_needs_1024_tokens() -> None:
    assert end_of([5] * 2000, lambda _: b" 0") == 1024
    assert end_of(list(range(100)) * 40, lambda token_id: f" {token_id},".encode()) == 12 * 100


def test_what_the_passage_is_is_looked_at_anew_when_its_repeats_have_ended() -> None:
    def piece(token_id: int) -> bytes:
        return b"0 " if token_id == 5 else b"zero "

    assert end_of([*[5] * 500, *[6] * 100], piece) == 500 + 48
    assert end_of([*[5] * 60, 7, *[6] * 20, 7, *[5] * 60], piece) is None


def test_the_answer_may_be_longer_than_what_is_remembered() -> None:
    assert end_of([*range(50_000), *[5] * 60]) == 50_048


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The city lies on both banks of a river, and its bridges are old. ", 3 * 40),
        ("Das Wasser steigt bis zu den unteren Fenstern, schöner wird es nicht. ", 3 * 40),
        ("हर वसंत में पानी सबसे निचली खिड़कियों तक बढ़ जाता है। ", 3 * 40),
        ("每年春天水都会涨到最低的窗户。", 3 * 40),
        ("The sum is 12 + 30 * 4 / 5 - 67 + 89 * 10; 11 % 12. ", 12 * 40),
        ('{"name": "John", "age": 30, "mail": "j@example.com", "id": 7}', 512),
        ('v class="a"><h2>Title</h2><p class="b">Some text</p></div><di', 512),
        ("| Porridge with milk | Bread with cheese and a pear | Tea |\n", 512),
        ("Here is a table that I made for you today.\nIt is short.\n| a |\n", 3 * 40),
        ('lass="a"></td><td class="b">&nbsp;</td></tr><tr><td c', 1024),
        ("nbsp;</td><td>&", 1024),
        ("\\hline \\quad & \\quad \\\\", 1024),
        ("0x00, 0xff, 1e-5, 3d6f, B2", 1024),
        ("| N/A | x | - |", 1024),
        ("XXXX oooo ----", 1024),
        ("true, False, null, None, NaN, ", 1024),
        ("trues", 3 * 40),
        (" I", 3 * 40),
        ("I I ", 3 * 40),
        ("IIII", 1024),
        ("I I I\n", 512),
        ("x x, ", 1024),
        ("哈", 3 * 40),
        ("か", 3 * 40),
        ("ㅋ", 3 * 40),
        ("ー", 1024),
        ("第 1 ", 12 * 40),
        ("| 是 | 否 |\n", 512),
    ],
)
def test_what_a_passage_of_40_different_tokens_may_have(text: str, tokens: int) -> None:
    encoded = text.encode()
    size = -(-len(encoded) // 40)
    pieces = [encoded[size * place : size * (place + 1)] for place in range(40)]
    assert most_tokens(range(40), lambda token_id: pieces[token_id]) == tokens


@pytest.mark.parametrize(
    "text",
    [
        "0xFF, ",
        "0xDEADBEEF,",
        "    0x00, 0xBEEF,\n",
        '<td class="name">&nbsp;</td>',
        "\\quad & \\quad \\\\\n",
        "true, ",
        "paris",
        "xxxx ",
        "Я не знаю, что сказать. ",
        "我不知道该怎么回答这个问题。",
        "- Check that the cable is plugged in.\n",
        "| Yes | No |\n",
        '    print("Hello, world!")\n',
    ],
)
def test_it_does_not_matter_where_in_the_loop_the_passage_begins(text: str) -> None:
    loop = text.encode()
    limits = {
        most_tokens([*range(start, len(loop)), *range(start)], lambda token_id: loop[token_id : token_id + 1])
        for start in range(len(loop))
    }
    assert len(limits) == 1


# --- against the naive twin -------------------------------------------------------------------------------------


@st.composite
def repetitive(draw: st.DrawFn) -> list[int]:
    """Passages of few tokens, repeated, with something between them now and then."""
    tokens: list[int] = []
    for _ in range(draw(st.integers(1, 4))):
        passage = draw(st.lists(st.integers(0, 5), min_size=1, max_size=12))
        tokens += passage * draw(st.integers(1, 20)) + passage[: draw(st.integers(0, len(passage)))]
    return tokens[-160:]


@pytest.mark.slow
@given(repetitive())
@example([0, 1, 0, 1, 0] * 10)
@example([*[1, 2, 2, 2], *[1, 2, 2, 2]] * 12)
def test_the_guard_says_what_the_naive_twin_says(token_ids: list[int]) -> None:
    # Small numbers instead of the real ones, so that short rows of tokens come to every branch.
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(loop_guard, "PROSE_TOKENS", 6)
        changed.setattr(loop_guard, "TEXT_TOKENS", 20)
        changed.setattr(loop_guard, "SIGN_TOKENS", 60)

        def piece(token_id: int) -> bytes:
            return b" 0" if token_id < 2 else word(token_id)

        guard = LoopGuard(piece)
        limit = partial(most_tokens, piece=piece)
        for count, token_id in enumerate(token_ids, 1):
            assert guard.push(token_id) == naive.is_in_loop(token_ids[:count], LONGEST_PASSAGE, limit)


# --- over real answers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LEGITIMATE)
def test_no_alarm(name: str) -> None:
    token_ids, piece = in_word_pieces(LEGITIMATE[name])
    assert end_of(token_ids, piece) is None


@pytest.mark.parametrize("name", LOOPS)
def test_an_alarm(name: str) -> None:
    token_ids, piece = in_word_pieces(LOOPS[name])
    assert end_of(token_ids, piece) is not None


@pytest.mark.shared
@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_no_alarm_in_real_tokens(shared_folder: Path, vocabulary: str) -> None:
    model = tokenizer(shared_folder, vocabulary)
    ended = {name: end_of(model.tokenize(text), model.piece) for name, text in LEGITIMATE.items()}
    assert {name: count for name, count in ended.items() if count is not None} == {}


@pytest.mark.shared
@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_an_alarm_in_real_tokens(shared_folder: Path, vocabulary: str) -> None:
    model = tokenizer(shared_folder, vocabulary)
    assert [name for name, text in LOOPS.items() if end_of(model.tokenize(text), model.piece) is None] == []


@pytest.mark.parametrize("name", [name for name in LOOPS if "list" in name or "sorry" in name or "six words" in name])
def test_prose_in_short_passages_ends_with_its_twelfth_repeat(name: str) -> None:
    token_ids, piece = in_word_pieces(LOOPS[name])
    token_ids = token_ids[1:-1]  # which may lack a blank, or be one
    period = next(size for size in range(1, 99) if token_ids[size:] == token_ids[:-size])
    assert end_of(token_ids, piece) == max(12 * period, 48)


@pytest.mark.shared
@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("text", ["哈" * 800, " I" * 800, "ㅋ" * 800, "あ" * 800])
def test_one_letter_over_and_over_is_soon_noticed(shared_folder: Path, vocabulary: str, text: str) -> None:
    model = tokenizer(shared_folder, vocabulary)
    ended = end_of(model.tokenize(text), model.piece)
    assert ended is not None
    assert ended <= 60


@pytest.mark.shared
@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_prose_ends_with_its_third_repeat(shared_folder: Path, vocabulary: str) -> None:
    model = tokenizer(shared_folder, vocabulary)
    text = LOOPS["a paragraph"]
    passage = len(model.tokenize(text)) // 4
    ended = end_of(model.tokenize(text), model.piece)
    assert ended is not None
    assert abs(ended - 3 * passage) <= 2  # tokens at the seams may be others
