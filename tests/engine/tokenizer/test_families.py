"""What ends a turn, and how text is split, in small vocabularies like those of the families of models."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.engine.tokenizer.vocabulary_file import (
    BYTE_TOKENS,
    CONTROL,
    NORMAL,
    Value,
    open_vocabulary,
    pair_keys,
    score_keys,
    write_vocabulary,
)
from tui_llama.engine.tokenizer.tokenizer import Tokenizer, open_tokenizer


class Family(NamedTuple):
    """What files of a family carry.

    Attributes:
        rule: `tokenizer.ggml.pre`; "" for a score-based vocabulary.
        special: Control tokens.
        ends: Those of them that end an answer.
        keys: Keys of special tokens, by the token's text.
        begins: The token that begins a sequence, or "".
    """

    rule: str
    special: tuple[str, ...]
    ends: frozenset[str]
    keys: Mapping[str, str] = {}
    begins: str = ""


GLM = ("[gMASK]", "<sop>", "<|endoftext|>", "<|user|>", "<|assistant|>", "<|observation|>")
GLM_KEYS = {"eos": "<|endoftext|>", "eot": "<|user|>", "eom": "<|observation|>"}
FAMILIES: Mapping[str, Family] = {
    "qwen": Family(
        "qwen2", ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), frozenset({"<|endoftext|>", "<|im_end|>"}),
        {"eos": "<|im_end|>"},
    ),
    "gpt-oss": Family(
        "gpt-4o",
        ("<|startoftext|>", "<|return|>", "<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|call|>"),
        frozenset({"<|return|>", "<|call|>"}), {"eos": "<|return|>", "bos": "<|startoftext|>"},
    ),
    "gemma 3": Family(
        "", ("<eos>", "<start_of_turn>", "<end_of_turn>"), frozenset({"<eos>", "<end_of_turn>", "</s>"}),
        {"eos": "<eos>"}, "<s>",
    ),
    "phi 2": Family("phi-2", ("<|endoftext|>",), frozenset({"<|endoftext|>"}), {"eos": "<|endoftext|>"}),
    "phi 4": Family(
        "dbrx", ("<|endoftext|>", "<|im_start|>", "<|im_sep|>", "<|im_end|>"),
        frozenset({"<|endoftext|>", "<|im_end|>"}), {"eos": "<|im_end|>"},
    ),
    "phi 4 mini": Family(
        "gpt-4o", ("<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"), frozenset({"<|endoftext|>", "<|end|>"}),
        {"eos": "<|endoftext|>"},
    ),
    "ministral 3": Family(
        "tekken", ("<s>", "</s>", "[INST]", "[/INST]"), frozenset({"</s>"}), {"bos": "<s>", "eos": "</s>"}, "<s>"
    ),
    "llama 3": Family(
        "llama-bpe", ("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>"),
        frozenset({"<|end_of_text|>", "<|eot_id|>", "<|eom_id|>"}),
        {"bos": "<|begin_of_text|>", "eos": "<|eot_id|>"}, "<|begin_of_text|>",
    ),
    "llama 4": Family(
        "llama4", ("<|begin_of_text|>", "<|eot|>", "<|eom|>"), frozenset({"<|eot|>"}),
        {"bos": "<|begin_of_text|>", "eos": "<|eot|>"},
    ),
    "smollm 3": Family("smollm", ("<|im_start|>", "<|im_end|>"), frozenset({"<|im_end|>"}), {"eos": "<|im_end|>"}),
    "granite": Family(
        "refact", ("<|end_of_text|>", "<|start_of_role|>"), frozenset({"<|end_of_text|>"}), {"eos": "<|end_of_text|>"}
    ),
    "olmo 2": Family("dbrx", ("<|endoftext|>",), frozenset({"<|endoftext|>"}), {"eos": "<|endoftext|>"}),
    "glm 4": Family("chatglm-bpe", GLM, frozenset(GLM_KEYS.values()), GLM_KEYS),
    "glm 4.5": Family("glm4", GLM, frozenset(GLM_KEYS.values()), GLM_KEYS),
    "hunyuan": Family("hunyuan", ("<|eos|>", "<|extra_0|>"), frozenset({"<|eos|>"}), {"eos": "<|eos|>"}),
    "hunyuan dense": Family(
        "hunyuan-dense", ("<eod>", "<|endofsentence|>"), frozenset({"<|endofsentence|>"}), {"eos": "<|endofsentence|>"}
    ),
    "command-r": Family(
        "command-r", ("<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>"), frozenset({"<|END_OF_TURN_TOKEN|>"}),
        {"bos": "<BOS_TOKEN>", "eos": "<|END_OF_TURN_TOKEN|>"},
    ),
    "exaone 4": Family("exaone4", ("[BOS]", "[|endofturn|]"), frozenset({"[|endofturn|]"}), {"eos": "[|endofturn|]"}),
    "seed-oss": Family("seed-coder", ("<seed:bos>", "<seed:eos>"), frozenset({"<seed:eos>"}), {"eos": "<seed:eos>"}),
    "starcoder 2": Family("starcoder", ("<|endoftext|>",), frozenset({"<|endoftext|>"}), {"eos": "<|endoftext|>"}),
    "stable lm 2": Family(
        "stablelm2", ("<|endoftext|>", "<|im_end|>"), frozenset({"<|endoftext|>", "<|im_end|>"}),
        {"eos": "<|endoftext|>"},
    ),
    "internlm 2": Family("", ("<|im_start|>", "<|im_end|>"), frozenset({"</s>", "<|im_end|>"}), {}, "<s>"),
    "ling 2": Family("bailingmoe2", ("<|startoftext|>", "<|role_end|>"), frozenset({"<|role_end|>"}),
                     {"eos": "<|role_end|>"}),
    "deepseek 3": Family(
        "deepseek-v3", ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"), frozenset({"<｜end▁of▁sentence｜>"}),
        {"bos": "<｜begin▁of▁sentence｜>", "eos": "<｜end▁of▁sentence｜>"},
    ),
}  # fmt: skip


def opened(folder: Path, family: Family) -> Tokenizer:
    if not family.rule:
        # The kinds of these are normal, but their texts are known.
        keys = score_keys({"▁a": 0.0, **dict.fromkeys(family.special, 0.0)}, add_space_prefix=False)
    else:
        keys = pair_keys(["a b"], dict.fromkeys(family.special, CONTROL), pre=family.rule)
    tokens = list(keys["tokens"])  # type: ignore[arg-type]
    ids: dict[str, Value] = {f"{name}_token_id": tokens.index(text) for name, text in family.keys.items()}
    return open_vocabulary(folder, keys | ids)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_turn_ends_with_the_tokens_of_its_family(tmp_path: Path, name: str) -> None:
    family = FAMILIES[name]
    tokenizer = opened(tmp_path, family)
    assert {tokenizer.token_text(token_id) for token_id in tokenizer.end_of_generation} == family.ends
    begin = tokenizer.tokenize("", add_special=True)
    assert [tokenizer.token_text(token_id) for token_id in begin] == ([family.begins] if family.begins else [])
    for text in family.ends:
        assert tokenizer.detokenize(tokenizer.tokenize(text, parse_special=True)) == ""


def gemma4(folder: Path) -> Tokenizer:
    """A vocabulary with escaped spaces, merges in text, tokens of bytes, and the marks of turns and channels."""
    merges = ["h i", "▁ hi", "▁ ▁", "\n \n"]
    results = [merge[: merge.index(" ", 1)] + merge[merge.index(" ", 1) + 1 :] for merge in merges]
    letters = ["h", "i", "▁", "\n"]
    special = ["<bos>", "<eos>", "</s>", "<|turn>", "<turn|>", "<|channel>", "<channel|>", "<|tool_response>"]
    tokens = [*special, *letters, *results, *BYTE_TOKENS]
    kinds = [*[CONTROL] * len(special), *[NORMAL] * (len(letters) + len(results)), *[6] * 256]
    keys: dict[str, Value] = {
        "model": "gemma4", "tokens": tokens, "token_type": kinds, "merges": merges, "bos_token_id": 0,
        "eos_token_id": 1, "add_bos_token": False,
    }  # fmt: skip
    return open_tokenizer(write_vocabulary(folder / "gemma4.gguf", keys))


def test_gemma_4_has_ends_of_its_own_and_begins_with_bos_whatever_the_file_says(tmp_path: Path) -> None:
    tokenizer = gemma4(tmp_path)
    assert {tokenizer.token_text(each) for each in tokenizer.end_of_generation} == {
        *("<eos>", "<turn|>", "<|tool_response>")
    }
    assert tokenizer.tokenize("", add_special=True) == [0]


def test_gemma_4_merges_text_with_escaped_spaces_and_spells_the_rest_in_bytes(tmp_path: Path) -> None:
    tokenizer = gemma4(tmp_path)

    def texts(text: str) -> list[str]:
        return [tokenizer.token_text(each) for each in tokenizer.tokenize(text, parse_special=True)]

    assert texts("hi hi") == ["hi", "▁hi"]
    assert texts("hi   hi") == ["hi", "▁▁", "▁hi"]
    assert texts("\n\nhi\n") == ["\n\n", "hi", "\n"]
    assert texts("é") == ["<0xC3>", "<0xA9>"]
    assert texts("<|turn>hi<turn|>\n") == ["<|turn>", "hi", "<turn|>", "\n"]
    for text in ("hi hi  \n\n\n é", " hi"):
        assert tokenizer.detokenize(tokenizer.tokenize(text)) == text
