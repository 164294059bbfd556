"""Reading a vocabulary: what is refused, and which tokens end an answer."""

from pathlib import Path

import pytest

from tests.engine.tokenizer.vocabulary_file import (
    CONTROL,
    NORMAL,
    USER_DEFINED,
    Value,
    open_vocabulary,
    pair_keys,
    score_keys,
)
from tui_llama.engine.tokenizer.tokenizer import Tokenizer
from tui_llama.errors import ModelFileError


def open_with_special(folder: Path, *texts: str, **more: Value) -> Tokenizer:
    return open_vocabulary(folder, pair_keys(["a b"], dict.fromkeys(texts, NORMAL), pre="qwen2", **more))


def ends(tokenizer: Tokenizer) -> set[str]:
    return {tokenizer.token_text(token_id) for token_id in tokenizer.end_of_generation}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tokens", "abc"),
        ("tokens", [1, 2, 3]),
        ("scores", [0.0]),
        ("scores", "high"),
        ("scores", ["high"]),
        ("scores", [float("nan")] * 260),
        ("token_type", [1]),
        ("token_type", [0.5] * 260),
        ("token_type", "normal"),
        ("bos_token_id", "<s>"),
        ("eos_token_id", True),
        ("add_bos_token", 1),
        ("add_eos_token", "yes"),
        ("add_space_prefix", [True]),
        ("model", 7),
        ("pre", 7),
        ("merges", [1]),
    ],
)
def test_metadata_that_make_no_sense_are_refused_with_their_key(tmp_path: Path, key: str, value: Value) -> None:
    keys = pair_keys(["a b"]) if key in ("merges", "pre") else score_keys({"a": 0.0})
    with pytest.raises(ModelFileError, match=f"{key}"):
        open_vocabulary(tmp_path, {**keys, key: value})


@pytest.mark.parametrize(
    ("key", "value", "instead"),
    [
        ("bos_token_id", 260, "1 is used instead"),
        ("eos_token_id", 1 << 31, "2 is used instead"),
        ("unknown_token_id", 4096, "0 is used instead"),
        ("eot_token_id", 260, "none is used"),
        ("fim_pad_token_id", 5000, "none is used"),
    ],
)
def test_a_special_token_that_is_none_counts_as_not_given(tmp_path: Path, key: str, value: int, instead: str) -> None:
    as_it_was = open_vocabulary(tmp_path, score_keys({"a": 0.0}))
    tokenizer = open_vocabulary(tmp_path, score_keys({"a": 0.0}, **{key: value}))
    assert tokenizer.notices == (f"tokenizer.ggml.{key} is {value}, but the vocabulary has 260 tokens; {instead}.",)
    assert (tokenizer.bos_id, tokenizer.eos_id) == (as_it_was.bos_id, as_it_was.eos_id)
    assert tokenizer.end_of_generation == as_it_was.end_of_generation
    assert tokenizer.tokenize("a\u20ac") == as_it_was.tokenize("a\u20ac")


def test_a_default_that_a_short_vocabulary_has_not_is_none(tmp_path: Path) -> None:
    keys: dict[str, Value] = {"model": "gpt2", "pre": "gpt-2", "tokens": ["a", "b", "ab"], "merges": ["a b"]}
    tokenizer = open_vocabulary(tmp_path, {**keys, "eos_token_id": 7})
    assert tokenizer.eos_id is None
    assert "none is used" in tokenizer.notices[0]


NO_UTF8 = [b"\xff", b"\xfe", b"\xe2\x96", b"x\x80", b"\xed\xa0\x80"]


@pytest.mark.parametrize("kind", [NORMAL, USER_DEFINED, CONTROL])
def test_score_based_tokens_that_are_no_utf8_are_told_apart_and_give_their_bytes(tmp_path: Path, kind: int) -> None:
    keys = score_keys({"a": 0.0})
    keys["tokens"] = [*map(str.encode, keys["tokens"]), *NO_UTF8]  # type: ignore[arg-type]
    keys["token_type"] = [*keys["token_type"], *[kind] * len(NO_UTF8)]  # type: ignore[misc]
    keys["scores"] = [*keys["scores"], *[0.0] * len(NO_UTF8)]  # type: ignore[misc]
    tokenizer = open_vocabulary(tmp_path, keys)
    assert [tokenizer.piece(260 + index, special=True) for index in range(len(NO_UTF8))] == NO_UTF8
    assert [tokenizer.token_text(260 + index).encode() for index in range(len(NO_UTF8))]
    assert tokenizer.tokenize("a\ufffd", parse_special=True)[-4:] == [259, *(3 + byte for byte in b"\xef\xbf\xbd")]
    assert tokenizer.detokenize([259, 260, 259]) == ("a" if kind == CONTROL else "a\ufffd") + ("a")


