"""Files that llama.cpp loads although they are odd, and files that it refuses although they look sound."""

from pathlib import Path

import numpy as np
import pytest

from tests.fakes.gguf_bytes import array, scalar
from tests.fakes.odd_models import Tensor, odd_model
from tests.fakes.tiny_model import make_tiny_model
from tui_llama.engine.gguf.file import ValueType
from tui_llama.engine.model.facts import read_model_facts
from tui_llama.engine.model.model import open_model
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
        ("template-array", "The chat template of the model file is not text"),
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
    ("name", "why"),
    [("extra-q-norm", "'blk.0.attn_q_norm.weight'"), ("moe-keys", "tensor 'blk.0.ffn_gate_inp.weight' is missing")],
)
def test_a_file_with_more_than_is_read_is_refused(shared_folder: Path, name: str, why: str) -> None:
    path = shared_folder / "hunt/gguf" / f"{name}.gguf"
    assert why in read_model_facts(path).refusal
    with pytest.raises(ModelFileError, match=why):
        open_model(path, context_size=128, threads=1)


SAYS_ALL = "{% for message in messages %}{{ message.content }}{% endfor %}"
INTEGERS, TRUTHS, TEXTS = ValueType.UINT32, ValueType.BOOL, ValueType.STRING


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model") / "sound.gguf", vocabulary="spm")


@pytest.mark.parametrize(
    ("keys", "notice"),
    [
        ({"general.name": None, "general.file_type": None, "general.quantization_version": None}, ""),
        ({"general.name": scalar("general.name", INTEGERS, 7)}, ""),
        ({"general.name": scalar("general.name", TEXTS, "x" * 100_000)}, ""),
        ({"many": b"", **{f"k{number}": scalar(f"k{number}", INTEGERS, number) for number in range(30_000)}}, ""),
        ({"big": array("tokenizer.huggingface.json", ValueType.STRING, ["x" * 1000] * 2000)}, ""),
        ({"raw": scalar(b"\xff\xfe", TEXTS, b"\xff\xfe")}, ""),
        ({"none": array("none", TEXTS, [])}, ""),
        ({"tokenizer.ggml.token_type": None}, ""),
        ({"add": scalar("tokenizer.ggml.add_eos_token", TRUTHS, 0)}, ""),
        ({"tokenizer.ggml.add_bos_token": scalar("tokenizer.ggml.add_bos_token", TRUTHS, 255)}, ""),
        ({"id": scalar("tokenizer.ggml.padding_token_id", ValueType.INT32, -1)}, ""),
        ({"tokenizer.ggml.eos_token_id": scalar("tokenizer.ggml.eos_token_id", ValueType.INT32, -1)}, ""),
        ({"tokenizer.ggml.eos_token_id": scalar("tokenizer.ggml.eos_token_id", ValueType.INT32, -7)}, "is -7"),
        ({"eom": scalar("tokenizer.ggml.eom_token_id", ValueType.UINT64, 1 << 40)}, f"is {1 << 40}"),
        ({"tokenizer.ggml.scores": None}, "has no scores"),
        ({"tokenizer.chat_template": array("tokenizer.chat_template", TEXTS, ["x", SAYS_ALL])}, "at place 2 is used"),
        ({"tokenizer.chat_template": scalar("tokenizer.chat_template.rag", TEXTS, SAYS_ALL)}, "'rag' is used"),
        ({"llama.context_length": scalar("llama.context_length", ValueType.UINT64, 0)}, "8192 is assumed"),
        ({"window": scalar("llama.attention.sliding_window", INTEGERS, 64)}, "attention.sliding_window"),
    ],
)
def test_what_is_odd_in_the_metadata_is_loaded(
    sound: Path, tmp_path: Path, keys: dict[str, bytes | None], notice: str
) -> None:
    entries = {key: entry for key, entry in keys.items() if entry != b""}
    path = odd_model(sound, tmp_path / "odd.gguf", entries)
    assert read_model_facts(path).refusal == ""
    with open_model(sound, threads=1) as model, open_model(path, threads=1) as odd:
        assert len(odd.notices) == (1 if notice else 0)
        assert notice in "".join(odd.notices)
        np.testing.assert_array_equal(odd.logits([5, 6, 7]), model.logits([5, 6, 7]))


@pytest.mark.parametrize("left", [0, 1, 20, 31])
def test_a_file_whose_last_padding_was_cut_is_loaded(sound: Path, tmp_path: Path, left: int) -> None:
    extra: Tensor = ("blk.0.attn_rot_embd.weight", (1,), 0, bytes(4))
    path = odd_model(sound, tmp_path / "odd.gguf", extra_tensors=[extra])
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 28 + min(left, 28)])
    with open_model(sound, threads=1) as model, open_model(path, threads=1) as odd:
        np.testing.assert_array_equal(odd.logits([5, 6, 7]), model.logits([5, 6, 7]))


@pytest.mark.parametrize("name", ["Llama", "LLAMA", "llama ", "mamba"])
def test_an_architecture_of_another_name_is_refused(sound: Path, tmp_path: Path, name: str) -> None:
    key = "general.architecture"
    path = odd_model(sound, tmp_path / "odd.gguf", {key: scalar(key, TEXTS, name)})
    assert f"'{name}' is not supported" in read_model_facts(path).refusal
    with pytest.raises(ModelFileError, match="is not supported"):
        open_model(path, threads=1)
