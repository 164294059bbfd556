"""Byte-pair tokenizing against its naive twin and llama.cpp's rules."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.tokenizer.vocabulary_file import (
    BYTE,
    BYTE_ALPHABET,
    BYTE_TOKENS,
    CONTROL,
    NORMAL,
    Value,
    open_vocabulary,
    pair_keys,
)
from tests.naive.merging import merge_by_rank
from tui_llama.engine.tokenizer.byte_pair import MAX_CHARACTERS
from tui_llama.engine.tokenizer.tokenizer import Tokenizer
from tui_llama.errors import EngineError

MERGES = ["b c", "a b", "ab c", "c a", "a a", "aa a", "b a", "a bc", "Ã ¼"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return open_vocabulary(tmp_path_factory.mktemp("pairs"), pair_keys(MERGES, pre="qwen2"))


@given(st.text(alphabet="abcü", max_size=30))
def test_merges_are_those_of_the_naive_twin(tokenizer: Tokenizer, word: str) -> None:
    symbols = "".join(BYTE_ALPHABET[byte] for byte in word.encode())
    first, second = (merge.split(" ")[0] for merge in MERGES), (merge.split(" ")[1] for merge in MERGES)
    expected = merge_by_rank(symbols, list(zip(first, second, strict=True)))
    assert [tokenizer.token_text(token_id) for token_id in tokenizer.tokenize(word)] == expected


@given(st.text(max_size=60))
def test_any_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.detokenize(tokenizer.tokenize(text)) == text


def test_a_word_that_is_a_token_is_taken_whole_where_merges_are_ignored(tmp_path: Path) -> None:
    keys = pair_keys(["a b"], {"xyz": NORMAL}, pre="llama-bpe")
    assert open_vocabulary(tmp_path, keys).tokenize("xyz") == [257]


def test_a_word_that_no_merge_makes_stays_in_pieces_otherwise(tmp_path: Path) -> None:
    keys = pair_keys(["a b"], {"xyz": NORMAL}, pre="qwen2")
    assert open_vocabulary(tmp_path, keys).tokenize("xyz") == [ord(letter) for letter in "xyz"]


def test_a_merge_listed_twice_keeps_its_first_rank(tmp_path: Path) -> None:
    tokenizer = open_vocabulary(tmp_path, pair_keys(["a b", "b c", "a b"], pre="qwen2"))
    assert [tokenizer.token_text(token_id) for token_id in tokenizer.tokenize("abc")] == ["ab", "c"]


def test_a_byte_without_a_token_is_dropped_and_joins_nothing(tmp_path: Path) -> None:
    keys = {"model": "gpt2", "pre": "qwen2", "tokens": ["a", "b", "ab"], "merges": ["a b"]}
    tokenizer = open_vocabulary(tmp_path, keys)
    assert tokenizer.tokenize("axb") == [0, 1]
    assert tokenizer.tokenize("ab") == [2]


def test_a_merge_into_no_token_falls_back_to_single_characters(tmp_path: Path) -> None:
    keys = pair_keys(["a b"], pre="qwen2")
    keys["merges"] = ["a b", "x y"]
    tokenizer = open_vocabulary(tmp_path, keys)
    assert [tokenizer.token_text(token_id) for token_id in tokenizer.tokenize("xyab")] == ["x", "y", "ab"]


def test_a_merge_may_begin_with_a_space(tmp_path: Path) -> None:
    keys = pair_keys(["a b"], pre="qwen2")
    keys["merges"] = ["a b", "  a"]
    assert open_vocabulary(tmp_path, keys).detokenize([256]) == "ab"


def test_merges_that_are_no_pairs_are_passed_over_with_a_notice(tmp_path: Path) -> None:
    keys = pair_keys(["a b", "ab c"])
    keys["merges"] = ["", "a b", "ab", " ", "ab c"]
    tokenizer = open_vocabulary(tmp_path, keys)
    assert tokenizer.notices == ("tokenizer.ggml.merges has 3 lines that are not pairs; they are ignored.",)
    assert tokenizer.tokenize("abc") == open_vocabulary(tmp_path, pair_keys(["a b", "ab c"])).tokenize("abc") == [257]


def test_spaces_are_escaped_where_the_vocabulary_says_so(tmp_path: Path) -> None:
    tokens = ["▁", "a", "\n", "\n\n", "▁a", *BYTE_TOKENS]
    keys: dict[str, Value] = {
        "model": "gemma4",
        "tokens": tokens,
        "token_type": [*[NORMAL] * 5, *[BYTE] * 256],
        "merges": ["▁ a"],
        "bos_token_id": 1,
    }
    tokenizer = open_vocabulary(tmp_path, keys)
    ids = tokenizer.tokenize(" a\n\né")
    assert [tokenizer.token_text(token_id) for token_id in ids] == ["▁a", "\n\n", "<0xC3>", "<0xA9>"]
    assert tokenizer.detokenize(ids) == " a\n\né"


def test_a_vocabulary_of_whole_words_is_text(tmp_path: Path) -> None:
    keys: dict[str, Value] = {
        "model": "gpt2",
        "pre": "whitespace",
        "tokens": [*BYTE_TOKENS, "é", "b", "éb", "▁"],
        "token_type": [*[BYTE] * 256, *[NORMAL] * 4],
        "merges": ["é b"],
    }
    tokenizer = open_vocabulary(tmp_path, keys)
    assert tokenizer.tokenize("éb b") == [258, 0x20, 257]
    assert tokenizer.piece(259) == "▁".encode()


def test_gemma_4_begins_with_bos_even_where_the_file_says_no(tmp_path: Path) -> None:
    keys: dict[str, Value] = {"model": "gemma4", "tokens": ["<s>", "a", "b", "ab"], "merges": ["a b"]}
    tokenizer = open_vocabulary(tmp_path, {**keys, "bos_token_id": 0, "add_bos_token": False})
    assert tokenizer.tokenize("ab", add_special=True) == [0, 3]


def test_a_character_outside_of_the_alphabet_is_spelled_out(tmp_path: Path) -> None:
    tokenizer = open_vocabulary(tmp_path, pair_keys(["a b"], {"a€": NORMAL}))
    assert tokenizer.piece(257) == "a[UNK_BYTE_0xe282aca€]".encode()


def test_text_that_the_splitting_engine_cannot_take_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(EngineError, match="too long"):
        tokenizer.tokenize("a" * (MAX_CHARACTERS + 1))


def test_control_tokens_are_found_only_where_asked(tmp_path: Path) -> None:
    tokenizer = open_vocabulary(tmp_path, pair_keys(["a b"], {"<|end|>": CONTROL}, pre="qwen2"))
    assert tokenizer.tokenize("a<|end|>", parse_special=True) == [ord("a"), 257]
    assert 257 not in tokenizer.tokenize("a<|end|>")