def test_byte_pair_tokens_that_are_no_utf8_are_told_apart_and_spelled(tmp_path: Path) -> None:
    keys = pair_keys(["a b"])
    keys["tokens"] = [*map(str.encode, keys["tokens"]), *NO_UTF8]  # type: ignore[arg-type]
    keys["token_type"] = [*keys["token_type"], *[NORMAL] * len(NO_UTF8)]  # type: ignore[misc]
    tokenizer = open_vocabulary(tmp_path, keys)
    assert tokenizer.piece(257) == b"[UNK_BYTE_0xefbfbd\xff]"
    assert tokenizer.tokenize("ab") == [256]


def test_tokens_that_the_file_rules_out_are_known(tmp_path: Path) -> None:
    tokenizer = open_vocabulary(tmp_path, score_keys({"a": 0.0}, suppress_tokens=[3, 4, 260, 99999, -7]))
    assert tokenizer.never_written == {3, 4}


def test_a_file_that_rules_nothing_out_has_no_such_tokens(tmp_path: Path) -> None:
    assert open_vocabulary(tmp_path, score_keys({"a": 0.0})).never_written == frozenset()


def test_tokens_to_rule_out_that_are_no_whole_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="suppress_tokens"):
        open_vocabulary(tmp_path, score_keys({"a": 0.0}, suppress_tokens=["a"]))


def test_a_text_that_two_tokens_have_is_refused(tmp_path: Path) -> None:
    keys = score_keys({"a": 0.0})
    keys["tokens"] = [*keys["tokens"][:-1], "<s>"]  # type: ignore[index]
    with pytest.raises(ModelFileError, match="twice"):
        open_vocabulary(tmp_path, keys)


def test_a_token_without_text_gets_one(tmp_path: Path) -> None:
    tokenizer = open_vocabulary(tmp_path, score_keys({"a": 0.0, "": 0.0}))
    assert tokenizer.token_text(260) == "[EMPTY_260]"


def test_a_special_token_of_minus_one_is_none(tmp_path: Path) -> None:
    tokenizer = open_vocabulary(tmp_path, score_keys({}, bos_token_id=0xFFFFFFFF))
    assert tokenizer.bos_id is None
    assert not tokenizer.add_bos


def test_a_default_beyond_the_vocabulary_is_none(tmp_path: Path) -> None:
    keys = {"model": "gpt2", "pre": "gpt-2", "tokens": ["a", "b", "ab"], "merges": ["a b"]}
    assert open_vocabulary(tmp_path, keys).eos_id is None


def test_an_unknown_token_type_is_silent(tmp_path: Path) -> None:
    keys = score_keys({"a": 0.0})
    keys["token_type"] = [*keys["token_type"][:-1], 77]  # type: ignore[index]
    assert open_vocabulary(tmp_path, keys).piece(259) == b""


def test_scores_may_be_whole_numbers(tmp_path: Path) -> None:
    keys = score_keys({"a": 0.0, "b": 0.0, "ab": 0.0}, add_space_prefix=False)
    keys["scores"] = [0] * 262
    assert open_vocabulary(tmp_path, keys).tokenize("ab") == [261]


def test_the_stored_end_tokens_end_an_answer(tmp_path: Path) -> None:
    tokenizer = open_with_special(tmp_path, "x1", "x2", "x3", eos_token_id=257, eot_token_id=258, eom_token_id=259)
    assert ends(tokenizer) == {"x1", "x2", "x3"}


def test_well_known_end_texts_end_an_answer_and_become_control_tokens(tmp_path: Path) -> None:
    tokenizer = open_with_special(tmp_path, "<|im_end|>", "<end_of_turn>", "other", eos_token_id=259)
    assert ends(tokenizer) == {"<|im_end|>", "<end_of_turn>", "other"}
    assert tokenizer.piece(257) == b""


def test_file_separators_of_code_models_end_an_answer(tmp_path: Path) -> None:
    tokenizer = open_with_special(tmp_path, "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<end>", eos_token_id=260)
    assert ends(tokenizer) == {"<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<end>"}


def test_channel_marks_are_shown(tmp_path: Path) -> None:
    tokenizer = open_with_special(tmp_path, "<|channel|>", "<end>", eos_token_id=258)
    assert tokenizer.piece(257) == b"<|channel|>"


def test_end_does_not_end_an_answer_that_goes_on_with_calls(tmp_path: Path) -> None:
    tokenizer = open_with_special(tmp_path, "<|end|>", "<|return|>", "<|call|>", eos_token_id=258)
    assert ends(tokenizer) == {"<|return|>", "<|call|>"}
    assert tokenizer.piece(257) == b"<|end|>"


def test_the_old_end_text_is_text_where_a_tool_response_exists(tmp_path: Path) -> None:
    tokenizer = open_with_special(tmp_path, "</s>", "<|tool_response>", eos_token_id=258)
    assert ends(tokenizer) == {"<|tool_response>"}


def test_unused_control_tokens_are_not_cut_out(tmp_path: Path) -> None:
    tokenizer = open_vocabulary(tmp_path, pair_keys(["a b"], {"<unused1>": CONTROL}, pre="qwen2"))
    assert 257 not in tokenizer.tokenize("<unused1>", parse_special=True)
