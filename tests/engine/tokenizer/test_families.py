"""What ends a turn, and how text is split, in small vocabularies like those of the families of models."""

from pathlib import Path

import pytest

from tests.engine.tokenizer.families import FAMILIES, vocabulary_of
from tests.engine.tokenizer.vocabulary_file import open_vocabulary
from tui_llama.engine.tokenizer.tokenizer import Tokenizer


def opened(folder: Path, name: str) -> Tokenizer:
    return open_vocabulary(folder, vocabulary_of(FAMILIES[name]))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_turn_ends_with_the_tokens_of_its_family(tmp_path: Path, name: str) -> None:
    family = FAMILIES[name]
    tokenizer = opened(tmp_path, name)
    assert {tokenizer.token_text(token_id) for token_id in tokenizer.end_of_generation} == family.ends
    begin = tokenizer.tokenize("", add_special=True)
    assert [tokenizer.token_text(token_id) for token_id in begin] == ([family.begins] if family.begins else [])
    for text in family.ends:
        assert tokenizer.detokenize(tokenizer.tokenize(text, parse_special=True)) == ""


def test_gemma_4_has_ends_of_its_own_and_begins_with_bos_whatever_the_file_says(tmp_path: Path) -> None:
    tokenizer = opened(tmp_path, "gemma 4")
    assert {tokenizer.token_text(each) for each in tokenizer.end_of_generation} == {
        *("<eos>", "<turn|>", "<|tool_response>")
    }
    assert tokenizer.tokenize("", add_special=True) == [0]


def test_gemma_4_merges_text_with_escaped_spaces_and_spells_the_rest_in_bytes(tmp_path: Path) -> None:
    tokenizer = opened(tmp_path, "gemma 4")

    def texts(text: str) -> list[str]:
        return [tokenizer.token_text(each) for each in tokenizer.tokenize(text, parse_special=True)]

    assert texts("hi hi") == ["hi", "▁hi"]
    assert texts("hi   hi") == ["hi", "▁▁", "▁hi"]
    assert texts("\n\nhi\n") == ["\n\n", "hi", "\n"]
    assert texts("é") == ["<0xC3>", "<0xA9>"]
    assert texts("<|turn>hi<turn|>\n") == ["<|turn>", "hi", "<turn|>", "\n"]
    for text in ("hi hi  \n\n\n é", " hi"):
        assert tokenizer.detokenize(tokenizer.tokenize(text)) == text
