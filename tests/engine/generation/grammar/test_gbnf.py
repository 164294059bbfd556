"""GBNF: what is read, and where it says that something is wrong."""

import pytest

from tui_llama.engine.generation.grammar.gbnf import read_gbnf
from tui_llama.engine.generation.grammar.nodes import Characters, Choice, Node, OneToken, Repeat, RuleName, Sequence
from tui_llama.engine.generation.grammar.nodes import text_node as text
from tui_llama.engine.generation.grammar.reduced import reduced, regular_rules
from tui_llama.errors import EngineError


def root_of(rest: str) -> Node:
    return read_gbnf(f"root ::= {rest}").rules["root"]


@pytest.mark.parametrize(
    ("written", "node"),
    [
        ('"ab"', text("ab")),
        ('"a" "b"', Sequence((text("a"), text("b")))),
        ('"a" | "b"\n  | "c"', Choice((text("a"), text("b"), text("c")))),
        ('("a"\n|\n"b")+ # twice', Repeat(Choice((text("a"), text("b"))), 1, None)),
        ('"ab"{2,3}', Repeat(text("ab"), 2, 3)),
        ('"a"{2}?', Repeat(Repeat(text("a"), 2, 2), 0, 1)),
        ('"a"{ 2 , }', Repeat(text("a"), 2, None)),
        ("[a-c_-]", Characters(((45, 45), (95, 95), (97, 99)))),
        (r"[\]\\\x41\u00e4\U0001F600]", Characters(((65, 65), (92, 93), (0xE4, 0xE4), (0x1F600, 0x1F600)))),
        (r"[^\x01-\uffff]", Characters(((0, 0), (0x10000, 0x10FFFF)))),
        (".", Characters(((0, 0xD7FF), (0xE000, 0x10FFFF)))),
        (r'"\"\n"', text('"\n')),
        ('""', Sequence(())),
        ('| "a"', Choice((Sequence(()), text("a")))),
        ("<[7]> !<[8]>", Sequence((OneToken(7), OneToken(8, is_negated=True)))),
    ],
)
def test_what_is_written_is_read(written: str, node: Node) -> None:
    assert root_of(written) == node


def test_names_of_tokens_are_those_of_the_vocabulary() -> None:
    rules = read_gbnf("root ::= <think> !<end>", {"<think>": 5, "<end>": 6}.get).rules
    assert rules["root"] == Sequence((OneToken(5), OneToken(6, is_negated=True)))


def test_a_rule_ends_with_its_line_and_comments_and_blank_lines_do_not_matter() -> None:
    rules = read_gbnf('# begins\n\nroot ::= x # the rest\r\n\n  x-1::="a"\nx ::=\n  x-1 "b"\n').rules
    assert rules == {"root": RuleName("x"), "x-1": text("a"), "x": Sequence((RuleName("x-1"), text("b")))}


@pytest.mark.parametrize(
    ("written", "place", "complaint"),
    [
        ('root ::= "a\n', "line 1, column 10", "quotation mark is not closed"),
        ('root ::= "a"\nx ::= [a', "line 2, column 7", "bracket is not closed"),
        ('root ::= ("a"\n\n', "line 1, column 10", "bracket is not closed"),
        ("root ::= [b-a]", "line 1, column 10", "end of a range"),
        ("root ::= []", "line 1, column 10", "no character"),
        ('root ::= "\\q"', "line 1, column 11", "no escape"),
        ('root ::= "\\ud800"', "line 1, column 11", "no escape"),
        ("root ::= x\ny ::= root\n", "line 1, column 10", "no rule is named “x”"),
        ('x ::= "a"', "line 1, column 1", "no rule is named “root”"),
        ("root = x", "line 1, column 6", "“::=” follows"),
        ('root ::= "a" )', "line 1, column 14", "cannot go on so"),
        ('root ::= "a"{3,2}', "line 1, column 13", "numbers in braces"),
        ('root ::= "a"{2001}', "line 1, column 13", "numbers in braces"),
        ('root ::= "a"{x}', "line 1, column 13", "braces hold"),
        ("root ::= <nothing>", "line 1, column 10", "no token <nothing>"),
        ("root ::= !x", "line 1, column 10", "a token is written"),
        ('root ::= "a"\nroot ::= "b"', "line 2, column 1", "two rules"),
        ("root ::= " + "(" * 200, "line 1, column 110", "brackets are open"),
        ("{}", "line 1, column 1", "begins with its name"),
        ("", "line 1, column 1", "no rule is named “root”"),
    ],
)
def test_an_error_names_the_place(written: str, place: str, complaint: str) -> None:
    with pytest.raises(EngineError) as raised:
        read_gbnf(written)
    assert f"{place}" in str(raised.value)
    assert complaint in str(raised.value)


def test_what_can_never_end_is_left_out() -> None:
    grammar = read_gbnf('root ::= "a" | x "b"\nx ::= "c" x\ny ::= "d"')
    assert reduced(grammar).rules == {"root": text("a")}


@pytest.mark.parametrize("written", ["root ::= root", 'root ::= "a" root', "root ::= x\nx ::= root"])
def test_a_grammar_whose_answers_never_end_is_refused(written: str) -> None:
    with pytest.raises(EngineError, match="has no end"):
        reduced(read_gbnf(written))


def test_rules_that_need_themselves_are_not_regular() -> None:
    rules = read_gbnf('root ::= x y\nx ::= "a" z\ny ::= "(" y ")" | z\nz ::= "b"*\nt ::= <[3]>').rules
    assert regular_rules(rules) == {"x", "z"}
