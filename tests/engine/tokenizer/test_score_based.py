"""Score-based tokenizing against its naive twin and llama.cpp's rules."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.tokenizer.vocabulary_file import (
    CONTROL,
    NORMAL,
    Value,
    open_vocabulary,
    score_keys,
)
from tests.naive.merging import merge_by_score
from tui_llama.engine.tokenizer.tokenizer import Tokenizer

PIECES = {
    **dict.fromkeys("abc▁", 0.0),
    "ab": -1.0, "bc": -2.0, "abc": -3.0, "ca": -1.0, "▁a": -2.0, "▁▁": -1.5, "▁▁▁▁": -1.5, "aa": 5.0,
    "aaa": 5.0, "▁ab": 0.5, "cab": float("-inf"), "ü": -9.0, "bü": 1.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return open_vocabulary(tmp_path_factory.mktemp("scores"), score_keys(PIECES, add_space_prefix=False))


@given(st.text(alphabet="abc ü", max_size=40))
def test_merges_are_those_of_the_naive_twin(tokenizer: Tokenizer, text: str) -> None:
    pieces = [tokenizer.token_text(token_id) for token_id in tokenizer.tokenize(text)]
    assert pieces == merge_by_score(text.replace(" ", "▁"), PIECES)


@given(st.text(max_size=40))
def test_any_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.detokenize(tokenizer.tokenize(text)) == text.replace("▁", " ")


def test_an_unknown_character_becomes_its_bytes(tokenizer: Tokenizer) -> None:
    texts = [tokenizer.token_text(token_id) for token_id in tokenizer.tokenize("a€b")]
    assert texts == ["a", "<0xE2>", "<0x82>", "<0xAC>", "b"]


def test_a_byte_that_is_spelled_out_is_text(tokenizer: Tokenizer) -> None:
    assert tokenizer.detokenize(tokenizer.tokenize("<0x0A>")) == "<0x0A>"


def test_a_byte_token_can_come_out_of_merges_as_in_llama_cpp(tmp_path: Path) -> None:
    pieces = {"<0": -1.0, "<0x": -1.0, "<0x0": -1.0, "<0x0A": -1.0}
    tokenizer = open_vocabulary(tmp_path, score_keys(pieces, add_space_prefix=False))
    assert tokenizer.tokenize("<0x0A>") == [3 + 0x0A]


def test_a_control_token_can_come_out_of_merges_as_in_llama_cpp(tmp_path: Path) -> None:
    tokenizer = open_vocabulary(tmp_path, score_keys({"<s": -1.0}, add_space_prefix=False))
    assert tokenizer.tokenize("<s>") == [1]


def test_a_missing_byte_token_becomes_the_unknown_token(tmp_path: Path) -> None:
    keys: dict[str, Value] = {
        "model": "llama",
        "tokens": ["<unk>", "<s>", "</s>", "a", "b"],
        "token_type": [2, CONTROL, CONTROL, NORMAL, NORMAL],
        "scores": [0.0] * 5,
    }
    tokenizer = open_vocabulary(tmp_path, {**keys, "add_space_prefix": False})
    assert tokenizer.tokenize("aéb") == [3, 0, 0, 4]


def test_nul_in_a_token_does_not_keep_the_vocabulary_from_opening(tmp_path: Path) -> None:
    tokenizer = open_vocabulary(tmp_path, score_keys({"a": 0.0, "\0b": 0.0}, add_space_prefix=False))
    assert tokenizer.tokenize("a\0b") == [259, 3, 3 + ord("b")]


def test_without_scores_all_are_equal_and_a_notice_says_so(tmp_path: Path) -> None:
    keys = score_keys({"a": 1.0, "b": 2.0, "ab": 3.0, "ba": 4.0}, add_space_prefix=False)
    del keys["scores"]
    tokenizer = open_vocabulary(tmp_path, keys)
    assert tokenizer.tokenize("aba") == [261, 259]
    assert len(tokenizer.notices) == 1
    assert "tokenizer.ggml.scores" in tokenizer.notices[0]


def test_a_space_is_put_before_the_text_and_after_special_tokens(tmp_path: Path) -> None:
    tokenizer = open_vocabulary(tmp_path, score_keys(PIECES))
    ids = tokenizer.tokenize("a</s>a", parse_special=True)
    assert [tokenizer.token_text(token_id) for token_id in ids] == ["▁a", "</s>", "▁a"]


def test_no_space_is_put_before_text_that_continues(tmp_path: Path) -> None:
    tokenizer = open_vocabulary(tmp_path, score_keys(PIECES))
    ids = tokenizer.tokenize("a</s>a", parse_special=True, continues=True)
    assert [tokenizer.token_text(token_id) for token_id in ids] == ["a", "</s>", "▁a"]
