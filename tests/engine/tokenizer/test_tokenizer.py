"""Text to tokens and back as a caller sees it, and llama.cpp's own pairs of text and tokens."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.tokenizer.vocabulary_file import (
    CONTROL,
    NORMAL,
    UNUSED,
    USER_DEFINED,
    open_vocabulary,
    pair_keys,
    score_keys,
    write_vocabulary,
)
from tests.fakes.tiny_model import VocabularyKind, make_tiny_model
from tui_llama.engine.tokenizer.tokenizer import Tokenizer, open_tokenizer
from tui_llama.errors import CallerError, ModelFileError

SEPARATOR = "\n__ggml_vocab_test__\n"
SPECIAL = {"<|end|>": CONTROL, "<tool>": USER_DEFINED, "[hidden]": UNUSED}


@pytest.fixture(scope="module", params=["spm", "bpe"])
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    kind: VocabularyKind = request.param
    folder = tmp_path_factory.mktemp(kind)
    return open_tokenizer(make_tiny_model(folder / "tiny.gguf", "qwen2", vocabulary=kind))


@pytest.fixture
def pairs(tmp_path: Path) -> Tokenizer:
    return open_vocabulary(tmp_path, pair_keys(["a b"], SPECIAL, pre="qwen2", bos_token_id=257))


@pytest.mark.shared
@pytest.mark.parametrize("name", ["deepseek-coder", "gpt-2", "llama-bpe", "llama-spm", "phi-3", "qwen2"])
def test_tokens_are_those_of_llama_cpp(shared_folder: Path, name: str) -> None:
    file = shared_folder / "data" / "vocab" / f"ggml-vocab-{name}.gguf"
    tokenizer = open_tokenizer(file)
    texts = file.with_name(file.name + ".inp").read_bytes().decode().split(SEPARATOR)
    lines = file.with_name(file.name + ".out").read_text().split("\n")
    expected = [[int(word) for word in line.split()] for line in lines]
    assert len(texts) > 40
    assert [tokenizer.tokenize(text, add_special=False, parse_special=False) for text in texts] == expected


@pytest.mark.shared
@pytest.mark.parametrize("name", ["deepseek-coder", "gpt-2", "llama-bpe", "llama-spm", "phi-3", "qwen2"])
def test_llama_cpps_texts_come_back(shared_folder: Path, name: str) -> None:
    file = shared_folder / "data" / "vocab" / f"ggml-vocab-{name}.gguf"
    tokenizer = open_tokenizer(file)
    for text in file.with_name(file.name + ".inp").read_bytes().decode().split(SEPARATOR):
        streamed = b"".join(tokenizer.piece(token_id) for token_id in tokenizer.tokenize(text)).decode()
        assert streamed == (" " + text if tokenizer.add_space_prefix and text else text)


@pytest.mark.parametrize("is_special", [False, True])
def test_all_pieces_are_those_of_each_token(tiny: Tokenizer, pairs: Tokenizer, *, is_special: bool) -> None:
    for tokenizer in (tiny, pairs):
        each = [tokenizer.piece(token_id, is_special) for token_id in range(tokenizer.vocab_size)]
        assert tokenizer.pieces(special=is_special) == each


@given(st.text(max_size=80))
def test_any_text_comes_back(tiny: Tokenizer, text: str) -> None:
    assert tiny.detokenize(tiny.tokenize(text)) == text.replace("▁", " " if tiny.add_space_prefix else "▁")


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_text_that_continues_another_gets_no_space(tiny: Tokenizer, first: str, second: str) -> None:
    ids = tiny.tokenize(first) + tiny.tokenize(second, continues=bool(first))
    assert tiny.detokenize(ids) == tiny.detokenize(tiny.tokenize(first + second))


@given(st.text(alphabet=st.characters(categories=("Cs", "Ll")), max_size=20))
def test_lone_surrogates_are_replacement_characters(tiny: Tokenizer, text: str) -> None:
    valid = "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
    assert tiny.tokenize(text) == tiny.tokenize(valid)


def test_an_empty_text_has_no_tokens(tiny: Tokenizer) -> None:
    assert tiny.tokenize("") == []


def test_beginning_and_end_are_added_as_the_model_says(tmp_path: Path) -> None:
    both = score_keys({"▁a": 0.0}, add_bos_token=True, add_eos_token=True)
    assert open_vocabulary(tmp_path, both).tokenize("a", add_special=True) == [1, 259, 2]
    neither = score_keys({"▁a": 0.0}, add_bos_token=False)
    assert open_vocabulary(tmp_path, neither).tokenize("a", add_special=True) == [259]


def test_a_score_based_text_begins_with_bos_where_the_file_is_silent(tmp_path: Path) -> None:
    assert open_vocabulary(tmp_path, score_keys({"▁a": 0.0})).tokenize("a", add_special=True) == [1, 259]


def test_nothing_is_added_unless_asked(tmp_path: Path) -> None:
    tokenizer = open_vocabulary(tmp_path, score_keys({"▁a": 0.0}, add_eos_token=True))
    assert tokenizer.tokenize("a") == [259]


def test_control_tokens_are_hidden_unless_asked(pairs: Tokenizer) -> None:
    assert pairs.detokenize([97, 257, 98]) == "ab"
    assert pairs.detokenize([97, 257, 98], special=True) == "a<|end|>b"


def test_user_defined_tokens_are_shown(pairs: Tokenizer) -> None:
    assert pairs.detokenize([258]) == "<tool>"


def test_unused_tokens_are_silent(pairs: Tokenizer) -> None:
    assert pairs.piece(259, special=True) == b""


def test_the_space_in_front_is_taken_from_the_first_token_only(tmp_path: Path) -> None:
    tokenizer = open_vocabulary(tmp_path, score_keys({"▁a": 0.0}))
    assert tokenizer.detokenize([259, 259]) == "a a"
    assert tokenizer.detokenize([1, 259]) == " a"


def test_spaces_before_punctuation_are_cleaned_up_where_the_rule_says_so(tmp_path: Path) -> None:
    text = "Well , it 's  ' fine . I 've n't ?"
    cleaning = open_vocabulary(tmp_path, pair_keys(["a b"], pre="gpt-2"))
    assert cleaning.detokenize(cleaning.tokenize(text)) == "Well, it's 'fine. I've n't?"
    keeping = open_vocabulary(tmp_path, pair_keys(["a b"], pre="qwen2"))
    assert keeping.detokenize(keeping.tokenize(text)) == text


def test_half_a_character_is_replaced_in_a_whole_text(pairs: Tokenizer) -> None:
    half = pairs.tokenize("é")[:1]
    assert pairs.detokenize([97, *half, 98]) == "a\ufffdb"


@pytest.mark.parametrize("token_id", [-1, 260])
def test_an_id_outside_of_the_vocabulary_is_the_callers_mistake(pairs: Tokenizer, token_id: int) -> None:
    for ask in (pairs.piece, pairs.token_text):
        with pytest.raises(CallerError, match="not in the vocabulary"):
            ask(token_id)


def test_a_token_is_found_by_its_text(pairs: Tokenizer) -> None:
    assert pairs.token_id("<tool>") == 258
    assert pairs.token_id("<nothing>") is None


def test_a_missing_splitting_rule_is_told(tmp_path: Path) -> None:
    keys = pair_keys(["a b"])
    del keys["pre"]
    assert "tokenizer.ggml.pre" in open_vocabulary(tmp_path, keys).notices[0]


def test_an_unknown_splitting_rule_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="from-the-future"):
        open_vocabulary(tmp_path, pair_keys(["a b"], pre="from-the-future"))


def test_an_unknown_kind_of_vocabulary_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="bert"):
        open_vocabulary(tmp_path, {"model": "bert", "tokens": ["a"]})


def test_a_file_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"tokenizer\.ggml\.model"):
        open_tokenizer(write_vocabulary(tmp_path / "empty.gguf", {"pre": "qwen2"}))


def test_phi_3_swallows_white_space_after_special_tokens(tmp_path: Path) -> None:
    keys = score_keys({"▁a": 0.0, "▁▁": 0.0})
    phi = open_vocabulary(tmp_path, keys, name="Phi-3 mini")
    assert phi.tokenize("</s> \n a<s> a", parse_special=True)[:3] == [2, 259, 1]
    other = open_vocabulary(tmp_path, keys, name="Other")
    assert other.tokenize("</s> \n a", parse_special=True) != phi.tokenize("</s> \n a", parse_special=True)


def test_a_normal_token_is_not_cut_out(tmp_path: Path) -> None:
    tokenizer = open_vocabulary(tmp_path, pair_keys(["a b"], {"abba": NORMAL}, pre="qwen2"))
    assert 257 not in tokenizer.tokenize("abba", parse_special=True)
