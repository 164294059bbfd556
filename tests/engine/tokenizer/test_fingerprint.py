"""Two files have the same fingerprint only where their token ids mean the same."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from tests.fakes.tiny_model import make_tiny_model
from tui_llama.engine.gguf.file import open_gguf
from tui_llama.engine.tokenizer.fingerprint import vocabulary_fingerprint
from tui_llama.engine.tokenizer.tokenizer import open_tokenizer

NORMAL, CONTROL, UNUSED = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL, gguf.TokenType.UNUSED
TOKENS = ["<unk>", "<s>", "</s>", "a", "b", "ab", "c"]
SCORE_BASED: Mapping[str, Any] = {
    "model": "llama",
    "tokens": TOKENS,
    "types": [NORMAL, CONTROL, CONTROL, *[NORMAL] * 4],
    "scores": [0.0, 0.0, 0.0, -1.0, -2.0, -3.0, -4.0],
}
BYTE_PAIR: Mapping[str, Any] = {
    "model": "gpt2",
    "tokens": TOKENS,
    "types": SCORE_BASED["types"],
    "merges": ["a b"],
    "pre": "llama-bpe",
}


def fingerprint(folder: Path, parts: Mapping[str, Any], change: Callable[[gguf.GGUFWriter], None] | None = None) -> str:
    path = folder / "vocabulary.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model(parts["model"])
    writer.add_token_list(parts["tokens"])
    for name, add in (
        ("types", writer.add_token_types),
        ("scores", writer.add_token_scores),
        ("merges", writer.add_token_merges),
        ("pre", writer.add_tokenizer_pre),
    ):
        if name in parts:
            add(parts[name])
    if change is not None:
        change(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with open_gguf(path) as file:
        return vocabulary_fingerprint(file)


@pytest.mark.parametrize(
    ("parts", "changed"),
    [
        (SCORE_BASED, {"tokens": [*TOKENS[:-1], "d"]}),
        (SCORE_BASED, {"tokens": ["<unk>", "<s>", "</s>", "b", "a", "ab", "c"]}),
        (SCORE_BASED, {"tokens": ["<unk>", "<s>", "</s>", "a", "ba", "b", "c"]}),
        (SCORE_BASED, {"types": [CONTROL, *SCORE_BASED["types"][1:]]}),
        (SCORE_BASED, {"scores": [*SCORE_BASED["scores"][:-1], -4.5]}),
        (BYTE_PAIR, {"merges": ["a b", "b c"]}),
        (BYTE_PAIR, {"merges": ["b a"]}),
        (BYTE_PAIR, {"pre": "qwen2"}),
        (BYTE_PAIR, {"model": "llama"}),
    ],
)
def test_whatever_decides_what_an_id_means_gives_another(
    tmp_path: Path, parts: Mapping[str, Any], changed: Mapping[str, Any]
) -> None:
    assert fingerprint(tmp_path, {**parts, **changed}) != fingerprint(tmp_path, parts)


@pytest.mark.parametrize("parts", [SCORE_BASED, BYTE_PAIR])
def test_what_does_not_leaves_it_as_it_is(tmp_path: Path, parts: Mapping[str, Any]) -> None:
    def change(writer: gguf.GGUFWriter) -> None:
        writer.add_name("another model")
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_add_bos_token(True)
        writer.add_chat_template("{{ messages }}")

    assert fingerprint(tmp_path, parts, change) == fingerprint(tmp_path, parts)


@pytest.mark.parametrize("parts", [SCORE_BASED, BYTE_PAIR])
def test_a_larger_model_of_a_family_may_have_more_tokens_that_are_not_used(
    tmp_path: Path, parts: Mapping[str, Any]
) -> None:
    padded = {**parts, "tokens": [*TOKENS, "[PAD7]", "[PAD8]"], "types": [*parts["types"], UNUSED, UNUSED]}
    if "scores" in parts:
        padded["scores"] = [*parts["scores"], 0.0, 0.0]
    used = {**padded, "types": [*parts["types"], UNUSED, NORMAL]}
    assert fingerprint(tmp_path, padded) == fingerprint(tmp_path, parts) != fingerprint(tmp_path, used)


def test_scores_count_as_the_numbers_that_they_are_read_as(tmp_path: Path) -> None:
    scores = np.array(SCORE_BASED["scores"], np.float32).tolist()
    assert fingerprint(tmp_path, {**SCORE_BASED, "scores": scores}) == fingerprint(tmp_path, SCORE_BASED)
    without = {name: part for name, part in SCORE_BASED.items() if name not in ("types", "scores")}
    assert len(fingerprint(tmp_path, without)) == 32


def test_models_that_differ_in_weights_alone_share_it(tmp_path: Path) -> None:
    paths = [make_tiny_model(tmp_path / f"{seed}.gguf", seed=seed) for seed in (1, 2)]
    other = make_tiny_model(tmp_path / "other.gguf", vocabulary="spm")
    one, two, three = [open_tokenizer(path).fingerprint for path in (*paths, other)]
    assert one == two != three
