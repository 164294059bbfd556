"""Files that llama.cpp loads although they are odd, and files that it refuses although they look sound."""

from pathlib import Path

import pytest

from tui_llama.engine.model import open_model
from tui_llama.engine.model_facts import read_model_facts
from tui_llama.errors import ModelFileError

# The odd files are written from a model without a template, which is told of as well.
NO_TEMPLATE = "The model file has no chat template"


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "notice"),
    [
        ("plain", ""),
        ("eos-out-of-range", "tokenizer.ggml.eos_token_id is 264"),
        ("unk-out-of-range", "tokenizer.ggml.unknown_token_id is 32000"),
        ("scores-missing", "has no scores"),
        ("template-array", "The chat template of the model file is no text"),
        ("context-length-0", "context_length is 0"),
        ("keys-9000", ""),
    ],
)
def test_an_odd_file_is_loaded_with_one_notice(shared_folder: Path, name: str, notice: str) -> None:
    path = shared_folder / "hunt/gguf" / f"{name}.gguf"
    assert read_model_facts(path).refusal == ""
    with open_model(path, context_size=128, threads=1) as model:
        notices = [each for each in model.notices if not each.startswith(NO_TEMPLATE)]
        assert len(notices) == (1 if notice else 0)
        assert notice in "".join(notices)
        assert model.logits(model.tokenize("ab")).shape[1] == model.vocab_size == 264


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "why"), [("extra-q-norm", "'blk.0.attn_q_norm.weight'"), ("moe-keys", "a mixture of experts")]
)
def test_a_file_with_more_than_is_read_is_refused(shared_folder: Path, name: str, why: str) -> None:
    path = shared_folder / "hunt/gguf" / f"{name}.gguf"
    assert why in read_model_facts(path).refusal
    with pytest.raises(ModelFileError, match=why):
        open_model(path, context_size=128, threads=1)
