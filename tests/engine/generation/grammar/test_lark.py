"""A grammar as llguidance gets it accepts what the obvious twin accepts, whatever its lexer would rather read."""

import itertools
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llguidance import LLMatcher

from tests.fakes.fake_model import byte_tokenizer
from tests.naive.grammars import accepts
from tests.scale import scaled
from tui_llama.engine.generation.grammar.gbnf import Grammar, read_gbnf
from tui_llama.engine.generation.grammar.lark import lark_of
from tui_llama.engine.generation.grammar.schema import schema_grammar
from tui_llama.engine.generation.grammar.vocabulary import GrammarVocabulary
from tui_llama.errors import EngineError

BYTES: Final = GrammarVocabulary(byte_tokenizer())
SHORT_TEXTS: Final = ["".join(signs) for length in range(5) for signs in itertools.product("abc", repeat=length)]

_PART = st.sampled_from(
    ['"a"', '"b"', '"ab"', '"aab"', "[ab]", "[a-c]", '"c"', "[^a]", '"ba"', "[a-c]*", "[bc]+", "x", "y"]
)


def _longer(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    times = st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{0,2}"])
    return st.one_of(
        st.tuples(parts, parts).map(" ".join),
        st.tuples(parts, parts).map(lambda each: f"({each[0]} | {each[1]})"),
        st.tuples(parts, times).map(lambda each: f"({each[0]}){each[1]}"),
    )


RULE: Final = st.recursive(_PART, _longer, max_leaves=6)


def matcher_of(grammar: Grammar) -> LLMatcher:
    matcher = LLMatcher(BYTES.tokenizer, LLMatcher.grammar_from_lark(lark_of(grammar)), log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    return matcher


def takes(matcher: LLMatcher, text: str) -> bool:
    copy = matcher.deep_copy()
    return all(map(copy.consume_token, text.encode())) and copy.is_accepting()


@given(root=RULE, x=RULE, y=RULE, texts=st.lists(st.sampled_from(SHORT_TEXTS), min_size=30, max_size=30, unique=True))
@settings(max_examples=scaled(30, 300))
def test_it_accepts_the_same_texts(root: str, x: str, y: str, texts: list[str]) -> None:
    grammar = read_gbnf(f"root ::= {root}\nx ::= {x}\ny ::= {y}\n")
    try:
        matcher = matcher_of(grammar)
    except EngineError:
        assert not any(accepts(grammar, text) for text in texts)
        return
    assert [text for text in texts if takes(matcher, text)] == [text for text in texts if accepts(grammar, text)]


@pytest.mark.parametrize(
    ("written", "texts"),
    [
        ('root ::= "(" root ")" | word "s"\nword ::= [a-z]+', ["bus", "s", "ss", "(bus)", "bu"]),
        ('root ::= "(" root ")" | ("a" | "ab") ("bc" | "c") ";"', ["abc;", "abbc;", "ac;", "(abc;)"]),
        ('root ::= x "c"\nx ::= "a" | "a" x "b" | "ab"', ["ac", "abc", "aabc", "aabbc"]),
        ('root ::= "a" root "a" | "a"', ["a", "aa", "aaa", "aaaa", "aaaaa"]),
        ('root ::= root "ä" | "€😀"', ["€😀", "€😀ää", "ä"]),
    ],
)
def test_what_a_lexer_would_read_too_far_is_cut(written: str, texts: list[str]) -> None:
    grammar = read_gbnf(written)
    matcher = matcher_of(grammar)
    assert [takes(matcher, text) for text in texts] == [accepts(grammar, text) for text in texts]


def test_a_run_of_characters_is_cut_only_where_something_may_follow() -> None:
    lark = lark_of(read_gbnf('root ::= "(" root ")" | [ -~]* | ";" [a-z]+'))
    run = r"/(?:[\x{20}-\x{27}\x{2a}-\x{7e}])*/"
    assert any(line.endswith(f": {run}") for line in lark.splitlines())


def test_what_no_lexer_confuses_stays_in_one_piece() -> None:
    grammar = read_gbnf(
        'root ::= "[" root ("," root)* "]" | string | number\n'
        'string ::= "\\"" [^"]* "\\""\nnumber ::= "-"? [0-9]+ ("." [0-9]+)?'
    )
    lines = lark_of(grammar).splitlines()
    assert sum(line.startswith("LEXEME") for line in lines) == 5


@pytest.mark.parametrize(
    ("text", "is_taken"),
    [
        ('{"a": [1, 2]}', True),
        ('{\n  "a": [\n    1\n  ]\n}', True),
        ('{"a":[1,2]}', True),
        ('{   "a": 1}', False),
        ("{\n\n\n}", False),
        (' {"a": 1}', False),
        ('{"a": 1}\n', False),
    ],
)
def test_json_has_white_space_as_people_write_it_and_not_without_an_end(text: str, is_taken: bool) -> None:
    matcher = LLMatcher(BYTES.tokenizer, schema_grammar({}), log_level=0)
    assert takes(matcher, text) == is_taken
