"""Cutting text at special tokens."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.tokenizer.vocabulary_file import (
    CONTROL,
    NORMAL,
    USER_DEFINED,
    pair_keys,
    write_vocabulary,
)
from tui_llama.engine.gguf.file import open_gguf
from tui_llama.engine.tokenizer.byte_pair import byte_pair_defaults
from tui_llama.engine.tokenizer.special_tokens import SpecialTokenSplitter, StripRules
from tui_llama.engine.tokenizer.splitting_rules import splitting_rule
from tui_llama.engine.tokenizer.vocabulary import read_vocabulary

FIRST_SPECIAL = 257
OVERLAPPING = {"<s>": CONTROL, "[x]": USER_DEFINED, "<s>a": CONTROL}


def make_splitter(folder: Path, special: dict[str, int], strip: StripRules | None = None) -> SpecialTokenSplitter:
    path = write_vocabulary(folder / "special.gguf", pair_keys(["a b"], special))
    with open_gguf(path) as file:
        vocabulary = read_vocabulary(file, byte_pair_defaults(splitting_rule("qwen2")))
    return SpecialTokenSplitter(vocabulary, strip or StripRules())


@pytest.fixture(scope="module")
def overlapping(tmp_path_factory: pytest.TempPathFactory) -> SpecialTokenSplitter:
    return make_splitter(tmp_path_factory.mktemp("special"), OVERLAPPING)


def test_user_defined_tokens_always_split(tmp_path: Path) -> None:
    splitter = make_splitter(tmp_path, {"<tool>": USER_DEFINED})
    assert splitter.split("a<tool>b", parse_special=False) == ["a", FIRST_SPECIAL, "b"]


def test_control_tokens_split_only_where_asked(tmp_path: Path) -> None:
    splitter = make_splitter(tmp_path, {"<s>": CONTROL})
    assert splitter.split("a<s>b", parse_special=False) == ["a<s>b"]
    assert splitter.split("a<s>b", parse_special=True) == ["a", FIRST_SPECIAL, "b"]


def test_normal_tokens_never_split(tmp_path: Path) -> None:
    splitter = make_splitter(tmp_path, {"<n>": NORMAL})
    assert splitter.split("a<n>b", parse_special=True) == ["a<n>b"]


def test_every_occurrence_splits(tmp_path: Path) -> None:
    splitter = make_splitter(tmp_path, {"<s>": CONTROL})
    assert splitter.split("<s><s>a<s>", parse_special=True) == [257, 257, "a", 257]


def test_the_longest_token_wins_even_where_another_begins_earlier(tmp_path: Path) -> None:
    splitter = make_splitter(tmp_path, {"xb": CONTROL, "bcd": CONTROL})
    assert splitter.split("xbcd", parse_special=True) == ["x", 258]


def test_equally_long_tokens_go_in_the_order_of_their_ids(tmp_path: Path) -> None:
    splitter = make_splitter(tmp_path, {"xb": CONTROL, "bx": CONTROL})
    assert splitter.split("bxb", parse_special=True) == ["b", 257]


def test_white_space_beside_a_token_is_swallowed_by_rule(tmp_path: Path) -> None:
    strip = StripRules(left=frozenset({"<l>"}), right=frozenset({"<r>"}))
    splitter = make_splitter(tmp_path, {"<l>": CONTROL, "<r>": CONTROL}, strip)
    assert splitter.split(" a \t<l> b <r>\n c ", parse_special=True) == [" a", 257, " b ", 258, "c "]


def test_white_space_beyond_ascii_is_not_swallowed(tmp_path: Path) -> None:
    splitter = make_splitter(tmp_path, {"<r>": CONTROL}, StripRules(right=frozenset({"<r>"})))
    assert splitter.split("<r> \u00a0a", parse_special=True) == [257, "\u00a0a"]


@given(st.text(alphabet="ab<s>[x]", max_size=40))
def test_the_fragments_make_up_the_text(overlapping: SpecialTokenSplitter, text: str) -> None:
    fragments = overlapping.split(text, parse_special=True)
    names = dict(enumerate(OVERLAPPING, FIRST_SPECIAL))
    assert "".join(names[part] if isinstance(part, int) else part for part in fragments) == text
    assert "" not in fragments


class Place(int):
    """A place in a text that counts how often it is compared."""

    compared = 0

    def __lt__(self, other: int) -> bool:
        Place.compared += 1
        return int(self) < int(other)

    def __gt__(self, other: int) -> bool:
        Place.compared += 1
        return int(self) > int(other)


def test_a_chat_of_many_turns_does_not_compare_every_turn_with_every_other(tmp_path: Path) -> None:
    splitter = make_splitter(tmp_path, {"<s>": CONTROL})
    turns = 1000
    spans = [(Place(7 * turn + 3), Place(7 * turn + 7)) for turn in range(turns)]
    Place.compared = 0

    assert splitter.split("<s>a<s>" * turns, True, spans) == [FIRST_SPECIAL, "a<s>"] * turns
    assert Place.compared < 100 * turns
