"""The table of splitting rules: every row compiles, loses nothing, and splits as llama.cpp does."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from tui_llama.engine.tokenizer.splitting_rules import SPLITTING_RULES, oniguruma_pattern, splitting_rule
from tui_llama.errors import ModelFileError

TEXTS = st.text(
    alphabet=st.one_of(st.characters(codec="utf-8"), st.sampled_from("aB1 \n\r\t'sll.,!漢ไก가éϪ\u0301")),
    max_size=40,
)


def split(name: str, text: str) -> list[str]:
    """The words that the rule `name` makes of `text`."""
    steps = [
        pre_tokenizers.Split(Regex(oniguruma_pattern(pattern)), behavior="isolated")
        for pattern in splitting_rule(name).patterns
    ]
    return [word for word, _ in pre_tokenizers.Sequence(steps).pre_tokenize_str(text)]


@pytest.mark.parametrize("name", sorted({rule.patterns: name for name, rule in SPLITTING_RULES.items()}.values()))
@settings(max_examples=25)
@given(text=TEXTS)
def test_no_rule_loses_or_invents_text(name: str, text: str) -> None:
    assert "".join(split(name, text)) == text


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("gpt-2", "I'm  here, 2024!", ["I", "'m", " ", " here", ",", " 2024", "!"]),
        ("gpt-2", "I'M", ["I", "'", "M"]),
        ("llama-bpe", "I'M 12345 a\n\n b", ["I", "'M", " ", "123", "45", " a", "\n\n", " b"]),
        ("qwen2", "it's 123", ["it", "'s", " ", "1", "2", "3"]),
        ("qwen35", "e\u0301a", ["e\u0301a"]),
        ("qwen2", "e\u0301a", ["e", "\u0301a"]),
        ("ufakzeka", "Ali'den", ["Ali", "'den"]),
        ("starcoder", "a12", ["a", "1", "2"]),
        ("default", "a--b 1234", ["a", "--", "b", " ", "123", "4"]),
        ("falcon", "1234", ["123", "4"]),
        ("deepseek-coder", "a 漢字12", ["a", " ", "漢字", "1", "2"]),
        ("deepseek-llm", "ab  12  ", ["ab", "  ", "12", "  "]),
        ("deepseek-llm", " " * 50000 + "12", [" " * 50000, "12"]),
        ("deepseek-v3", "漢字x 1234", ["漢字", "x", " ", "123", "4"]),
        ("tekken", "helloWorld12", ["hello", "World", "1", "2"]),
        ("gpt-4o", "HelloWorld's 1234", ["Hello", "World's", " ", "123", "4"]),
        ("tiny_aya", "1234567", ["1", "234", "567"]),
        ("afmoe", "12345 漢字かな", ["12", "345", " ", "漢字かな"]),
        ("superbpe", "12345678", ["12", "345", "678"]),
        ("kimi-k2", "漢字abc's12", ["漢字", "abc's", "12"]),
        ("jais-2", "a" + " " * 7 + "b", ["a", "    ", "  ", " b"]),
        ("viking", "ab, 12", ["ab", ",", " ", "1", "2"]),
        ("bloom", "ab, cd", ["ab", ",", " cd"]),
        ("chameleon", "a  b\n", ["a", "  ", "b", "\n"]),
        ("seed-coder", "a!\n", ["a", "!", "\n"]),
        ("bailingmoe", "a\n \nb", ["a", "\n \n", "b"]),
        ("exaone-moe", "ab cd 1", ["ab cd", " ", "1"]),
        ("laguna", "a b\nc", ["a", " b", "\n", "c"]),
        ("minicpm5", "a1234", ["a", "123", "4"]),
        ("spark2_5", "a!\n1234", ["a", "!", "\n", "1", "2", "3", "4"]),
        ("youtu", "가나漢字ab", ["가나", "漢字", "ab"]),
        ("gemma4", "a b\n\nc", ["a b", "\n\n", "c"]),
        ("whitespace", "a b", ["a", " ", "b"]),
    ],
)
def test_words_are_those_of_llama_cpp(name: str, text: str, words: list[str]) -> None:
    assert split(name, text) == words


@pytest.mark.parametrize(("category", "count"), [("L", 136726), ("M", 2450), ("N", 1831), ("P", 842), ("S", 7775)])
def test_categories_are_those_of_unicode_15_1(category: str, count: int) -> None:
    codes = [*range(0xD800), *range(0xE000, 0x33000), *range(0xE0000, 0xE0200)]
    every = "".join(map(chr, codes))  # beyond, there is nothing but private use
    pattern = oniguruma_pattern(rf"\p{{{category}}}+")
    runs = pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True).pre_tokenize_str(every)
    assert sum(len(run) for run, _ in runs) == count


def test_an_unknown_rule_is_refused_with_its_name() -> None:
    with pytest.raises(ModelFileError, match="unheard-of"):
        splitting_rule("unheard-of")
