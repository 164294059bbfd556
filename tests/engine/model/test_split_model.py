"""A model in several files is the model in one file: the same facts, the same bits, and a fingerprint of all parts."""

from pathlib import Path

import pytest

from tests.fakes.tiny_model import make_tiny_model
from tui_llama.engine import open_model
from tui_llama.engine.model.facts import read_model_facts

TEXT = "once upon a time there was a model in several files"


@pytest.fixture
def split(tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path / "split.gguf", quantization="Q8_0", tensors_per_part=7)


def test_a_split_model_gives_the_bits_of_the_whole_one(tmp_path: Path, split: Path) -> None:
    whole = make_tiny_model(tmp_path / "whole.gguf", quantization="Q8_0")
    with open_model(whole, threads=2) as model:
        expected = model.logits(model.tokenize(TEXT)).tobytes()
    last = max(tmp_path.glob("split-*.gguf"))
    assert last != split

    with open_model(last, threads=2) as model:
        assert model.info.path == str(split)
        assert model.logits(model.tokenize(TEXT)).tobytes() == expected


def test_other_weights_in_a_later_part_are_another_model(split: Path) -> None:
    with open_model(split, threads=1) as model:
        before = model.fingerprint
    last = max(split.parent.glob("split-*.gguf"))
    content = bytearray(last.read_bytes())
    content[-40] ^= 1
    last.write_bytes(content)

    with open_model(split, threads=1) as model:
        assert model.fingerprint.model != before.model


def test_the_facts_are_those_of_all_parts_together(tmp_path: Path, split: Path) -> None:
    parts = sorted(tmp_path.glob("split-*.gguf"))

    facts = read_model_facts(parts[-1])
    assert facts.file_bytes == sum(path.stat().st_size for path in parts)
    assert facts.path == str(split)
    assert not facts.refusal

    parts[1].unlink()
    assert f"part 2 of {len(parts)} is missing: {parts[1].name}" in read_model_facts(split).refusal
